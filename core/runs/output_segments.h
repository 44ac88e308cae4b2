// Which bytes of a command's output are kept: its beginning and its end.
//
// A stream is kept in segments. The first one holds the head, half of the limit; behind it come
// segments of an eighth each, of which the last four are kept. So what is kept never exceeds the
// limit, the tail is at least three eighths, and every segment only grows: whoever reads along sees
// no byte change.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/base/check.h"

namespace p2p {

// The head of a stream that keeps `limit` bytes. It is all that is told while a run goes on: so
// what is told of equal outputs is equal, however long they are and whenever somebody looked.
constexpr std::uint64_t head_of_output(std::uint64_t limit) {
  return limit / 2;
}

class OutputSegments {
 public:
  static constexpr std::uint64_t kMinLimit = 8 * 1024;
  static constexpr std::uint64_t kTailSegments = 4;

  // `limit` in bytes, at least kMinLimit.
  explicit OutputSegments(std::uint64_t limit) : head_(head_of_output(limit)), segment_(limit / 8) {
    P2P_CHECK(limit >= kMinLimit);
  }

  struct Piece {
    std::uint64_t segment = 0;  // named by the offset in the stream at which it begins
    std::uint64_t at = 0;       // offset in the segment
    std::size_t count = 0;      // at least 1
    // This piece begins its segment, and this other one is not kept any more.
    std::optional<std::uint64_t> dropped;
  };
  // Where the next bytes of the stream go: as many of `count` (at least 1) as fit one segment.
  Piece place(std::size_t count) {
    P2P_CHECK(count > 0);
    const std::uint64_t begin = segment_of(total_);
    const std::uint64_t size = begin == 0 ? head_ : segment_;
    Piece piece{
        .segment = begin,
        .at = total_ - begin,
        .count = static_cast<std::size_t>(std::min<std::uint64_t>(count, size - (total_ - begin))),
        .dropped = std::nullopt};
    const std::uint64_t tail = kTailSegments * segment_;
    if (piece.at == 0 && begin >= head_ + tail) piece.dropped = begin - tail;
    total_ += piece.count;
    return piece;
  }

  // Bytes of the stream so far.
  std::uint64_t total() const { return total_; }
  // What is not kept: [head(), tail_begin()), empty while everything is.
  std::uint64_t head() const { return std::min(total_, head_); }
  std::uint64_t tail_begin() const {
    if (total_ <= head_) return total_;
    const std::uint64_t last = segment_of(total_ - 1);
    return std::max(head_, last - std::min(last, (kTailSegments - 1) * segment_));
  }
  bool truncated() const { return tail_begin() > head(); }

 private:
  std::uint64_t segment_of(std::uint64_t offset) const {
    return offset < head_ ? 0 : head_ + (offset - head_) / segment_ * segment_;
  }

  std::uint64_t head_;
  std::uint64_t segment_;
  std::uint64_t total_ = 0;
};

}  // namespace p2p
