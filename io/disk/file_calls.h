// The file layer: every call by which bytes and names of ours reach a disk, in one replaceable
// place.
//
// What a crash may take back is decided by the order of these calls (docs/storage.md). Tests put a
// layer in place of this one that fails at any call, and that takes back or tears whatever was not
// synced when the power went (tests/support/power_cut.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/model/manifest.h"

namespace p2p {

// What tells one open file from another that took its place, and whether it still has a name.
struct FileState {
  std::uint64_t size = 0;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t birth_ns = 0;    // 0: the file system does not say
  std::uint64_t links = 0;      // 0: it was deleted
  std::uint64_t allocated = 0;  // bytes that it takes on the disk
};

// Blocking and thread-safe. `name` is for error texts only; descriptors stay the caller's.
class FileCalls {
 public:
  virtual ~FileCalls() = default;

  virtual Status write_at(int fd, std::span<const std::uint8_t> bytes, std::uint64_t offset,
                          std::string_view name);
  // Reads as zeros behind the old end.
  virtual Status set_size(int fd, std::uint64_t bytes, std::string_view name);
  // Gives every byte of the file a place on the disk; what was not written still reads as zeros.
  // `exhausted` when there is not enough; invalid_argument when the file system cannot do it.
  virtual Status allocate(int fd, std::uint64_t bytes, std::string_view name);
  // Lets `length` bytes of `from` be shared by `to` (FICLONERANGE): nothing is read or written, and
  // whoever writes to either later gets blocks of his own. Offsets and length: multiples of the
  // file system's block; length: not 0. An error means that nothing was shared: not the same file
  // system, one that cannot do it, or not with these files; writing the bytes will do.
  virtual Status clone_range(int to, std::uint64_t to_offset, int from, std::uint64_t from_offset,
                             std::uint64_t length, std::string_view name);
  // See io/disk/file_io.h for what a failure means.
  virtual Status sync_data(int fd, std::string_view name);
  virtual Status sync_all(int fd, std::string_view name);
  virtual Status sync_folder(int folder, std::string_view name);
  // Both names in one folder. Takes the place of an existing file.
  virtual Status rename(int folder, const std::string& from, const std::string& to,
                        std::string_view name);
  // No error when it is gone already.
  virtual Status remove(int folder, const std::string& entry, std::string_view name);

  // The operating system's. Keeps no state.
  static FileCalls& system();
};

Result<FileState> state_of(int fd, std::string_view name);
// The next run of bytes at or behind `from` that the file system keeps for the file (SEEK_DATA,
// SEEK_HOLE); nothing: only holes follow. A file system that knows no holes calls all of it data.
Result<std::optional<ByteRange>> next_data(int fd, std::uint64_t from, std::string_view name);
// Asks the kernel to forget what it has cached of the file and the disk has (or should have), so
// that the next read asks the disk.
void drop_cache(int fd);

}  // namespace p2p
