#include "io/privileged/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <mntent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "io/disk/file_io.h"

namespace p2p {
namespace {

constexpr std::string_view kPartPrefix = ".p2pd-";
// The kernel says EAGAIN when it met ".." while something was renamed anywhere on the machine.
constexpr int kMaxTries = 256;

// A descriptor, or -1 with errno.
int open_beneath(int base, const std::string& path, int flags, mode_t mode, std::uint64_t resolve,
                 bool across_mounts = false) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve;
  if (!across_mounts) how.resolve |= RESOLVE_NO_XDEV;
  for (int tries = 1;; ++tries) {
    const long fd = ::syscall(SYS_openat2, base, path.c_str(), &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || tries == kMaxTries) {
      return static_cast<int>(fd);
    }
  }
}

// Of the mount that the descriptor's folder lies on; nothing when the kernel does not say (5.8).
std::optional<std::uint64_t> mount_of(const Fd& folder) {
  struct statx facts {};
  if (::statx(folder.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &facts) != 0) return std::nullopt;
  if ((facts.stx_mask & STATX_MNT_ID) == 0) return std::nullopt;
  return facts.stx_mnt_id;
}

Error open_error(int error, const std::string& path) {
  const std::string act = "open " + path;
  switch (error) {
    case EXDEV:
      return {Errc::denied, act +
                                ": a symbolic link on the way leads out of the folder that the "
                                "agent was given (absolute links count as such), or something was "
                                "mounted there after the agent's start (then restart the agent)"};
    case ELOOP:
      return {Errc::denied, act + ": a symbolic link that may not be followed is on the way"};
    case ENOTDIR:
      return {Errc::invalid_argument, act + ": a component on the way is a file, not a folder"};
    case ENXIO:
    case ENODEV:
      return {Errc::invalid_argument, act + ": not a regular file"};
    default:
      return error_from_errno(error, act);
  }
}

// Calls `visit` for what lies between the '/'s, until it returns an error.
template <class Visit>
Status each_component(std::string_view path, Visit visit) {
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    if (Status status = visit(path.substr(start, end - start)); !status) return status;
    start = end + 1;
  }
  return {};
}

// What no component may be, whoever names it. The empty one and "." are the caller's business.
Status check_component(std::string_view component) {
  if (component == "..") return Error{Errc::invalid_argument, "\"..\" is not allowed in a path"};
  if (component.find('\0') != std::string_view::npos) {
    return Error{Errc::invalid_argument, "a zero byte is not allowed in a path"};
  }
  if (component.size() > paths::kMaxNameBytes) {
    return Error{Errc::invalid_argument,
                 "a component is longer than " + std::to_string(paths::kMaxNameBytes) + " bytes"};
  }
  if (paths::has_part_prefix(component)) {
    return Error{Errc::invalid_argument,
                 "names that begin with .p2pd- are reserved for unfinished files"};
  }
  return {};
}

Status check_length(const std::string& path) {
  if (path.size() <= paths::kMaxPathBytes) return {};
  return Error{Errc::invalid_argument,
               "a path is longer than " + std::to_string(paths::kMaxPathBytes) + " bytes"};
}

// Without "." and repeated or final '/'; nothing when it has "..".
std::optional<std::string> clean(const std::string& absolute) {
  std::string cleaned;
  const Status status = each_component(absolute, [&](std::string_view component) -> Status {
    if (component == "..") return Error{Errc::invalid_argument, "has .."};
    if (!component.empty() && component != ".") cleaned.append("/").append(component);
    return {};
  });
  if (!status) return std::nullopt;
  return cleaned.empty() ? "/" : cleaned;
}

}  // namespace

Result<BaseFolder> BaseFolder::open(const std::string& kind, const std::string& path) {
  const std::string what = kind + " " + path;
  if (!path.starts_with('/')) {
    return Error{Errc::invalid_argument, what + ": not an absolute path; begin it with /"};
  }
  if (path.find('\0') != std::string::npos) {
    return Error{Errc::invalid_argument, what + ": a zero byte is not allowed in a path"};
  }
  const std::unique_ptr<char, decltype(&::free)> resolved(::realpath(path.c_str(), nullptr),
                                                          &::free);
  if (!resolved && errno == ENOENT) {
    return Error{Errc::not_found, what + ": does not exist; make the folder first"};
  }
  if (!resolved) return error_from_errno(errno, what);
  std::string canonical = resolved.get();
  Fd fd(::open(canonical.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == ENOTDIR) {
    return Error{Errc::invalid_argument, what + ": is not a folder"};
  }
  if (!fd) return error_from_errno(errno, what);
  const Fd probe(open_beneath(fd.get(), ".", O_PATH | O_DIRECTORY, 0, 0));
  if (!probe) {
    return error_from_errno(errno, what +
                                       ": openat2 (Linux 5.6 or newer, not blocked by a "
                                       "container's seccomp profile or systemd's "
                                       "RestrictSUIDSGID=) is needed");
  }
  std::string name = clean(path).value_or(canonical);
  BaseFolder folder(std::move(name), std::move(canonical), std::move(fd));
  folder.find_mounts();
  return folder;
}

void BaseFolder::find_mounts() {
  const std::unique_ptr<FILE, decltype(&::endmntent)> table(::setmntent("/proc/self/mounts", "re"),
                                                            &::endmntent);
  if (!table) return;  // no /proc: nothing below may be another mount
  const std::string prefix = canonical_ == "/" ? "/" : canonical_ + "/";
  mntent entry{};
  std::vector<char> text(16 * paths::kMaxPathBytes);
  while (::getmntent_r(table.get(), &entry, text.data(), static_cast<int>(text.size()))) {
    const std::string_view place = entry.mnt_dir;
    if (!place.starts_with(prefix) || place == prefix) continue;
    std::string relative(place.substr(prefix.size()));
    const Fd fd(open_beneath(fd_.get(), relative, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS,
                             /*across_mounts=*/true));
    if (!fd) continue;  // a file, or gone again
    if (const auto id = mount_of(fd)) mounts_.push_back({std::move(relative), *id});
  }
  std::sort(mounts_.begin(), mounts_.end(),
            [](const Mount& a, const Mount& b) { return a.relative.size() > b.relative.size(); });
}

Result<BaseFolder::Start> BaseFolder::start_of(const std::string& relative) const {
  for (const Mount& mount : mounts_) {
    const bool below =
        relative.starts_with(mount.relative) &&
        (relative.size() == mount.relative.size() || relative[mount.relative.size()] == '/');
    if (!below) continue;
    Fd fd(open_beneath(fd_.get(), mount.relative, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS,
                       /*across_mounts=*/true));
    if (!fd) return open_error(errno, absolute_of(mount.relative));
    if (mount_of(fd) != mount.id) {
      return Error{Errc::denied, "open " + absolute_of(relative) + ": " +
                                     absolute_of(mount.relative) +
                                     " is not the mount that it was when the agent started; "
                                     "restart the agent"};
    }
    if (relative.size() == mount.relative.size()) return Start{std::move(fd), "."};
    return Start{std::move(fd), relative.substr(mount.relative.size() + 1)};
  }
  return Start{Fd(), relative};
}

std::optional<std::string> BaseFolder::relative_of(std::string_view absolute) const {
  for (std::string_view base : {std::string_view(name_), std::string_view(canonical_)}) {
    if (absolute == base) return ".";
    if (base == "/") base = "";
    if (absolute.starts_with(base) && absolute[base.size()] == '/') {
      return std::string(absolute.substr(base.size() + 1));
    }
  }
  return std::nullopt;
}

std::string BaseFolder::absolute_of(const std::string& relative) const {
  if (relative == ".") return name_;
  return (name_ == "/" ? "" : name_) + "/" + relative;
}

Result<Fd> BaseFolder::open_below(const std::string& relative, int flags, mode_t mode) const {
  const Result<Start> start = start_of(relative);
  if (!start) return start.error();
  Fd fd(
      open_beneath(start->mount ? start->mount.get() : fd_.get(), start->relative, flags, mode, 0));
  if (!fd) return open_error(errno, absolute_of(relative));
  return fd;
}

Result<Fd> BaseFolder::open_folder(const std::string& relative) const {
  return open_below(relative, O_RDONLY | O_DIRECTORY);
}

Result<Fd> BaseFolder::open_folder_of_mount(const std::string& relative) const {
  Fd fd(open_beneath(fd_.get(), relative, O_RDONLY | O_DIRECTORY, 0,
                     RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV));
  if (!fd && errno == EXDEV) {
    return Error{Errc::denied, "open " + absolute_of(relative) + ": another mount is on the way"};
  }
  if (!fd) return open_error(errno, absolute_of(relative));
  return fd;
}

// From the far end, so that folders on the way that exist need not be readable. Each step is
// resolved from the base again: links inside it may lead sideways.
Result<Fd> BaseFolder::make_folder(const std::string& relative) const {
  Result<Fd> folder = open_folder(relative);
  if (folder || folder.error().code != Errc::not_found || relative == ".") return folder;

  const Result<Fd> above = make_folder(paths::folder_of(relative));
  if (!above) return above.error();
  const bool made = ::mkdirat(above->get(), paths::name_of(relative).c_str(), 0755) == 0;
  if (!made && errno != EEXIST) {
    return error_from_errno(errno, "make folder " + absolute_of(relative));
  }
  if (made) {
    Status synced = sync_folder(above->get(), absolute_of(paths::folder_of(relative)));
    if (!synced) return synced.error();
  }
  folder = open_folder(relative);
  if (!folder && !made && folder.error().code == Errc::not_found) {
    return Error{Errc::invalid_argument, "make folder " + absolute_of(relative) +
                                             ": a symbolic link that leads nowhere has its name"};
  }
  return folder;
}

Result<Fd> open_in_folder(const Fd& folder, const std::string& name, int flags, mode_t mode,
                          const std::string& path) {
  Fd fd(open_beneath(folder.get(), name, flags | O_NOFOLLOW, mode, RESOLVE_NO_SYMLINKS));
  if (!fd) return open_error(errno, path);
  return fd;
}

namespace paths {

bool has_part_prefix(std::string_view name) {
  return name.starts_with(kPartPrefix);
}

Result<std::string> normalise_absolute(const std::string& absolute) {
  if (!absolute.starts_with('/')) {
    return Error{Errc::invalid_argument, "not an absolute path; begin it with /"};
  }
  if (Status status = check_length(absolute); !status) return status.error();
  if (Status status = each_component(absolute, check_component); !status) return status.error();
  return clean(absolute).value_or("/");
}

Status check_relative(const std::string& relative) {
  if (Status status = check_length(relative); !status) return status;
  return each_component(relative, [](std::string_view component) -> Status {
    if (component.empty() || component == ".") {
      return Error{Errc::invalid_argument,
                   "a path below a root has no empty component and no \".\""};
    }
    return check_component(component);
  });
}

std::string folder_of(const std::string& relative) {
  const std::size_t slash = relative.rfind('/');
  return slash == std::string::npos ? "." : relative.substr(0, slash);
}

std::string name_of(const std::string& relative) {
  return relative.substr(relative.rfind('/') + 1);
}

}  // namespace paths
}  // namespace p2p
