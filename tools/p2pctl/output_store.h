// What commands have written, each content kept once however many nodes wrote it.
//
// Pure. Outputs are cut into blocks; equal blocks are one. Memory grows with what differs, and with
// a few bytes for each block of each copy.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace p2p {

class OutputStore {
 public:
  static constexpr std::size_t kBlockBytes = 4096;

  // The number of these bytes; equal bytes have equal numbers.
  std::uint32_t keep(std::string_view bytes);
  std::string_view block(std::uint32_t number) const { return blocks_[number]; }
  std::size_t bytes_kept() const { return bytes_; }

 private:
  std::deque<std::string> blocks_;  // their places never change: the keys below point at them
  std::unordered_map<std::string_view, std::uint32_t> numbers_;
  std::size_t bytes_ = 0;
};

// One stream of one run, as far as it is known.
class OutputStream {
 public:
  // A piece at its place in the stream. What was had already is left out; what lies between the
  // last piece and this one was not kept. Returns what of `bytes` is new.
  std::string_view add(OutputStore& store, std::uint64_t offset, std::string_view bytes);
  // The same where the bytes themselves are not kept.
  std::string_view pass(std::uint64_t offset, std::string_view bytes);
  // Nothing more comes: `written` bytes there were. Streams are equal when all pieces and gaps are.
  void finish(OutputStore& store, std::uint64_t written);

  std::uint64_t end() const { return end_; }  // in the stream, where the next piece would begin
  std::uint64_t kept() const { return kept_; }
  std::uint64_t missing() const { return end_ - kept_; }
  bool empty() const { return end_ == 0; }

  // Parts in their order; `bytes` is empty for a gap of `missing` bytes.
  using OnPart = std::function<void(std::string_view bytes, std::uint64_t missing)>;
  void visit(const OutputStore& store, const OnPart& on_part) const;
  // All of it with words where something is missing.
  std::string text(const OutputStore& store) const;

  friend auto operator<=>(const OutputStream&, const OutputStream&) = default;

 private:
  struct Gap {
    std::uint64_t at = 0;  // bytes kept before it
    std::uint64_t bytes = 0;
    friend auto operator<=>(const Gap&, const Gap&) = default;
  };

  std::string_view place(std::uint64_t offset, std::string_view bytes);

  std::vector<std::uint32_t> blocks_;
  std::string tail_;  // less than a block
  std::vector<Gap> gaps_;
  std::uint64_t kept_ = 0;
  std::uint64_t end_ = 0;
};

// "[... 11.4 MiB not kept ...]"
std::string missing_text(std::uint64_t bytes);

}  // namespace p2p
