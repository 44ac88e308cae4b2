// Where the bytes of a space that this node serves come from: an open file, or memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "core/base/byte_range.h"
#include "core/base/result.h"
#include "core/model/manifest.h"
#include "io/disk/fd.h"

namespace p2p {

// What changes when somebody writes to a file. Not its ctime: a new owner or name changes no byte.
struct FileStamp {
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

// Immutable, so any thread may read through it; lives as long as anybody serves from it.
struct ServeSource {
  ChunkSpace space;
  Fd file;                     // data: the file itself or the part that it is being written to
  std::string memory;          // body
  std::string name;            // for error texts
  bool always_cached = false;  // on a file system in memory: a plain read never waits for a device
  std::optional<FileStamp> stamp;  // of a finished file; a part changes all the time

  bool in_memory() const { return !file; }
  // Call once `file` is set.
  void look_at_file_system();
  // From now on the file counts as finished.
  void watch();
  // Somebody has written to the finished file: its bytes are not those of the content any more.
  // Costs a system call.
  bool has_changed() const;
};

Error changed_while_served(const ServeSource& source);

// Fills `into` with the bytes of `ranges`, which rise, one behind the other. Ranges that are near
// each other take one system call together.

// Without waiting for a device; false when that is not possible, or something is missing.
bool read_if_cached(const ServeSource& source, std::span<const ByteRange> ranges,
                    std::span<std::uint8_t> into);
// For disk threads.
Status read_blocking(const ServeSource& source, std::span<const ByteRange> ranges,
                     std::span<std::uint8_t> into);

using ServeSourcePtr = std::shared_ptr<const ServeSource>;

}  // namespace p2p
