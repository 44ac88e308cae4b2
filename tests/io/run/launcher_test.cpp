// The process that starts runs: what it refuses, and what outlives it.
#include "io/run/launcher.h"

#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <filesystem>
#include <future>

#include "core/base/rng.h"
#include "tests/io/run/node.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::RunNode;

Errc code_of(const Status& status) {
  REQUIRE_FALSE(status);
  return status.error().code;
}

TEST_CASE("A run is started once, whoever asks how often", "[io][run]") {
  RunNode node;
  const std::string counter = node / "count";
  test::put_file(counter, "");
  ::chmod(counter.c_str(), 0666);
  const proto::RunOrder order = node.shell("echo x >> " + counter);
  const RunId id = node.begin(order);
  CHECK(code_of(node.launcher->start(order)) == Errc::already_exists);
  node.await(id);
  CHECK(code_of(node.launcher->start(order)) == Errc::already_exists);
  // Also after a restart of the whole agent.
  CHECK(node.stop_launcher() == 0);
  node.start_launcher();
  CHECK(code_of(node.launcher->start(order)) == Errc::already_exists);
  CHECK(test::text_of(counter) == "x\n");
}

TEST_CASE("A run and its exit code outlive the launcher and the agent", "[io][run]") {
  RunNode node;
  const std::string go = node / "go";
  for (const int how : {0, SIGKILL}) {
    fs::remove(go);
    const RunId id = node.begin(
        node.shell("echo up; while [ ! -e " + go + " ]; do sleep 0.02; done; echo done; exit 6"));
    REQUIRE(test::wait_for([&] { return node.output(id) == "up\n"; }));
    CHECK(node.stop_launcher(how) == -how);
    // It is found by whoever looks, and can be told to end by the next launcher.
    const auto sight = node.folders.look(id);
    CHECK(sight->traces.shim_lives);
    CHECK(sight->traces.begun);
    CHECK(state_of_run(RunState::accepted, sight->traces) == RunState::running);
    node.start_launcher();
    test::put_file(go, "");
    CHECK(node.await(id).code() == 6);
    CHECK(node.output(id) == "up\ndone\n");
  }
  CHECK(node.folders.list()->size() == 2);
}

TEST_CASE("A run can be cancelled by a later launcher", "[io][run]") {
  RunNode node;
  const RunId id = node.begin(node.command({"sleep", "1000"}));
  node.stop_launcher(SIGKILL);
  node.start_launcher();
  REQUIRE(node.launcher->cancel(id));
  CHECK(node.await(id).end() == proto::RunResult::CANCELLED);
  CHECK(code_of(node.launcher->cancel(id)) == Errc::not_found);
  CHECK(code_of(node.launcher->cancel(test::new_run_id())) == Errc::not_found);
}

TEST_CASE("The owner's veto holds in the launcher, whatever the agent asks", "[io][run]") {
  RunNode scripts(ExecPolicy::scripts_only);
  const Status refused = scripts.launcher->start(scripts.command({"true"}));
  CHECK(code_of(refused) == Errc::denied);
  CHECK(refused.error().detail.find("--exec scripts-only") != std::string::npos);
  CHECK(scripts.folders.list()->empty());
  CHECK(scripts.run(scripts.script("#!/bin/sh\nexit 7\n")).code() == 7);
  proto::RunOrder steered = scripts.script("#!/bin/sh\n");
  steered.add_environment("LD_PRELOAD=/tmp/other.so");
  CHECK(code_of(scripts.launcher->start(steered)) == Errc::denied);

  RunNode off(ExecPolicy::off);
  const Status nothing = off.launcher->start(off.script("#!/bin/sh\n"));
  CHECK(code_of(nothing) == Errc::denied);
  CHECK(nothing.error().detail.find("--exec off") != std::string::npos);
}

TEST_CASE("Only runs that have ended are removed", "[io][run]") {
  RunNode node;
  const RunId id = node.begin(node.command({"sleep", "1000"}));
  CHECK(code_of(node.launcher->remove(id)) == Errc::unavailable);
  REQUIRE(node.launcher->cancel(id));
  node.await(id);
  CHECK(node.launcher->remove(id));
  CHECK(node.folders.list()->empty());
  CHECK(node.launcher->remove(id));
  CHECK(node.folders.look(id)->traces.shim_lives == false);
}

TEST_CASE("A run whose lock cannot be looked at is neither dead nor removed", "[io][run]") {
  RunNode node;
  const RunId id = node.begin(node.command({"sleep", "1000"}));
  // Any reason but that there is none: too many open files, say.
  const std::string lock = node.folders.path_of(id) + "/" + run_files::kLock;
  fs::rename(lock, lock + ".old");
  fs::create_symlink(lock + ".old", lock);
  CHECK_FALSE(node.folders.look(id));
  CHECK_FALSE(node.launcher->remove(id));
  fs::rename(lock + ".old", lock);
  CHECK(node.folders.look(id)->traces.shim_lives);
}

TEST_CASE("An order that none of ours would make is refused", "[io][run]") {
  RunNode node;
  const auto refused = [&](const std::function<void(proto::RunOrder&)>& change) {
    proto::RunOrder order = node.command({"true"});
    change(order);
    const Status status = node.launcher->start(order);
    REQUIRE_FALSE(status);
    CHECK(status.error().code == Errc::invalid_argument);
    return status.error().detail;
  };
  CHECK(refused([](auto& o) { o.set_id("short"); }) == "run: its id is none");
  CHECK(refused([](auto& o) { o.clear_arguments(); }) == "run: the command is empty");
  CHECK(refused([](auto& o) { o.set_arguments(0, ""); }) == "run: the command is empty");
  CHECK(refused([](auto& o) { o.set_arguments(0, std::string("a\0b", 3)); }) ==
        "run: an argument with a NUL byte");
  CHECK(refused([](auto& o) { o.add_arguments(std::string(128 * 1024, 'x')); }) ==
        "run: an argument of 128 KiB or more");
  CHECK(refused([](auto& o) {
          for (int i = 0; i < 3; ++i) o.add_arguments(std::string(100'000, 'x'));
        }) == "run: more than 256 KiB of arguments and environment");
  CHECK(refused([](auto& o) { o.add_environment("=x"); }) ==
        "run: environment \"=x\": write it as NAME=VALUE");
  CHECK(refused([](auto& o) { o.set_script("#!/bin/sh\n"); }) == "run: a command with a script");
  CHECK(refused([](auto& o) {
          o.set_is_script(true);
          o.set_script(std::string(kMaxScriptBytes + 1, 'x'));
        }) == "run: a script of more than 1 MiB");
  CHECK(refused([](auto& o) { o.set_input(std::string(kMaxInputBytes + 1, 'x')); }) ==
        "run: standard input of more than 1 MiB");
  CHECK(refused([](auto& o) { o.set_folder("usr"); }) ==
        "run: working folder \"usr\": name an absolute path");
  CHECK(refused([](auto& o) { o.set_account(std::string(300, 'x')); }).find("is not a name") !=
        std::string::npos);
  CHECK(refused([](auto& o) { o.set_umask(01000); }) == "run: a umask above 0777");
  CHECK(refused([](auto& o) { o.set_timeout_ms(kMaxTimeoutMs + 1); }) ==
        "run: a timeout above 30 days");
  CHECK(refused([](auto& o) { o.set_grace_ms(kMaxGraceMs + 1); }) ==
        "run: more than 10 minutes between TERM and KILL");
  for (const std::uint64_t keep : {kMinKeepBytes - 1, kMaxKeepBytes + 1}) {
    CHECK(refused([&](auto& o) { o.set_keep_bytes(keep); }) ==
          "run: output to keep that is not between 8 KiB and 64 MiB");
  }
  CHECK(node.folders.list()->empty());
}

// ---- a hostile agent -------------------------------------------------------------------------

struct Direct {
  RunNode node;
  Fd socket;
  pid_t launcher = -1;

  Direct() {
    node.stop_launcher();  // one at a time
    auto channel = make_helper_channel();
    REQUIRE(channel);
    launcher = ::fork();
    if (launcher == 0) {
      channel->first.reset();
      const Status ended = run_launcher(
          channel->second.get(),
          {.runs = node.folders.path(), .policy = ExecPolicy::any, .program = "/no/such/program"});
      ::_exit(ended ? 0 : 1);
    }
    socket = std::move(channel->first);
  }
  ~Direct() {
    socket.reset();
    if (launcher > 0) CHECK(::waitpid(launcher, nullptr, 0) == launcher);
    node.start_launcher();
  }
  proto::LauncherReply ask(proto::LauncherRequest request, int file = -1) {
    request.set_number(5);
    REQUIRE(send_to_helper_channel(socket.get(), request.SerializeAsString(), file));
    auto message = receive_from_helper_channel(socket.get(), false);
    REQUIRE(message);
    REQUIRE(*message);
    proto::LauncherReply reply;
    REQUIRE(reply.ParseFromString((*message)->bytes));
    CHECK(reply.number() == 5);
    return reply;
  }
};

TEST_CASE("An order is taken sealed, whole and with its own id only", "[io][run]") {
  Direct direct;
  const proto::RunOrder order = direct.node.command({"true"});
  proto::LauncherRequest request;
  request.set_kind(proto::LauncherRequest::START);
  request.set_id(order.id());
  CHECK(direct.ask(request).detail() == "run: it has no order");

  const Fd loose(::memfd_create("order", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const std::string bytes = order.SerializeAsString();
  REQUIRE(::write(loose.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  CHECK(direct.ask(request, loose.get()).detail() == "run: its order could still be changed");

  const auto sealed = seal_bytes(bytes, "order");
  proto::LauncherRequest other = request;
  other.set_id(test::new_run_id().raw());
  CHECK(direct.ask(other, sealed->get()).detail() == "run: its order is of another run");
  other.set_id("../../etc");
  CHECK(direct.ask(other, sealed->get()).detail() == "run: its id is none");
  other.set_kind(proto::LauncherRequest::REMOVE);
  CHECK(direct.ask(other).detail() == "run: its id is none");

  const auto garbage = seal_bytes("\xff\xff\xff", "order");
  CHECK(direct.ask(request, garbage->get()).error() == "corrupt");
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  CHECK(direct.ask(request, null.get()).detail() == "run: its order could still be changed");
  CHECK(direct.node.folders.list()->empty());
}

TEST_CASE("A run whose shim cannot be started leaves nothing behind", "[io][run]") {
  Direct direct;
  const proto::RunOrder order = direct.node.command({"true"});
  const auto sealed = seal_bytes(order.SerializeAsString(), "order");
  proto::LauncherRequest request;
  request.set_kind(proto::LauncherRequest::START);
  request.set_id(order.id());
  const auto reply = direct.ask(request, sealed->get());
  CHECK(reply.detail() == "start a process for a run: No such file or directory");
  CHECK(direct.node.folders.list()->empty());
  CHECK(fs::is_empty(direct.node.folders.path()));
}

TEST_CASE("A request that cannot be read ends the launcher and no run", "[io][run]") {
  Direct direct;
  REQUIRE(::send(direct.socket.get(), "\xff\xff", 2, 0) == 2);
  int how = 0;
  REQUIRE(::waitpid(direct.launcher, &how, 0) == direct.launcher);
  direct.launcher = -1;
  CHECK(WEXITSTATUS(how) == 1);
}

TEST_CASE("An agent without its launcher is told so", "[io][run]") {
  RunNode node;
  REQUIRE(node.launcher->cancel(test::new_run_id()).error().code == Errc::not_found);
  auto channel = make_helper_channel();
  channel->second.reset();
  LauncherClient alone(std::move(channel->first));
  CHECK(code_of(alone.start(node.command({"true"}))) == Errc::unavailable);
}

TEST_CASE("Wherever a launcher is killed, a run runs once at most and its end is true",
          "[io][run]") {
  RunNode node;
  const std::string counter = node / "counter";
  const auto count = [&] { return test::text_of(counter).size(); };
  Rng rng(11);
  for (int round = 0; round < 40; ++round) {
    test::put_file(counter, "");
    ::chmod(counter.c_str(), 0666);
    const proto::RunOrder order = node.shell("printf x >> " + counter);
    const RunId id = *RunId::from_raw(order.id());
    std::thread killer([&, wait = rng.below(4000)] {
      std::this_thread::sleep_for(std::chrono::microseconds(wait));
      node.kill_launcher();
    });
    (void)node.launcher->start(order).has_value();  // it may not hear the answer
    killer.join();
    node.stop_launcher();
    node.start_launcher();
    REQUIRE(test::wait_for([&] { return !node.folders.look(id)->traces.shim_lives; }));
    const auto sight = node.folders.look(id);
    const RunState state = state_of_run(RunState::accepted, sight->traces);
    INFO(round << ": " << to_string(state));
    CHECK((state == RunState::exited || state == RunState::lost));
    CHECK(count() == (state == RunState::exited ? 1 : 0));
    // Without a ledger somebody might ask again: what has a folder does not begin again.
    const bool known = test::exists(node.folders.path_of(id));
    const Status again = node.launcher->start(order);
    CHECK(again.has_value() == !known);
    REQUIRE(test::wait_for([&] { return !node.folders.look(id)->traces.shim_lives; }));
    CHECK(count() == (known && state == RunState::lost ? 0 : 1));
    CHECK(node.launcher->remove(id));
  }
}

// ---- the folder of runs ----------------------------------------------------------------------

TEST_CASE("A folder of runs that others may write to is not used", "[io][run]") {
  test::TempFolder temp;
  REQUIRE(prepare_runs_folder(temp / "runs", -1));
  ::chmod((temp / "runs").c_str(), 0770);
  const Status refused = prepare_runs_folder(temp / "runs", -1);
  CHECK(code_of(refused) == Errc::denied);
  CHECK(refused.error().detail.find("others may write to it") != std::string::npos);
  fs::create_directory_symlink(temp / "runs", temp / "link");
  CHECK_FALSE(prepare_runs_folder(temp / "link", -1));
  if (::geteuid() == 0) {
    fs::create_directory(temp / "foreign");
    REQUIRE(::chown((temp / "foreign").c_str(), 65534, 65534) == 0);
    CHECK(code_of(prepare_runs_folder(temp / "foreign", -1)) == Errc::denied);
  }
}

TEST_CASE("Files of runs are for the agent's group to read and for nobody else",
          "[io][run][root]") {
  if (::geteuid() != 0) {
    WARN("skipped: only root can give a folder to another group");
    return;
  }
  RunNode node;
  constexpr int kReaders = 12345;
  REQUIRE(prepare_runs_folder(node.folders.path(), kReaders));
  const RunId id = node.begin(node.shell("echo text; echo more >&2"));
  node.await(id);
  for (const auto& file : fs::recursive_directory_iterator(node.folders.path())) {
    INFO(file.path().string());
    struct stat facts {};
    REQUIRE(::lstat(file.path().c_str(), &facts) == 0);
    CHECK(facts.st_uid == 0);
    CHECK(facts.st_gid == kReaders);
    CHECK((facts.st_mode & 0027) == 0);
    if (file.path().filename() != run_files::kControl) CHECK((facts.st_mode & 0040) != 0);
  }
}

TEST_CASE("Files of runs are for the agent's group where root lacks CAP_FSETID, too",
          "[io][run][root]") {
  if (::geteuid() != 0) {
    WARN("skipped: only root can give a folder to another group");
    return;
  }
  test::TempFolder temp;
  const pid_t child = ::fork();
  if (child == 0) {  // as under p2pd.service
    const cap_value_t right = CAP_FSETID;
    const cap_t rights = ::cap_get_proc();
    ::cap_set_flag(rights, CAP_EFFECTIVE, 1, &right, CAP_CLEAR);
    const bool lacks = ::cap_set_proc(rights) == 0;
    ::_exit(lacks && prepare_runs_folder(temp / "runs", 12345) ? 0 : 1);
  }
  int how = 0;
  REQUIRE(::waitpid(child, &how, 0) == child);
  CHECK(how == 0);
  struct stat facts {};
  REQUIRE(::stat((temp / "runs").c_str(), &facts) == 0);
  CHECK((facts.st_mode & 07777) == 02750);
  CHECK(facts.st_gid == 12345);
}

TEST_CASE("A folder of runs is in use while it holds any, or has a launcher", "[io][run]") {
  RunNode node;
  const RunId id = node.begin(node.command({"sleep", "1000"}));
  node.stop_launcher();
  CHECK(is_runs_folder_in_use(node.folders.path()));
  node.start_launcher();
  REQUIRE(node.launcher->cancel(id));
  node.await(id);
  REQUIRE(node.launcher->remove(id));
  CHECK(is_runs_folder_in_use(node.folders.path()));
  node.stop_launcher();
  CHECK_FALSE(is_runs_folder_in_use(node.folders.path()));
  CHECK_FALSE(is_runs_folder_in_use(node / "none"));
  node.start_launcher();
}

TEST_CASE("Folders that no shim was given are cleared away", "[io][run]") {
  RunNode node;
  node.stop_launcher();
  const std::string left = node.folders.path() + "/.new-" + test::new_run_id().hex();
  fs::create_directory(left);
  test::put_file(left + "/lock", "");
  node.start_launcher();
  CHECK(node.launcher->remove(test::new_run_id()));  // it answers
  CHECK_FALSE(test::exists(left));
}

TEST_CASE("A launcher serves when the one before it has ended, and no earlier", "[io][run]") {
  RunNode node;
  CHECK(node.launcher->remove(test::new_run_id()));  // it serves
  const std::string making = node.folders.path() + "/.new-" + test::new_run_id().hex();
  fs::create_directory(making);
  {
    RunNode next(ExecPolicy::any, node.folders.path());
    auto served =
        std::async(std::launch::async, [&] { return next.launcher->remove(test::new_run_id()); });
    CHECK(served.wait_for(std::chrono::milliseconds(300)) == std::future_status::timeout);
    CHECK(test::exists(making));
    node.stop_launcher();
    CHECK(served.get());
    CHECK_FALSE(test::exists(making));
  }
  node.start_launcher();
}

TEST_CASE("A launcher that waits for another ends with its agent", "[io][run]") {
  RunNode node;
  CHECK(node.launcher->remove(test::new_run_id()));  // it serves
  {
    RunNode next(ExecPolicy::any, node.folders.path());
    CHECK(next.stop_launcher() == 0);
    next.start_launcher();  // for its end
  }
}

}  // namespace
}  // namespace p2p
