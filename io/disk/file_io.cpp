#include "io/disk/file_io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "io/disk/fd.h"

namespace p2p {
namespace {

constexpr std::size_t kReadStepBytes = 64 * 1024;

std::string at(std::string_view act, std::string_view name, std::uint64_t offset) {
  return std::string(act) + " " + std::string(name) + " at " + std::to_string(offset);
}

std::string on(std::string_view act, std::string_view name) {
  return std::string(act) + " " + std::string(name);
}

// The folder of `path`, with its final '/', so that a name can be put behind it.
std::string folder_prefix(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "./" : path.substr(0, slash + 1);
}

Status fill_and_sync(const Fd& file, std::string_view bytes, mode_t mode, const std::string& name) {
  if (::fchmod(file.get(), mode) != 0) return error_from_errno(errno, on("set mode of", name));
  const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
  if (Status written = write_all_at(file.get(), {first, bytes.size()}, 0, name); !written) {
    return written;
  }
  return sync_all(file.get(), name);
}

}  // namespace

Error error_from_errno(int error, std::string_view what) {
  const std::string reason = std::generic_category().message(error);
  const std::string act(what);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return {Errc::exhausted, act + ": disk full (" + reason + "); free some space and try again"};
    case ENOENT:
      return {Errc::not_found, act + ": " + reason};
    case EACCES:
      return {Errc::denied,
              act + ": " + reason +
                  "; the account that this program runs as needs the right to it, also in "
                  "the folders above"};
    case EPERM:
      return {Errc::denied, act + ": " + reason +
                                "; the owner and root may do it, unless lsattr shows that the file "
                                "or its folder is immutable"};
    case EROFS:
      return {Errc::denied, act + ": " + reason + "; mount it writable, or name another folder"};
    default:
      return {Errc::io_failed, act + ": " + reason};
  }
}

Status write_all_at(int fd, std::span<const std::uint8_t> bytes, std::uint64_t offset,
                    std::string_view name) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_from_errno(errno, at("write", name, offset));
    // No regular file does this; going round again could go on for ever.
    if (n == 0) return error_from_errno(EIO, at("write", name, offset));
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<std::size_t> read_at(int fd, std::span<std::uint8_t> into, std::uint64_t offset,
                            std::string_view name) {
  std::size_t done = 0;
  while (done < into.size()) {
    const std::uint64_t from = offset + done;
    const ssize_t n = ::pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(from));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_from_errno(errno, at("read", name, from));
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Status read_exactly_at(int fd, std::span<std::uint8_t> into, std::uint64_t offset,
                       std::string_view name) {
  const Result<std::size_t> got = read_at(fd, into, offset, name);
  if (!got) return got.error();
  if (*got == into.size()) return {};
  return Error{Errc::corrupt, at("read", name, offset) + ": the file ends after " +
                                  std::to_string(*got) + " of " + std::to_string(into.size()) +
                                  " bytes; it was made shorter meanwhile"};
}

Status sync_data(int fd, std::string_view name) {
  if (::fdatasync(fd) != 0) return error_from_errno(errno, on("sync data of", name));
  return {};
}

Status sync_all(int fd, std::string_view name) {
  if (::fsync(fd) != 0) return error_from_errno(errno, on("sync", name));
  return {};
}

Status sync_folder(int fd, std::string_view name) {
  if (::fsync(fd) != 0 && errno != EINVAL) {
    return error_from_errno(errno, on("sync folder", name));
  }
  return {};
}

Status write_file_atomically(const std::string& path, std::string_view bytes, mode_t mode) {
  const std::string prefix = folder_prefix(path);
  Fd folder(::open(prefix.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return error_from_errno(errno, on("open folder", prefix));

  std::string temporary = prefix + ".p2pd-tmp-XXXXXX";
  const Fd file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file) return error_from_errno(errno, on("create", temporary));

  Status done = fill_and_sync(file, bytes, mode, path);
  if (done && ::rename(temporary.c_str(), path.c_str()) != 0) {
    done = error_from_errno(errno, on("rename " + temporary + " to", path));
  }
  if (!done) {
    ::unlink(temporary.c_str());
    return done;
  }
  return sync_folder(folder.get(), prefix);
}

Result<std::string> read_file(const std::string& path, std::size_t max_bytes) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC));
  if (!file) return error_from_errno(errno, on("open", path));

  std::string text;
  for (;;) {
    // One byte more than allowed, to tell a file that just fits from one that is too long.
    const std::size_t step = std::min(kReadStepBytes, max_bytes - text.size()) + 1;
    const std::size_t before = text.size();
    text.resize(before + step);
    const ssize_t n = ::read(file.get(), text.data() + before, step);
    text.resize(before + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_from_errno(errno, on("read", path));
    if (n == 0) return text;
    if (text.size() > max_bytes) {
      return Error{Errc::invalid_argument, on("read", path) + ": longer than the " +
                                               std::to_string(max_bytes) +
                                               " bytes that such a file may have"};
    }
  }
}

Status make_folders(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return error_from_errno(error.value(), on("make folder", path));
  // With a final '/' create_directories is content with a file of that name.
  if (!std::filesystem::is_directory(path, error)) {
    return error_from_errno(error ? error.value() : ENOTDIR, on("make folder", path));
  }
  return {};
}

}  // namespace p2p
