// The command line of the command channel.
#include "tests/support/catch.h"
#include "tests/tools/p2pctl/parsed_line.h"

namespace p2p {
namespace {

TEST_CASE("exec takes targets, account, times and the command behind --", "[tools][command_line]") {
  const auto exec =
      command_of<ExecCommand>({"exec", "--to", "dc=bj & role=web", "--as", "deploy", "--timeout",
                               "30s", "--grace", "1500ms", "--", "uname", "-r"});
  CHECK(exec.spec.targets() == "dc=bj & role=web");
  CHECK(exec.spec.account() == "deploy");
  CHECK(exec.spec.timeout_ms() == 30'000);
  CHECK(exec.spec.grace_ms() == 1500);
  REQUIRE(exec.spec.command_size() == 2);
  CHECK(exec.spec.command(0) == "uname");
  CHECK(exec.spec.command(1) == "-r");
  CHECK(exec.view.form == OutputView::Form::groups);
  CHECK_FALSE(exec.detach);
}

TEST_CASE("The words of a command reach the nodes as they are", "[tools][command_line]") {
  const Words words{"find", "/",  "-name",  "[ab]", "-exec", "ls",   "{}", ";",
                    "",     "--", "--help", "-o",   "json",  "exec", "%%"};
  Words line{"exec", "--to", "*", "--"};
  line.insert(line.end(), words.begin(), words.end());
  const auto exec = command_of<ExecCommand>(line);
  CHECK(Words(exec.spec.command().begin(), exec.spec.command().end()) == words);
}

TEST_CASE("exec without a command, or without --, says how to write it", "[tools][command_line]") {
  CHECK(contains(error_of({"exec", "--to", "*"}), "behind --"));
  CHECK(contains(error_of({"exec", "--to", "*", "--"}), "behind --"));
  CHECK(contains(error_of({"exec", "--to", "*", "uname"}), "behind --"));
  CHECK(contains(error_of({"exec", "--", "uname"}), "--to"));
  CHECK(contains(error_of({"exec", "--to", "*", "--", "\xff"}), "UTF-8"));
}

TEST_CASE("A -- of another command is no command for nodes", "[tools][command_line]") {
  CHECK(command_of<NodeShowCommand>({"node", "show", "--", "exec"}).node == "exec");
}

TEST_CASE("Without a timeout, none and too much are told apart", "[tools][command_line]") {
  const auto timeout = [](const std::string& text) {
    return command_of<ExecCommand>({"exec", "--to", "*", "--timeout", text, "--", "true"})
        .spec.timeout_ms();
  };
  CHECK(command_of<ExecCommand>({"exec", "--to", "*", "--", "true"}).spec.timeout_ms() == 0);
  CHECK(timeout("none") == 30ull * 24 * 3600 * 1000);
  CHECK(contains(error_of({"exec", "--to", "*", "--timeout", "31d", "--", "true"}), "--timeout"));
  CHECK(contains(error_of({"exec", "--to", "*", "--timeout", "5", "--", "true"}), "--timeout"));
}

TEST_CASE("exec and push take the same turns", "[tools][command_line]") {
  const Words turns{"--wave",          "1,10%,100%", "--window",   "50",
                    "--pause-between", "30s",        "--max-fail", "5%",
                    "--on-max-fail",   "pause",      "--order",    "rack-spread",
                    "--offline",       "queue"};
  Words exec{"exec", "--to", "*"};
  exec.insert(exec.end(), turns.begin(), turns.end());
  exec.insert(exec.end(), {"--ttl", "1h", "--", "true"});
  const proto::Rollout of_exec = command_of<ExecCommand>(exec).spec.rollout();
  CHECK(of_exec.waves() == "1,10%,100%");
  CHECK(of_exec.window() == 50);
  CHECK(of_exec.pause_between_ms() == 30'000);
  CHECK(of_exec.max_fail() == "5%");
  CHECK(of_exec.on_max_fail() == "pause");
  CHECK(of_exec.order() == "rack-spread");
  CHECK(of_exec.offline() == "queue");
  CHECK(of_exec.ttl_seconds() == 3600);
  Words push{"push", "images/base", "--to", "*", "--path", "x", "--ttl", "1h"};
  push.insert(push.end(), turns.begin(), turns.end());
  const auto pushed = command_of<PushCommand>(push);
  CHECK(pushed.spec.rollout().waves() == "1,10%,100%");
  CHECK(pushed.spec.rollout().ttl_seconds() == 0);
  CHECK(pushed.spec.offline_ttl_seconds() == 3600);
}

TEST_CASE("Whoever wants to be asked has the job pause", "[tools][command_line]") {
  const auto exec = command_of<ExecCommand>(
      {"exec", "--to", "*", "--max-fail", "3", "--on-max-fail", "ask", "--", "true"});
  CHECK(exec.ask);
  CHECK(exec.spec.rollout().on_max_fail() == "pause");
}

TEST_CASE("Turns that nobody can take are refused here", "[tools][command_line]") {
  const auto refused = [](const Words& options) {
    Words line{"exec", "--to", "*"};
    line.insert(line.end(), options.begin(), options.end());
    line.insert(line.end(), {"--", "true"});
    return error_of(line);
  };
  CHECK(contains(refused({"--wave", "1,x"}), "--wave"));
  CHECK(contains(refused({"--max-fail", "200%"}), "--max-fail"));
  CHECK(contains(refused({"--on-max-fail", "pause"}), "--max-fail"));
  CHECK(contains(refused({"--order", "age"}), "--order"));
  CHECK(contains(refused({"--offline", "wait"}), "--offline"));
  CHECK(contains(refused({"--window", "-1"}), "--window"));
  CHECK(contains(refused({"--diff", "--no-group"}), "--diff"));
  CHECK(contains(refused({"--detach", "--dry-run"}), "--detach"));
  CHECK(contains(refused({"--env", "X"}), "NAME=VALUE"));
  CHECK(contains(refused({"--folder", "tmp"}), "absolute"));
  CHECK(contains(refused({"--keep", "1KiB"}), "--keep"));
  CHECK(contains(refused({"--as", "a/b"}), "--as"));
}

TEST_CASE("A script runs in a version, with arguments behind --", "[tools][command_line]") {
  const auto run =
      command_of<ExecCommand>({"script", "run", "deploy@3", "--to", "*", "--", "--fast", "x"});
  CHECK(run.spec.script() == "deploy@3");
  CHECK(run.spec.command_size() == 2);
  CHECK(command_of<ExecCommand>({"script", "run", "deploy", "--to", "*"}).spec.command_size() == 0);
  CHECK(contains(error_of({"script", "run", "deploy@0", "--to", "*"}), "version"));
  CHECK(contains(error_of({"script", "run", "../x", "--to", "*"}), "script"));
  CHECK(command_of<ScriptPutCommand>({"script", "put", "d.sh", "--name", "deploy"}).name ==
        "deploy");
  CHECK(command_of<ScriptShowCommand>({"script", "show", "deploy@latest", "--body"}).body);
}

TEST_CASE("A group may be written as expressions write it", "[tools][command_line]") {
  const auto set = command_of<GroupSetCommand>({"group", "set", "@canary", "web[1-3] | rack=r1"});
  CHECK(set.group.name() == "canary");
  CHECK(set.group.expression() == "web[1-3] | rack=r1");
  CHECK(command_of<GroupShowCommand>({"group", "show", "canary"}).name == "canary");
  CHECK(contains(error_of({"group", "set", "canary", "web[1-"}), "web[1-"));
}

TEST_CASE("An account has a user, limits and who may use it", "[tools][command_line]") {
  const auto account =
      command_of<AccountSetCommand>({"account",     "set",    "deploy",   "--user",   "www",
                                     "--role",      "ops",    "--role",   "ci",       "--nodes",
                                     "role=web",    "--cpu",  "60s",      "--memory", "1GiB",
                                     "--processes", "10",     "--files",  "100",      "--file-size",
                                     "2GiB",        "--wall", "1h",       "--env",    "A=b",
                                     "--umask",     "027",    "--folder", "/srv"})
          .account;
  CHECK(account.name() == "deploy");
  CHECK(account.user() == "www");
  CHECK(account.roles_size() == 2);
  CHECK(account.nodes() == "role=web");
  CHECK(account.cpu_seconds() == 60);
  CHECK(account.memory_bytes() == 1ull << 30);
  CHECK(account.processes() == 10);
  CHECK(account.open_files() == 100);
  CHECK(account.file_bytes() == 2ull << 30);
  CHECK(account.wall_ms() == 3'600'000);
  CHECK(account.environment(0) == "A=b");
  CHECK(account.umask() == 027);
  CHECK(account.folder() == "/srv");
  for (const char* umask : {"000", "1000", "29", "-1"}) {
    CHECK(contains(error_of({"account", "set", "a", "--user", "u", "--umask", umask}), "--umask"));
  }
}

TEST_CASE("A user has roles and a folder for the credential", "[tools][command_line]") {
  const auto user =
      command_of<UserAddCommand>({"user", "add", "ann", "--role", "ops", "--home", "/tmp/ann"});
  CHECK(user.name == "ann");
  CHECK(user.roles == Words{"ops"});
  CHECK(user.home == "/tmp/ann");
  CHECK(contains(error_of({"user", "add", "ann", "--role", "ops"}), "--home"));
}

TEST_CASE("A job can be repeated in part, and its output chosen", "[tools][command_line]") {
  const auto retry = command_of<JobRetryCommand>({"job", "retry", "j7", "--only", "failed,lost"});
  CHECK(retry.job == "j7");
  REQUIRE(retry.request.only_size() == 2);
  CHECK(retry.request.only(1) == "lost");
  CHECK(contains(error_of({"job", "retry", "j7", "--only", "bad"}), "undeliverable"));
  const auto output = command_of<JobOutputCommand>(
      {"job", "output", "j7", "--node", "web1", "--stream", "err", "--no-group"});
  CHECK(output.node == "web1");
  CHECK(output.view.streams == Streams::err);
  CHECK(output.view.form == OutputView::Form::lines);
  CHECK(contains(error_of({"job", "output", "j7", "--node", "a&b"}), "a&b"));
  CHECK(command_of<JobPauseCommand>({"job", "pause", "j7"}).job == "j7");
  CHECK(command_of<JobResumeCommand>({"job", "resume", "j7"}).job == "j7");
}

TEST_CASE("The audit is listed from a number on", "[tools][command_line]") {
  CHECK(command_of<AuditListCommand>({"audit", "list"}).from == 1);
  CHECK(command_of<AuditListCommand>({"audit", "list", "--from", "40"}).from == 40);
  CHECK(contains(error_of({"audit", "list", "--from", "0"}), "--from"));
  command_of<AuditVerifyCommand>({"audit", "verify"});
}

}  // namespace
}  // namespace p2p
