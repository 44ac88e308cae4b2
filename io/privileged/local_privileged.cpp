#include "io/privileged/local_privileged.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <limits>
#include <optional>
#include <utility>

#include "io/disk/file_io.h"
#include "io/privileged/folder_listing.h"

namespace p2p {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr mode_t kPermissionBits = 07777;
constexpr mode_t kSettableBits = 0777;
// Groups with thousands of members need long records; beyond this a name counts as unknown.
constexpr std::size_t kMaxAccountBytes = 1024 * 1024;
constexpr std::size_t kMaxReadyFileBytes = 4096;
// So that a FIFO, a terminal or a device cannot hold up or take over the caller before fstat has
// shown what it is.
constexpr int kReadFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY;

// One of getpwnam_r, getpwuid_r, getgrnam_r and getgrgid_r with a buffer that is long enough;
// `pick` takes from the record what is wanted. Nothing when there is no such account.
template <class Key, class Record, class Pick>
auto look_up(int (*call)(Key, Record*, char*, std::size_t, Record**), Key key, Pick pick)
    -> std::optional<decltype(pick(std::declval<const Record&>()))> {
  for (std::size_t bytes = 4096; bytes <= kMaxAccountBytes; bytes *= 4) {
    std::vector<char> buffer(bytes);
    Record record{};
    Record* found = nullptr;
    const int error = call(key, &record, buffer.data(), buffer.size(), &found);
    if (error == ERANGE) continue;
    if (found == nullptr) return std::nullopt;
    return pick(*found);
  }
  return std::nullopt;
}

bool is_lookable(const std::string& name) {
  return !name.empty() && name.find('\0') == std::string::npos;
}

// Each on its own: whoever may not give a file away may still hand it to one of his groups.
Status set_owner(const Fd& file, const FileMetadata& metadata, const std::string& path) {
  constexpr auto kUnchangedUser = static_cast<uid_t>(-1);
  constexpr auto kUnchangedGroup = static_cast<gid_t>(-1);
  const auto apply = [&](uid_t user, gid_t group) -> Status {
    if (::fchown(file.get(), user, group) == 0) return {};
    // EINVAL: the account exists but has no number in this user namespace.
    if (errno == EPERM || errno == EINVAL) return {};
    return error_from_errno(errno, "set owner of " + path);
  };
  if (is_lookable(metadata.group)) {
    const auto group = look_up(&::getgrnam_r, metadata.group.c_str(),
                               [](const struct group& record) { return record.gr_gid; });
    if (group) {
      if (Status status = apply(kUnchangedUser, *group); !status) return status;
    }
  }
  if (is_lookable(metadata.owner)) {
    const auto user = look_up(&::getpwnam_r, metadata.owner.c_str(),
                              [](const struct passwd& record) { return record.pw_uid; });
    if (user) return apply(*user, kUnchangedGroup);
  }
  return {};
}

timespec to_timespec(std::int64_t ns) {
  std::int64_t whole = ns / kNanosPerSecond;
  std::int64_t rest = ns % kNanosPerSecond;
  if (rest < 0) {
    rest += kNanosPerSecond;
    --whole;
  }
  return {.tv_sec = static_cast<time_t>(whole), .tv_nsec = static_cast<long>(rest)};
}

Status set_metadata(const Fd& file, const FileMetadata& metadata, const std::string& path) {
  if (Status status = set_owner(file, metadata, path); !status) return status;
  if (::fchmod(file.get(), metadata.mode & kSettableBits) != 0) {
    return error_from_errno(errno, "set mode of " + path);
  }
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_NOW}, to_timespec(metadata.mtime_ns)};
  if (::futimens(file.get(), times) != 0) return error_from_errno(errno, "set time of " + path);
  return {};
}

// Passes on `file` when it is a regular file.
Result<Fd> only_regular(Result<Fd> file, const std::string& path) {
  if (!file) return file;
  struct stat facts {};
  if (::fstat(file->get(), &facts) != 0) return error_from_errno(errno, "look at " + path);
  if (S_ISREG(facts.st_mode)) return file;
  return Error{Errc::invalid_argument, S_ISDIR(facts.st_mode) ? path + " is a folder; name a file"
                                                              : path + " is not a regular file"};
}

// The same for a part, which must have no second name through which others may write it.
Result<Fd> only_part(Result<Fd> file, const std::string& path) {
  file = only_regular(std::move(file), path);
  if (!file) return file;
  struct stat facts {};
  if (::fstat(file->get(), &facts) != 0) return error_from_errno(errno, "look at " + path);
  if (facts.st_nlink == 1) return file;
  return Error{Errc::denied, path + " has " + std::to_string(facts.st_nlink) +
                                 " hard links, so it is no unfinished file of ours; remove it"};
}

Error part_deleted(const std::string& path) {
  return {Errc::not_found, "the part " + path +
                               " was deleted while it was written; push again, and keep whatever "
                               "cleans up there from names that begin with .p2pd-"};
}

// What is behind the name must be the file whose bytes the caller knows.
Status only_written(const Fd& file, const FileIdentity& written, const std::string& path) {
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) return error_from_errno(errno, "look at " + path);
  if (FileIdentity{facts.st_dev, facts.st_ino} == written) return {};
  return Error{Errc::corrupt, "the part " + path +
                                  " was replaced by another file while it was written; push again, "
                                  "and find out who else writes in that folder"};
}

// A crash between land()'s chmod and rename leaves a part that its owner may not write any more.
void make_writable_again(const Fd& folder, const std::string& part, const std::string& path) {
  const Result<Fd> file = only_part(open_in_folder(folder, part, kReadFlags, 0, path), path);
  if (file) ::fchmod(file->get(), 0600);
}

Status open_all(const std::string& kind, const std::vector<std::string>& paths,
                std::vector<BaseFolder>& folders, std::vector<std::string>& names) {
  for (const std::string& path : paths) {
    Result<BaseFolder> folder = BaseFolder::open(kind, path);
    if (!folder) return folder.error();
    names.push_back(folder->name());
    folders.push_back(std::move(*folder));
  }
  return {};
}

std::string list_of(const std::vector<std::string>& names) {
  if (names.empty()) return "none";
  std::string list = names.front();
  for (std::size_t i = 1; i < names.size(); ++i) list += ", " + names[i];
  return list;
}

}  // namespace

Result<std::unique_ptr<LocalPrivileged>> LocalPrivileged::create(
    const std::vector<std::string>& roots, const std::vector<std::string>& shares,
    const std::string& ready_file, FileCalls& calls) {
  std::unique_ptr<LocalPrivileged> made(new LocalPrivileged(calls));
  made->ready_file_ = ready_file;
  Status status = open_all("root", roots, made->roots_, made->root_names_);
  if (status) status = open_all("share", shares, made->shares_, made->share_names_);
  if (!status) return status.error();
  return made;
}

Result<Fd> LocalPrivileged::open_source(const std::string& absolute_path) {
  const Result<std::string> path = paths::normalise_absolute(absolute_path);
  if (!path) return path.error().within("open " + absolute_path);

  // The innermost one that holds the path: the one with the least left behind its name.
  const BaseFolder* base = nullptr;
  std::string relative;
  for (const std::vector<BaseFolder>* folders : {&shares_, &roots_}) {
    for (const BaseFolder& folder : *folders) {
      std::optional<std::string> rest = folder.relative_of(*path);
      if (!rest || (base != nullptr && *rest != "." && rest->size() >= relative.size())) continue;
      base = &folder;
      relative = std::move(*rest);
    }
  }
  if (base == nullptr) return outside(*path);
  return only_regular(base->open_below(relative, kReadFlags), *path);
}

Result<Fd> LocalPrivileged::open_part(const RootedPath& destination, const std::string& part) {
  const Result<Place> place = place_of(destination, part);
  if (!place) return place.error();
  Result<Fd> file = make_part(*place, part);
  if (file || file.error().code != Errc::exhausted) return file;
  const Result<FreeSpace> left = free_space(destination);
  if (!left || left->inodes > 0) return file;
  return Error{Errc::exhausted, "create " + place->beside(part) +
                                    ": disk full: its file system has space but can hold no "
                                    "further file (no inodes left, see df -i); remove some files"};
}

Result<Fd> LocalPrivileged::make_part(const Place& place, const std::string& part) {
  const Result<Fd> folder = place.root->make_folder(place.folder());
  if (!folder) return folder.error();
  if (Status status = refuse_folder(place); !status) return status.error();

  const std::string path = place.beside(part);
  constexpr int kFlags = O_CREAT | O_RDWR | O_NONBLOCK | O_NOCTTY;
  Result<Fd> file = open_in_folder(*folder, part, kFlags | O_EXCL, 0600, path);
  if (file) {
    // Before anything is claimed of it: else a power cut takes the file, and leaves the claim.
    if (Status synced = calls_.sync_folder(folder->get(), "of " + path); !synced) {
      return synced.error();
    }
    return file;
  }
  file = open_in_folder(*folder, part, kFlags, 0600, path);
  if (!file && file.error().code == Errc::denied) {
    make_writable_again(*folder, part, path);
    file = open_in_folder(*folder, part, kFlags, 0600, path);
  }
  return only_part(std::move(file), path);
}

Result<Fd> LocalPrivileged::open_landed(const RootedPath& path) {
  const Result<Place> place = place_of(path);
  if (!place) return place.error();
  return only_regular(place->root->open_below(place->relative, kReadFlags), place->absolute());
}

Status LocalPrivileged::land(const RootedPath& destination, const std::string& part,
                             const FileIdentity& written, const FileMetadata& metadata) {
  const Result<Place> place = place_of(destination, part);
  if (!place) return place.error();
  const Result<Fd> folder = place->root->open_folder(place->folder());
  if (!folder) return folder.error();

  const std::string path = place->absolute();
  const std::string part_path = place->beside(part);
  const Result<Fd> file =
      only_part(open_in_folder(*folder, part, kReadFlags, 0, part_path), part_path);
  if (!file) return file.error().code == Errc::not_found ? part_deleted(part_path) : file.error();
  if (Status status = only_written(*file, written, part_path); !status) return status;
  if (Status status = refuse_folder(*place); !status) return status;
  if (Status status = set_metadata(*file, metadata, part_path); !status) return status;
  if (Status status = calls_.sync_all(file->get(), part_path); !status) return status;
  if (Status status = refuse_folder(*place); !status) return status;
  if (Status status = calls_.rename(folder->get(), part, paths::name_of(place->relative), path);
      !status) {
    return status;
  }
  return calls_.sync_folder(folder->get(), "of " + path);
}

Status LocalPrivileged::remove_part(const RootedPath& destination, const std::string& part) {
  const Result<Place> place = place_of(destination, part);
  if (!place) return place.error();
  const Result<Fd> folder = place->root->open_folder(place->folder());
  if (!folder && folder.error().code == Errc::not_found) return {};
  if (!folder) return folder.error();
  return calls_.remove(folder->get(), part, place->beside(part));
}

Result<FreeSpace> LocalPrivileged::free_space(const RootedPath& destination) {
  const Result<Place> place = place_of(destination);
  if (!place) return place.error();
  // Folders that are still missing will be on the file system of the last one that exists.
  std::string near = place->folder();
  Result<Fd> folder = place->root->open_below(near, O_PATH | O_DIRECTORY);
  while (!folder && folder.error().code == Errc::not_found && near != ".") {
    near = paths::folder_of(near);
    folder = place->root->open_below(near, O_PATH | O_DIRECTORY);
  }
  if (!folder) return folder.error();
  struct statvfs space {};
  struct stat facts {};
  if (::fstatvfs(folder->get(), &space) != 0 || ::fstat(folder->get(), &facts) != 0) {
    return error_from_errno(errno, "ask for the free space at " + place->root->absolute_of(near));
  }
  return FreeSpace{
      .bytes = std::uint64_t{space.f_bavail} * space.f_frsize,
      .inodes = space.f_files == 0 ? std::numeric_limits<std::uint64_t>::max() : space.f_favail,
      .device = facts.st_dev};
}

Result<FolderListing> LocalPrivileged::list_folder(std::uint32_t root, const std::string& relative,
                                                   const std::string& after) {
  const Result<const BaseFolder*> base = root_of(root);
  if (!base) return base.error();
  const std::string path = (*base)->absolute_of(relative);
  if (Status status = paths::check_relative(relative); relative != "." && !status) {
    return status.error().within(path);
  }
  const Result<Fd> folder = (*base)->open_folder_of_mount(relative);
  if (!folder) return folder.error();
  return list_entries(*folder, after, path);
}

Status LocalPrivileged::write_ready_file(const std::string& text) {
  if (ready_file_.empty()) {
    return Error{Errc::invalid_argument, "this agent was started without a ready file"};
  }
  if (text.size() > kMaxReadyFileBytes) {
    return Error{Errc::invalid_argument,
                 "a ready file has at most " + std::to_string(kMaxReadyFileBytes) + " bytes"};
  }
  return write_file_atomically(ready_file_, text, 0644);
}

Result<const BaseFolder*> LocalPrivileged::root_of(std::uint32_t number) const {
  if (number < roots_.size()) return &roots_[number];
  return Error{Errc::invalid_argument,
               "root number " + std::to_string(number) +
                   " does not exist; this agent's roots: " + list_of(root_names_)};
}

Result<LocalPrivileged::Place> LocalPrivileged::place_of(const RootedPath& path) const {
  const Result<const BaseFolder*> root = root_of(path.root);
  if (!root) return root.error();
  if (Status status = paths::check_relative(path.relative); !status) {
    return status.error().within((*root)->absolute_of(path.relative));
  }
  return Place{*root, path.relative};
}

Result<LocalPrivileged::Place> LocalPrivileged::place_of(const RootedPath& path,
                                                         const std::string& part) const {
  const bool is_name = paths::has_part_prefix(part) && part.size() <= paths::kMaxNameBytes &&
                       part.find('/') == std::string::npos && part.find('\0') == std::string::npos;
  if (!is_name) {
    return Error{Errc::invalid_argument,
                 "\"" + part +
                     "\" cannot name a part: it must begin with .p2pd-, have no / and at "
                     "most 255 bytes"};
  }
  return place_of(path);
}

Status LocalPrivileged::refuse_folder(const Place& place) {
  if (!place.root->open_below(place.relative, O_PATH | O_DIRECTORY)) return {};
  return Error{Errc::invalid_argument, place.absolute() + " is a folder; name a file"};
}

Error LocalPrivileged::outside(const std::string& absolute_path) const {
  return {Errc::denied, "open " + absolute_path +
                            ": not below a folder that this agent may read; shares: " +
                            list_of(share_names_) + "; roots: " + list_of(root_names_) +
                            "; start it with --share to publish from elsewhere"};
}

Result<FileFacts> facts_of(const Fd& fd) {
  struct stat facts {};
  if (::fstat(fd.get(), &facts) != 0) return error_from_errno(errno, "look at an open file");
  const auto ns = [](const timespec& time) {
    return std::int64_t{time.tv_sec} * kNanosPerSecond + time.tv_nsec;
  };
  const auto owner = look_up(&::getpwuid_r, facts.st_uid, [](const struct passwd& record) {
    return std::string(record.pw_name);
  });
  const auto group = look_up(&::getgrgid_r, facts.st_gid, [](const struct group& record) {
    return std::string(record.gr_name);
  });
  return FileFacts{.size = static_cast<std::uint64_t>(facts.st_size),
                   .mtime_ns = ns(facts.st_mtim),
                   .ctime_ns = ns(facts.st_ctim),
                   .inode = facts.st_ino,
                   .device = facts.st_dev,
                   .mode = facts.st_mode & kPermissionBits,
                   .owner = owner.value_or(std::to_string(facts.st_uid)),
                   .group = group.value_or(std::to_string(facts.st_gid))};
}

}  // namespace p2p
