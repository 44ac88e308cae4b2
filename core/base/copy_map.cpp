#include "core/base/copy_map.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace p2p {
namespace {

constexpr std::uint64_t kNoEnd = std::numeric_limits<std::uint64_t>::max();

bool sound(const CopyRange& range) {
  return range.length > 0 && range.new_offset <= kNoEnd - range.length &&
         range.old_offset <= kNoEnd - range.length;
}

void append(std::vector<CopyRange>& ranges, const CopyRange& range) {
  if (!ranges.empty() && ranges.back().new_end() == range.new_offset &&
      ranges.back().old_end() == range.old_offset) {
    ranges.back().length += range.length;
  } else {
    ranges.push_back(range);
  }
}

// The part of `range` inside [from, to) of the new file; empty when there is none.
CopyRange cut(const CopyRange& range, std::uint64_t from, std::uint64_t to) {
  const std::uint64_t begin = std::max(range.new_offset, from);
  const std::uint64_t end = std::min(range.new_end(), to);
  if (begin >= end) return {};
  return {begin, range.old_offset + (begin - range.new_offset), end - begin};
}

}  // namespace

void CopyMap::merge(std::vector<CopyRange> found) {
  std::erase_if(found, [](const CopyRange& range) { return !sound(range); });
  std::ranges::sort(found, {}, [](const CopyRange& range) {
    return std::pair(range.new_offset, kNoEnd - range.length);
  });
  std::vector<CopyRange> all;
  all.reserve(ranges_.size() + found.size());
  std::size_t at = 0;
  std::uint64_t done = 0;  // everything below is decided
  for (const CopyRange& range : found) {
    std::uint64_t from = std::max(range.new_offset, done);
    while (from < range.new_end()) {
      while (at < ranges_.size() && ranges_[at].new_end() <= from) append(all, ranges_[at++]);
      const std::uint64_t next = at < ranges_.size() ? ranges_[at].new_offset : kNoEnd;
      if (next <= from) {
        from = ranges_[at].new_end();
        continue;
      }
      const CopyRange piece = cut(range, from, next);
      append(all, piece);
      from = piece.new_end();
    }
    done = std::max(done, range.new_end());
  }
  while (at < ranges_.size()) append(all, ranges_[at++]);
  ranges_ = std::move(all);
  shrink();
  copied_bytes_ = 0;
  for (const CopyRange& range : ranges_) copied_bytes_ += range.length;
}

void CopyMap::shrink() {
  if (ranges_.size() <= ranges_max_) return;
  std::vector<std::uint64_t> lengths;
  lengths.reserve(ranges_.size());
  for (const CopyRange& range : ranges_) lengths.push_back(range.length);
  std::size_t excess = ranges_.size() - ranges_max_;
  std::ranges::nth_element(lengths, lengths.begin() + static_cast<std::ptrdiff_t>(excess));
  const std::uint64_t kept_from = lengths[excess];
  const auto shorter = static_cast<std::size_t>(std::ranges::count_if(
      ranges_, [&](const CopyRange& range) { return range.length < kept_from; }));
  std::size_t of_equal = excess - shorter;
  std::erase_if(ranges_, [&](const CopyRange& range) {
    if (range.length > kept_from || (range.length == kept_from && of_equal == 0)) return false;
    if (range.length == kept_from) --of_equal;
    forgotten_bytes_ += range.length;
    return true;
  });
}

std::vector<ByteRange> CopyMap::missing(std::span<const ByteRange> wanted) const {
  std::vector<ByteRange> gaps;
  std::size_t at = 0;
  for (const ByteRange& range : wanted) {
    std::uint64_t from = range.offset;
    while (from < range.end()) {
      while (at < ranges_.size() && ranges_[at].new_end() <= from) ++at;
      const std::uint64_t next = at < ranges_.size() ? ranges_[at].new_offset : kNoEnd;
      if (next > from) gaps.push_back({from, std::min(next, range.end()) - from});
      if (next >= range.end()) break;
      from = std::max(from, ranges_[at].new_end());
    }
  }
  return gaps;
}

std::vector<ByteRange> CopyMap::unused_old(std::uint64_t old_bytes, std::uint64_t margin) const {
  std::vector<ByteRange> used;
  used.reserve(ranges_.size());
  for (const CopyRange& range : ranges_) used.push_back({range.old_offset, range.length});
  std::ranges::sort(used, {}, &ByteRange::offset);
  std::vector<ByteRange> unused;
  const auto add = [&](std::uint64_t begin, std::uint64_t end) {
    if (begin >= end) return;
    begin -= std::min(begin, margin);
    end = old_bytes - end <= margin ? old_bytes : end + margin;
    if (!unused.empty() && begin <= unused.back().end()) {
      unused.back().length = std::max(unused.back().end(), end) - unused.back().offset;
    } else {
      unused.push_back({begin, end - begin});
    }
  };
  std::uint64_t from = 0;
  for (const ByteRange& range : used) {
    add(from, std::min(range.offset, old_bytes));
    from = std::max(from, range.end());
  }
  add(from, old_bytes);
  return unused;
}

}  // namespace p2p
