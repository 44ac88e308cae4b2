#include "io/run/run_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <memory>

#include "io/disk/file_io.h"

namespace p2p {
namespace run_files {
namespace {

constexpr std::size_t kMaxFileBytes = 64 * 1024;

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

struct flock whole_file(short type) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  return range;
}

}  // namespace

std::string segment_name(RunStream stream, std::uint64_t begin) {
  char name[32];
  std::snprintf(name, sizeof name, "%s.%016" PRIx64, stream == RunStream::out ? "out" : "err",
                begin);
  return name;
}

std::optional<std::uint64_t> segment_begin(RunStream stream, const std::string& name) {
  if (name.size() != 20) return std::nullopt;
  std::uint64_t begin = 0;
  if (std::sscanf(name.c_str() + 4, "%16" SCNx64, &begin) != 1) return std::nullopt;
  return name == segment_name(stream, begin) ? std::optional(begin) : std::nullopt;
}

Result<std::vector<std::string>> names_in(int folder) {
  const int again = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (again < 0) return error_from_errno(errno, "open a folder of runs");
  const std::unique_ptr<DIR, CloseFolder> open(::fdopendir(again));
  if (!open) {
    ::close(again);
    return error_from_errno(errno, "read a folder of runs");
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(open.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) return error_from_errno(errno, "read a folder of runs");
  std::sort(names.begin(), names.end());
  return names;
}

Status lock(int file) {
  struct flock range = whole_file(F_WRLCK);
  if (::fcntl(file, F_OFD_SETLK, &range) == 0) return {};
  return error_from_errno(errno, "lock a run");
}

Result<bool> is_held(int folder) {
  const Fd file(::openat(folder, kLock, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file && errno == ENOENT) return false;
  if (!file) return error_from_errno(errno, "open the lock of a run");
  struct flock range = whole_file(F_RDLCK);
  if (::fcntl(file.get(), F_OFD_GETLK, &range) == 0) return range.l_type != F_UNLCK;
  return error_from_errno(errno, "look at the lock of a run");
}

Status put(int folder, const char* name, const std::string& bytes) {
  const std::string fresh = std::string(name) + ".new";
  const Fd file(
      ::openat(folder, fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640));
  if (!file) return error_from_errno(errno, "make " + fresh + " of a run");
  const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
  if (Status written = write_all_at(file.get(), {first, bytes.size()}, 0, fresh); !written) {
    return written;
  }
  if (::renameat(folder, fresh.c_str(), folder, name) == 0) return {};
  return error_from_errno(errno, "rename " + fresh + " of a run");
}

Result<std::optional<std::string>> get(int folder, const char* name) {
  const Fd file(::openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file && errno == ENOENT) return std::optional<std::string>();
  if (!file) return error_from_errno(errno, std::string("open ") + name + " of a run");
  std::string bytes(kMaxFileBytes + 1, '\0');
  auto* first = reinterpret_cast<std::uint8_t*>(bytes.data());
  const auto size = read_at(file.get(), {first, bytes.size()}, 0, name);
  if (!size) return size.error();
  if (*size > kMaxFileBytes) {
    return Error{Errc::corrupt, std::string(name) + " of a run has more than 64 KiB"};
  }
  bytes.resize(*size);
  return std::optional(std::move(bytes));
}

}  // namespace run_files

namespace {

// What a message in a file says; nothing when there is none, or no such message.
template <class Message>
Result<std::optional<Message>> message_in(int folder, const char* name) {
  const auto bytes = run_files::get(folder, name);
  if (!bytes) return bytes.error();
  Message message;
  if (!*bytes || !message.ParseFromString(**bytes)) return std::optional<Message>();
  return std::optional(std::move(message));
}

std::optional<RunEnd> end_of(const proto::RunResult& result) {
  switch (result.end()) {
    case proto::RunResult::EXITED:
      return RunEnd::by_itself;
    case proto::RunResult::NOT_BEGUN:
      return RunEnd::not_begun;
    case proto::RunResult::TIMED_OUT:
      return RunEnd::by_timeout;
    case proto::RunResult::CANCELLED:
      return RunEnd::by_cancel;
    default:
      return std::nullopt;
  }
}

}  // namespace

Result<std::vector<RunId>> RunFolders::list() const {
  const Fd folder(::open(path_.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder && errno == ENOENT) return std::vector<RunId>();
  if (!folder) return error_from_errno(errno, "open " + path_);
  const auto names = run_files::names_in(folder.get());
  if (!names) return names.error();
  std::vector<RunId> ids;
  for (const std::string& name : *names) {
    if (const auto id = RunId::parse(name)) ids.push_back(*id);
  }
  return ids;
}

Result<RunSight> RunFolders::look(const RunId& id) const {
  RunSight sight;
  const Fd folder(::open(path_of(id).c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder && errno == ENOENT) return sight;
  if (!folder) return error_from_errno(errno, "open " + path_of(id));
  // The lock first: a shim writes its result and then lets go of it.
  const auto held = run_files::is_held(folder.get());
  if (!held) return held.error();
  sight.traces.shim_lives = *held;
  auto begun = message_in<proto::RunBegun>(folder.get(), run_files::kBegun);
  if (!begun) return begun.error();
  auto result = message_in<proto::RunResult>(folder.get(), run_files::kResult);
  if (!result) return result.error();
  sight.begun = std::move(*begun);
  sight.result = std::move(*result);
  sight.traces.begun = sight.begun.has_value();
  if (sight.result) sight.traces.end = end_of(*sight.result);
  return sight;
}

Result<OutputPiece> RunFolders::read_output(const RunId& id, RunStream stream, std::uint64_t offset,
                                            std::size_t bytes_max) const {
  const Fd folder(::open(path_of(id).c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return error_from_errno(errno, "open " + path_of(id));
  // Again when a segment goes away between being seen and being opened: others are newer.
  for (;;) {
    const auto names = run_files::names_in(folder.get());
    if (!names) return names.error();
    bool gone = false;
    for (const std::string& name : *names) {  // in the order of their offsets
      const auto begin = run_files::segment_begin(stream, name);
      if (!begin) continue;
      const Fd file(::openat(folder.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
      gone = !file && errno == ENOENT;
      if (gone) break;
      if (!file) return error_from_errno(errno, "open " + name + " of a run");
      OutputPiece piece{.offset = std::max(offset, *begin), .bytes = std::string(bytes_max, '\0')};
      auto* first = reinterpret_cast<std::uint8_t*>(piece.bytes.data());
      const auto size = read_at(file.get(), {first, bytes_max}, piece.offset - *begin, name);
      if (!size) return size.error();
      piece.bytes.resize(*size);
      if (*size > 0) return piece;
    }
    if (!gone) return OutputPiece{.offset = offset, .bytes = {}};
  }
}

}  // namespace p2p
