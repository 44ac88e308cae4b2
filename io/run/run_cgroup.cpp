#include "io/run/run_cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

namespace p2p {
namespace {

// Mount points escape blanks as \040 and the like.
std::string unescaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

struct Mount {
  std::string root;   // which part of the tree is mounted
  std::string point;  // where
};

std::optional<Mount> find_cgroup2() {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos || line.compare(dash + 3, 8, "cgroup2 ") != 0) continue;
    std::istringstream words(line);
    std::string skipped;
    Mount mount;
    if (words >> skipped >> skipped >> skipped >> mount.root >> mount.point) {
      return Mount{unescaped(mount.root), unescaped(mount.point)};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> own_cgroup_folder() {
  const auto mount = find_cgroup2();
  if (!mount) return std::nullopt;
  std::ifstream lines("/proc/self/cgroup");
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("0::/")) continue;
    std::string own = line.substr(3);
    // In a container a part of the tree is mounted, whose names begin at that part.
    if (mount->root != "/" && own.starts_with(mount->root)) own = own.substr(mount->root.size());
    return own.empty() || own == "/" ? mount->point : mount->point + own;
  }
  return std::nullopt;
}

std::string run_cgroup_name(const std::string& id) {
  return "p2pd-run-" + id;
}

std::optional<RunCgroup> RunCgroup::make(const std::string& parent, const std::string& name) {
  RunCgroup group;
  group.path_ = parent + "/" + name;
  const bool made = ::mkdir(group.path_.c_str(), 0755) == 0;
  if (!made && errno != EEXIST) return std::nullopt;
  group.procs_ = Fd(::open((group.path_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  const bool usable = group.procs_ && ::access((group.path_ + "/cgroup.kill").c_str(), W_OK) == 0 &&
                      group.is_empty();
  if (usable) return group;
  if (made) group.remove();
  return std::nullopt;
}

std::vector<pid_t> RunCgroup::members() const {
  std::ifstream list(path_ + "/cgroup.procs");
  std::vector<pid_t> pids;
  for (pid_t pid = 0; list >> pid;) {
    if (pid > 0) pids.push_back(pid);
  }
  return pids;
}

bool RunCgroup::is_empty() const {
  std::ifstream events(path_ + "/cgroup.events");
  std::string name;
  int value = 0;
  while (events >> name >> value) {
    if (name == "populated") return value == 0;
  }
  return members().empty();
}

void RunCgroup::kill() const {
  std::ofstream(path_ + "/cgroup.kill") << "1";
}

void RunCgroup::remove() {
  procs_.reset();
  ::rmdir(path_.c_str());
}

}  // namespace p2p
