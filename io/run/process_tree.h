// The processes below one, as /proc shows them, and signals that reach the one that was meant.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace p2p {

struct ProcessFacts {
  pid_t pid = 0;
  pid_t parent = 0;
  std::uint64_t start = 0;  // in clock ticks since boot: with the pid, it names one process
  bool ended = false;       // a zombie
};

// All that `ancestor` has started and theirs, without itself. Empty when /proc cannot be read.
std::vector<ProcessFacts> descendants_of(pid_t ancestor);
// What /proc says of these; those that are gone are left out.
std::vector<ProcessFacts> facts_of_processes(const std::vector<pid_t>& pids);

// False when that process is gone, whatever has its number now.
bool send_signal(const ProcessFacts& process, int signal);

// Stops all below `ancestor` until no new ones appear, so that none escapes by forking, and kills
// them. Those that were hit; what is left shows in the next call.
std::vector<ProcessFacts> kill_descendants_of(pid_t ancestor);

}  // namespace p2p
