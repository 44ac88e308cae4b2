// A stretch of bytes of one chunk: what requests, cancels and arriving data speak about.
//
// A receiver that has most of a chunk in an old file asks for the rest only. It numbers the bytes
// it misses from 0, its *run* of the chunk, and requests, cancels and answers are about offsets in
// that (docs/decisions/0009). The two never meet: a range of the one kind covers none of the other.
#pragma once

#include <cstdint>

#include "core/base/ids.h"

namespace p2p {

struct ChunkRange {
  ChunkIndex chunk;
  std::uint32_t offset = 0;  // from the chunk's start; a multiple of the block size
  std::uint32_t length = 0;
  bool of_run = false;  // `offset` counts in the asker's run, and may be any

  std::uint32_t end() const { return offset + length; }
  friend bool operator==(const ChunkRange&, const ChunkRange&) = default;
};

}  // namespace p2p
