// What BlockIndex is made of; for this folder only.
#pragma once

#include <librsync.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "core/base/bitfield.h"
#include "librsyncwrap/block_index.h"

namespace p2p::rsync {

struct SumsetDeleter {
  void operator()(rs_signature_t* sums) const { rs_free_sumset(sums); }
};

inline constexpr std::uint64_t kNowhere = std::numeric_limits<std::uint64_t>::max();

// A slot is a position in the list of indexed blocks.
struct BlockIndex::State {
  SignatureLayout layout;
  std::vector<std::uint32_t> blocks;     // by slot
  std::vector<Record> records;           // by slot
  std::vector<std::uint64_t> old_of;     // by slot: where it was found, or kNowhere
  std::vector<std::uint32_t> by_record;  // slots, rising by (record, slot)
  Bitfield found;                        // by slot, of the first one with its record
  std::uint32_t to_find = 0;             // different records not found yet
  std::uint64_t found_bytes = 0;
  std::unique_ptr<rs_signature_t, SumsetDeleter> sums;  // null: nothing to look for

  std::uint32_t length_of(std::uint32_t slot) const { return layout.length_of(blocks[slot]); }
  // The old file has the block of `slot` at `old_offset`; `first` is the first slot with its
  // record.
  void note(std::uint32_t first, std::uint32_t slot, std::uint64_t old_offset);
};

}  // namespace p2p::rsync
