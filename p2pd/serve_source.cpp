#include "p2pd/serve_source.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

namespace p2p {
namespace {

std::optional<FileStamp> stamp_of(const Fd& file) {
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) return std::nullopt;
  return FileStamp{static_cast<std::uint64_t>(facts.st_size),
                   facts.st_mtim.tv_sec * 1'000'000'000 + facts.st_mtim.tv_nsec};
}

}  // namespace

void ServeSource::look_at_file_system() {
  // tmpfs refuses RWF_NOWAIT, although its reads never wait.
  struct statfs facts {};
  always_cached = ::fstatfs(file.get(), &facts) == 0 && facts.f_type == TMPFS_MAGIC;
}

void ServeSource::watch() {
  stamp = stamp_of(file);
}

bool ServeSource::has_changed() const {
  return stamp && stamp_of(file) != stamp;
}

}  // namespace p2p
