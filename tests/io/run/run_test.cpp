// Whole runs: what a command finds, and what is said of it afterwards.
#include <filesystem>

#include "tests/io/run/node.h"

namespace p2p {
namespace {

using test::RunNode;
using Result_ = proto::RunResult;

bool is_root() {
  return ::geteuid() == 0;
}

// ---- what a command finds --------------------------------------------------------------------

TEST_CASE("A run ends with the exit code of its command", "[io][run]") {
  RunNode node;
  const Result_ result = node.run(node.shell("exit 3"));
  CHECK(result.end() == Result_::EXITED);
  CHECK(result.has_code());
  CHECK(result.code() == 3);
  CHECK(result.text() == "exit code 3");
  CHECK(result.begun_unix_ms() > 0);
  CHECK(result.ended_unix_ms() >= result.begun_unix_ms());
}

TEST_CASE("A run whose command dies of a signal says which", "[io][run]") {
  RunNode node;
  const Result_ result = node.run(node.shell("kill -SEGV $$"));
  CHECK(result.end() == Result_::EXITED);
  CHECK_FALSE(result.has_code());
  CHECK(result.signal() == SIGSEGV);
  CHECK(result.text() == "ended by signal 11 (SEGV)");
}

TEST_CASE("Standard output and standard error come apart, byte for byte", "[io][run]") {
  RunNode node;
  const RunId id = node.begin(node.shell("printf 'a\\000b\\377'; printf 'c\\n' >&2; printf d"));
  const Result_ result = node.await(id);
  CHECK(node.output(id) == std::string("a\0b\377d", 5));
  CHECK(node.output(id, RunStream::err) == "c\n");
  CHECK(result.out().bytes() == 5);
  CHECK(result.out().stored() == 5);
  CHECK(result.err().bytes() == 2);
}

TEST_CASE("Arguments arrive as they were given, no shell reads them", "[io][run]") {
  RunNode node;
  const std::string odd = "a b\n$HOME `id` \"'\\ *\t\xff";
  const RunId id = node.begin(node.command({"printf", "%s|", odd, "", "-x"}));
  CHECK(node.await(id).code() == 0);
  CHECK(node.output(id) == odd + "||-x|");
}

TEST_CASE("A command has the account's environment and nothing of the agent's", "[io][run]") {
  ::setenv("P2P_SECRET_OF_THE_AGENT", "1", 1);
  RunNode node;
  proto::RunOrder order = node.command({"env"});
  order.add_environment("GREETING=hello world");
  order.add_environment("TERM=vt100");
  const RunId id = node.begin(order);
  CHECK(node.await(id).code() == 0);
  const passwd* account = is_root() ? ::getpwnam("nobody") : ::getpwuid(::geteuid());
  REQUIRE(account != nullptr);
  CHECK(node.output(id) ==
        "GREETING=hello world\nHOME=" + std::string(account->pw_dir) +
            "\nLANG=C.UTF-8\nLOGNAME=" + account->pw_name + "\nP2PD_RUN=" + id.hex() +
            "\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nSHELL=" +
            account->pw_shell + "\nTERM=vt100\nUSER=" + account->pw_name + "\n");
}

TEST_CASE("A command has three descriptors, a session of its own and default signals",
          "[io][run]") {
  RunNode node;
  const RunId id = node.begin(node.shell(
      "ls /proc/$$/fd | tr '\\n' ' '; cut -d' ' -f1,5,6,7 /proc/$$/stat; echo $$; "
      "grep -E '^Sig(Blk|Ign)' /proc/$$/status | cut -f2; umask; readlink /proc/$$/fd/0"));
  CHECK(node.await(id).code() == 0);
  const std::string said = node.output(id);
  const std::string pid = std::to_string(node.folders.look(id)->begun->pid());
  // Its own process group and session, and no terminal (0).
  CHECK(said == "0 1 2 " + pid + " " + pid + " " + pid + " 0\n" + pid +
                    "\n0000000000000000\n0000000000000000\n0022\n/dev/null\n");
}

TEST_CASE("A command reads the input that it was given", "[io][run]") {
  RunNode node;
  proto::RunOrder order = node.command({"cat"});
  order.set_input(std::string(300'000, 'x') + "end");
  const RunId id = node.begin(order);
  CHECK(node.await(id).out().bytes() == 300'003);
  CHECK(node.output(id) == order.input());
}

TEST_CASE("A command has the limits, umask and folder that were asked for", "[io][run]") {
  RunNode node;
  proto::RunOrder order = node.shell("ulimit -t; ulimit -v; ulimit -n; ulimit -f; umask; pwd");
  order.mutable_limits()->set_cpu_seconds(17);
  order.mutable_limits()->set_memory_bytes(512 << 20);
  order.mutable_limits()->set_open_files(77);
  order.mutable_limits()->set_file_bytes(1 << 20);
  order.set_umask(077);
  order.set_folder("/usr");
  const RunId id = node.begin(order);
  CHECK(node.await(id).code() == 0);
  CHECK(node.output(id) == "17\n524288\n77\n2048\n0077\n/usr\n");
}

TEST_CASE("A command that uses up its CPU seconds is ended by the kernel", "[io][run]") {
  RunNode node;
  proto::RunOrder order = node.shell("while :; do :; done");
  order.mutable_limits()->set_cpu_seconds(1);
  const Result_ result = node.run(order);
  CHECK(result.end() == Result_::EXITED);
  CHECK((result.signal() == SIGXCPU || result.signal() == SIGKILL));
  CHECK(result.cpu_us() >= 500'000);  // the kernel counts in ticks here and there
}

TEST_CASE("A command of root's node runs as nobody, with nothing of root", "[io][run][root]") {
  if (!is_root()) {
    WARN("skipped: only root can give up rights");
    return;
  }
  RunNode node;
  const passwd* nobody = ::getpwnam("nobody");
  REQUIRE(nobody != nullptr);
  const RunId id = node.begin(node.shell(
      "grep -E '^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb)):' /proc/self/status | tr '\\t' ' '; "
      "cat /etc/shadow"));
  CHECK(node.await(id).code() != 0);
  const std::string user = std::to_string(nobody->pw_uid), group = std::to_string(nobody->pw_gid);
  const std::string none = " 0000000000000000\n";
  CHECK(node.output(id) == "Uid: " + user + " " + user + " " + user + " " + user +
                               "\nGid: " + group + " " + group + " " + group + " " + group +
                               "\nGroups: " + group + " \nCapInh:" + none + "CapPrm:" + none +
                               "CapEff:" + none + "CapAmb:" + none);
  CHECK(node.output(id, RunStream::err).find("Permission denied") != std::string::npos);
}

TEST_CASE("A command runs as the account that was asked for", "[io][run][root]") {
  if (!is_root()) {
    WARN("skipped: only root can choose an account");
    return;
  }
  RunNode node(ExecPolicy::any, "", {"root", "daemon"});
  for (const char* name : {"root", "daemon"}) {
    proto::RunOrder order = node.command({"id", "-un"});
    order.set_account(name);
    const RunId id = node.begin(order);
    CHECK(node.await(id).code() == 0);
    CHECK(node.output(id) == std::string(name) + "\n");
  }
}

TEST_CASE("No run has an account that the node's owner does not allow", "[io][run]") {
  const auto refusal = [](RunNode& node, const std::string& account) {
    // Before anything else that is wrong with it.
    proto::RunOrder order = node.script("no shebang");
    order.set_account(account);
    const Result_ result = node.run(order);
    CHECK(result.end() == Result_::NOT_BEGUN);
    CHECK(result.reason() == Result_::NO_ACCOUNT);
    return result.text();
  };
  RunNode named(ExecPolicy::any, "", {"no-such-account"});
  CHECK(refusal(named, "").find("(p2pd run --exec-accounts does not name it)") !=
        std::string::npos);
  if (!is_root()) {
    WARN("half of it skipped: only root can choose an account");
    return;
  }
  CHECK(refusal(named, "root").find("does not name it") != std::string::npos);
  CHECK(permit_account({.allowed = {}, .agent = 1}, *find_run_account("root")));
  const RunAccount daemon = *find_run_account("daemon");
  CHECK(permit_account({.allowed = {}, .agent = 0}, daemon));
  CHECK_FALSE(permit_account({.allowed = {}, .agent = daemon.user}, daemon));
  CHECK(permit_account({.allowed = {"daemon"}, .agent = daemon.user}, daemon));
}

TEST_CASE("An ordinary user's node runs commands as itself and as nobody else", "[io][run]") {
  if (is_root()) {
    WARN("skipped: this is root");
    return;
  }
  RunNode node;
  const RunId id = node.begin(node.command({"id", "-u"}));
  CHECK(node.await(id).code() == 0);
  CHECK(node.output(id) == std::to_string(::geteuid()) + "\n");
  proto::RunOrder order = node.command({"id"});
  order.set_account("root");
  const Result_ refused = node.run(order);
  CHECK(refused.end() == Result_::NOT_BEGUN);
  CHECK(refused.reason() == Result_::NO_ACCOUNT);
  CHECK(refused.text().find("p2pd runs here as an ordinary user") == 0);
}

// ---- scripts ---------------------------------------------------------------------------------

TEST_CASE("A script runs with its interpreter and its arguments", "[io][run]") {
  RunNode node;
  const RunId id = node.begin(
      node.script("#!/bin/sh -u\nprintf '%s,' \"$@\"; set +u; echo; cat; echo $-\n", {"a b", "c"}));
  CHECK(node.await(id).code() == 0);
  CHECK(node.output(id) == "a b,c,\n\n");
}

TEST_CASE("A script finds its interpreter through env", "[io][run]") {
  RunNode node;
  const RunId id = node.begin(node.script("#!/usr/bin/env -S perl -w\nprint 6 * 7, \"\\n\";\n"));
  CHECK(node.await(id).text() == "exit code 0");
  CHECK(node.output(id) == "42\n");
}

TEST_CASE("A script that cannot be begun says what is wrong with it", "[io][run]") {
  RunNode node;
  const auto refused = [&](const std::string& text) {
    const Result_ result = node.run(node.script(text));
    CHECK(result.end() == Result_::NOT_BEGUN);
    return std::pair(result.reason(), result.text());
  };
  CHECK(
      refused("#!/bin/sh\r\necho\r\n") ==
      std::pair(Result_::BAD_SCRIPT,
                std::string("the script has Windows line ends (CRLF), so its interpreter would be "
                            "\"/bin/sh?\"; convert it, for example with dos2unix")));
  CHECK(refused("echo\n").first == Result_::BAD_SCRIPT);
  CHECK(refused("#!/no/such/interpreter -x\n") ==
        std::pair(Result_::NO_INTERPRETER,
                  std::string("the interpreter of the script, \"/no/such/interpreter\", does not "
                              "exist on this node")));
}

// ---- commands that cannot be begun -----------------------------------------------------------

TEST_CASE("A command that does not exist is not begun and says so", "[io][run]") {
  RunNode node;
  Result_ result = node.run(node.command({"no-such-command", "x"}));
  CHECK(result.end() == Result_::NOT_BEGUN);
  CHECK(result.reason() == Result_::NO_COMMAND);
  CHECK(result.text().find("\"no-such-command\" does not exist on this node (looked in /usr/local/"
                           "sbin:") == 0);
  result = node.run(node.command({"/no/such/command"}));
  CHECK(result.reason() == Result_::NO_COMMAND);
  CHECK(result.text() == "\"/no/such/command\" does not exist on this node");
  result = node.run(node.command({"/etc/passwd/x"}));
  CHECK(result.reason() == Result_::NO_COMMAND);
}

TEST_CASE("A command that may not be executed is not begun and says so", "[io][run]") {
  RunNode node;
  const std::string file = node / "file";
  test::put_file(file, "#!/bin/sh\necho\n");
  ::chmod(file.c_str(), 0644);
  Result_ result = node.run(node.command({file}));
  CHECK(result.end() == Result_::NOT_BEGUN);
  CHECK(result.reason() == Result_::NOT_EXECUTABLE);
  CHECK(result.text().find("may not be executed by account") != std::string::npos);
  result = node.run(node.command({"/usr"}));
  CHECK(result.reason() == Result_::NOT_EXECUTABLE);
  CHECK(result.text() == "\"/usr\" is a folder");
  // Nobody hands it to a shell.
  test::put_file(file, "echo hello\n");
  ::chmod(file.c_str(), 0755);
  result = node.run(node.command({file}));
  CHECK(result.reason() == Result_::NOT_EXECUTABLE);
  CHECK(result.text().find("no shell is tried") != std::string::npos);
}

TEST_CASE("A script on the node with a bad first line says what is wrong with it", "[io][run]") {
  RunNode node;
  const std::string file = node / "file";
  test::put_file(file, "#!/bin/sh\r\necho\r\n");
  ::chmod(file.c_str(), 0755);
  Result_ result = node.run(node.command({file}));
  CHECK(result.reason() == Result_::BAD_SCRIPT);
  CHECK(result.text().find("Windows line ends (CRLF)") != std::string::npos);
  test::put_file(file, "#!/no/such/interpreter\n");
  result = node.run(node.command({file}));
  CHECK(result.reason() == Result_::NO_INTERPRETER);
  CHECK(result.text().find("\"/no/such/interpreter\", does not exist on this node") !=
        std::string::npos);
}

TEST_CASE("A run with an unknown account or folder is not begun", "[io][run]") {
  RunNode node;
  proto::RunOrder order = node.command({"true"});
  order.set_account("no-such-account");
  Result_ result = node.run(order);
  CHECK(result.end() == Result_::NOT_BEGUN);
  CHECK(result.reason() == Result_::NO_ACCOUNT);
  CHECK(result.text() == "account \"no-such-account\" does not exist on this node");
  order = node.command({"true"});
  order.set_folder("/no/such/folder");
  result = node.run(order);
  CHECK(result.reason() == Result_::NO_FOLDER);
  CHECK(result.text().find("working folder \"/no/such/folder\": No such file or directory") == 0);
}

// ---- commands that behave badly --------------------------------------------------------------

TEST_CASE("A command that needs a terminal gets none and ends by itself", "[io][run]") {
  RunNode node;
  const RunId id = node.begin(node.shell("tty; read line < /dev/tty"));
  const Result_ result = node.await(id);
  CHECK(result.end() == Result_::EXITED);
  CHECK(result.code() != 0);
  CHECK(node.output(id) == "not a tty\n");
  CHECK(node.output(id, RunStream::err).find("/dev/tty") != std::string::npos);
}

TEST_CASE("A command that closes its output early is awaited", "[io][run]") {
  RunNode node;
  const std::string go = node / "go";
  const RunId id = node.begin(node.shell("echo first; exec >&- 2>&-; while [ ! -e " + go +
                                         " ]; do sleep 0.02; done; exit 9"));
  REQUIRE(test::wait_for([&] { return node.output(id) == "first\n"; }));
  CHECK(node.folders.look(id)->traces.shim_lives);
  CHECK_FALSE(node.folders.look(id)->result);
  test::put_file(go, "");
  CHECK(node.await(id).code() == 9);
}

TEST_CASE("A run is over when its command is, and says what that left running", "[io][run]") {
  RunNode node;
  const std::string pid_file = node / "pids/daemon";
  std::filesystem::create_directory(node / "pids");
  ::chmod((node / "pids").c_str(), 0777);
  const RunId id = node.begin(node.shell(
      "(setsid sh -c 'echo $$ > " + pid_file + ".new; mv " + pid_file + ".new " + pid_file +
      "; exec sleep 1000' &); while [ ! -e " + pid_file + " ]; do sleep 0.02; done; echo up"));
  const Result_ result = node.await(id);
  const pid_t daemon = std::stoi(test::text_of(pid_file));
  CHECK(result.end() == Result_::EXITED);
  CHECK(result.code() == 0);
  CHECK(result.left_running() == 1);
  CHECK(result.text() == "exit code 0; 1 process that it started still runs");
  CHECK(node.output(id) == "up\n");
  CHECK(test::runs(daemon));
  ::kill(daemon, SIGKILL);
  CHECK(test::wait_for([&] { return !test::runs(daemon); }));
  CHECK(node.launcher->remove(id));
}

TEST_CASE("Of endless output head and tail are kept", "[io][run]") {
  RunNode node;
  proto::RunOrder order = node.shell("echo begin; head -c 30000000 /dev/zero; echo end");
  order.set_keep_bytes(64 * 1024);
  const RunId id = node.begin(order);
  const Result_ result = node.await(id);
  CHECK(result.code() == 0);
  CHECK(result.out().bytes() == 30'000'010);
  CHECK(result.out().head() == 32 * 1024);
  CHECK(result.out().tail_begin() > 29'000'000);
  CHECK(result.out().bytes() - result.out().tail_begin() <= 32 * 1024);
  const std::string kept = node.output(id);
  CHECK(kept.size() <= 64 * 1024 + 5);
  CHECK(kept.starts_with("begin\n"));
  CHECK(kept.find("[...]") == 32 * 1024);
  CHECK(kept.ends_with("end\n"));
  CHECK(result.text() == "exit code 0; of stdout, 30000010 bytes, only head and tail are kept");
}

TEST_CASE("A gigabyte without a line's end takes two megabytes at most", "[io][run]") {
  RunNode node;
  const RunId id = node.begin(node.shell("head -c 1073741824 /dev/zero"));
  std::uint64_t most = 0;
  REQUIRE(test::wait_for([&] {
    std::uint64_t now = 0;
    std::error_code gone;
    for (const auto& file : std::filesystem::directory_iterator(node.folders.path_of(id))) {
      const auto size = file.is_regular_file(gone) ? file.file_size(gone) : 0;
      if (!gone) now += size;
    }
    most = std::max(most, now);
    return !node.folders.look(id)->traces.shim_lives;
  }));
  CHECK(node.await(id).out().bytes() == 1'073'741'824);
  CHECK(most <= 2 * kDefaultKeepBytes);
}

TEST_CASE("A command that fills the disk with its output still has its exit code",
          "[io][run][root]") {
  if (!is_root()) {
    WARN("skipped: only root can mount a small file system");
    return;
  }
  test::TempFolder small;
  const std::string mount =
      "mount -t tmpfs -o size=256k,mode=0755 tmpfs " + small.path() + " 2>/dev/null";
  if (std::system(mount.c_str()) != 0) {
    WARN("skipped: nothing can be mounted here");
    return;
  }
  {
    RunNode node(ExecPolicy::any, small / "runs");
    const Result_ result = node.run(node.shell("head -c 3000000 /dev/zero; echo err >&2; exit 4"));
    CHECK(result.end() == Result_::EXITED);
    CHECK(result.code() == 4);
    CHECK(result.out().bytes() == 3'000'000);
    CHECK(result.out().stored() < 256 * 1024);
    CHECK(result.out().problem().find("disk full") != std::string::npos);
    CHECK(result.text().find("exit code 4; stdout is not kept whole: ") == 0);
    // The next one has no room for its result: nothing is begun.
    const Status refused = node.launcher->start(node.command({"true"}));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::exhausted);
    CHECK(node.folders.list()->size() == 1);
  }
  CHECK(std::system(("umount " + small.path()).c_str()) == 0);
}

}  // namespace
}  // namespace p2p
