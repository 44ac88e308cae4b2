#include "tracker/blobs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "io/content/merkle.h"
#include "io/disk/fd.h"
#include "io/disk/file_io.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

Status sync_names_in(const std::string& folder) {
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return error_from_errno(errno, "open " + folder);
  return sync_folder(fd.get(), folder);
}

std::string path_of(const std::string& folder, const Digest& digest) {
  const std::string hex = digest.hex();
  return folder + "/" + hex.substr(0, 2) + "/" + hex;
}

}  // namespace

Result<Blobs> Blobs::open(const std::string& folder) {
  if (const Status made = make_folders(folder); !made) return made.error();
  return Blobs(folder);
}

Result<std::string> Blobs::put(const std::string& bytes) const {
  if (bytes.size() > kMaxBlobBytes) {
    return Error{Errc::exhausted, std::to_string(bytes.size()) + " bytes; at most " +
                                      std::to_string(kMaxBlobBytes) +
                                      " (960 KiB) are kept: push a larger file to the nodes, and "
                                      "read it there"};
  }
  const Digest digest = sha256(bytes);
  const std::string path = path_of(folder_, digest);
  if (const Status made = make_folders(path.substr(0, path.rfind('/'))); !made) return made.error();
  const std::lock_guard lock(*mutex_);
  // Also when there is a file already: it may be damaged, or not on stable storage yet.
  if (const Status written = write_file_atomically(path, bytes, 0600); !written) {
    return written.error();
  }
  if (const Status synced = sync_names_in(folder_); !synced) return synced.error();
  return std::string(digest.view());
}

Result<std::size_t> Blobs::remove_others(const std::set<std::string>& kept, Duration age) const {
  namespace fs = std::filesystem;
  std::size_t removed = 0;
  std::error_code error;
  const std::int64_t before = unix_seconds(wall_now() - age);
  for (fs::recursive_directory_iterator file(folder_, error), end; !error && file != end;
       file.increment(error)) {
    // What has another name was left by a crash in the middle of a put.
    const auto digest = Digest::from_hex(file->path().filename().string());
    if (digest && kept.contains(std::string(digest->view()))) continue;
    const std::string path = file->path();
    const std::lock_guard lock(*mutex_);
    struct stat facts {};
    if (::lstat(path.c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) continue;
    if (facts.st_mtime > before) continue;
    if (::unlink(path.c_str()) != 0) return error_from_errno(errno, "remove " + path);
    ++removed;
  }
  if (error) return Error{Errc::io_failed, "look into " + folder_ + ": " + error.message()};
  return removed;
}

Result<std::string> Blobs::get(const std::string& sha256_raw) const {
  const auto digest = Digest::from_raw(sha256_raw);
  if (!digest) return Error{Errc::invalid_argument, "a SHA-256 has 32 bytes"};
  const std::string path = path_of(folder_, *digest);
  auto bytes = read_file(path, kMaxBlobBytes);
  if (!bytes) return bytes;
  if (sha256(*bytes) != *digest) {
    return Error{Errc::corrupt, path + " does not hash to its name: put the script again"};
  }
  return bytes;
}

}  // namespace p2p
