#include "librsyncwrap/block_index.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "core/base/check.h"
#include "librsyncwrap/block_index_state.h"
#include "librsyncwrap/pump.h"

namespace p2p::rsync {
namespace {

constexpr std::size_t kLoadStep = 64 * 1024;

std::uint32_t weak_of(Record record) {
  return static_cast<std::uint32_t>(record >> 32);
}

void put_record(std::vector<std::uint8_t>& out, Record record) {
  for (int shift = 56; shift >= 0; shift -= 8) {
    out.push_back(static_cast<std::uint8_t>(record >> shift));
  }
}

// Fills librsync's own form of a signature, which it then indexes.
Status load(const SignatureLayout& layout, const std::vector<Record>& records,
            std::unique_ptr<rs_signature_t, SumsetDeleter>& sums) {
  rs_signature_t* loaded = nullptr;
  const JobPtr job(rs_loadsig_begin(&loaded));
  sums.reset(loaded);
  Pump pump(job, kHeaderBytes, 1, [](std::span<const std::uint8_t>) {});
  if (Status fed = pump.feed(encode_signature_header(layout)); !fed) return fed;
  std::vector<std::uint8_t> bytes;
  bytes.reserve(kLoadStep);
  for (std::size_t i = 0; i < records.size(); ++i) {
    put_record(bytes, records[i]);
    if (bytes.size() < kLoadStep && i + 1 < records.size()) continue;
    if (Status fed = pump.feed(bytes); !fed) return fed;
    bytes.clear();
  }
  if (Status done = pump.finish(); !done) return done;
  if (rs_build_hash_table(sums.get()) != RS_DONE) {
    return Error{Errc::exhausted,
                 "no memory to index " + std::to_string(records.size()) + " blocks"};
  }
  return {};
}

}  // namespace

void BlockIndex::State::note(std::uint32_t first, std::uint32_t slot, std::uint64_t old_offset) {
  if (old_of[slot] == kNowhere) old_of[slot] = old_offset;
  if (!found.set(first)) return;
  found_bytes += length_of(slot);
  --to_find;
}

Result<BlockIndex> BlockIndex::build(const SignatureLayout& layout,
                                     std::vector<std::uint32_t> blocks,
                                     std::vector<Record> records) {
  const auto count = static_cast<std::uint32_t>(blocks.size());
  P2P_CHECK(blocks.size() == records.size() && blocks.size() <= layout.segment_blocks());
  P2P_CHECK(std::ranges::is_sorted(blocks) && (count == 0 || blocks.back() < layout.blocks()));
  auto state = std::make_unique<State>();
  state->layout = layout;
  state->blocks = std::move(blocks);
  state->records = std::move(records);
  state->old_of.assign(count, kNowhere);
  state->found = Bitfield(count);
  state->by_record.resize(count);
  std::iota(state->by_record.begin(), state->by_record.end(), 0u);
  std::ranges::sort(state->by_record, {},
                    [&](std::uint32_t slot) { return std::pair(state->records[slot], slot); });
  if (count == 0) return BlockIndex(std::move(state));

  // librsync's table begins to look at the low bits of the weak sum and goes on slot by slot. What
  // is left out becomes a repetition of slot 0, which librsync drops, so that all numbers stay.
  std::vector<std::uint32_t> first_of(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t slot = state->by_record[i];
    const bool repeated = i > 0 && state->records[state->by_record[i - 1]] == state->records[slot];
    first_of[slot] = repeated ? first_of[state->by_record[i - 1]] : slot;
  }
  const std::uint32_t mask = std::bit_ceil(count) - 1;
  std::vector<std::uint16_t> crowd(static_cast<std::size_t>(mask) + 1);
  std::vector<Record> loaded = state->records;
  for (std::uint32_t slot = 0; slot < count; ++slot) {
    if (first_of[slot] != slot) {
      loaded[slot] = loaded[first_of[slot]];
      continue;
    }
    ++state->to_find;
    if (std::uint16_t& there = crowd[weak_of(loaded[slot]) & mask]; there < kCrowd) {
      ++there;
    } else {
      loaded[slot] = loaded[0];
    }
  }
  first_of = {};
  crowd = {};
  if (Status done = load(layout, loaded, state->sums); !done) return done.error();
  return BlockIndex(std::move(state));
}

BlockIndex::BlockIndex(std::unique_ptr<State> state) : state_(std::move(state)) {}
BlockIndex::~BlockIndex() = default;
BlockIndex::BlockIndex(BlockIndex&&) noexcept = default;
BlockIndex& BlockIndex::operator=(BlockIndex&&) noexcept = default;

std::uint32_t BlockIndex::blocks() const {
  return static_cast<std::uint32_t>(state_->blocks.size());
}

bool BlockIndex::all_found() const {
  return state_->to_find == 0;
}

std::uint64_t BlockIndex::found_bytes() const {
  return state_->found_bytes;
}

bool BlockIndex::offer(Record record, std::uint64_t old_offset, std::uint32_t length) {
  const auto at = std::ranges::lower_bound(
      state_->by_record, record, {}, [&](std::uint32_t slot) { return state_->records[slot]; });
  if (at == state_->by_record.end() || state_->records[*at] != record) return false;
  if (state_->length_of(*at) != length || state_->found.test(*at)) return false;
  state_->note(*at, *at, old_offset);
  return true;
}

std::vector<CopyRange> BlockIndex::found() const {
  const State& state = *state_;
  std::vector<std::uint64_t> old_of = state.old_of;
  for (std::size_t begin = 0; begin < state.by_record.size();) {
    const Record record = state.records[state.by_record[begin]];
    std::size_t end = begin;
    std::size_t source = state.by_record.size();
    for (; end < state.by_record.size() && state.records[state.by_record[end]] == record; ++end) {
      if (source == state.by_record.size() && old_of[state.by_record[end]] != kNowhere)
        source = end;
    }
    for (std::size_t i = begin; i < end && source < state.by_record.size(); ++i) {
      const std::uint32_t slot = state.by_record[i];
      const std::uint32_t known = state.by_record[source];
      if (old_of[slot] == kNowhere && state.length_of(slot) == state.length_of(known)) {
        old_of[slot] = old_of[known];
      }
    }
    begin = end;
  }
  std::vector<CopyRange> ranges;
  for (std::uint32_t slot = 0; slot < state.blocks.size(); ++slot) {
    if (old_of[slot] == kNowhere) continue;
    const CopyRange range{state.layout.offset_of(state.blocks[slot]), old_of[slot],
                          state.length_of(slot)};
    if (!ranges.empty() && ranges.back().new_end() == range.new_offset &&
        ranges.back().old_end() == range.old_offset) {
      ranges.back().length += range.length;
    } else {
      ranges.push_back(range);
    }
  }
  return ranges;
}

}  // namespace p2p::rsync
