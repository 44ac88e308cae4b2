#include "io/run/shim.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/text.h"
#include "core/runs/shebang.h"
#include "io/disk/file_io.h"
#include "io/run/command.h"
#include "io/run/output_spool.h"
#include "io/run/process_tree.h"
#include "io/run/run_cgroup.h"
#include "io/run/run_files.h"
#include "io/run/run_order.h"
#include "io/run/run_result.h"

namespace p2p {
namespace {

using Result_ = proto::RunResult;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kMaxTextBytes = 8 * 1024;
constexpr std::size_t kReadBytes = 64 * 1024;
// Between two rounds of KILL, for those who were being forked, or who hang in the kernel.
constexpr milliseconds kKillAgain{100};

std::int64_t unix_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

struct Pipe {
  Fd read;
  Fd write;
};

Result<Pipe> make_pipe() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return error_from_errno(errno, "make a pipe");
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

class Shim {
 public:
  Shim(AccountRule accounts, Fd order, Fd folder, Fd lock, Fd runs, Fd control)
      : accounts_(std::move(accounts)),
        order_memory_(std::move(order)),
        folder_(std::move(folder)),
        lock_(std::move(lock)),
        runs_(std::move(runs)),
        control_(std::move(control)) {}

  Status run() {
    auto order = unseal_order(order_memory_);
    if (!order) return order.error();
    order_ = std::move(*order);
    order_memory_.reset();
    out_.emplace(folder_.get(), RunStream::out, order_.keep_bytes());
    err_.emplace(folder_.get(), RunStream::err, order_.keep_bytes());
    result_.set_begun_unix_ms(unix_ms());
    room_ = Fd(::openat(folder_.get(), run_files::kResultRoom, O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!room_) return error_from_errno(errno, "open the room for the result of a run");
    if (const auto failed = begin()) {
      not_begun(*failed);
    } else {
      while (!is_over()) step();
      drain();
      conclude();
    }
    return finish();
  }

 private:
  struct Stream {
    Fd pipe;
    OutputSpool* spool = nullptr;
  };

  void not_begun(const NotBegun& why) {
    result_.set_end(Result_::NOT_BEGUN);
    result_.set_reason(why.reason);
    result_.set_text(why.text);
  }

  // Nothing when the command runs.
  std::optional<NotBegun> begin() {
    const auto no_resources = [](const Error& error) {
      return NotBegun{Result_::NO_RESOURCES, error.detail};
    };
    Command command;
    command.id = RunId::from_raw(order_.id())->hex();
    command.arguments = {order_.arguments().begin(), order_.arguments().end()};
    command.environment = {order_.environment().begin(), order_.environment().end()};
    command.folder = order_.folder();
    command.account = order_.account();
    command.accounts = accounts_;
    command.umask = static_cast<mode_t>(order_.umask());
    command.limits = order_.limits();
    Fd script;
    if (order_.is_script()) {
      const auto shebang = parse_shebang(order_.script());
      auto sealed = seal_bytes(order_.script(), "script");
      if (!sealed) return no_resources(sealed.error());
      script = std::move(*sealed);
      command.script = script.get();
      std::vector<std::string> words;
      if (shebang) {
        words.push_back(shebang->interpreter);
        if (shebang->argument) words.push_back(*shebang->argument);
        words.push_back("/dev/fd/3");
      } else {
        command.fault = NotBegun{Result_::BAD_SCRIPT, shebang.error().detail};
      }
      command.arguments.insert(command.arguments.begin(), words.begin(), words.end());
    }
    Fd in;
    if (order_.input().empty()) {
      in = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    } else {
      auto sealed = seal_bytes(order_.input(), "input");
      if (!sealed) return no_resources(sealed.error());
      in = std::move(*sealed);
    }
    auto out = make_pipe();
    auto err = make_pipe();
    if (!out) return no_resources(out.error());
    if (!err) return no_resources(err.error());
    command.in = in.get();
    command.out = out->write.get();
    command.err = err->write.get();
    if (Status watched = watch_signals(); !watched) return no_resources(watched.error());
    if (const auto parent = own_cgroup_folder()) {
      cgroup_ = RunCgroup::make(*parent, run_cgroup_name(command.id));
    }
    if (cgroup_) command.cgroup_procs = cgroup_->procs();

    result_.set_begun_unix_ms(unix_ms());
    began_ = Clock::now();
    const auto begun = begin_command(command, {signals_.get(), control_.get(), next_alarm()});
    if (const auto* failed = std::get_if<NotBegun>(&begun)) return *failed;
    main_ = std::get<pid_t>(begun);
    streams_[0] = {std::move(out->read), &*out_};
    streams_[1] = {std::move(err->read), &*err_};
    proto::RunBegun note;
    note.set_begun_unix_ms(result_.begun_unix_ms());
    note.set_pid(main_);
    // Only says more about a run that is lost later; the result does not need it.
    (void)run_files::put(folder_.get(), run_files::kBegun, note.SerializeAsString()).has_value();
    order_.clear_script();
    order_.clear_input();
    return std::nullopt;
  }

  Status watch_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, number);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = Fd(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!signals_) return error_from_errno(errno, "watch signals");
    return {};
  }

  bool is_over() const {
    if (!main_ended_) return false;
    return !stopping_ || (!has_children_ && (!cgroup_ || cgroup_->is_empty()));
  }

  std::optional<Clock::time_point> next_alarm() const {
    if (stopping_) return kill_at_;
    if (order_.timeout_ms() == 0) return std::nullopt;
    return began_ + milliseconds(order_.timeout_ms());
  }

  void step() {
    std::array<pollfd, 4> waited = {
        pollfd{signals_.get(), POLLIN, 0}, pollfd{control_.get(), POLLIN, 0},
        pollfd{streams_[0].pipe.get(), POLLIN, 0}, pollfd{streams_[1].pipe.get(), POLLIN, 0}};
    int timeout = -1;
    if (const auto alarm = next_alarm()) {
      const auto left =
          std::chrono::duration_cast<milliseconds>(*alarm - Clock::now()) + milliseconds(1);
      timeout = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
    }
    ::poll(waited.data(), waited.size(), timeout);
    if (waited[0].revents != 0) take_signals();
    if (waited[1].revents != 0) take_control();
    if (waited[2].revents != 0) take_output(streams_[0]);
    if (waited[3].revents != 0) take_output(streams_[1]);
    const auto alarm = next_alarm();
    if (main_ended_ && !stopping_) return;
    if (!alarm || Clock::now() < *alarm) return;
    if (stopping_) {
      kill_all();
    } else {
      stop(Result_::TIMED_OUT);
    }
  }

  void take_signals() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
      // Somebody ends this shim, perhaps the whole machine: then the command has to end, too. But
      // no operator has stopped it.
      if (info.ssi_signo != SIGCHLD && stop(Result_::EXITED)) {
        result_.set_told_by_signal(info.ssi_signo);
      }
    }
    reap();
  }

  void take_control() {
    char bytes[64];
    while (::read(control_.get(), bytes, sizeof bytes) > 0) {
    }
    stop(Result_::CANCELLED);
  }

  void take_output(Stream& stream) {
    const ssize_t got = ::read(stream.pipe.get(), buffer_.data(), buffer_.size());
    if (got > 0) stream.spool->take({buffer_.data(), static_cast<std::size_t>(got)});
    if (got == 0) stream.pipe.reset();
  }

  void reap() {
    for (;;) {
      int status = 0;
      rusage used{};
      const pid_t pid = ::wait4(-1, &status, WNOHANG, &used);
      if (pid < 0 && errno == EINTR) continue;
      if (pid < 0) has_children_ = false;
      if (pid <= 0) return;
      if (pid != main_) continue;
      main_ended_ = true;
      result_.set_has_code(WIFEXITED(status));
      if (WIFEXITED(status)) result_.set_code(WEXITSTATUS(status));
      if (WIFSIGNALED(status)) result_.set_signal(WTERMSIG(status));
      const auto micros = [](const timeval& time) {
        return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 +
               static_cast<std::uint64_t>(time.tv_usec);
      };
      result_.set_cpu_us(micros(used.ru_utime) + micros(used.ru_stime));
      result_.set_peak_bytes(static_cast<std::uint64_t>(used.ru_maxrss) * 1024);
    }
  }

  // All processes of the run that still do something.
  std::vector<ProcessFacts> alive() const {
    std::vector<ProcessFacts> found = descendants_of(::getpid());
    if (cgroup_) {
      const auto members = facts_of_processes(cgroup_->members());
      found.insert(found.end(), members.begin(), members.end());
    }
    std::set<pid_t> seen;
    std::erase_if(found, [&](const ProcessFacts& process) {
      return process.ended || process.pid == ::getpid() || !seen.insert(process.pid).second;
    });
    return found;
  }

  // False: it ends already, or has ended.
  bool stop(Result_::End why) {
    reap();
    if (stopping_ || main_ended_) return false;
    stopping_ = true;
    result_.set_end(why);
    for (const ProcessFacts& process : alive()) {
      send_signal(process, SIGTERM);
      send_signal(process, SIGCONT);  // one that is stopped cannot hear it
    }
    kill_at_ = Clock::now() + milliseconds(order_.grace_ms());
    return true;
  }

  void kill_all() {
    for (const ProcessFacts& process : alive()) killed_.insert({process.pid, process.start});
    if (cgroup_) cgroup_->kill();
    for (const ProcessFacts& process : kill_descendants_of(::getpid())) {
      killed_.insert({process.pid, process.start});
    }
    kill_at_ = Clock::now() + kKillAgain;
    reap();
  }

  // What the command itself has written lies in the pipes by now. Others may go on writing, so no
  // more than that is read.
  void drain() {
    for (Stream& stream : streams_) {
      int waiting = 0;
      if (!stream.pipe || ::ioctl(stream.pipe.get(), FIONREAD, &waiting) != 0) continue;
      while (waiting > 0) {
        const auto most = std::min<std::size_t>(buffer_.size(), static_cast<std::size_t>(waiting));
        const ssize_t got = ::read(stream.pipe.get(), buffer_.data(), most);
        if (got <= 0) break;
        stream.spool->take({buffer_.data(), static_cast<std::size_t>(got)});
        waiting -= static_cast<int>(got);
      }
    }
  }

  void conclude() {
    result_.set_killed(static_cast<std::uint32_t>(killed_.size()));
    if (!stopping_) {
      result_.set_end(Result_::EXITED);
      result_.set_left_running(static_cast<std::uint32_t>(alive().size()));
    }
  }

  Status finish() {
    result_.set_ended_unix_ms(unix_ms());
    out_->sync();
    err_->sync();
    *result_.mutable_out() = out_->facts();
    *result_.mutable_err() = err_->facts();
    result_.set_text(printable(text_of_result(result_, order_.timeout_ms()), kMaxTextBytes));
    if (cgroup_) cgroup_->remove();
    return write_result();
  }

  Status write_result() {
    FileCalls& calls = FileCalls::system();
    const std::string bytes = result_.SerializeAsString();
    const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
    const char* name = run_files::kResultRoom;
    Status done = calls.write_at(room_.get(), {first, bytes.size()}, 0, name);
    if (done) done = calls.set_size(room_.get(), bytes.size(), name);
    if (done) done = calls.sync_all(room_.get(), name);
    if (done) done = calls.rename(folder_.get(), name, run_files::kResult, name);
    if (done) done = calls.sync_folder(folder_.get(), "the folder of a run");
    if (done) done = calls.sync_folder(runs_.get(), "the folder of runs");
    return done;
  }

  AccountRule accounts_;
  Fd order_memory_;
  Fd folder_;
  Fd lock_;  // goes free when this process ends
  Fd runs_;
  Fd control_;
  Fd room_;
  Fd signals_;
  proto::RunOrder order_;
  proto::RunResult result_;
  std::optional<OutputSpool> out_;
  std::optional<OutputSpool> err_;
  std::optional<RunCgroup> cgroup_;
  std::array<Stream, 2> streams_;
  std::array<std::uint8_t, kReadBytes> buffer_{};
  pid_t main_ = -1;
  bool main_ended_ = false;
  bool has_children_ = true;
  bool stopping_ = false;
  Clock::time_point began_;
  Clock::time_point kill_at_;
  std::set<std::pair<pid_t, std::uint64_t>> killed_;
};

Status check_descriptors() {
  struct stat folder {};
  struct stat runs {};
  const bool given = ::fcntl(kShimOrder, F_GET_SEALS) > 0 && ::fstat(kShimFolder, &folder) == 0 &&
                     S_ISDIR(folder.st_mode) && ::fstat(kShimRuns, &runs) == 0 &&
                     S_ISDIR(runs.st_mode) && ::fcntl(kShimLock, F_GETFD) >= 0 &&
                     ::fcntl(kShimControl, F_GETFD) >= 0;
  if (given) return {};
  return Error{Errc::invalid_argument,
               "p2pd shim is started by p2pd for each run and is of no use without it"};
}

// Nothing of whoever started it, and nobody below it escapes it.
Status become_owner() {
  ::setsid();  // fails where it leads a session already, as wanted
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  constexpr int kEnd = kShimOrder + kShimDescriptors;
  ::close_range(kEnd, ~0u, 0);
  for (int fd = kShimOrder; fd < kEnd; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return error_from_errno(errno, "open /dev/null");
  for (const int fd : {0, 1, 2}) ::dup2(null.get(), fd);
  ::umask(027);
  if (::chdir("/") != 0) return error_from_errno(errno, "enter /");
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
    return error_from_errno(errno, "adopt what a run leaves behind");
  }
  return {};
}

}  // namespace

Status run_shim(const AccountRule& accounts) {
  if (Status checked = check_descriptors(); !checked) return checked;
  if (Status became = become_owner(); !became) return became;
  return Shim(accounts, Fd(kShimOrder), Fd(kShimFolder), Fd(kShimLock), Fd(kShimRuns),
              Fd(kShimControl))
      .run();
}

}  // namespace p2p
