#include "p2pd/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "io/disk/file_io.h"

namespace p2p {
namespace {

// In the child. Only calls that are allowed between fork and exec.
[[noreturn]] void exec_child(int channel, char* const* words) {
  // Ctrl-C and systemd's stop reach all of a group. The child ends when the agent has ended.
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, SIG_IGN);
  const bool ready = channel == kChildChannel ? ::fcntl(channel, F_SETFD, 0) == 0
                                              : ::dup2(channel, kChildChannel) == kChildChannel;
  if (ready) ::execv("/proc/self/exe", words);
  ::_exit(127);
}

}  // namespace

Result<pid_t> start_child(const Fd& channel, std::vector<std::string> words) {
  std::string program = "p2pd";
  std::vector<char*> line = {program.data()};
  for (std::string& word : words) line.push_back(word.data());
  line.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) exec_child(channel.get(), line.data());
  if (child < 0) return error_from_errno(errno, "start p2pd " + words.front());
  return child;
}

Status await_child(pid_t child) {
  int how = 0;
  while (::waitpid(child, &how, 0) < 0) {
    if (errno != EINTR) return error_from_errno(errno, "wait for a process");
  }
  if (how == 0) return {};
  return Error{Errc::io_failed, WIFSIGNALED(how)
                                    ? "killed by signal " + std::to_string(WTERMSIG(how))
                                    : "exit code " + std::to_string(WEXITSTATUS(how))};
}

Result<Fd> take_channel(int channel, const std::string& what) {
  int domain = 0;
  int type = 0;
  socklen_t size = sizeof domain;
  const bool is_channel = ::getsockopt(channel, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
                          ::getsockopt(channel, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
                          domain == AF_UNIX && type == SOCK_SEQPACKET;
  if (!is_channel) {
    return Error{Errc::invalid_argument,
                 "p2pd " + what + " is started by p2pd run and is of no use without it"};
  }
  Fd taken(channel);
  const auto first = static_cast<unsigned>(channel);
  if (first > kChildChannel) ::close_range(kChildChannel, first - 1, 0);
  ::close_range(first + 1, ~0u, 0);
  ::fcntl(channel, F_SETFD, FD_CLOEXEC);
  if (::chdir("/") != 0) return error_from_errno(errno, "enter /");
  return taken;
}

}  // namespace p2p
