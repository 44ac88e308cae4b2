#include "io/run/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "io/disk/fd.h"

namespace p2p {
namespace {

// How often a forking crowd is looked at again; each look stops all that it sees.
constexpr int kLooks = 200;

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

std::optional<ProcessFacts> read_facts(pid_t pid) {
  char path[40];
  std::snprintf(path, sizeof path, "/proc/%d/stat", static_cast<int>(pid));
  const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  char text[1024];
  const ssize_t size = ::read(file.get(), text, sizeof text - 1);
  if (size <= 0) return std::nullopt;
  text[size] = '\0';
  // PID (NAME) STATE PARENT ...: the name may hold anything, so it is passed over from the end.
  const char* rest = std::strrchr(text, ')');
  char state = 0;
  int parent = 0;
  unsigned long long start = 0;
  if (rest == nullptr ||
      std::sscanf(rest + 1,
                  " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                  &state, &parent, &start) != 3) {
    return std::nullopt;
  }
  return ProcessFacts{
      .pid = pid, .parent = parent, .start = start, .ended = state == 'Z' || state == 'X'};
}

std::vector<ProcessFacts> all_processes() {
  std::vector<ProcessFacts> all;
  const std::unique_ptr<DIR, CloseFolder> folder(::opendir("/proc"));
  if (!folder) return all;
  while (const dirent* entry = ::readdir(folder.get())) {
    char* end = nullptr;
    const long pid = std::strtol(entry->d_name, &end, 10);
    if (pid <= 0 || *end != '\0') continue;
    if (const auto facts = read_facts(static_cast<pid_t>(pid))) all.push_back(*facts);
  }
  return all;
}

}  // namespace

std::vector<ProcessFacts> descendants_of(pid_t ancestor) {
  const std::vector<ProcessFacts> all = all_processes();
  std::vector<ProcessFacts> found;
  std::set<pid_t> family = {ancestor};
  for (bool more = true; more;) {
    more = false;
    for (const ProcessFacts& process : all) {
      if (!family.contains(process.parent) || !family.insert(process.pid).second) continue;
      found.push_back(process);
      more = true;
    }
  }
  return found;
}

std::vector<ProcessFacts> facts_of_processes(const std::vector<pid_t>& pids) {
  std::vector<ProcessFacts> found;
  for (const pid_t pid : pids) {
    if (const auto facts = read_facts(pid)) found.push_back(*facts);
  }
  return found;
}

bool send_signal(const ProcessFacts& process, int signal) {
  const Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!handle) return false;
  // The number belongs to whoever the handle holds from now on.
  const auto now = read_facts(process.pid);
  if (!now || now->start != process.start) return false;
  return ::syscall(SYS_pidfd_send_signal, handle.get(), signal, nullptr, 0) == 0;
}

std::vector<ProcessFacts> kill_descendants_of(pid_t ancestor) {
  std::set<std::pair<pid_t, std::uint64_t>> stopped;
  std::vector<ProcessFacts> below;
  for (int look = 0; look < kLooks; ++look) {
    below = descendants_of(ancestor);
    bool news = false;
    for (const ProcessFacts& process : below) {
      if (process.ended || !stopped.insert({process.pid, process.start}).second) continue;
      news |= send_signal(process, SIGSTOP);
    }
    if (!news) break;
  }
  std::vector<ProcessFacts> hit;
  for (const ProcessFacts& process : below) {
    if (!process.ended && send_signal(process, SIGKILL)) hit.push_back(process);
  }
  return hit;
}

}  // namespace p2p
