#include "io/disk/file_calls.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "io/disk/file_io.h"

namespace p2p {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;

std::string act(std::string_view what, std::string_view name) {
  return std::string(what) + " " + std::string(name);
}

// fallocate takes all that is left before it says that it is too little, and everybody else who
// writes fails meanwhile.
bool has_room(int fd, std::uint64_t bytes) {
  struct stat facts {};
  struct statvfs room {};
  if (::fstat(fd, &facts) != 0 || ::fstatvfs(fd, &room) != 0 || room.f_blocks == 0) return true;
  const std::uint64_t has = static_cast<std::uint64_t>(facts.st_blocks) * 512;
  return bytes <= has || bytes - has <= std::uint64_t{room.f_bavail} * room.f_frsize;
}

}  // namespace

Status FileCalls::write_at(int fd, std::span<const std::uint8_t> bytes, std::uint64_t offset,
                           std::string_view name) {
  return write_all_at(fd, bytes, offset, name);
}

Status FileCalls::set_size(int fd, std::uint64_t bytes, std::string_view name) {
  if (::ftruncate(fd, static_cast<off_t>(bytes)) == 0) return {};
  if (errno == EFBIG) {
    return Error{Errc::invalid_argument,
                 act("set the size of", name) + " to " + std::to_string(bytes) +
                     " bytes: this file system holds no file of that size; choose another one"};
  }
  return error_from_errno(errno, act("set the size of", name));
}

Status FileCalls::allocate(int fd, std::uint64_t bytes, std::string_view name) {
  if (bytes == 0) return {};
  if (!has_room(fd, bytes)) return error_from_errno(ENOSPC, act("allocate", name));
  for (;;) {
    // Not posix_fallocate: it writes into every block where the file system cannot do it.
    if (::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) == 0) return {};
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP) {
      return Error{
          Errc::invalid_argument,
          act("allocate", name) + ": this file system cannot do that; push without --allocate"};
    }
    return error_from_errno(errno, act("allocate", name));
  }
}

Status FileCalls::clone_range(int to, std::uint64_t to_offset, int from, std::uint64_t from_offset,
                              std::uint64_t length, std::string_view name) {
  file_clone_range range{};
  range.src_fd = from;
  range.src_offset = from_offset;
  range.src_length = length;
  range.dest_offset = to_offset;
  if (length > 0 && ::ioctl(to, FICLONERANGE, &range) == 0) return {};
  return error_from_errno(length > 0 ? errno : EINVAL, act("share blocks with", name));
}

Status FileCalls::sync_data(int fd, std::string_view name) {
  return p2p::sync_data(fd, name);
}

Status FileCalls::sync_all(int fd, std::string_view name) {
  return p2p::sync_all(fd, name);
}

Status FileCalls::sync_folder(int folder, std::string_view name) {
  return p2p::sync_folder(folder, name);
}

Status FileCalls::rename(int folder, const std::string& from, const std::string& to,
                         std::string_view name) {
  if (::renameat(folder, from.c_str(), folder, to.c_str()) == 0) return {};
  return error_from_errno(errno, act("rename " + from + " to", name));
}

Status FileCalls::remove(int folder, const std::string& entry, std::string_view name) {
  if (::unlinkat(folder, entry.c_str(), 0) == 0 || errno == ENOENT) return {};
  return error_from_errno(errno, act("remove", name));
}

FileCalls& FileCalls::system() {
  static FileCalls calls;
  return calls;
}

Result<FileState> state_of(int fd, std::string_view name) {
  struct statx facts {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &facts) != 0) {
    return error_from_errno(errno, act("look at", name));
  }
  FileState state;
  state.size = facts.stx_size;
  state.device = ::makedev(facts.stx_dev_major, facts.stx_dev_minor);
  state.inode = facts.stx_ino;
  state.links = facts.stx_nlink;
  state.allocated = facts.stx_blocks * 512;
  if (facts.stx_mask & STATX_BTIME) {
    state.birth_ns = facts.stx_btime.tv_sec * kNanosPerSecond + facts.stx_btime.tv_nsec;
  }
  return state;
}

Result<std::optional<ByteRange>> next_data(int fd, std::uint64_t from, std::string_view name) {
  const off_t start = ::lseek(fd, static_cast<off_t>(from), SEEK_DATA);
  if (start < 0 && errno == ENXIO) return std::optional<ByteRange>();
  if (start < 0) return error_from_errno(errno, act("look for data in", name));
  const off_t end = ::lseek(fd, start, SEEK_HOLE);
  if (end < 0) return error_from_errno(errno, act("look for holes in", name));
  return std::optional(
      ByteRange{static_cast<std::uint64_t>(start), static_cast<std::uint64_t>(end - start)});
}

void drop_cache(int fd) {
  // Advice: what is dirty or locked stays, and no failure matters.
  (void)::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

}  // namespace p2p
