#include "io/run/launcher.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "io/disk/fd.h"
#include "io/disk/file_io.h"
#include "io/privileged/helper_channel.h"
#include "io/run/run_cgroup.h"
#include "io/run/run_files.h"
#include "io/run/run_order.h"
#include "io/run/shim.h"

namespace p2p {
namespace {

using Request = proto::LauncherRequest;

constexpr std::size_t kMaxDetailBytes = 8 * 1024;
// For the result, before anything begins, so that a full disk never costs an exit code.
constexpr std::size_t kResultRoomBytes = 32 * 1024;
// For the launcher before this one to have ended.
constexpr std::chrono::milliseconds kLookAgain{10};

// The folder of one run on its way to a shim.
struct NewRun {
  Fd folder;
  Fd lock;
  Fd control;
};

Status take_room(int folder) {
  const Fd room(
      ::openat(folder, run_files::kResultRoom, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
  const int error = room ? ::posix_fallocate(room.get(), 0, kResultRoomBytes) : errno;
  if (error == 0) return {};
  return error_from_errno(error, "make room for the result of a run");
}

Status remove_files(int runs, const std::string& name) {
  const Fd folder(::openat(runs, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder && errno == ENOENT) return {};
  if (!folder) return error_from_errno(errno, "open the folder of run " + name);
  const auto names = run_files::names_in(folder.get());
  if (!names) return names.error();
  for (const std::string& entry : *names) {
    if (::unlinkat(folder.get(), entry.c_str(), 0) != 0 && errno != ENOENT) {
      return error_from_errno(errno, "remove " + entry + " of run " + name);
    }
  }
  if (::unlinkat(runs, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
  return error_from_errno(errno, "remove the folder of run " + name);
}

// In the child: the descriptors of a shim in their places, then the program once more.
[[noreturn]] void be_shim(const LauncherSettings& settings,
                          std::array<int, kShimDescriptors> handed, int report) {
  report = ::fcntl(report, F_DUPFD_CLOEXEC, 20);
  // Above the places first, so that none is overwritten before it is moved.
  for (int& fd : handed) fd = ::fcntl(fd, F_DUPFD_CLOEXEC, 20);
  bool placed = report >= 0;
  for (int i = 0; i < kShimDescriptors; ++i) {
    placed &= ::dup2(handed[static_cast<std::size_t>(i)], kShimOrder + i) == kShimOrder + i;
  }
  std::vector<std::string> words = {"p2pd", "shim",
                                    "--agent-user=" + std::to_string(settings.accounts.agent)};
  for (const std::string& name : settings.accounts.allowed) words.push_back("--account=" + name);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  if (placed) ::execv(settings.program.c_str(), pointers.data());
  const int error = errno;
  (void)!::write(report, &error, sizeof error);
  ::_exit(127);
}

class Launcher {
 public:
  Launcher(int socket, Fd runs, const LauncherSettings& settings)
      : socket_(socket), runs_(std::move(runs)), settings_(settings) {}

  Status serve() {
    if (Status entered = enter(); !entered) return entered;
    for (;;) {
      auto message = receive_from_helper_channel(socket_, /*files_expected=*/true);
      if (!message) return message.error();
      if (!*message) return {};
      Request request;
      if (!request.ParseFromString((*message)->bytes) || request.number() == 0) {
        return Error{Errc::corrupt, "a request for a run cannot be read"};
      }
      proto::LauncherReply reply;
      reply.set_number(request.number());
      if (const Status done = carry_out(request, (*message)->file); !done) {
        reply.set_error(std::string(to_string(done.error().code)));
        reply.set_detail(done.error().detail.substr(0, kMaxDetailBytes));
      }
      const Status sent = send_to_helper_channel(socket_, reply.SerializeAsString());
      if (!sent) return sent.error().code == Errc::unavailable ? Status() : sent;
    }
  }

 private:
  // The launcher of an agent that was killed may still carry out its last request: until it has
  // ended nothing is served here, so that whoever was answered knows which runs there are.
  Status enter() {
    presence_ = Fd(::openat(runs_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!presence_) return error_from_errno(errno, "open the folder of runs");
    while (::flock(presence_.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        return error_from_errno(errno, "lock the folder of runs");
      }
      if (is_helper_channel_closed(socket_)) return {};
      std::this_thread::sleep_for(kLookAgain);
    }
    remove_unfinished();
    remove_left_groups();
    return {};
  }

  // Folders that a launcher made and died before a shim had them: nothing ran.
  void remove_unfinished() {
    const auto names = run_files::names_in(runs_.get());
    if (!names) return;
    for (const std::string& name : *names) {
      if (name.starts_with(run_files::kNewPrefix))
        (void)remove_files(runs_.get(), name).has_value();
    }
  }

  // Cgroups of runs that have ended. Those that still have processes stay, and come later.
  void remove_left_groups() {
    const auto parent = own_cgroup_folder();
    if (!parent) return;
    const Fd folder(::open(parent->c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const auto names = folder ? run_files::names_in(folder.get()) : Error{Errc::not_found, ""};
    if (!names) return;
    const std::string prefix = run_cgroup_name("");
    for (const std::string& name : *names) {
      if (!name.starts_with(prefix) || lives(name.substr(prefix.size()))) continue;
      ::unlinkat(folder.get(), name.c_str(), AT_REMOVEDIR);
    }
  }

  // Also where that cannot be seen.
  bool lives(const std::string& name) const {
    const Fd folder(
        ::openat(runs_.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder) return errno != ENOENT;
    const Result<bool> held = run_files::is_held(folder.get());
    return !held || *held;
  }

  Status carry_out(const Request& request, const Fd& file) {
    const auto id = RunId::from_raw(request.id());
    if (!id) return Error{Errc::invalid_argument, "run: its id is none"};
    switch (request.kind()) {
      case Request::START:
        return start(*id, file);
      case Request::CANCEL:
        return cancel(*id);
      case Request::REMOVE:
        return remove(*id);
      default:
        return Error{Errc::invalid_argument, "a request to the launcher is of an unknown kind"};
    }
  }

  Status start(const RunId& id, const Fd& memory) {
    if (!memory) return Error{Errc::invalid_argument, "run: it has no order"};
    const auto order = unseal_order(memory);
    if (!order) return order.error();
    if (order->id() != id.raw()) {
      return Error{Errc::invalid_argument, "run: its order is of another run"};
    }
    if (Status allowed = permit_order(settings_.policy, *order); !allowed) return allowed;
    auto made = make_run(id);
    if (!made) return made.error();
    if (Status started = start_shim(memory, *made); !started) {
      (void)remove_files(runs_.get(), id.hex()).has_value();
      return started;
    }
    return {};
  }

  // Its name appears with its lock held: whoever sees the folder sees a run that lives.
  Result<NewRun> make_run(const RunId& id) {
    const std::string name = id.hex();
    const std::string fresh = run_files::kNewPrefix + name;
    auto made = fill_run(name, fresh);
    if (!made) (void)remove_files(runs_.get(), fresh).has_value();
    return made;
  }

  Result<NewRun> fill_run(const std::string& name, const std::string& fresh) {
    if (Status removed = remove_files(runs_.get(), fresh); !removed) return removed.error();
    if (::mkdirat(runs_.get(), fresh.c_str(), 0750) != 0) {
      return error_from_errno(errno, "make a folder for run " + name);
    }
    NewRun run;
    run.folder =
        Fd(::openat(runs_.get(), fresh.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!run.folder) return error_from_errno(errno, "open the folder of run " + name);
    run.lock = Fd(
        ::openat(run.folder.get(), run_files::kLock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
    if (!run.lock) return error_from_errno(errno, "make the lock of run " + name);
    if (Status locked = run_files::lock(run.lock.get()); !locked) return locked.error();
    if (::mkfifoat(run.folder.get(), run_files::kControl, 0600) != 0) {
      return error_from_errno(errno, "make the control of run " + name);
    }
    // Open from the beginning, so that a run can be cancelled before its shim has come so far.
    run.control = Fd(::openat(run.folder.get(), run_files::kControl,
                              O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
    if (!run.control) return error_from_errno(errno, "open the control of run " + name);
    if (Status taken = take_room(run.folder.get()); !taken) return taken.error();
    if (::renameat2(runs_.get(), fresh.c_str(), runs_.get(), name.c_str(), RENAME_NOREPLACE) == 0) {
      return run;
    }
    if (errno == EEXIST) {
      return Error{Errc::already_exists, "run " + name + " was started before"};
    }
    return error_from_errno(errno, "name the folder of run " + name);
  }

  Status start_shim(const Fd& order, const NewRun& run) {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) != 0) return error_from_errno(errno, "make a pipe");
    const Fd listen(ends[0]);
    Fd report(ends[1]);
    const pid_t shim = ::fork();
    if (shim == 0) {
      be_shim(settings_,
              {order.get(), run.folder.get(), run.lock.get(), runs_.get(), run.control.get()},
              report.get());
    }
    if (shim < 0) return error_from_errno(errno, "start a process for a run");
    report.reset();
    int error = 0;
    ssize_t got = -1;
    do {
      got = ::read(listen.get(), &error, sizeof error);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) return {};
    return error_from_errno(error, "start a process for a run");
  }

  Status cancel(const RunId& id) {
    const std::string path = id.hex() + "/" + run_files::kControl;
    const Fd control(
        ::openat(runs_.get(), path.c_str(), O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
    // A full FIFO has told the shim already.
    if (control && (::write(control.get(), "c", 1) == 1 || errno == EAGAIN)) return {};
    if (errno == ENXIO || errno == ENOENT) {
      return Error{Errc::not_found, "run " + id.hex() + " is not running"};
    }
    return error_from_errno(errno, "cancel run " + id.hex());
  }

  Status remove(const RunId& id) {
    const std::string name = id.hex();
    const Fd folder(
        ::openat(runs_.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder && errno != ENOENT)
      return error_from_errno(errno, "open the folder of run " + name);
    const Result<bool> held = folder ? run_files::is_held(folder.get()) : false;
    if (!held) return held.error();
    if (*held) return Error{Errc::unavailable, "run " + name + " still goes on"};
    remove_left_groups();
    return remove_files(runs_.get(), name);
  }

  const int socket_;
  const Fd runs_;
  Fd presence_;  // locked alone; not runs_, which every shim inherits
  const LauncherSettings& settings_;
};

// Shims that end leave no zombie here, and a launcher that ends leaves its shims to init.
void set_signals() {
  struct sigaction no_zombies {};
  no_zombies.sa_handler = SIG_DFL;
  no_zombies.sa_flags = SA_NOCLDWAIT;
  ::sigaction(SIGCHLD, &no_zombies, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

Result<Fd> open_runs_folder(const std::string& path) {
  Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return error_from_errno(errno, "open the folder of runs " + path);
  struct stat facts {};
  if (::fstat(folder.get(), &facts) != 0) return error_from_errno(errno, "look at " + path);
  if (facts.st_uid == ::geteuid() && (facts.st_mode & 022) == 0) return folder;
  return Error{Errc::denied, "the folder of runs " + path +
                                 " belongs to somebody else, or others may write to it; move it "
                                 "away, and runs that it knows will count as lost"};
}

}  // namespace

Status prepare_runs_folder(const std::string& path, int readers) {
  if (::mkdir(path.c_str(), 0750) != 0 && errno != EEXIST) {
    return error_from_errno(errno, "make the folder of runs " + path);
  }
  const auto folder = open_runs_folder(path);
  if (!folder) return folder.error();
  if (readers < 0) return {};
  // What is made inside gets the group, too. As one of the group: for others the kernel drops the
  // bit in silence where CAP_FSETID is missing, as under p2pd.service.
  const int before = ::setfsgid(static_cast<gid_t>(readers));
  const bool given =
      ::fchown(folder->get(), static_cast<uid_t>(-1), static_cast<gid_t>(readers)) == 0 &&
      ::fchmod(folder->get(), 02750) == 0;
  const int error = errno;
  ::setfsgid(static_cast<gid_t>(before));
  if (!given) return error_from_errno(error, "let the agent read " + path);
  struct stat facts {};
  if (::fstat(folder->get(), &facts) == 0 && (facts.st_mode & S_ISGID) != 0) return {};
  return Error{Errc::denied, "let the agent read " + path +
                                 ": what is made there does not get its group (CAP_SETGID or "
                                 "CAP_FSETID is missing)"};
}

bool is_runs_folder_in_use(const std::string& path) {
  const Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return errno != ENOENT;
  if (::flock(folder.get(), LOCK_EX | LOCK_NB) != 0) return true;
  const auto names = run_files::names_in(folder.get());
  return !names || !names->empty();
}

Status run_launcher(int socket, const LauncherSettings& settings) {
  auto runs = open_runs_folder(settings.runs);
  if (!runs) return runs.error();
  set_signals();
  ::umask(027);
  return Launcher(socket, std::move(*runs), settings).serve();
}

}  // namespace p2p
