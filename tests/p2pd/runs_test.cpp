#include "p2pd/runs.h"

#include "tests/p2pd/runs_fixture.h"

namespace p2p {
namespace {

using test::HeardRun;
using test::RunsNode;
using test::text_of;

RunId id_of(const proto::RunOrder& order) {
  return *RunId::from_raw(order.id());
}

TEST_CASE("An offered command is accepted, runs, and ends with its output and exit code",
          "[p2pd][runs]") {
  RunsNode node;
  const HeardRun& run = node.run(node.shell("echo good; echo bad >&2; exit 3"));
  CHECK(run.states.front() == "accepted");
  CHECK(run.states.back() == "exited");
  CHECK(run.output[0] == "good\n");
  CHECK(run.output[1] == "bad\n");
  CHECK(run.last.has_code());
  CHECK(run.last.code() == 3);
  CHECK(run.last.job() == 17);
  CHECK(run.last.out().bytes() == 5);
  CHECK(run.last.err().bytes() == 4);
  CHECK(run.last.ended_unix_ms() >= run.last.begun_unix_ms());
  CHECK_FALSE(run.output_behind_end);
}

TEST_CASE("A command without output ends without a word of the tracker", "[p2pd][runs]") {
  RunsNode node;
  node.takes_output = false;
  CHECK(node.run(node.command({"true"})).last.state() == "exited");
}

TEST_CASE("A run that is offered again is not run again", "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.shell("echo x >> " + node / "times");
  ::close(::open((node / "times").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
  ::chmod((node / "times").c_str(), 0666);
  node.offer(order);
  node.offer(order);
  node.await_end(id_of(order));
  const std::size_t said = node.heard[id_of(order)].states.size();
  node.offer(order);
  CHECK(node.until([&] { return node.heard[id_of(order)].states.size() > said; }));
  CHECK(node.heard[id_of(order)].last.state() == "exited");
  node.know(id_of(order), /*final=*/true);
  CHECK(node.until([&] { return !node.has_folder(id_of(order)); }));
  node.offer(order, /*accepted_before=*/true);
  node.await_end(id_of(order));
  CHECK(text_of(node / "times") == "x\n");
}

TEST_CASE("What the owner forbids is rejected with the switch, and never run later",
          "[p2pd][runs]") {
  RunsNode node(ExecPolicy::scripts_only);
  const proto::RunOrder order = node.command({"true"});
  CHECK(node.run(order).last.state() == "rejected");
  CHECK_THAT(node.heard[id_of(order)].last.text(), Catch::Contains("--exec any"));
  CHECK(node.recorded(id_of(order)) == RunState::rejected);
  CHECK(node.run(node.script("#!/bin/sh\necho from a script\n")).output[0] == "from a script\n");

  RunsNode off(ExecPolicy::off);
  const proto::RunOrder script = off.script("#!/bin/sh\n");
  CHECK(off.run(script).last.state() == "rejected");
  CHECK_THAT(off.heard[id_of(script)].last.text(), Catch::Contains("--exec off"));
}

TEST_CASE("Where only scripts run, their environment makes them run nothing else", "[p2pd][runs]") {
  RunsNode node(ExecPolicy::scripts_only);
  proto::RunOrder order = node.script("#!/bin/bash\necho the script\n");
  order.add_environment("LANG=C");
  order.add_environment("BASH_ENV=" + (node / "other"));
  CHECK(node.run(order).last.state() == "rejected");
  CHECK_THAT(node.heard[id_of(order)].last.text(), Catch::StartsWith("BASH_ENV "));
  CHECK(node.heard[id_of(order)].output[0].empty());
}

TEST_CASE("An order that cannot be is rejected, and on record", "[p2pd][runs]") {
  RunsNode node;
  proto::RunOrder order = node.command({"true"});
  order.set_folder("relative");
  CHECK(node.run(order).last.state() == "rejected");
  CHECK_THAT(node.heard[id_of(order)].last.text(), Catch::Contains("absolute"));
  CHECK(node.recorded(id_of(order)) == RunState::rejected);
}

TEST_CASE("What cannot be begun is rejected with the reason", "[p2pd][runs]") {
  RunsNode node;
  const HeardRun& run = node.run(node.command({"no-such-program-here"}));
  CHECK(run.last.state() == "rejected");
  CHECK_THAT(run.last.text(), Catch::Contains("no-such-program-here"));
}

TEST_CASE("A run that was accepted and is not in the ledger is lost, not begun", "[p2pd][runs]") {
  RunsNode node(ExecPolicy::scripts_only);
  const proto::RunOrder order = node.command({"true"});
  node.offer(order, /*accepted_before=*/true);
  CHECK(node.await_end(id_of(order)).last.state() == "lost");
  CHECK_FALSE(node.has_folder(id_of(order)));
}

TEST_CASE("A run of which the tracker has heard the end leaves no folder", "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.command({"true"});
  node.run(order);
  CHECK(node.has_folder(id_of(order)));
  node.know(id_of(order), /*final=*/true);
  CHECK(node.until([&] { return !node.has_folder(id_of(order)); }));
  node.restart();
  CHECK(node.welcomed().empty());
}

TEST_CASE("A run that is cancelled ends with all that it started", "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.shell("echo begun; sleep 1000");
  node.offer(order);
  REQUIRE(node.until([&] { return node.heard[id_of(order)].output[0] == "begun\n"; }));
  node.cancel(id_of(order));
  CHECK(node.await_end(id_of(order)).last.state() == "cancelled");
}

TEST_CASE("A run that is cancelled before its offer came is never begun", "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.command({"true"});
  node.cancel(id_of(order));
  CHECK(node.await_end(id_of(order)).last.state() == "cancelled");
  node.offer(order);
  CHECK(node.until([&] { return node.heard[id_of(order)].states.size() > 1; }));
  CHECK(node.heard[id_of(order)].last.state() == "cancelled");
  CHECK_FALSE(node.has_folder(id_of(order)));
}

TEST_CASE("Output is told while the command runs, each stream in its order", "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.shell(
      "i=0; while [ $i -lt 200 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; sleep 1000");
  std::string out, err;
  for (int i = 0; i < 200; ++i) {
    out += "out " + std::to_string(i) + "\n";
    err += "err " + std::to_string(i) + "\n";
  }
  node.offer(order);
  const HeardRun& run = node.heard[id_of(order)];
  CHECK(node.until([&] { return run.output[0].size() + run.output[1].size() >= 2 * out.size(); }));
  CHECK(run.output[0] == out);
  CHECK(run.output[1] == err);
  CHECK(run.last.state() == "running");
  node.cancel(id_of(order));
  node.await_end(id_of(order));
}

TEST_CASE("No more than 64 KiB is on the way, and the end waits behind it", "[p2pd][runs]") {
  RunsNode node;
  node.takes_output = false;
  proto::RunOrder order = node.shell("head -c 3000000 /dev/zero");
  order.set_keep_bytes(8 * 1024 * 1024);
  const RunId id = id_of(order);
  node.offer(order);
  REQUIRE(node.until([&] { return node.on_the_way(id) == 64 * 1024; }));
  for (int i = 0; i < 200; ++i) node.turn();
  CHECK(node.on_the_way(id) == 64 * 1024);
  CHECK_FALSE(node.heard[id].ended());

  SECTION("what is taken makes room") {
    node.takes_output = true;
    CHECK(node.await_end(id).output[0] == std::string(3'000'000, '\0'));
    CHECK_FALSE(node.heard[id].output_behind_end);
  }
  SECTION("another run has its turn, and does not wait for the end of this one") {
    const proto::RunOrder other = node.shell("echo short");
    node.offer(other);
    REQUIRE(node.until([&] { return node.has_result(id_of(other)); }));
    for (int i = 0; i < 100; ++i) node.turn();
    REQUIRE(node.until([&] {
      node.take_output(id);
      return node.heard[id_of(other)].output[0] == "short\n" || node.heard[id].ended();
    }));
    CHECK_FALSE(node.heard[id].ended());
  }
  SECTION("of a run that has said enough only the end is told") {
    node.take_output(id, /*enough=*/true);
    CHECK(node.await_end(id).last.state() == "exited");
    CHECK(node.on_the_way(id) == 64 * 1024);
    CHECK(node.heard[id].last.out().bytes() == 3'000'000);
  }
}

TEST_CASE("A command that says too much is told with its beginning and its end", "[p2pd][runs]") {
  RunsNode node;
  proto::RunOrder order = node.shell("head -c 5000000 /dev/zero; echo end");
  order.set_keep_bytes(64 * 1024);
  const HeardRun& run = node.run(order);
  CHECK(run.output[0].starts_with(std::string(32 * 1024, '\0')));
  CHECK(run.output[0].ends_with("end\n"));
  CHECK_THAT(run.output[0], Catch::Contains("[...]"));
  // Nothing of what lay between, whatever it was when somebody looked.
  CHECK(run.output[0].size() <= 64 * 1024 + 2 * std::string("[...]").size());
  CHECK(run.last.out().bytes() == 5'000'004);
  CHECK(run.last.out().head() < run.last.out().tail_begin());
}

TEST_CASE("After a new connection everything is told again, from where the tracker has it",
          "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.shell("echo 0123456789; sleep 1000");
  const RunId id = id_of(order);
  node.offer(order);
  REQUIRE(node.until([&] { return node.heard[id].output[0] == "0123456789\n"; }));
  node.disconnect();
  node.heard.clear();
  node.connect();
  CHECK(node.welcomed() == std::vector<std::string>{id.raw()});
  CHECK(node.heard[id].last.state() == "running");
  for (int i = 0; i < 50; ++i) node.turn();
  CHECK(node.on_the_way(id) == 0);
  node.heard[id].end[0] = 6;
  node.know(id, /*final=*/false, /*out_from=*/6);
  CHECK(node.until([&] { return node.heard[id].output[0] == "6789\n"; }));
  node.cancel(id);
  CHECK(node.await_end(id).last.state() == "cancelled");
}

TEST_CASE("An end without output is told at once after a new connection", "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder silent = node.command({"true"});
  const proto::RunOrder impossible = node.command({"no-such-program-here"});
  const proto::RunOrder cancelled = node.command({"true"});
  node.cancel(id_of(cancelled));
  node.run(silent);
  node.run(impossible);
  node.await_end(id_of(cancelled));
  const bool restart = GENERATE(false, true);
  node.heard.clear();
  if (restart) {
    node.restart();
  } else {
    node.disconnect();
    node.connect();
  }
  using States = std::vector<std::string>;
  CHECK(node.heard[id_of(silent)].states == States{"exited"});
  CHECK(node.heard[id_of(impossible)].states == States{"rejected"});
  CHECK(node.heard[id_of(cancelled)].states == States{"cancelled"});
}

TEST_CASE("A run goes on without its agent, and the next one tells its end", "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder running = node.shell("echo a; sleep 1000");
  const proto::RunOrder ended = node.shell("echo b; exit 4");
  node.offer(running);
  node.offer(ended);
  REQUIRE(node.until([&] { return node.heard[id_of(running)].output[0] == "a\n"; }));
  node.await_end(id_of(ended));
  node.heard.clear();
  node.restart();
  CHECK(node.welcomed().size() == 2);
  // Its end waits for what the tracker says that it has of the output.
  CHECK(node.heard[id_of(ended)].last.state() == "running");
  node.know(id_of(ended), /*final=*/false);
  CHECK(node.await_end(id_of(ended)).last.code() == 4);
  CHECK(node.heard[id_of(ended)].output[0] == "b\n");
  node.know(id_of(running), /*final=*/false);
  CHECK(node.until([&] { return node.heard[id_of(running)].output[0] == "a\n"; }));
  node.cancel(id_of(running));
  CHECK(node.await_end(id_of(running)).last.state() == "cancelled");
}

TEST_CASE("A run whose shim is killed is lost", "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.shell("echo $PPID; sleep 1000");
  const HeardRun& run = node.heard[id_of(order)];
  node.offer(order);
  REQUIRE(node.until([&] { return run.output[0].ends_with("\n"); }));
  REQUIRE(::kill(std::stoi(run.output[0]), SIGKILL) == 0);
  CHECK(node.await_end(id_of(order)).last.state() == "lost");
}

TEST_CASE("A launcher that is gone is said, and what runs goes on", "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.shell("echo begun; sleep 1000");
  const RunId id = id_of(order);
  node.offer(order);
  REQUIRE(node.until([&] { return node.heard[id].output[0] == "begun\n"; }));
  node.kill_launcher();
  CHECK(node.until([&] { return !node.launcher_lost.empty(); }));
  node.heard.clear();
  node.restart();
  CHECK(node.heard[id].last.state() == "running");
  node.know(id, /*final=*/false);
  node.cancel(id);
  CHECK(node.await_end(id).last.state() == "cancelled");
}

TEST_CASE("A script that is not in its order is asked for, checked and kept", "[p2pd][runs]") {
  RunsNode node(ExecPolicy::scripts_only);
  const std::string text = "#!/bin/sh\necho large \"$1\"\n";
  const auto task_of = [&](const std::string& word) {
    proto::RunTask task;
    task.set_job(17);
    *task.mutable_order() = node.command({word});
    task.mutable_order()->set_is_script(true);
    task.set_script_sha256(std::string(sha256(text).view()));
    return task;
  };
  const auto send = [&](const std::string& bytes, bool unknown) {
    proto::Blob blob;
    blob.set_sha256(std::string(sha256(text).view()));
    blob.set_bytes(bytes);
    blob.set_unknown(unknown);
    node.runs->take_blob(blob);
  };
  const proto::RunTask task = task_of("one");
  node.offer(task);
  REQUIRE(node.until([&] { return !node.blobs_wanted.empty(); }));
  CHECK(node.blobs_wanted == std::vector<std::string>{task.script_sha256()});
  CHECK_FALSE(node.heard.contains(id_of(task.order())));

  SECTION("it comes") {
    send(text, false);
    CHECK(node.await_end(id_of(task.order())).output[0] == "large one\n");
    const proto::RunTask next = task_of("two");
    node.offer(next);
    CHECK(node.await_end(id_of(next.order())).output[0] == "large two\n");
    CHECK(node.blobs_wanted.size() == 1);
  }
  SECTION("something else comes") {
    send("#!/bin/sh\necho wrong\n", false);
    CHECK(node.await_end(id_of(task.order())).last.state() == "rejected");
  }
  SECTION("the tracker does not have it") {
    send("", true);
    CHECK(node.await_end(id_of(task.order())).last.state() == "rejected");
  }
  SECTION("it is cancelled meanwhile") {
    node.cancel(id_of(task.order()));
    CHECK(node.await_end(id_of(task.order())).last.state() == "cancelled");
    send(text, false);
    for (int i = 0; i < 20; ++i) node.turn();
    CHECK_FALSE(node.has_folder(id_of(task.order())));
  }
}

TEST_CASE("Many runs at once all end, each with its own output", "[p2pd][runs]") {
  RunsNode node;
  std::vector<proto::RunOrder> orders;
  for (int i = 0; i < 40; ++i) orders.push_back(node.shell("echo " + std::to_string(i)));
  for (const auto& order : orders) node.offer(order);
  for (int i = 0; i < 40; ++i) {
    CHECK(node.await_end(id_of(orders[static_cast<std::size_t>(i)])).output[0] ==
          std::to_string(i) + "\n");
    node.know(id_of(orders[static_cast<std::size_t>(i)]), /*final=*/true);
  }
  CHECK(node.runs->running() == 0);
}

}  // namespace
}  // namespace p2p
