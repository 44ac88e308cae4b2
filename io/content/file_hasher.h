// Hashing what is on disk: a whole file with all cores, to publish it; one chunk, to check it.
//
// Holes are found with SEEK_DATA and are neither read nor hashed block by block, so a sparse file
// costs what its data costs. All calls block and leave the descriptor's position undefined; reading
// is by pread. Error texts name offsets: the caller, who knows the path, adds it (Error::within).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/model/manifest.h"
#include "io/privileged/privileged.h"

namespace p2p {

struct HashOptions {
  unsigned threads = 0;  // 0: one for each processor; at most 64; 1 MiB of memory each
  // Bytes of the file that are done, holes included. Called from the thread that called hash_file,
  // at most every 100 ms and once at the end with the file's size. May be empty.
  std::function<void(std::uint64_t bytes_done)> progress;
  // Set it from any thread to end with Errc::cancelled within a megabyte. May be null.
  const std::atomic<bool>* stop = nullptr;
};

struct FileHash {
  HashTree tree;
  std::vector<ByteRange> data;  // as in ManifestEntry
};

// `fd`: a regular file open for reading, `size`: what its size is. corrupt: the size is another one
// before or after hashing. A change that keeps the size is not noticed: compare FileFacts from
// before and after. invalid_argument: no regular file, or above kMaxFileBytes.
Result<FileHash> hash_file(int fd, std::uint64_t size, const HashOptions& options = {});

// The data extents of an open file of `size` bytes: rounded outward to blocks, without gaps below
// kMinHoleBytes, at most kMaxDataExtents (the shortest holes of a more ragged file count as data).
// A file system that knows no holes has one extent.
Result<std::vector<ByteRange>> data_extents_of(int fd, std::uint64_t size);

// Root of a chunk as it is on disk, to compare with space.expected(chunk). What `space` says about
// holes is not believed: every byte that is not in a hole of this file itself is read.
Result<Digest> hash_chunk_of_file(int fd, const ChunkSpace& space, ChunkIndex chunk);

// A valid manifest of one file. invalid_argument: the name is not fit to be published (see
// validate); corrupt: the facts are of another size than what was hashed.
Result<Manifest> make_file_manifest(std::string base_name, const FileFacts& facts, FileHash hash);

}  // namespace p2p
