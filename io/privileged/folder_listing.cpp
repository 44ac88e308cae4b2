#include "io/privileged/folder_listing.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <map>
#include <memory>
#include <utility>

#include "io/disk/file_io.h"
#include "io/privileged/beneath.h"

namespace p2p {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

// Is `name` a folder of the same mount as `folder`? What cannot be looked at counts as none.
bool is_folder_of_mount(const Fd& folder, const char* name, dev_t device) {
  struct statx facts {};
  if (::statx(folder.get(), name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &facts) != 0) {
    return false;
  }
  if (!S_ISDIR(facts.stx_mode)) return false;
  if ((facts.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0) {
    return (facts.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0;
  }
  // Before Linux 5.8 only a change of device shows a mount, and those of subvolumes look the same.
  return makedev(facts.stx_dev_major, facts.stx_dev_minor) == device;
}

}  // namespace

Result<FolderListing> list_entries(const Fd& folder, const std::string& after,
                                   const std::string& path) {
  const std::string what = "list folder " + path;
  struct stat facts {};
  if (::fstat(folder.get(), &facts) != 0) return error_from_errno(errno, what);
  // A description of its own, so that its position is its own.
  Fd again(::openat(folder.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!again) return error_from_errno(errno, what);
  const std::unique_ptr<DIR, CloseFolder> reader(::fdopendir(again.get()));
  if (!reader) return error_from_errno(errno, what);
  again.release();

  std::map<std::string, bool> first;  // the smallest names found so far, and whether it is a part
  std::size_t bytes = 0;
  bool more = false;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(reader.get());
    if (entry == nullptr && errno != 0) return error_from_errno(errno, what);
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || name <= after) continue;
    if (more && name > first.rbegin()->first) continue;
    const bool is_part = paths::has_part_prefix(name);
    if (!is_part && entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) continue;
    if (!is_part && !is_folder_of_mount(folder, entry->d_name, facts.st_dev)) continue;
    first.emplace(name, is_part);
    bytes += name.size();
    while (first.size() > FolderListing::kMaxEntries || bytes > FolderListing::kMaxNameBytes) {
      const auto last = std::prev(first.end());
      bytes -= last->first.size();
      first.erase(last);
      more = true;
    }
  }
  FolderListing listing{.entries = {}, .more = more};
  for (const auto& [name, is_part] : first) listing.entries.push_back({name, is_part});
  return listing;
}

}  // namespace p2p
