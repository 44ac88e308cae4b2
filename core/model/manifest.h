// What describes one version of a file, byte-exact: geometry of blocks and chunks, entries, roots.
//
// Hash trees are those of BitTorrent v2 (BEP 52): SHA-256 over 16 KiB blocks, the last block at its
// real length; missing leaves are 32 zero bytes. Pure data: io/content hashes and serialises.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/byte_range.h"
#include "core/base/ids.h"
#include "core/base/result.h"

namespace p2p {

inline constexpr std::uint32_t kBlockBytes = 16 * 1024;
inline constexpr std::uint32_t kMinChunkBytes = 256 * 1024;
inline constexpr std::uint32_t kMaxChunkBytes = 8 * 1024 * 1024;
inline constexpr std::uint64_t kMaxFileBytes = 1ull << 44;  // 16 TiB: 2,097,152 chunks
inline constexpr std::uint64_t kMinHoleBytes = 64 * 1024;   // a shorter gap counts as data
// With a file of kMaxFileBytes: 64 MiB of layer and at most 15 MiB of extents fit a body.
inline constexpr std::size_t kMaxDataExtents = 1u << 20;
inline constexpr std::uint64_t kMaxBodyBytes = 80ull * 1024 * 1024;
inline constexpr std::size_t kMaxRootRecordBytes = 64 * 1024;

// The smallest power of two >= size / 2048 within [256 KiB, 8 MiB]: about 2048 chunks, so that the
// constant number of chunk-times that a swarm loses at both ends stays below 1 %.
std::uint32_t chunk_bytes_for(std::uint64_t file_bytes);
// Chunks that a file of this size has; 0 for an empty file. At most kMaxFileBytes: check before.
std::uint32_t chunk_count_for(std::uint64_t file_bytes);

// The hash tree of one run of bytes, reduced to the layer of whole chunks.
struct HashTree {
  std::uint64_t size = 0;
  Digest root;                // all zeros for size 0
  std::vector<Digest> layer;  // one per chunk; empty when the size is one chunk or less
  friend bool operator==(const HashTree&, const HashTree&) = default;
};

enum class EntryType { regular };

struct ManifestEntry {
  std::string path;  // relative, raw bytes; a single file has its base name
  EntryType type = EntryType::regular;
  std::uint32_t mode = 0;     // permission bits only (07777)
  std::string owner, group;   // by name; empty when the publisher could not tell
  std::int64_t mtime_ns = 0;  // since 1970-01-01 UTC
  HashTree tree;
  // Data extents, rising; what lies between is holes of at least 64 KiB, all zeros. Each starts at
  // a multiple of kBlockBytes, ends at one or at the end of the file, is never empty and never
  // touches its neighbour.
  std::vector<ByteRange> data;
};

struct Manifest {
  std::vector<ManifestEntry> entries;  // rising raw-byte path order; this version: exactly one
};

// What a content id names: SHA-256 of its serialised form.
struct RootRecord {
  std::uint64_t total_bytes = 0;  // sum of the entries' sizes
  std::uint64_t data_bytes = 0;   // of these, bytes inside data extents: what a fresh node fetches
  HashTree body;                  // of the serialised manifest body
};

// Checks everything that a decoder of foreign bytes must not trust: one entry, a plain base name
// (no '/', no "..", no NUL, not ".p2pd-*"), size limit, layer length, extents in order, aligned and
// inside the file, holes of at least kMinHoleBytes. Not the hashes: see check_tree in io/content.
// Errc::invalid_argument.
Status validate(const Manifest& manifest);
// The same for a root record: sizes within limits, layer length fits the body's size.
Status validate(const RootRecord& record);

// The numbered chunks of one run of bytes: a file, or a manifest body. What picking, requests,
// checkpoints and HAVE speak about.
class ChunkSpace {
 public:
  ChunkSpace() = default;
  // `tree` and `data` must be valid (see validate). An empty `data` with a non-empty tree means
  // that the whole file is one hole.
  ChunkSpace(HashTree tree, std::vector<ByteRange> data);
  // Without holes.
  explicit ChunkSpace(HashTree tree);

  std::uint32_t count() const { return count_; }
  std::uint64_t size() const { return tree_.size; }
  std::uint32_t chunk_bytes() const { return chunk_bytes_; }
  std::uint64_t offset_of(ChunkIndex chunk) const;
  // Real length: the last chunk may be short.
  std::uint32_t size_of(ChunkIndex chunk) const;
  // Bytes of the chunk that lie in data extents: what is requested. 0 for a chunk that is a hole.
  std::uint32_t data_bytes_of(ChunkIndex chunk) const;
  std::uint64_t data_bytes() const { return data_bytes_; }
  // What the chunk's own hash tree must come to, with leaves_of(chunk) leaves padded to
  // padded_leaves_of(chunk).
  const Digest& expected(ChunkIndex chunk) const;
  std::uint32_t leaves_of(ChunkIndex chunk) const;
  std::uint32_t padded_leaves_of(ChunkIndex chunk) const;
  // The data of the chunk, as ranges relative to the chunk's start, rising, cut so that none is
  // longer than `most` (a multiple of kBlockBytes).
  std::vector<ByteRange> ranges_of(ChunkIndex chunk, std::uint32_t most) const;
  const HashTree& tree() const { return tree_; }

 private:
  HashTree tree_;
  std::vector<ByteRange> data_;
  std::uint32_t chunk_bytes_ = kMinChunkBytes;
  std::uint32_t count_ = 0;
  std::uint64_t data_bytes_ = 0;
};

}  // namespace p2p
