// Opening files below a folder so that no name, symbolic link or race leads out of it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "io/disk/fd.h"

namespace p2p {

// A folder that the agent was started with: a root or a share.
//
// Its name is resolved once, at start; everything below is resolved by the kernel from the open
// descriptor (openat2 with RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS and RESOLVE_NO_XDEV). Relative
// symbolic links that stay inside work; absolute ones and those that climb out are `denied`. So are
// mounts that came after the start: what was mounted below by then is known and worked in, but not
// reached through a link. Immutable, so thread-safe.
class BaseFolder {
 public:
  // `path` must be an absolute path to an existing folder; `kind` ("root", "share") is for errors.
  static Result<BaseFolder> open(const std::string& kind, const std::string& path);

  // As it was given, without "." and repeated '/'.
  const std::string& name() const { return name_; }
  // What lies behind this folder's name (as given, or without symbolic links) in `absolute`, a
  // normalised path; "." for the folder itself. Nothing when it is elsewhere.
  std::optional<std::string> relative_of(std::string_view absolute) const;
  // The name, for people, of a path below.
  std::string absolute_of(const std::string& relative) const;

  // Opens a path below. `flags` are those of open(2) (O_CLOEXEC is added); `mode` only with
  // O_CREAT. not_found; denied: it leads out; invalid_argument: a component on the way is a file.
  Result<Fd> open_below(const std::string& relative, int flags, mode_t mode = 0) const;
  // The same for a folder, ready for mkdirat, renameat and fsync.
  Result<Fd> open_folder(const std::string& relative) const;
  // The same, through no symbolic link and no mount point.
  Result<Fd> open_folder_of_mount(const std::string& relative) const;
  // open_folder, making the folders that are missing (0755 less the umask), durably.
  Result<Fd> make_folder(const std::string& relative) const;

 private:
  // Not held open: the operator may unmount it.
  struct Mount {
    std::string relative;  // where it lies below the folder
    std::uint64_t id = 0;  // of the mount, as statx says it
  };
  // Where to start, and the rest of the way.
  struct Start {
    Fd mount;  // nothing: at the folder itself
    std::string relative;
  };

  BaseFolder(std::string name, std::string canonical, Fd fd)
      : name_(std::move(name)), canonical_(std::move(canonical)), fd_(std::move(fd)) {}
  void find_mounts();
  Result<Start> start_of(const std::string& relative) const;

  std::string name_;
  std::string canonical_;
  Fd fd_;
  std::vector<Mount> mounts_;  // deepest first
};

// Opens `name`, one component, in an open folder, with the rules above and never through a symbolic
// link. `path` is for errors.
Result<Fd> open_in_folder(const Fd& folder, const std::string& name, int flags, mode_t mode,
                          const std::string& path);

namespace paths {

// Longest path and longest component that Linux takes, without the terminating zero.
inline constexpr std::size_t kMaxPathBytes = 4095;
inline constexpr std::size_t kMaxNameBytes = 255;

// Names that begin with ".p2pd-" are those of unfinished files; users' files cannot have them.
bool has_part_prefix(std::string_view name);

// `absolute` without ".", repeated and final '/'. invalid_argument: not absolute, "..", a zero
// byte, a reserved name, too long.
Result<std::string> normalise_absolute(const std::string& absolute);
// invalid_argument unless `relative` is in the form that RootedPath asks for.
Status check_relative(const std::string& relative);
// The folder of a path in that form: "." when it has none.
std::string folder_of(const std::string& relative);
// Its last component.
std::string name_of(const std::string& relative);

}  // namespace paths
}  // namespace p2p
