// A cgroup of version 2 for the processes of one run, where such a tree is mounted and writable.
// No controller is used: it serves to find and kill all of them at once.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "io/disk/fd.h"

namespace p2p {

// The folder of this process's own cgroup: /sys/fs/cgroup, or /sys/fs/cgroup/unified, and the path
// below it. Nothing where no version 2 is mounted.
std::optional<std::string> own_cgroup_folder();

class RunCgroup {
 public:
  // A new one below `parent`. Nothing when that may not be written, or knows no cgroup.kill
  // (Linux < 5.14). A cgroup of that name which is left over and empty is taken.
  static std::optional<RunCgroup> make(const std::string& parent, const std::string& name);

  // A process that writes "0" there is in it, and so is all that it starts from then on.
  int procs() const { return procs_.get(); }
  std::vector<pid_t> members() const;
  bool is_empty() const;
  void kill() const;
  // Does nothing while it has members.
  void remove();

 private:
  std::string path_;
  Fd procs_;
};

// The name of a run's cgroup.
std::string run_cgroup_name(const std::string& id);

}  // namespace p2p
