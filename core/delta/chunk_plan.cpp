#include "core/delta/chunk_plan.h"

#include <algorithm>

namespace p2p {
namespace {

std::uint64_t sum_of(std::span<const ByteRange> ranges) {
  std::uint64_t sum = 0;
  for (const ByteRange& range : ranges) sum += range.length;
  return sum;
}

// The parts of `copies` inside [from, to), with offsets in the new file that count from `from`.
void add_copies(std::span<const CopyRange> copies, std::uint64_t start, const ByteRange& data,
                std::vector<CopyRange>& out) {
  const std::uint64_t from = start + data.offset;
  const std::uint64_t to = start + data.end();
  auto at = std::upper_bound(
      copies.begin(), copies.end(), from,
      [](std::uint64_t offset, const CopyRange& copy) { return offset < copy.new_end(); });
  for (; at != copies.end() && at->new_offset < to; ++at) {
    const std::uint64_t first = std::max(from, at->new_offset);
    const std::uint64_t last = std::min(to, at->new_end());
    if (first >= last) continue;
    out.push_back({first - start, at->old_offset + (first - at->new_offset), last - first});
  }
}

}  // namespace

ChunkPlan plan_chunk(const ChunkSpace& space, ChunkIndex chunk, std::span<const CopyRange> copies,
                     const ChunkPlanSettings& settings) {
  ChunkPlan plan;
  const std::uint64_t start = space.offset_of(chunk);
  const std::vector<ByteRange> data = space.ranges_of(chunk, kMaxChunkBytes);
  std::vector<CopyRange> found;
  for (const ByteRange& range : data) add_copies(copies, start, range, found);
  std::uint64_t covered = 0;
  for (const CopyRange& copy : found) covered += copy.length;
  const std::uint64_t bytes = space.data_bytes_of(chunk);
  if (covered == 0 || (covered < bytes && covered < bytes / settings.worth)) return plan;

  // A copy of a few bytes between two missing ranges is not worth two requests.
  auto copy = found.begin();
  for (const ByteRange& range : data) {
    std::uint64_t at = range.offset;
    const auto miss = [&](std::uint64_t to) {
      if (at >= to) return;
      const std::uint64_t end = plan.missing.empty() ? 0 : plan.missing.back().end();
      if (!plan.missing.empty() && end == at) {
        plan.missing.back().length += to - at;
      } else {
        plan.missing.push_back({at, to - at});
      }
    };
    for (; copy != found.end() && copy->new_offset < range.end(); ++copy) {
      miss(copy->new_offset);
      at = copy->new_offset;
      const bool behind_a_gap = !plan.missing.empty() && plan.missing.back().end() == at;
      const auto next = copy + 1;
      const bool before_a_gap =
          next == found.end() ? copy->new_end() < range.end()
                              : copy->new_end() < next->new_offset && copy->new_end() < range.end();
      if (copy->length <= settings.merge_gap && behind_a_gap && before_a_gap) {
        miss(copy->new_end());
      } else {
        plan.copies.push_back(*copy);
      }
      at = copy->new_end();
    }
    miss(range.end());
  }
  plan.missing_bytes = static_cast<std::uint32_t>(sum_of(plan.missing));
  plan.copied_bytes = static_cast<std::uint32_t>(bytes - plan.missing_bytes);
  return plan;
}

std::vector<ByteRange> part_of_run(std::span<const ByteRange> pieces, std::uint32_t offset,
                                   std::uint32_t length) {
  std::vector<ByteRange> part;
  std::uint64_t skip = offset;
  std::uint64_t left = length;
  for (const ByteRange& piece : pieces) {
    if (skip >= piece.length) {
      skip -= piece.length;
      continue;
    }
    if (left == 0) break;
    const std::uint64_t take = std::min(piece.length - skip, left);
    part.push_back({piece.offset + skip, take});
    left -= take;
    skip = 0;
  }
  return part;
}

std::vector<std::uint32_t> requests_for_run(std::span<const ByteRange> pieces, std::uint32_t bytes,
                                            std::size_t pieces_most) {
  std::vector<std::uint32_t> lengths;
  std::uint64_t length = 0;
  std::size_t count = 0;
  const auto close = [&] {
    if (length > 0) lengths.push_back(static_cast<std::uint32_t>(length));
    length = 0;
    count = 0;
  };
  for (const ByteRange& piece : pieces) {
    std::uint64_t left = piece.length;
    while (left > 0) {
      if (length == bytes || count == pieces_most) close();
      const std::uint64_t take = std::min<std::uint64_t>(left, bytes - length);
      length += take;
      left -= take;
      ++count;
    }
  }
  close();
  return lengths;
}

}  // namespace p2p
