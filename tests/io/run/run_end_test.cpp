// Runs that are ended by somebody: by their timeout, by an operator, by a dying machine.
#include <filesystem>

#include "io/run/process_tree.h"
#include "io/run/run_cgroup.h"
#include "tests/io/run/node.h"

namespace p2p {
namespace {

using test::RunNode;
using Result_ = proto::RunResult;

// A folder in which commands of any account leave their process numbers.
struct Pids {
  explicit Pids(const RunNode& node) : folder(node / "pids") {
    std::filesystem::create_directory(folder);
    ::chmod(folder.c_str(), 0777);
  }
  // Shell code that leaves the shell's own, whole at once.
  std::string note(const std::string& name) const {
    return "echo $$ > " + folder + "/." + name + "; mv " + folder + "/." + name + " " + folder +
           "/" + name + "; ";
  }
  std::string await(const std::string& name) const {
    return "while [ ! -e " + folder + "/" + name + " ]; do sleep 0.02; done; ";
  }
  bool has(const std::string& name) const { return test::exists(folder + "/" + name); }
  pid_t of(const std::string& name) const {
    REQUIRE(test::wait_for([&] { return has(name); }));
    return std::stoi(test::text_of(folder + "/" + name));
  }
  std::string folder;
};

TEST_CASE("A run that takes too long is told to end", "[io][run]") {
  RunNode node;
  proto::RunOrder order = node.shell("trap 'echo bye; exit 5' TERM; echo up; sleep 1000 & wait");
  order.set_timeout_ms(2000);
  order.set_grace_ms(600'000);
  const RunId id = node.begin(order);
  const Result_ result = node.await(id);
  // Its end is its timeout, whatever code it found for it.
  CHECK(result.end() == Result_::TIMED_OUT);
  CHECK(result.killed() == 0);
  CHECK(result.text() == "timed out after 2 s; all of it ended on TERM");
  CHECK(node.output(id) == "up\nbye\n");
}

TEST_CASE("A run that ignores TERM is killed after the grace", "[io][run]") {
  RunNode node;
  const Pids pids(node);
  proto::RunOrder order =
      node.shell("trap '' TERM; " + pids.note("main") + "while :; do sleep 1000; done");
  order.set_timeout_ms(300);
  order.set_grace_ms(100);
  const Result_ result = node.run(order);
  CHECK(result.end() == Result_::TIMED_OUT);
  CHECK(result.signal() == SIGKILL);
  CHECK(result.killed() >= 1);
  CHECK(result.text().find("timed out after 0.3 s; ") == 0);
  CHECK(result.text().find(" needed KILL") != std::string::npos);
  // On a machine that is slow enough it may not have got so far.
  if (pids.has("main")) CHECK_FALSE(test::runs(pids.of("main")));
}

TEST_CASE("Nothing of a run that is cancelled is left, whatever it has become", "[io][run]") {
  RunNode node;
  const Pids pids(node);
  // A daemon in a session of its own whose parents are gone, one that is stopped, one in the
  // background: none of them hears TERM, or heeds it.
  proto::RunOrder order = node.shell(
      "trap '' TERM; (setsid sh -c 'trap \"\" TERM; " + pids.note("daemon") +
      "while :; do sleep 1000; done' &) ; sh -c '" + pids.note("stopped") +
      "trap \"\" TERM; kill -STOP $$; sleep 1000' & sh -c 'trap \"\" TERM; " + pids.note("child") +
      "while :; do sleep 1000; done' & " + pids.await("daemon") + pids.await("stopped") +
      pids.await("child") + pids.note("main") + "while :; do sleep 1000; done");
  order.set_grace_ms(50);
  const RunId id = node.begin(order);
  const std::vector<pid_t> all = {pids.of("main"), pids.of("daemon"), pids.of("stopped"),
                                  pids.of("child")};
  for (const pid_t pid : all) REQUIRE(test::runs(pid));
  REQUIRE(node.launcher->cancel(id));
  const Result_ result = node.await(id);
  for (const pid_t pid : all) CHECK_FALSE(test::runs(pid));
  CHECK(result.end() == Result_::CANCELLED);
  CHECK(result.killed() >= 4);
  CHECK(result.text().find("cancelled; ") == 0);
}

TEST_CASE("What forks all the time is killed, too", "[io][run]") {
  RunNode node;
  const Pids pids(node);
  // Each of them starts its successor and ends.
  test::put_file(node / "hydra", "#!/bin/sh\ntrap '' TERM\n[ -e " + pids.folder + "/go ] || " +
                                     pids.note("go") + "\nsleep 0.01\nsetsid " + (node / "hydra") +
                                     " &\n");
  ::chmod((node / "hydra").c_str(), 0755);
  proto::RunOrder order = node.shell((node / "hydra") +
                                     " & trap '' TERM; while :; do wait; "
                                     "sleep 1000; done");
  order.set_grace_ms(20);
  const RunId id = node.begin(order);
  pids.of("go");
  REQUIRE(node.launcher->cancel(id));
  CHECK(node.await(id).end() == Result_::CANCELLED);
  const std::string name = node / "hydra";
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string line = test::text_of(entry.path().string() + "/cmdline");
    CHECK(line.find(name) == std::string::npos);
  }
}

TEST_CASE("A cancelled run that heeds TERM is not waited for", "[io][run]") {
  RunNode node;
  proto::RunOrder order = node.shell("echo up; exec sleep 1000");
  order.set_grace_ms(600'000);
  const RunId id = node.begin(order);
  REQUIRE(test::wait_for([&] { return node.output(id) == "up\n"; }));
  REQUIRE(node.launcher->cancel(id));
  REQUIRE(node.launcher->cancel(id));  // again changes nothing
  const Result_ result = node.await(id);
  CHECK(result.end() == Result_::CANCELLED);
  CHECK(result.signal() == SIGTERM);
  CHECK(result.killed() == 0);
}

TEST_CASE("A run ends with its shim when that is told to end, and nobody has cancelled it",
          "[io][run]") {
  RunNode node;
  const auto [words, how] = GENERATE(
      table<std::string, std::string>({{"exec sleep 1000", "ended by signal 15 (TERM)"},
                                       {"trap 'exit 5' TERM; sleep 1000 & wait", "exit code 5"}}));
  const RunId id = node.begin(node.shell("echo up; " + words));
  REQUIRE(test::wait_for([&] { return node.output(id) == "up\n"; }));
  REQUIRE(test::wait_for([&] { return node.folders.look(id)->begun.has_value(); }));
  const pid_t main = node.folders.look(id)->begun->pid();
  const auto facts = facts_of_processes({main});
  REQUIRE(facts.size() == 1);
  REQUIRE(::kill(facts[0].parent, SIGTERM) == 0);  // as systemd does when the machine goes down
  const Result_ result = node.await(id);
  CHECK(result.end() == Result_::EXITED);
  // A child of the shell that has not begun its own program yet may need KILL.
  CHECK(result.text().starts_with(
      how + "; ended because its node was shutting down (SIGTERM to its shim)"));
  CHECK(result.left_running() == 0);
  CHECK_FALSE(test::runs(main));
}

// An exec of it waits, as for a dead file server, for as long as this is there.
class HeldFile {
 public:
  explicit HeldFile(const std::string& path) {
    test::put_file(path, "#!/bin/sh\nexit 0\n");
    ::chmod(path.c_str(), 0755);
    fd_ = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    ::signal(SIGIO, SIG_IGN);
    held_ = ::fcntl(fd_.get(), F_SETLEASE, F_WRLCK) == 0;
  }
  bool held() const { return held_; }

 private:
  Fd fd_;
  bool held_ = false;
};

TEST_CASE("Timeout and cancel end a run whose program cannot even be opened", "[io][run]") {
  RunNode node;
  const HeldFile held(node / "held");
  if (!held.held()) {
    WARN("skipped: no leases on files here");
    return;
  }
  const auto begun = std::chrono::steady_clock::now();
  proto::RunOrder order = node.command({node / "held"});
  SECTION("timeout") {
    order.set_timeout_ms(300);
    CHECK(node.run(order).end() == Result_::TIMED_OUT);
  }
  SECTION("cancel") {
    const RunId id = node.begin(order);
    REQUIRE(node.launcher->cancel(id));
    CHECK(node.await(id).end() == Result_::CANCELLED);
  }
  // The kernel breaks the lease after 45 s.
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(30));
}

TEST_CASE("A run whose shim is killed is lost, and its command does not go on", "[io][run]") {
  RunNode node;
  const RunId id = node.begin(node.shell("echo up; exec sleep 1000"));
  REQUIRE(test::wait_for([&] { return node.folders.look(id)->begun.has_value(); }));
  const pid_t main = node.folders.look(id)->begun->pid();
  const auto facts = facts_of_processes({main});
  REQUIRE(facts.size() == 1);
  REQUIRE(::kill(facts[0].parent, SIGKILL) == 0);
  REQUIRE(test::wait_for([&] { return !node.folders.look(id)->traces.shim_lives; }));
  const auto sight = node.folders.look(id);
  CHECK_FALSE(sight->result);
  CHECK(state_of_run(RunState::running, sight->traces) == RunState::lost);
  CHECK(test::wait_for([&] { return !test::runs(main); }));
}

TEST_CASE("The cgroup of a run that left a process goes with that process", "[io][run]") {
  const auto parent = own_cgroup_folder();
  if (!parent || ::access(parent->c_str(), W_OK) != 0) {
    WARN("skipped: no cgroup of version 2 can be made here");
    return;
  }
  RunNode node;
  const RunId id = node.begin(node.shell("setsid sleep 1000 & echo $!"));
  CHECK(node.await(id).left_running() == 1);
  const pid_t left = std::stoi(node.output(id));
  const std::string group = *parent + "/" + run_cgroup_name(id.hex());
  if (!test::exists(group)) {
    ::kill(left, SIGKILL);
    WARN("skipped: no cgroup.kill here");
    return;
  }
  REQUIRE(node.launcher->remove(id));
  CHECK(test::exists(group));
  ::kill(left, SIGKILL);
  SECTION("with the next run that is removed") {
    CHECK(test::wait_for([&] {
      REQUIRE(node.launcher->remove(test::new_run_id()));
      return !test::exists(group);
    }));
  }
  SECTION("with the next launcher") {
    REQUIRE(test::wait_for([&] { return !test::runs(left); }));
    node.stop_launcher();
    node.start_launcher();
    CHECK(node.launcher->remove(test::new_run_id()));  // it serves
    CHECK_FALSE(test::exists(group));
  }
}

TEST_CASE("A run has a cgroup where one can be made, and none is left behind", "[io][run]") {
  const auto parent = own_cgroup_folder();
  if (!parent || ::access(parent->c_str(), W_OK) != 0) {
    WARN("skipped: no cgroup of version 2 can be made here");
    return;
  }
  RunNode node;
  const RunId id = node.begin(node.shell("echo up; exec sleep 1000"));
  REQUIRE(test::wait_for([&] { return node.output(id) == "up\n"; }));
  const std::string group = *parent + "/" + run_cgroup_name(id.hex());
  const std::string members = test::text_of(group + "/cgroup.procs");
  CHECK(members == std::to_string(node.folders.look(id)->begun->pid()) + "\n");
  REQUIRE(node.launcher->cancel(id));
  node.await(id);
  CHECK_FALSE(test::exists(group));
}

}  // namespace
}  // namespace p2p
