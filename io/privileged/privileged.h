// The seam between the process that faces the network and the one that may touch the file system.
//
// Everything that needs rights goes through here as a plain request: opening below roots and shares,
// renaming, owners. The executor validates every request itself (openat2 with RESOLVE_BENEATH),
// because its caller parses foreign bytes and may have been taken over. Today one process does both
// (LocalPrivileged); a helper on a socketpair serves the same calls without their callers noticing.
//
// Blocking: call from disk threads. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "io/disk/fd.h"

namespace p2p {

// A file below one of the agent's roots: the root's position in the list that the agent was started
// with, and a path below it, without leading '/', "." or ".." (checked again by the executor).
struct RootedPath {
  std::uint32_t root = 0;
  std::string relative;
};

struct FileFacts {
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::uint64_t inode = 0;
  std::uint64_t device = 0;
  std::uint32_t mode = 0;  // permission bits
  std::string owner, group;  // by name, or the number in decimal when it has no name
  friend bool operator==(const FileFacts&, const FileFacts&) = default;
};

struct FileMetadata {
  std::uint32_t mode = 0644;
  std::int64_t mtime_ns = 0;
  std::string owner, group;  // empty: leave as it is
};

class Privileged {
 public:
  virtual ~Privileged() = default;

  // Absolute paths given at start, in order. Receiving needs a root, publishing a share or a root.
  virtual const std::vector<std::string>& roots() const = 0;
  virtual const std::vector<std::string>& shares() const = 0;

  // Opens an existing regular file below a share or a root for reading.
  // denied: outside all of them, said with the list; not_found; invalid_argument: not a regular file.
  virtual Result<Fd> open_source(const std::string& absolute_path) = 0;
  // Makes missing folders down to the file's own (mode 0755), then opens or creates `part`, a name
  // that begins with ".p2pd-" beside the destination, for reading and writing.
  // invalid_argument: the destination is a folder, or a component on the way is a file.
  virtual Result<Fd> open_part(const RootedPath& destination, const std::string& part) = 0;
  // Opens a landed file below a root for reading.
  virtual Result<Fd> open_landed(const RootedPath& path) = 0;
  // Sets owner, mode and times on the part, syncs it, renames it over the destination, and syncs the
  // folder: the path holds the old file or the whole new one. An unknown owner or a lack of rights
  // to set it is no error.
  virtual Status land(const RootedPath& destination, const std::string& part,
                      const FileMetadata& metadata) = 0;
  // No error when it is gone already.
  virtual Status remove_part(const RootedPath& destination, const std::string& part) = 0;
  // Bytes that an unprivileged writer may still use on the destination's file system.
  virtual Result<std::uint64_t> free_bytes(const RootedPath& destination) = 0;
};

// Size, times, inode and so on of an open file.
Result<FileFacts> facts_of(const Fd& fd);

}  // namespace p2p
