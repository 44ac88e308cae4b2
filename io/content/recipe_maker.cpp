#include "io/content/recipe_maker.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "core/base/buffer.h"
#include "core/base/check.h"
#include "core/delta/recipe.h"
#include "io/content/cutter.h"

namespace p2p {
namespace {

constexpr std::size_t kWindowBytes = 256 * 1024;
constexpr std::size_t kCutBytes = 1024 * 1024;
constexpr std::uint64_t kAskEvery = 1024 * 1024;
constexpr std::uint32_t kLeastAverage = 8 * 1024;
constexpr std::uint32_t kMostAverage = 1024 * 1024;
constexpr std::uint32_t kSmallAverage = 256;
constexpr std::uint64_t kSmallGap = 4u << 20;
constexpr std::size_t kSlotsMax = 4u << 20;  // 16 bytes each
constexpr std::size_t kStep = 32;            // delta.md §4.3
constexpr std::size_t kUnmerged = 1u << 20;  // ranges; a map drops what is too many
constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

// Counts what is read, asks whether to go on, and remembers the first thing that went wrong: from
// then on every read is empty, and all loops end.
class Progress {
 public:
  explicit Progress(const std::function<bool()>& go_on) : go_on_(go_on) {}

  bool ok() const { return status_.has_value(); }
  const Status& status() const { return status_; }

  std::size_t read(const RecipeInput& file, std::uint64_t offset, std::span<std::uint8_t> out) {
    if (!ok()) return 0;
    unasked_ += out.size();
    if (unasked_ >= kAskEvery) {
      unasked_ = 0;
      if (go_on_ && !go_on_()) status_ = Error{Errc::cancelled, "told to stop making a recipe"};
      if (!ok()) return 0;
    }
    const Result<std::size_t> got = file.read(offset, out);
    if (!got) {
      status_ = got.error();
    } else if (*got != out.size()) {
      status_ = Error{Errc::unavailable, "a file ended at " + std::to_string(offset + *got) +
                                             " instead of " + std::to_string(file.size) +
                                             " while its recipe was made"};
    }
    return ok() ? out.size() : 0;
  }

 private:
  const std::function<bool()>& go_on_;
  std::uint64_t unasked_ = 0;
  Status status_;
};

// Bytes of one file at any offset.
class Window {
 public:
  Window(const RecipeInput& file, Progress& progress) : file_(file), progress_(progress) {}

  // At most `most` bytes from `offset` on; empty only at the end of the file or after an error.
  std::span<const std::uint8_t> from(std::uint64_t offset, std::uint64_t most) {
    if (offset >= file_.size || most == 0) return {};
    if (offset < begin_ || offset >= begin_ + held_) load(offset);
    return cut(offset, most);
  }

  // At most `most` bytes that end before `end`.
  std::span<const std::uint8_t> before(std::uint64_t end, std::uint64_t most) {
    if (end == 0 || end > file_.size || most == 0) return {};
    if (end <= begin_ || end > begin_ + held_)
      load(end - std::min<std::uint64_t>(end, kWindowBytes));
    const std::uint64_t begin = std::max(begin_, end - std::min(end, most));
    return cut(begin, end - begin);
  }

 private:
  void load(std::uint64_t offset) {
    begin_ = offset;
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(kWindowBytes, file_.size - offset));
    held_ = progress_.read(file_, offset, buffer_.span().first(count));
  }

  std::span<const std::uint8_t> cut(std::uint64_t offset, std::uint64_t most) const {
    if (offset >= begin_ + held_) return {};
    const std::span<const std::uint8_t> all = buffer_.span();
    return all.subspan(
        static_cast<std::size_t>(offset - begin_),
        static_cast<std::size_t>(std::min<std::uint64_t>(most, begin_ + held_ - offset)));
  }

  const RecipeInput& file_;
  Progress& progress_;
  Buffer buffer_{kWindowBytes};
  std::uint64_t begin_ = 0;
  std::size_t held_ = 0;
};

// Where pieces of the old file stand, by their hash; the first of equal ones.
class PieceTable {
 public:
  explicit PieceTable(std::uint64_t pieces)
      : slots_(std::bit_ceil(std::clamp<std::uint64_t>(pieces * 3 / 2, 64, kSlotsMax))) {}

  void add(std::uint64_t hash, std::uint64_t offset) {
    if (used_ >= slots_.size() / 10 * 8) return;  // pieces are shorter than they should be
    Slot& slot = find(hash);
    if (slot.offset != kNone) return;
    slot = {hash, offset};
    ++used_;
  }
  // kNone when there is none.
  std::uint64_t at(std::uint64_t hash) { return find(hash).offset; }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    std::uint64_t offset = kNone;
  };

  Slot& find(std::uint64_t hash) {
    std::size_t i = hash & (slots_.size() - 1);
    while (slots_[i].offset != kNone && slots_[i].hash != hash) i = (i + 1) & (slots_.size() - 1);
    return slots_[i];
  }

  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

// Calls take(offset, bytes) with every piece of these stretches of the file.
template <class Take>
void cut_file(const RecipeInput& file, std::span<const ByteRange> extents, const Cutter& cutter,
              Progress& progress, Take take) {
  std::uint64_t longest = 0;
  for (const ByteRange& extent : extents) longest = std::max(longest, extent.length);
  Buffer buffer(
      static_cast<std::size_t>(std::min<std::uint64_t>(longest, kCutBytes + cutter.longest())));
  for (const ByteRange& extent : extents) {
    std::uint64_t offset = extent.offset;  // of what is at the front of the buffer
    std::size_t held = 0;
    while (progress.ok() && offset < extent.end()) {
      const std::uint64_t rest = extent.end() - offset - held;
      const auto more =
          static_cast<std::size_t>(std::min<std::uint64_t>(rest, buffer.size() - held));
      held += progress.read(file, offset + held, buffer.span().subspan(held, more));
      if (!progress.ok()) return;
      const bool last = held == extent.end() - offset;
      std::span<const std::uint8_t> left = std::as_const(buffer).span().first(held);
      while (!left.empty() && (last || left.size() >= cutter.longest())) {
        const std::size_t length = cutter.next(left);
        take(offset, left.first(length));
        offset += length;
        left = left.subspan(length);
      }
      held = left.size();
      std::memmove(buffer.data(), left.data(), held);
    }
  }
}

class Finder {
 public:
  Finder(const RecipeInput& old_file, const RecipeInput& new_file,
         const std::function<bool()>& go_on)
      : old_file_(old_file),
        new_file_(new_file),
        progress_(go_on),
        old_(old_file, progress_),
        new_(new_file, progress_),
        map_(recipe_ranges_max(new_file.size)) {}

  Result<CopyMap> run() {
    find_pieces();
    if (progress_.ok()) fill_gaps();
    if (progress_.ok() && find_small_pieces()) fill_gaps();
    if (!progress_.ok()) return progress_.status().error();
    return std::move(map_);
  }

 private:
  // Pieces that both files have.
  void find_pieces() {
    std::uint64_t data_bytes = 0;
    for (const ByteRange& extent : old_file_.data) data_bytes += extent.length;
    std::uint32_t average = kLeastAverage;
    while (average < kMostAverage && data_bytes / average > kSlotsMax / 3 * 2) average *= 2;
    const Cutter cutter(average);
    const auto hash = [](std::span<const std::uint8_t> piece) {
      return XXH3_64bits(piece.data(), piece.size());
    };
    PieceTable table(data_bytes / average + old_file_.data.size());
    cut_file(old_file_, old_file_.data, cutter, progress_,
             [&](std::uint64_t offset, std::span<const std::uint8_t> piece) {
               table.add(hash(piece), offset);
             });
    std::vector<CopyRange> found;
    std::uint64_t shift = 0;
    cut_file(new_file_, new_file_.data, cutter, progress_,
             [&](std::uint64_t offset, std::span<const std::uint8_t> piece) {
               std::uint64_t old_offset = offset + shift;
               if (!stands_at(old_offset, piece)) {
                 old_offset = table.at(hash(piece));
                 if (old_offset == kNone || !stands_at(old_offset, piece)) return;
                 shift = old_offset - offset;
               }
               add(found, {offset, old_offset, piece.size()});
               if (found.size() >= kUnmerged) merge(found);
             });
    merge(found);
  }

  void merge(std::vector<CopyRange>& found) { map_.merge(std::exchange(found, {})); }

  // Several edits within one piece: what lies between them may have a shift that neither neighbour
  // has. Small pieces of the gap are looked for between the same neighbours in the old file.
  bool find_small_pieces() {
    const Cutter cutter(kSmallAverage);
    const std::vector<CopyRange> anchors = map_.ranges();
    std::size_t next = 0;  // the first anchor behind the gap
    std::vector<CopyRange> found;
    bool any = false;
    for (const ByteRange& gap : map_.missing(new_file_.data)) {
      if (gap.length < kSmallAverage || gap.length > kSmallGap) continue;
      while (next < anchors.size() && anchors[next].new_offset < gap.end()) ++next;
      const std::uint64_t begin = next > 0 ? anchors[next - 1].old_end() : 0;
      const std::uint64_t end = next < anchors.size() ? anchors[next].old_offset : old_file_.size;
      if (begin >= end || end - begin > kSmallGap) continue;
      PieceTable table(2 * (end - begin) / kSmallAverage);
      const auto hash = [](std::span<const std::uint8_t> piece) {
        return XXH3_64bits(piece.data(), piece.size());
      };
      const std::vector<ByteRange> old_gap{{begin, end - begin}};
      cut_file(old_file_, old_gap, cutter, progress_,
               [&](std::uint64_t offset, std::span<const std::uint8_t> piece) {
                 table.add(hash(piece), offset);
               });
      const std::vector<ByteRange> new_gap{gap};
      cut_file(new_file_, new_gap, cutter, progress_,
               [&](std::uint64_t offset, std::span<const std::uint8_t> piece) {
                 const std::uint64_t old_offset = table.at(hash(piece));
                 if (old_offset == kNone || piece.size() < kStep) return;
                 if (stands_at(old_offset, piece)) add(found, {offset, old_offset, piece.size()});
               });
      if (!progress_.ok()) return false;
      any = any || !found.empty();
      if (found.size() >= kUnmerged) merge(found);
    }
    merge(found);
    return any;
  }

  static void add(std::vector<CopyRange>& ranges, const CopyRange& range) {
    if (range.length == 0) return;
    if (!ranges.empty() && ranges.back().new_end() == range.new_offset &&
        ranges.back().old_end() == range.old_offset) {
      ranges.back().length += range.length;
    } else {
      ranges.push_back(range);
    }
  }

  bool stands_at(std::uint64_t offset, std::span<const std::uint8_t> piece) {
    if (offset >= old_file_.size || old_file_.size - offset < piece.size()) return false;
    while (!piece.empty()) {
      const auto there = old_.from(offset, piece.size());
      if (there.empty() || std::memcmp(there.data(), piece.data(), there.size()) != 0) return false;
      offset += there.size();
      piece = piece.subspan(there.size());
    }
    return true;
  }

  // Between what was found: the same shift as before it, as behind it, and none.
  void fill_gaps() {
    const std::vector<CopyRange> anchors = map_.ranges();
    std::size_t next = 0;  // the first anchor behind the gap
    std::vector<CopyRange> found;
    for (const ByteRange& gap : map_.missing(new_file_.data)) {
      while (next < anchors.size() && anchors[next].new_offset < gap.end()) ++next;
      std::vector<std::uint64_t> shifts;
      if (next > 0) shifts.push_back(anchors[next - 1].old_offset - anchors[next - 1].new_offset);
      if (next < anchors.size()) {
        shifts.push_back(anchors[next].old_offset - anchors[next].new_offset);
      }
      shifts.push_back(0);
      std::vector<ByteRange> left{gap};
      for (std::size_t i = 0; i < shifts.size() && !left.empty(); ++i) {
        if (std::find(shifts.begin(), shifts.begin() + static_cast<std::ptrdiff_t>(i), shifts[i]) !=
            shifts.begin() + static_cast<std::ptrdiff_t>(i)) {
          continue;
        }
        const bool from_left =
            next > 0 && anchors[next - 1].new_end() == gap.offset &&
            anchors[next - 1].old_offset - anchors[next - 1].new_offset == shifts[i];
        const bool from_right = next < anchors.size() && anchors[next].new_offset == gap.end() &&
                                anchors[next].old_offset - anchors[next].new_offset == shifts[i];
        std::vector<ByteRange> still;
        for (const ByteRange& part : left) {
          walk(part, shifts[i], from_left && part.offset == gap.offset,
               from_right && part.end() == gap.end(), found, still);
        }
        left = std::move(still);
      }
      if (!progress_.ok()) return;
    }
    merge(found);
  }

  // Compares a part of the new file with the old one at `shift` (old - new offset) in steps; what
  // touches a neighbour with this shift counts from the first byte on.
  void walk(const ByteRange& part, std::uint64_t shift, bool from_left, bool from_right,
            std::vector<CopyRange>& found, std::vector<ByteRange>& still) {
    std::uint64_t done = part.offset;
    std::uint64_t end = part.end();
    const auto take = [&](std::uint64_t offset, std::uint64_t length) {
      add(found, {offset, offset + shift, length});
      if (found.size() >= kUnmerged) merge(found);
    };
    const auto leave = [&](std::uint64_t begin, std::uint64_t stop) {
      if (begin < stop && still.size() < kUnmerged) still.push_back({begin, stop - begin});
    };
    if (from_left) {
      const std::uint64_t same = forward(done, shift, end - done);
      take(done, same);
      done += same;
    }
    if (from_right) {
      const std::uint64_t same = backward(end, shift, end - done);
      end -= same;
      take(end, same);
    }
    std::uint64_t at = done;
    while ((at = next_equal(at, shift, end)) < end) {
      const std::uint64_t back = backward(at, shift, at - done);
      const std::uint64_t same = forward(at, shift, end - at);
      leave(done, at - back);
      take(at - back, back + same);
      done = at + same;
      at = done;
    }
    leave(done, end);
  }

  // The first place from `at` on, in steps, where kStep bytes are the same; `end` when there is
  // none.
  std::uint64_t next_equal(std::uint64_t at, std::uint64_t shift, std::uint64_t end) {
    while (at < end && end - at >= kStep) {
      if (at + shift >= old_file_.size) {
        // Behind the end of the old file; or before its start, when the shift is negative.
        const std::uint64_t start = 0 - shift;
        if (shift >> 63 == 0 || at >= start) return end;
        at += (start - at + kStep - 1) / kStep * kStep;
        continue;
      }
      const auto here = new_.from(at, end - at);
      const auto there = old_.from(at + shift, here.size());
      if (there.empty()) return end;
      const std::size_t common = std::min(here.size(), there.size());
      std::size_t i = 0;
      for (; i + kStep <= common; i += kStep) {
        if (std::memcmp(here.data() + i, there.data() + i, kStep) == 0) return at + i;
      }
      if (i == 0) {
        // Both windows end here, or one file does.
        if (!equal_step(at, shift)) {
          at += kStep;
          continue;
        }
        return at;
      }
      at += i;
    }
    return end;
  }

  bool equal_step(std::uint64_t at, std::uint64_t shift) {
    return forward(at, shift, kStep) == kStep;
  }

  // How many bytes are the same from `at` on.
  std::uint64_t forward(std::uint64_t at, std::uint64_t shift, std::uint64_t most) {
    std::uint64_t same = 0;
    while (same < most) {
      const auto here = new_.from(at + same, most - same);
      const auto there = old_.from(at + same + shift, here.size());
      const std::size_t common = std::min(here.size(), there.size());
      if (common == 0) break;
      if (std::memcmp(here.data(), there.data(), common) == 0) {
        same += common;
        continue;
      }
      const auto differs = std::mismatch(
          here.begin(), here.begin() + static_cast<std::ptrdiff_t>(common), there.begin());
      return same + static_cast<std::uint64_t>(differs.first - here.begin());
    }
    return same;
  }

  // How many bytes are the same before `end`.
  std::uint64_t backward(std::uint64_t end, std::uint64_t shift, std::uint64_t most) {
    std::uint64_t same = 0;
    while (same < most) {
      const std::uint64_t new_end = end - same;
      const std::uint64_t old_end = new_end + shift;
      const auto here = new_.before(new_end, most - same);
      const auto there = old_.before(old_end, here.size());
      const std::size_t common = std::min(here.size(), there.size());
      for (std::size_t i = 1; i <= common; ++i) {
        if (here[here.size() - i] != there[there.size() - i]) return same + i - 1;
      }
      if (common == 0) break;
      same += common;
    }
    return same;
  }

  const RecipeInput& old_file_;
  const RecipeInput& new_file_;
  Progress progress_;
  Window old_;
  Window new_;
  CopyMap map_;
};

}  // namespace

Result<CopyMap> find_copies(const RecipeInput& old_file, const RecipeInput& new_file,
                            const std::function<bool()>& go_on) {
  return Finder(old_file, new_file, go_on).run();
}

}  // namespace p2p
