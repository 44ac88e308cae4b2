#include "p2pd/data_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>
#include <utility>

#include "io/disk/fd.h"
#include "io/disk/file_io.h"
#include "io/log/log.h"

namespace p2p {
namespace {

// Ours are two deep.
constexpr int kMaxDepth = 16;
// p2pd join writes it last. Whatever lacks it is somebody's folder, and --data was a slip.
constexpr const char* kProof = "node.json";

// The launcher's, which stays root (io/run/launcher.h).
constexpr std::string_view kRunsFolder = "runs";

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

Status give(const Fd& file, const Account& account, const std::string& path) {
  if (::fchownat(file.get(), "", account.user, account.group, AT_EMPTY_PATH) == 0) return {};
  return error_from_errno(errno, "give " + path + " to " + account.name);
}

Status give_content(Fd folder, const Account& account, const std::string& path, int depth);

Status give_entry(const Fd& folder, const std::string& name, const Account& account,
                  const std::string& path, int depth) {
  const Fd file(::openat(folder.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat facts {};
  if (!file || ::fstat(file.get(), &facts) != 0) return error_from_errno(errno, "open " + path);
  if (S_ISDIR(facts.st_mode)) {
    Fd below(::openat(folder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!below) return error_from_errno(errno, "open " + path);
    if (Status given = give_content(std::move(below), account, path, depth + 1); !given) {
      return given;
    }
  } else if (facts.st_nlink > 1) {
    return Error{Errc::denied, path +
                                   " has a second name elsewhere, so it is no file of an agent; "
                                   "move it away"};
  }
  return give(file, account, path);
}

Status give_content(Fd folder, const Account& account, const std::string& path, int depth) {
  if (depth > kMaxDepth) {
    return Error{Errc::denied, path + " is deeper than an agent's folders are; move it away"};
  }
  const std::unique_ptr<DIR, CloseFolder> reader(::fdopendir(folder.get()));
  if (!reader) return error_from_errno(errno, "list folder " + path);
  // The reader's from now on; still ours to open files in.
  const Fd held(::openat(folder.release(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!held) return error_from_errno(errno, "open " + path);
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(reader.get());
    if (entry == nullptr && errno != 0) return error_from_errno(errno, "list folder " + path);
    if (entry == nullptr) return {};
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || (depth == 0 && name == kRunsFolder)) continue;
    if (Status given = give_entry(held, name, account, path + "/" + name, depth); !given) {
      return given;
    }
  }
}

}  // namespace

Status hand_over(const std::string& folder, const Account& account) {
  Fd top(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat facts {};
  if (!top || ::fstat(top.get(), &facts) != 0) return error_from_errno(errno, "open " + folder);
  if (facts.st_uid == account.user) return {};
  struct stat proof {};
  if (::fstatat(top.get(), kProof, &proof, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(proof.st_mode)) {
    return Error{Errc::not_found, folder + " holds no " + kProof};
  }
  const std::string chown = "chown -R " + account.name + ": " + folder;
  if (facts.st_uid != 0) {
    return Error{Errc::denied, "data folder " + folder + " belongs to user number " +
                                   std::to_string(facts.st_uid) + ", but this agent runs as " +
                                   account.name + ": say --user, or run once: " + chown};
  }
  if ((facts.st_mode & 022) != 0) {
    return Error{Errc::denied, "data folder " + folder +
                                   " may be written by others than root: look what is in it, then "
                                   "run: chmod 700 " +
                                   folder};
  }
  const Fd last(::openat(top.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!last) return error_from_errno(errno, "open " + folder);
  if (Status given = give_content(std::move(top), account, folder, 0); !given) return given;
  if (Status given = give(last, account, folder); !given) return given;
  log_info("agent", "the data folder has a new owner",
           {{"folder", folder}, {"owner", account.name}});
  return {};
}

}  // namespace p2p
