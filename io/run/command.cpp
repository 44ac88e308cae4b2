#include "io/run/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <string_view>
#include <system_error>

#include "core/base/text.h"
#include "core/runs/shebang.h"
#include "io/disk/fd.h"
#include "io/disk/file_io.h"

namespace p2p {
namespace {

using Reason = proto::RunResult;

constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int kScriptDescriptor = 3;
constexpr std::size_t kMaxTextBytes = 2000;

std::string why(int error) {
  return std::generic_category().message(error);
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> list;
  for (const std::string& word : words) list.push_back(const_cast<char*>(word.c_str()));
  list.push_back(nullptr);
  return list;
}

// ---- in the child: every failure leaves through give_up --------------------------------------

[[noreturn]] void give_up(int report, Reason::Reason reason, const std::string& text) {
  const std::string message = static_cast<char>(reason) + text.substr(0, kMaxTextBytes);
  (void)!::write(report, message.data(), message.size());
  ::_exit(127);
}

void reset_signals() {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// The three standard ones and the script; everything else is closed by exec.
void place_descriptors(const Command& command, int report) {
  // Out of the way of the numbers that are given now.
  const auto away = [&](int fd) { return fd < 0 ? -1 : ::fcntl(fd, F_DUPFD_CLOEXEC, 10); };
  const int in = away(command.in), out = away(command.out), err = away(command.err);
  const int script = away(command.script);
  const bool placed = ::dup2(in, 0) == 0 && ::dup2(out, 1) == 1 && ::dup2(err, 2) == 2 &&
                      (script < 0 || ::dup2(script, kScriptDescriptor) == kScriptDescriptor);
  if (!placed) give_up(report, Reason::NO_RESOURCES, "place its descriptors: " + why(errno));
  const unsigned first = script < 0 ? 3 : kScriptDescriptor + 1;
  if (::close_range(first, ~0u, CLOSE_RANGE_CLOEXEC) != 0) {
    give_up(report, Reason::NO_RESOURCES, "close the other descriptors: " + why(errno));
  }
}

void limit(int report, int resource, const char* name, std::uint64_t value) {
  if (value == 0) return;
  const rlimit both{.rlim_cur = value, .rlim_max = value};
  if (::setrlimit(static_cast<__rlimit_resource>(resource), &both) == 0) return;
  give_up(report, Reason::NO_RESOURCES,
          std::string("limit of ") + name + " to " + std::to_string(value) + ": " + why(errno));
}

void set_limits(const Command& command, int report) {
  const proto::RunLimits& limits = command.limits;
  limit(report, RLIMIT_CPU, "CPU seconds", limits.cpu_seconds());
  limit(report, RLIMIT_AS, "memory", limits.memory_bytes());
  limit(report, RLIMIT_NPROC, "processes", limits.processes());
  limit(report, RLIMIT_NOFILE, "open files", limits.open_files());
  limit(report, RLIMIT_FSIZE, "file size", limits.file_bytes());
  const rlimit none{};
  ::setrlimit(RLIMIT_CORE, &none);
}

void enter_folder(const Command& command, const RunAccount& account, int report) {
  if (command.folder.empty()) {
    const std::string& home = account.home;
    const bool entered = home.starts_with('/') && ::chdir(home.c_str()) == 0;
    if (!entered) (void)!::chdir("/");
    return;
  }
  if (::chdir(command.folder.c_str()) == 0) return;
  give_up(report, Reason::NO_FOLDER,
          "working folder " + quoted(command.folder) + ": " + why(errno) + " (for account " +
              account.name + ")");
}

std::string path_of(const std::vector<std::string>& environment) {
  for (const std::string& variable : environment) {
    if (variable.starts_with("PATH=")) return variable.substr(5);
  }
  return kDefaultPath;
}

// The file is there, and the kernel says ENOENT: something that it names is not.
[[noreturn]] void give_up_missing_interpreter(const std::string& program, int report) {
  const Fd file(::open(program.c_str(), O_RDONLY | O_CLOEXEC));
  std::string start(kMaxShebangBytes + 1, '\0');
  const ssize_t size = file ? ::read(file.get(), start.data(), start.size()) : -1;
  start.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  if (!start.starts_with("#!")) {
    give_up(report, Reason::NO_INTERPRETER,
            quoted(program) +
                " is there, but the loader that it names does not exist here: it "
                "was made for another system");
  }
  const auto shebang = parse_shebang(start);
  if (!shebang) {
    give_up(report, Reason::BAD_SCRIPT, quoted(program) + ": " + shebang.error().detail);
  }
  give_up(report, Reason::NO_INTERPRETER,
          "the interpreter of " + quoted(program) + ", " + quoted(shebang->interpreter) +
              ", does not exist on this node");
}

[[noreturn]] void give_up_exec(const Command& command, const RunAccount& account,
                               const std::string& program, int error, int report) {
  const bool is_script = command.script >= 0;
  switch (error) {
    case ENOENT:
      if (::access(program.c_str(), F_OK) == 0) give_up_missing_interpreter(program, report);
      if (is_script) {
        give_up(
            report, Reason::NO_INTERPRETER,
            "the interpreter of the script, " + quoted(program) + ", does not exist on this node");
      }
      give_up(report, Reason::NO_COMMAND, quoted(program) + " does not exist on this node");
    case ENOTDIR:
      give_up(report, Reason::NO_COMMAND,
              quoted(program) + " does not exist on this node: a part of its path is no folder");
    case EACCES: {
      struct stat facts {};
      const bool is_folder = ::stat(program.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
      give_up(report, Reason::NOT_EXECUTABLE,
              quoted(program) + (is_folder ? " is a folder"
                                           : " may not be executed by account " + account.name +
                                                 ": its mode or that of a folder above it, or a "
                                                 "mount with noexec, forbids it"));
    }
    case ENOEXEC:
      give_up(report, Reason::NOT_EXECUTABLE,
              quoted(program) +
                  " is no program: it neither begins with #! and an interpreter nor "
                  "is it made for this machine; no shell is tried");
    case ETXTBSY:
      give_up(report, Reason::NOT_EXECUTABLE, quoted(program) + " is being written");
    case E2BIG:
      give_up(report, Reason::NO_RESOURCES,
              "its arguments and environment are longer than this node allows");
    default:
      give_up(report, Reason::NO_RESOURCES, "start " + quoted(program) + ": " + why(error));
  }
}

[[noreturn]] void exec(const Command& command, const RunAccount& account, int report) {
  const std::string& program = command.arguments[0];
  const std::vector<char*> words = pointers(command.arguments);
  const std::vector<std::string> variables =
      run_environment(account, command.id, command.environment);
  const std::vector<char*> environment = pointers(variables);
  if (program.find('/') != std::string::npos) {
    ::execve(program.c_str(), words.data(), environment.data());
    give_up_exec(command, account, program, errno, report);
  }
  const std::string path = path_of(variables);
  std::string forbidden;
  for (std::string_view rest = path; !rest.empty();) {
    const std::string folder(rest.substr(0, rest.find(':')));
    rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
    if (folder.empty()) continue;  // the working folder: never by accident
    const std::string candidate = folder + "/" + program;
    ::execve(candidate.c_str(), words.data(), environment.data());
    const int error = errno;
    if (error == EACCES && forbidden.empty()) forbidden = candidate;
    const bool goes_on = error == EACCES || error == ENOTDIR ||
                         (error == ENOENT && ::access(candidate.c_str(), F_OK) != 0);
    if (!goes_on) give_up_exec(command, account, candidate, error, report);
  }
  if (!forbidden.empty() && ::access(forbidden.c_str(), F_OK) == 0) {
    give_up_exec(command, account, forbidden, EACCES, report);
  }
  give_up(
      report, Reason::NO_COMMAND,
      quoted(program) + " does not exist on this node (looked in " + printable(path, 300) + ")");
}

[[noreturn]] void be_command(const Command& command, int report, pid_t parent) {
  ::setsid();
  reset_signals();
  if (command.cgroup_procs >= 0) (void)!::write(command.cgroup_procs, "0", 1);
  report = ::fcntl(report, F_DUPFD_CLOEXEC, 10);
  // Here and not in the shim, which has to hear of timeout and cancel meanwhile.
  const auto account = find_run_account(command.account);
  if (!account) give_up(report, Reason::NO_ACCOUNT, account.error().detail);
  if (Status allowed = permit_account(command.accounts, *account); !allowed) {
    give_up(report, Reason::NO_ACCOUNT, allowed.error().detail);
  }
  if (command.fault) give_up(report, command.fault->reason, command.fault->text);
  place_descriptors(command, report);
  ::umask(command.umask);
  set_limits(command, report);
  if (Status became = become_run_account(*account); !became) {
    give_up(report, Reason::NO_ACCOUNT, became.error().detail);
  }
  // After the account, whose change clears it. Nobody would take the exit code any more.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != parent) ::_exit(127);
  enter_folder(command, *account, report);
  exec(command, *account, report);
}

// Whether the report can be read, or is at its end. False: the patience is over.
bool await_report(int report, const Patience& patience) {
  using std::chrono::milliseconds;
  for (;;) {
    int wait = -1;
    if (patience.until) {
      const auto left = std::chrono::duration_cast<milliseconds>(*patience.until -
                                                                 std::chrono::steady_clock::now());
      wait = static_cast<int>(std::clamp<std::int64_t>(left.count() + 1, 0, 3'600'000));
    }
    std::array<pollfd, 3> waited = {pollfd{report, POLLIN, 0}, pollfd{patience.signals, POLLIN, 0},
                                    pollfd{patience.control, POLLIN, 0}};
    const int ready = ::poll(waited.data(), waited.size(), wait);
    if (ready < 0 && errno == EINTR) continue;
    if (waited[0].revents != 0) return true;
    const bool is_over =
        ready > 0 || (patience.until && std::chrono::steady_clock::now() >= *patience.until);
    if (!is_over && ready == 0) continue;
    // The signal may be that of the child's own end, which came behind its report.
    return ::poll(waited.data(), 1, 0) > 0;
  }
}

}  // namespace

std::vector<std::string> run_environment(const RunAccount& account, const std::string& id,
                                         const std::vector<std::string>& more) {
  std::map<std::string, std::string> variables = {
      {"PATH", kDefaultPath},    {"HOME", account.home},   {"USER", account.name},
      {"LOGNAME", account.name}, {"SHELL", account.shell}, {"LANG", "C.UTF-8"},
      {"TERM", "dumb"},          {"P2PD_RUN", id},
  };
  for (const std::string& variable : more) {
    const std::size_t equals = variable.find('=');
    variables[variable.substr(0, equals)] = variable.substr(equals + 1);
  }
  std::vector<std::string> environment;
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  return environment;
}

std::variant<pid_t, NotBegun> begin_command(const Command& command, const Patience& patience) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return NotBegun{Reason::NO_RESOURCES, "make a pipe: " + why(errno)};
  }
  const Fd listen(ends[0]);
  Fd report(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) be_command(command, report.get(), parent);
  if (child < 0) return NotBegun{Reason::NO_RESOURCES, "start a process: " + why(errno)};
  report.reset();
  std::string message;
  char bytes[256];
  for (;;) {
    if (!await_report(listen.get(), patience)) return child;
    const ssize_t got = ::read(listen.get(), bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    message.append(bytes, static_cast<std::size_t>(got));
  }
  if (message.empty()) return child;
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return NotBegun{static_cast<Reason::Reason>(message[0]), message.substr(1)};
}

}  // namespace p2p
