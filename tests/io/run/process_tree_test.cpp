#include "io/run/process_tree.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "tests/io/run/node.h"

namespace p2p {
namespace {

pid_t start_sleeper() {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    for (;;) ::pause();
  }
  REQUIRE(pid > 0);
  return pid;
}

bool holds(const std::vector<ProcessFacts>& processes, pid_t pid) {
  return std::any_of(processes.begin(), processes.end(),
                     [&](const ProcessFacts& process) { return process.pid == pid; });
}

TEST_CASE("The processes below one are found, and it is not among them", "[io][run]") {
  const pid_t child = start_sleeper();
  const auto below = descendants_of(::getpid());
  CHECK(holds(below, child));
  CHECK_FALSE(holds(below, ::getpid()));
  CHECK_FALSE(holds(below, ::getppid()));
  CHECK(descendants_of(child).empty());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK_FALSE(holds(descendants_of(::getpid()), child));
}

TEST_CASE("A process that has ended and was not waited for is said to have ended", "[io][run]") {
  const pid_t child = start_sleeper();
  CHECK_FALSE(facts_of_processes({child}).at(0).ended);
  ::kill(child, SIGKILL);
  CHECK(test::wait_for([&] { return facts_of_processes({child}).at(0).ended; }));
  ::waitpid(child, nullptr, 0);
  CHECK(facts_of_processes({child}).empty());
}

TEST_CASE("A signal reaches the process that was meant and no other of its number", "[io][run]") {
  const pid_t child = start_sleeper();
  ProcessFacts facts = facts_of_processes({child}).at(0);
  facts.start += 1;  // an earlier owner of the number
  CHECK_FALSE(send_signal(facts, SIGKILL));
  CHECK(test::runs(child));
  facts.start -= 1;
  CHECK(send_signal(facts, SIGKILL));
  CHECK(::waitpid(child, nullptr, 0) == child);
  CHECK_FALSE(send_signal(facts, SIGKILL));
}

TEST_CASE("All below a process are killed, the stopped ones too", "[io][run]") {
  const pid_t one = start_sleeper();
  const pid_t other = start_sleeper();
  ::kill(other, SIGSTOP);
  const auto hit = kill_descendants_of(::getpid());
  CHECK(holds(hit, one));
  CHECK(holds(hit, other));
  for (const pid_t pid : {one, other}) {
    int how = 0;
    CHECK(::waitpid(pid, &how, 0) == pid);
    CHECK(WIFSIGNALED(how));
  }
  CHECK(kill_descendants_of(::getpid()).empty());
}

}  // namespace
}  // namespace p2p
