// The seam between the process that faces the network and the one that may touch the file system.
//
// Everything that needs rights goes through here as a plain request: opening below roots and
// shares, renaming, owners. The executor validates every request itself (openat2 with
// RESOLVE_BENEATH), because its caller parses foreign bytes and may have been taken over. Today one
// process does both (LocalPrivileged); a helper on a socketpair serves the same calls without their
// callers noticing.
//
// Blocking: call from disk threads. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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

// Which file it is, whatever its name: unique on this machine as long as the file exists.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

struct FileFacts {
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::uint64_t inode = 0;
  std::uint64_t device = 0;
  std::uint32_t mode = 0;    // permission bits
  std::string owner, group;  // by name, or the number in decimal when it has no name

  FileIdentity identity() const { return {device, inode}; }
  friend bool operator==(const FileFacts&, const FileFacts&) = default;
};

struct FileMetadata {
  std::uint32_t mode = 0644;
  std::int64_t mtime_ns = 0;
  std::string owner, group;  // empty: leave as it is
};

// What an unprivileged writer may still use of a file system.
struct FreeSpace {
  std::uint64_t bytes = 0;
  std::uint64_t inodes = 0;  // UINT64_MAX where the file system does not count them
  std::uint64_t device = 0;  // the same for two destinations that draw on the same space
  friend bool operator==(const FreeSpace&, const FreeSpace&) = default;
};

// Some of what a folder holds: its folders, and what has a part's name, whatever it is.
struct FolderListing {
  // One listing ends before it has more of them than either. A page fits a reply of the helper.
  static constexpr std::size_t kMaxEntries = 500;
  static constexpr std::size_t kMaxNameBytes = 12 * 1024;

  struct Entry {
    std::string name;
    bool is_part = false;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  std::vector<Entry> entries;  // in byte order
  bool more = false;           // there are others behind the last one
};

class Privileged {
 public:
  virtual ~Privileged() = default;

  // `call` is called once, on any thread, when no request can be served any more; at once, when
  // that is so already; never, if they are carried out in this process. A second one replaces it.
  virtual void on_lost(std::function<void(const Error&)>) {}

  // Absolute paths given at start, in order. Receiving needs a root, publishing a share or a root.
  virtual const std::vector<std::string>& roots() const = 0;
  virtual const std::vector<std::string>& shares() const = 0;

  // Opens an existing regular file below a share or a root for reading.
  // denied: outside all of them, said with the list; not_found; invalid_argument: not a regular
  // file.
  virtual Result<Fd> open_source(const std::string& absolute_path) = 0;
  // Makes missing folders down to the file's own (mode 0755), then opens or creates `part`, a name
  // that begins with ".p2pd-" beside the destination, for reading and writing.
  // invalid_argument: the destination is a folder, or a component on the way is a file.
  virtual Result<Fd> open_part(const RootedPath& destination, const std::string& part) = 0;
  // Opens a landed file below a root for reading.
  virtual Result<Fd> open_landed(const RootedPath& path) = 0;
  // Sets owner, mode and times on the part, syncs it, renames it over the destination, and syncs
  // the folder: the path holds the old file or the whole new one. An unknown owner or a lack of
  // rights to set it is no error. `written` is the file behind the descriptor that the caller
  // wrote: corrupt when the part's name leads to another one by now, not_found when to none.
  virtual Status land(const RootedPath& destination, const std::string& part,
                      const FileIdentity& written, const FileMetadata& metadata) = 0;
  // No error when it is gone already.
  virtual Status remove_part(const RootedPath& destination, const std::string& part) = 0;
  // Of the destination's file system, also while folders on the way are still missing.
  virtual Result<FreeSpace> free_space(const RootedPath& destination) = 0;
  // What lies in a folder below a root ("." is the root itself), behind the name `after` (empty:
  // from the first), for finding parts that nobody goes on with. Symbolic links and mount points
  // are left out and not gone through; other files are not disclosed.
  virtual Result<FolderListing> list_folder(std::uint32_t root, const std::string& relative,
                                            const std::string& after) = 0;
  // Writes the ready file that the agent was started with, for everybody to read.
  // invalid_argument: it was started without one, or the text has more than 4 KiB.
  virtual Status write_ready_file(const std::string& text) = 0;
};

// Size, times, inode and so on of an open file.
Result<FileFacts> facts_of(const Fd& fd);

}  // namespace p2p
