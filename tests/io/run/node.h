// A launcher of its own process and what a run of it leaves: for tests of whole runs.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "io/privileged/helper_channel.h"
#include "io/run/launcher.h"
#include "io/run/launcher_client.h"
#include "io/run/run_files.h"
#include "io/run/run_order.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace p2p::test {

// Far beyond what any machine needs: a test that waits so long has failed.
inline constexpr std::chrono::minutes kPatience{2};

inline bool wait_for(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

inline RunId new_run_id() {
  static std::uint64_t last = static_cast<std::uint64_t>(::getpid()) << 32;
  std::array<std::uint8_t, 16> random{};
  const std::uint64_t number = ++last;
  for (std::size_t i = 0; i < 8; ++i) random[15 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return RunId::make(WallTime{std::chrono::duration_cast<Duration>(now)}, random);
}

inline bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

// Whether a process of that number is there and not a zombie.
inline bool runs(pid_t pid) {
  const std::string stat = text_of("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t end = stat.rfind(") ");
  return end != std::string::npos && stat[end + 2] != 'Z' && stat[end + 2] != 'X';
}

class RunNode {
 public:
  // Runs may have any of `accounts`; none named: as without --exec-accounts.
  explicit RunNode(ExecPolicy policy = ExecPolicy::any, std::string runs = "",
                   std::vector<std::string> accounts = {})
      : accounts_(std::move(accounts)),
        runs_folder_(runs.empty() ? folder_ / "runs" : std::move(runs)),
        policy_(policy),
        folders(runs_folder_) {
    // Commands run as nobody here, when this is root.
    REQUIRE(::chmod(folder_.path().c_str(), 0755) == 0);
    REQUIRE(prepare_runs_folder(runs_folder_, -1));
    start_launcher();
  }
  ~RunNode() {
    for (const RunId& id : started_) {
      if (folders.look(id)->traces.shim_lives) (void)launcher->cancel(id).has_value();
    }
    for (const RunId& id : started_) {
      CHECK(wait_for([&] { return !folders.look(id)->traces.shim_lives; }));
    }
    for (const RunId& id : started_) CHECK(launcher->remove(id));
    stop_launcher();
  }

  void start_launcher() {
    auto channel = make_helper_channel();
    REQUIRE(channel);
    const std::string end = std::to_string(channel->second.get());
    const std::string policy(to_string(policy_));
    launcher_ = ::fork();
    if (launcher_ == 0) {
      ::fcntl(channel->second.get(), F_SETFD, 0);
      std::vector<std::string> words = {"run_roles", "launcher", end, runs_folder_, policy};
      words.insert(words.end(), accounts_.begin(), accounts_.end());
      std::vector<char*> pointers;
      for (std::string& word : words) pointers.push_back(word.data());
      pointers.push_back(nullptr);
      ::execv(P2P_RUN_ROLES, pointers.data());
      ::_exit(127);
    }
    REQUIRE(launcher_ > 0);
    launcher = std::make_unique<LauncherClient>(std::move(channel->first));
  }
  // By closing its channel, or by a signal. Its exit code, or minus the signal.
  int stop_launcher(int signal = 0) {
    if (signal != 0) ::kill(launcher_, signal);
    launcher.reset();
    int how = 0;
    REQUIRE(::waitpid(launcher_, &how, 0) == launcher_);
    return WIFEXITED(how) ? WEXITSTATUS(how) : -WTERMSIG(how);
  }

  // From any thread; stop_launcher() then takes note of it.
  void kill_launcher() const { ::kill(launcher_, SIGKILL); }

  // The name of a file that commands can reach.
  std::string operator/(const std::string& name) const { return folder_ / name; }

  proto::RunOrder command(const std::vector<std::string>& words) const {
    proto::RunOrder order = new_run_order(new_run_id());
    for (const std::string& word : words) order.add_arguments(word);
    return order;
  }
  proto::RunOrder shell(const std::string& line) const { return command({"sh", "-c", line}); }
  proto::RunOrder script(const std::string& text,
                         const std::vector<std::string>& words = {}) const {
    proto::RunOrder order = command(words);
    order.set_is_script(true);
    order.set_script(text);
    return order;
  }

  RunId begin(const proto::RunOrder& order) {
    const RunId id = *RunId::from_raw(order.id());
    const Status started = launcher->start(order);
    INFO((started ? std::string() : started.error().detail));
    REQUIRE(started);
    started_.push_back(id);
    return id;
  }
  // When its shim has ended.
  proto::RunResult await(const RunId& id) {
    REQUIRE(wait_for([&] { return !folders.look(id)->traces.shim_lives; }));
    const auto sight = folders.look(id);
    REQUIRE(sight);
    REQUIRE(sight->result);
    return *sight->result;
  }
  proto::RunResult run(const proto::RunOrder& order) { return await(begin(order)); }

  // What was kept, with a mark where something is missing.
  std::string output(const RunId& id, RunStream stream = RunStream::out) const {
    std::string all;
    std::uint64_t next = 0;
    for (;;) {
      const auto piece = folders.read_output(id, stream, next, 64 * 1024);
      REQUIRE(piece);
      if (piece->bytes.empty()) return all;
      if (piece->offset != next) all += "[...]";
      all += piece->bytes;
      next = piece->offset + piece->bytes.size();
    }
  }

 private:
  TempFolder folder_;
  std::vector<std::string> accounts_;
  std::string runs_folder_;
  ExecPolicy policy_;
  pid_t launcher_ = -1;
  std::vector<RunId> started_;

 public:
  RunFolders folders;
  std::unique_ptr<LauncherClient> launcher;
};

}  // namespace p2p::test
