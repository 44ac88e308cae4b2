// Where the bytes of a space that this node serves come from: an open file, or memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/model/manifest.h"
#include "io/disk/fd.h"

namespace p2p {

// Immutable, so any thread may read through it; lives as long as anybody serves from it.
struct ServeSource {
  ChunkSpace space;
  Fd file;                     // data: the file itself or the part that it is being written to
  std::string memory;          // body
  std::string name;            // for error texts
  bool always_cached = false;  // on a file system in memory: a plain read never waits for a device

  bool in_memory() const { return !file; }
  // Call once `file` is set.
  void look_at_file_system();
};

using ServeSourcePtr = std::shared_ptr<const ServeSource>;

}  // namespace p2p
