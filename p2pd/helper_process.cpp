#include "p2pd/helper_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "io/disk/file_io.h"
#include "io/log/log.h"
#include "io/privileged/helper_client.h"
#include "io/privileged/helper_server.h"
#include "io/privileged/local_privileged.h"
#include "p2pd/data_folder.h"

namespace p2p {
namespace {

// Where the helper finds its end: the first one behind stdin, stdout and stderr.
constexpr int kHelperChannel = 3;

std::vector<std::string> command_line(const HelperSettings& settings) {
  std::vector<std::string> words = {"p2pd",        "helper",
                                    "--channel",   std::to_string(kHelperChannel),
                                    "--log-level", settings.log_level};
  // With '=', so that no name can be taken for an option.
  for (const std::string& root : settings.roots) words.push_back("--root=" + root);
  for (const std::string& share : settings.shares) words.push_back("--share=" + share);
  if (!settings.ready_file.empty()) words.push_back("--ready-file=" + settings.ready_file);
  return words;
}

// In the child. Only calls that are allowed between fork and exec.
[[noreturn]] void exec_helper(int channel, char* const* words) {
  // Ctrl-C and systemd's stop reach all of a group. The helper ends when the agent has ended.
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, SIG_IGN);
  const bool ready = channel == kHelperChannel ? ::fcntl(channel, F_SETFD, 0) == 0
                                               : ::dup2(channel, kHelperChannel) == kHelperChannel;
  if (ready) ::execv("/proc/self/exe", words);
  ::_exit(127);
}

Result<pid_t> start_helper(const Fd& channel, const HelperSettings& settings) {
  std::vector<std::string> line = command_line(settings);
  std::vector<char*> words;
  for (std::string& word : line) words.push_back(word.data());
  words.push_back(nullptr);
  const pid_t helper = ::fork();
  if (helper == 0) exec_helper(channel.get(), words.data());
  if (helper < 0) return error_from_errno(errno, "start the helper process");
  return helper;
}

// The name of the working folder for this process: `path`, where it leads there, or ".".
std::string reachable_name(const std::string& path) {
  const Fd by_name(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat named {};
  struct stat here {};
  const bool same = by_name && ::fstat(by_name.get(), &named) == 0 && ::stat(".", &here) == 0 &&
                    named.st_dev == here.st_dev && named.st_ino == here.st_ino;
  if (!same || ::chdir("/") != 0) return ".";
  return path;
}

Status check_channel(int channel) {
  int domain = 0;
  int type = 0;
  socklen_t size = sizeof domain;
  const bool is_channel = ::getsockopt(channel, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
                          ::getsockopt(channel, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
                          domain == AF_UNIX && type == SOCK_SEQPACKET;
  if (is_channel) return {};
  return Error{Errc::invalid_argument,
               "p2pd helper is started by p2pd run and is of no use without it"};
}

}  // namespace

Result<Separated> separate(const std::string& data, const HelperSettings& helper,
                           const Account& account) {
  // The helper opens them again; here they are checked while there is somebody to tell.
  std::vector<std::string> roots;
  std::vector<std::string> shares;
  {
    const auto checked = LocalPrivileged::create(helper.roots, helper.shares);
    if (!checked) return checked.error();
    roots = (*checked)->roots();
    shares = (*checked)->shares();
  }
  const Status handed = hand_over(data, account);
  // If it is not there, the agent will say so, in the words that it has for it.
  const bool exists = handed || handed.error().code != Errc::not_found;
  if (exists && !handed) return handed.error();

  auto channel = make_helper_channel();
  if (!channel) return channel.error();
  const Result<pid_t> started = start_helper(channel->second, helper);
  if (!started) return started.error();
  channel->second.reset();

  Separated separated{.privileged = nullptr, .helper = *started, .data = data};
  if (exists && ::chdir(data.c_str()) != 0) return error_from_errno(errno, "enter " + data);
  if (Status became = become(account); !became) {
    return became.error().within("cannot run as " + account.name +
                                 " (--user root runs all in one process, as root)");
  }
  if (exists) separated.data = reachable_name(data);
  separated.privileged = std::make_unique<HelperPrivileged>(std::move(channel->first),
                                                            std::move(roots), std::move(shares));
  log_info("agent", "faces the network without privileges, with a helper for files",
           {{"user", account.name}, {"helper", separated.helper}});
  return separated;
}

Status await_helper(pid_t helper) {
  int how = 0;
  while (::waitpid(helper, &how, 0) < 0) {
    if (errno != EINTR) return error_from_errno(errno, "wait for the helper");
  }
  if (how == 0) return {};
  return Error{Errc::io_failed, WIFSIGNALED(how)
                                    ? "killed by signal " + std::to_string(WTERMSIG(how))
                                    : "exit code " + std::to_string(WEXITSTATUS(how))};
}

Status run_helper(const HelperSettings& settings) {
  // Otherwise ps and the journal call it "exe", as it was started.
  ::prctl(PR_SET_NAME, "p2pd-helper", 0, 0, 0);
  if (Status set = set_log_level(settings.log_level); !set) return set;
  if (Status checked = check_channel(settings.channel); !checked) return checked;
  // Whatever else the agent was started with is not for the helper.
  const Fd channel(settings.channel);
  const auto first = static_cast<unsigned>(channel.get());
  if (first > kHelperChannel) ::close_range(kHelperChannel, first - 1, 0);
  ::close_range(first + 1, ~0u, 0);
  ::fcntl(channel.get(), F_SETFD, FD_CLOEXEC);
  if (::chdir("/") != 0) return error_from_errno(errno, "enter /");
  if (Status kept = keep_file_rights(); !kept) return kept;
  auto local = LocalPrivileged::create(settings.roots, settings.shares, settings.ready_file);
  if (!local) return local.error();
  return serve_privileged(channel.get(), **local);
}

}  // namespace p2p
