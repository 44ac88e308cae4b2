// A run of bytes of one chunk: what requests, cancels and arriving data speak about.
#pragma once

#include <cstdint>

#include "core/base/ids.h"

namespace p2p {

struct ChunkRange {
  ChunkIndex chunk;
  std::uint32_t offset = 0;  // from the chunk's start; a multiple of the block size
  std::uint32_t length = 0;

  std::uint32_t end() const { return offset + length; }
  friend bool operator==(const ChunkRange&, const ChunkRange&) = default;
};

}  // namespace p2p
