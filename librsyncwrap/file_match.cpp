#include "librsyncwrap/file_match.h"

#include <algorithm>
#include <utility>

#include "core/base/bitfield.h"
#include "core/base/buffer.h"
#include "core/base/check.h"
#include "librsyncwrap/block_index.h"
#include "librsyncwrap/in_place.h"
#include "librsyncwrap/matcher.h"

namespace p2p::rsync {
namespace {

constexpr std::size_t kReadBytes = 1024 * 1024;
// delta.md §3.4: 34 windows of 64 MiB found what one window found.
constexpr std::uint64_t kWindowBytes = 64ull << 20;
constexpr std::uint64_t kNearPercent = 10;
constexpr std::uint64_t kNearBytes = 64ull << 20;

// Blocks that have a byte in `ranges`.
Bitfield blocks_with(const SignatureLayout& layout, std::span<const ByteRange> ranges) {
  Bitfield blocks(layout.blocks());
  for (const ByteRange& range : ranges) {
    P2P_CHECK(range.end() <= layout.file_bytes());
    if (range.length == 0) continue;
    const auto last = static_cast<std::uint32_t>((range.end() - 1) / layout.block_bytes());
    for (auto i = static_cast<std::uint32_t>(range.offset / layout.block_bytes()); i <= last; ++i) {
      blocks.set(i);
    }
  }
  return blocks;
}

// What both have; `a` and `b` rise, without overlap.
std::vector<ByteRange> common(std::span<const ByteRange> a, std::span<const ByteRange> b) {
  std::vector<ByteRange> both;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const std::uint64_t begin = std::max(a[i].offset, b[j].offset);
    const std::uint64_t end = std::min(a[i].end(), b[j].end());
    if (begin < end) both.push_back({begin, end - begin});
    a[i].end() < b[j].end() ? ++i : ++j;
  }
  return both;
}

// One run of a tier over the input, with what all steps share.
class Reader {
 public:
  Reader(const SignatureLayout& layout, const MatchInput& input) : layout_(layout), input_(input) {}

  MatchProgress progress;

  Result<std::vector<Record>> records(std::uint32_t first_block, std::uint32_t count) {
    const ByteRange at = SignatureLayout::records_at(first_block, count);
    Buffer bytes(static_cast<std::size_t>(at.length));
    if (Status read = input_.read_signature(at.offset, bytes.span()); !read) return read.error();
    return decode_records(std::as_const(bytes).span());
  }

  MatchPace pace() { return input_.pace ? input_.pace(progress) : MatchPace::go_on; }

  // Hands the bytes of a stretch of the old file to `take`, at most `step` at a time, which returns
  // how many it took. Returns the pace that ended it; the end of the file counts as go_on.
  template <class Take>
  Result<MatchPace> walk(const ByteRange& stretch, std::size_t step, Take take) {
    MatchPace now = pace();
    std::uint64_t at = stretch.offset;
    while (now == MatchPace::go_on && at < stretch.end()) {
      const auto asked =
          static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), stretch.end() - at));
      const Result<std::size_t> got = input_.read_old(at, buffer_.span().first(asked));
      if (!got) return got.error();
      P2P_CHECK(*got <= asked);
      std::span<const std::uint8_t> bytes = std::as_const(buffer_).span().first(*got);
      while (now == MatchPace::go_on && !bytes.empty()) {
        const Result<std::size_t> taken = take(bytes.first(std::min(bytes.size(), step)));
        if (!taken) return taken.error();
        bytes = bytes.subspan(*taken);
        progress.old_bytes_read += *taken;
        now = pace();
      }
      if (*got < asked) break;
      at += *got;
    }
    ++progress.window;
    return now;
  }

 private:
  const SignatureLayout& layout_;
  const MatchInput& input_;
  Buffer buffer_{kReadBytes};
};

// The first tier over one run of blocks whose records are at hand: sets bits of `equal`, whose bit
// 0 is `first_block`. Returns the pace.
Result<MatchPace> compare_run(const SignatureLayout& layout, Reader& reader,
                              std::uint32_t first_block, std::span<const Record> records,
                              std::uint64_t old_bytes, Bitfield& equal) {
  const auto count = static_cast<std::uint32_t>(records.size());
  const std::uint64_t begin = layout.offset_of(first_block);
  const std::uint32_t last = first_block + count - 1;
  const std::uint64_t end = std::min(layout.offset_of(last) + layout.length_of(last), old_bytes);
  InPlaceMatcher matcher(layout, first_block, records);
  std::uint32_t known = 0;
  const auto count_new = [&] {
    const std::uint32_t now = matcher.equal().count();
    reader.progress.matched_bytes += static_cast<std::uint64_t>(now - known) * layout.block_bytes();
    known = now;
  };
  MatchPace pace = MatchPace::go_on;
  if (begin < end) {
    const Result<MatchPace> walked =
        reader.walk({begin, end - begin}, kReadBytes,
                    [&](std::span<const std::uint8_t> bytes) -> Result<std::size_t> {
                      if (Status fed = matcher.feed(bytes); !fed) return fed.error();
                      count_new();
                      return bytes.size();
                    });
    if (!walked) return walked.error();
    pace = *walked;
  }
  if (Status done = matcher.finish(); !done) return done.error();
  count_new();
  equal = matcher.equal();
  return pace;
}

// Both tiers over one file.
class FileMatch {
 public:
  FileMatch(const SignatureLayout& layout, std::span<const ByteRange> wanted,
            const MatchInput& input, const MatchOptions& options)
      : layout_(layout),
        input_(input),
        options_(options),
        reader_(layout, input),
        wanted_(blocks_with(layout, wanted)),
        equal_(layout.blocks()) {}

  Result<MatchResult> run() {
    if (options_.in_place) {
      if (Status done = in_place(); !done) return done.error();
    }
    if (options_.rolling && !result_.stopped) {
      reader_.progress = {MatchTier::rolling};
      if (Status done = rolling(); !done) return done.error();
    }
    return std::move(result_);
  }

 private:
  Status in_place() {
    std::vector<CopyRange> found;
    for (std::uint32_t segment = 0; segment < layout_.segments() && !result_.stopped; ++segment) {
      const std::uint32_t first = layout_.first_block_of(segment);
      const std::uint32_t end = first + layout_.blocks_of(segment);
      for (std::uint32_t begin = wanted_.find(first, true); begin < end && !result_.stopped;) {
        const std::uint32_t step = static_cast<std::uint32_t>(kWindowBytes / layout_.block_bytes());
        const std::uint32_t stop = std::min({end, wanted_.find(begin, false), begin + step});
        Result<std::vector<Record>> records = reader_.records(begin, stop - begin);
        if (!records) return records.error();
        Bitfield equal;
        const Result<MatchPace> pace =
            compare_run(layout_, reader_, begin, *records, input_.old_bytes, equal);
        if (!pace) return pace.error();
        result_.stopped = *pace == MatchPace::stop;
        const std::size_t known = found.size();
        for (const ChunkRun& run : runs_of(equal)) {
          const std::uint32_t block = begin + run.first;
          const std::uint32_t last = block + run.count - 1;
          const std::uint64_t offset = layout_.offset_of(block);
          found.push_back(
              {offset, offset, layout_.offset_of(last) + layout_.length_of(last) - offset});
          for (std::uint32_t i = block; i <= last; ++i) equal_.set(i);
        }
        if (input_.on_found) {
          const std::uint64_t passed = layout_.offset_of(begin);
          input_.on_found(
              MatchTier::in_place,
              {passed, layout_.offset_of(stop - 1) + layout_.length_of(stop - 1) - passed},
              {found.begin() + static_cast<std::ptrdiff_t>(known), found.end()});
        }
        begin = wanted_.find(stop, true);
      }
    }
    result_.old_bytes_summed = reader_.progress.old_bytes_read;
    result_.map.merge(std::move(found));
    result_.in_place_bytes = result_.map.copied_bytes();
    return {};
  }

  // The data of the old file, longer by `margin` on both sides.
  std::vector<ByteRange> widened_data(std::uint64_t margin) const {
    std::vector<ByteRange> wide;
    for (const ByteRange& range : input_.old_data) {
      const std::uint64_t begin = range.offset - std::min(range.offset, margin);
      const std::uint64_t end = std::min(input_.old_bytes, range.end() + margin);
      if (!wide.empty() && begin <= wide.back().end()) {
        wide.back().length = std::max(wide.back().end(), end) - wide.back().offset;
      } else if (begin < end) {
        wide.push_back({begin, end - begin});
      }
    }
    return wide;
  }

  // Blocks still missing, as many as one index takes at a time.
  Status rolling() {
    // A margin, because a block may begin or end in a hole, or in what is used.
    const std::uint64_t margin = layout_.block_bytes() - 1;
    unused_ = common(result_.map.unused_old(input_.old_bytes, margin), widened_data(margin));
    std::uint32_t next = 0;
    while (next < layout_.blocks() && !result_.stopped) {
      std::vector<std::uint32_t> blocks;
      std::vector<Record> records;
      while (next < layout_.blocks() && blocks.size() < layout_.segment_blocks()) {
        if (Status taken = take_missing(next, blocks, records); !taken) return taken;
      }
      if (blocks.empty()) break;
      if (Status done = roll(std::move(blocks), std::move(records)); !done) return done;
    }
    result_.old_bytes_rolled = reader_.progress.old_bytes_read;
    result_.rolled_bytes = result_.map.copied_bytes() - result_.in_place_bytes;
    return {};
  }

  // Adds the missing blocks of one segment from `next` on, as far as there is room.
  Status take_missing(std::uint32_t& next, std::vector<std::uint32_t>& blocks,
                      std::vector<Record>& all) {
    const std::uint32_t first = next;
    const std::uint32_t end = std::min(
        layout_.blocks(), first - first % layout_.segment_blocks() + layout_.segment_blocks());
    Result<std::vector<Record>> records = std::vector<Record>{};
    for (; next < end && blocks.size() < layout_.segment_blocks(); ++next) {
      if (!wanted_.test(next) || equal_.test(next)) continue;
      if (records->empty()) {
        records = reader_.records(first, end - first);
        if (!records) return records.error();
      }
      blocks.push_back(next);
      all.push_back((*records)[next - first]);
    }
    return {};
  }

  Status roll(std::vector<std::uint32_t> blocks, std::vector<Record> records) {
    const std::uint32_t first = blocks.front();
    const std::uint32_t last = blocks.back();
    Result<BlockIndex> index = BlockIndex::build(layout_, std::move(blocks), std::move(records));
    if (!index) return index.error();
    if (Status offered = offer_equal(first, last, *index); !offered) return offered;
    for (const ByteRange& window : windows(first, last)) {
      if (result_.stopped || index->all_found()) break;
      Matcher matcher(*index, window.offset);
      const std::uint64_t before = reader_.progress.matched_bytes;
      const Result<MatchPace> pace =
          reader_.walk(window, Matcher::kStepBytes, [&](std::span<const std::uint8_t> bytes) {
            Result<std::size_t> taken = matcher.feed(bytes);
            reader_.progress.matched_bytes = before + matcher.matched_bytes();
            return taken;
          });
      if (!pace) return pace.error();
      if (Status done = matcher.finish(); !done) return done;
      reader_.progress.matched_bytes = before + matcher.matched_bytes();
      result_.stopped = *pace == MatchPace::stop;
      if (input_.on_found && reader_.progress.old_bytes_read >= told_at_ + kWindowBytes) {
        told_at_ = reader_.progress.old_bytes_read;
        input_.on_found(MatchTier::rolling, window, index->found());
      }
    }
    result_.map.merge(index->found());
    return {};
  }

  // Blocks that are missing here and stand elsewhere in the new file, where they were found in
  // place: in the segments of the blocks looked for and in their neighbours.
  Status offer_equal(std::uint32_t first, std::uint32_t last, BlockIndex& index) {
    const std::uint32_t near = layout_.segment_blocks();
    const std::uint32_t end =
        last - last % near + std::min(2 * near, layout_.blocks() - (last - last % near));
    const std::uint32_t start = first - first % near;
    for (std::uint32_t begin = start - std::min(start, near); begin < end; begin += near) {
      const std::uint32_t count = std::min(near, end - begin);
      std::uint32_t i = equal_.find(begin, true);
      if (i >= begin + count) continue;
      Result<std::vector<Record>> records = reader_.records(begin, count);
      if (!records) return records.error();
      for (; i < begin + count; i = equal_.find(i + 1, true)) {
        index.offer((*records)[i - begin], layout_.offset_of(i), layout_.length_of(i));
      }
    }
    return {};
  }

  // Where in the old file the blocks from `first` to `last` are looked for.
  std::vector<ByteRange> windows(std::uint32_t first, std::uint32_t last) const {
    std::uint64_t from = 0;
    std::uint64_t to = input_.old_bytes;
    if (layout_.file_bytes() > kSegmentBytes) {
      const auto scaled = [&](std::uint64_t offset) {
        return static_cast<std::uint64_t>(static_cast<__uint128_t>(offset) * input_.old_bytes /
                                          layout_.file_bytes());
      };
      const std::uint64_t near = input_.old_bytes / 100 * kNearPercent + kNearBytes;
      const std::uint64_t begin = scaled(layout_.offset_of(first));
      from = begin - std::min(begin, near);
      to = std::min(input_.old_bytes,
                    scaled(layout_.offset_of(last) + layout_.length_of(last)) + near);
    }
    const std::uint64_t overlap = layout_.block_bytes() - 1;
    std::vector<ByteRange> windows;
    for (const ByteRange& stretch : unused_) {
      std::uint64_t at = std::max(stretch.offset, from);
      const std::uint64_t end = std::min(stretch.end(), to);
      while (at + overlap < end) {
        const std::uint64_t length = std::min(end - at, kWindowBytes + overlap);
        windows.push_back({at, length});
        at += length - (at + length < end ? overlap : 0);
      }
    }
    return windows;
  }

  const SignatureLayout& layout_;
  const MatchInput& input_;
  MatchOptions options_;
  Reader reader_;
  Bitfield wanted_;
  Bitfield equal_;
  std::vector<ByteRange> unused_;
  std::uint64_t told_at_ = 0;  // bytes that rolling had read
  MatchResult result_;
};

// At most `count` stretches of `bytes` that begin at a block, evenly spread over the data.
std::vector<ByteRange> spread_over(std::span<const ByteRange> data, std::uint32_t count,
                                   std::uint64_t bytes, std::uint32_t block_bytes) {
  std::uint64_t data_bytes = 0;
  for (const ByteRange& range : data) data_bytes += range.length;
  if (data_bytes <= count * bytes) return {data.begin(), data.end()};
  std::vector<ByteRange> places;
  const std::uint64_t spread = count == 1 ? data_bytes : (data_bytes - bytes) / (count - 1);
  std::uint64_t before = 0;  // data before the range
  std::uint32_t sample = 0;
  for (const ByteRange& range : data) {
    for (; sample < count && sample * spread < before + range.length; ++sample) {
      std::uint64_t begin = range.offset + (sample * spread - before);
      // Not cut short by the end of the range when the range is long enough.
      begin = std::max(range.offset,
                       std::min(begin, range.end() - std::min<std::uint64_t>(range.end(), bytes)));
      begin -= begin % block_bytes;
      // What the last sample has is not looked at twice.
      if (!places.empty()) begin = std::max(begin, places.back().end());
      const std::uint64_t end = std::min(begin + bytes, range.end());
      if (begin < end) places.push_back({begin, end - begin});
    }
    before += range.length;
  }
  return places;
}

// Compares what stands at the places with the blocks there, then rolls over them for all blocks of
// the windows.
Result<SampleResult> look_at(const SignatureLayout& layout, std::span<const ByteRange> places,
                             std::span<const SampleWindow> windows, const MatchInput& input) {
  SampleResult result;
  Reader reader(layout, input);
  std::vector<std::uint32_t> blocks;
  std::vector<Record> records;
  for (const SampleWindow& window : windows) {
    Result<std::vector<Record>> some = reader.records(window.first_block, window.blocks);
    if (!some) return some.error();
    records.insert(records.end(), some->begin(), some->end());
    for (std::uint32_t i = 0; i < window.blocks; ++i) blocks.push_back(window.first_block + i);
  }
  for (const ByteRange& place : places) result.old_bytes += place.length;

  for (const ByteRange& place : places) {
    const auto first = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(place.offset / layout.block_bytes(), layout.blocks()));
    const std::uint64_t whole = (place.length + layout.block_bytes() - 1) / layout.block_bytes();
    const auto count =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(whole, layout.blocks() - first));
    if (count == 0) continue;
    Result<std::vector<Record>> there = reader.records(first, count);
    if (!there) return there.error();
    Bitfield equal;
    const Result<MatchPace> pace = compare_run(layout, reader, first, *there, place.end(), equal);
    if (!pace) return pace.error();
    if (*pace == MatchPace::stop) {
      result.stopped = true;
      return result;
    }
  }
  result.in_place_bytes = std::min(reader.progress.matched_bytes, result.old_bytes);

  Result<BlockIndex> index = BlockIndex::build(layout, std::move(blocks), std::move(records));
  if (!index) return index.error();
  reader.progress = {MatchTier::rolling};
  for (const ByteRange& place : places) {
    Matcher matcher(*index, place.offset);
    const std::uint64_t before = reader.progress.matched_bytes;
    const Result<MatchPace> pace =
        reader.walk(place, Matcher::kStepBytes, [&](std::span<const std::uint8_t> bytes) {
          Result<std::size_t> taken = matcher.feed(bytes);
          reader.progress.matched_bytes = before + matcher.matched_bytes();
          return taken;
        });
    if (!pace) return pace.error();
    if (Status done = matcher.finish(); !done) return done.error();
    reader.progress.matched_bytes = before + matcher.matched_bytes();
    if (*pace == MatchPace::stop) {
      result.stopped = true;
      break;
    }
  }
  result.rolled_bytes = reader.progress.matched_bytes;
  return result;
}

}  // namespace

Result<MatchResult> match_file(const SignatureLayout& layout, std::span<const ByteRange> wanted,
                               const MatchInput& input, const MatchOptions& options) {
  return FileMatch(layout, wanted, input, options).run();
}

Result<SampleResult> sample_file(const SignatureLayout& layout, const MatchInput& input) {
  const std::vector<ByteRange> places =
      spread_over(input.old_data, kSamples, kSampleBytes, layout.block_bytes());
  if (layout.blocks() == 0 || places.empty()) return SampleResult{};
  // Blocks around each place.
  std::vector<SampleWindow> windows;
  const std::uint32_t share =
      std::min(kSampleBlocks, layout.segment_blocks()) / static_cast<std::uint32_t>(places.size());
  std::uint64_t least = 0;
  for (const ByteRange& place : places) {
    const std::uint64_t middle = (place.offset + place.length / 2) / layout.block_bytes();
    const std::uint64_t first =
        std::max(least, middle - std::min<std::uint64_t>(middle, share / 2));
    const std::uint64_t end = std::min<std::uint64_t>(layout.blocks(), middle + share / 2);
    if (first >= end) continue;
    windows.push_back({static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(end - first)});
    least = end;
  }
  return look_at(layout, places, windows, input);
}

Result<SampleResult> sample_file(const SignatureLayout& layout,
                                 std::span<const SampleWindow> windows, const MatchInput& input) {
  if (windows.empty()) return SampleResult{};
  std::vector<ByteRange> places;
  const auto each =
      std::max<std::uint32_t>(1, kSamples / static_cast<std::uint32_t>(windows.size()));
  for (const SampleWindow& window : windows) {
    const std::uint32_t last = window.first_block + window.blocks - 1;
    const std::uint64_t begin = layout.offset_of(window.first_block);
    const ByteRange own{begin, layout.offset_of(last) + layout.length_of(last) - begin};
    const std::vector<ByteRange> there = common(input.old_data, std::span(&own, 1));
    const auto some = spread_over(there, each, kSampleBytes / 2, layout.block_bytes());
    places.insert(places.end(), some.begin(), some.end());
  }
  return look_at(layout, places, windows, input);
}

}  // namespace p2p::rsync
