// How one chunk of a new file comes together: what is copied from an old file, and what is fetched.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/byte_range.h"
#include "core/base/copy_map.h"
#include "core/model/manifest.h"

namespace p2p {

// Every offset in the new file counts from the chunk's start. Together, without overlap, the copies
// and what is missing are the chunk's data.
struct ChunkPlan {
  std::vector<CopyRange> copies;   // rising in new_offset
  std::vector<ByteRange> missing;  // rising; nothing: the chunk needs no neighbour
  std::uint32_t missing_bytes = 0;
  std::uint32_t copied_bytes = 0;
};

struct ChunkPlanSettings {
  // What lies between two missing ranges is fetched too when it is no longer than this: a range
  // costs 3 to 6 bytes of request, a call to read it and one to write it. With 64, 251 MB of two
  // releases of LibreOffice cost 48.4 MB instead of 44.4.
  std::uint32_t merge_gap = 16;
  // A chunk of which less than this part (1/n) would be copied is fetched whole: its blocks are
  // hashed as they arrive, and nothing has to be read back.
  std::uint32_t worth = 32;
};

// What `copies` (those of a CopyMap) say about the chunk. Copies that reach into holes are cut:
// holes stay holes. An empty plan (nothing copied) for a chunk that is not worth it.
ChunkPlan plan_chunk(const ChunkSpace& space, ChunkIndex chunk, std::span<const CopyRange> copies,
                     const ChunkPlanSettings& settings = {});

// The pieces of a run that `length` bytes from `offset` on are: a request's share of it, or what an
// answer's bytes are. `pieces` are the run, in order.
std::vector<ByteRange> part_of_run(std::span<const ByteRange> pieces, std::uint32_t offset,
                                   std::uint32_t length);

// Cuts a run into requests: lengths of at most `bytes` each, of at most `pieces_most` pieces.
std::vector<std::uint32_t> requests_for_run(std::span<const ByteRange> pieces, std::uint32_t bytes,
                                            std::size_t pieces_most);

}  // namespace p2p
