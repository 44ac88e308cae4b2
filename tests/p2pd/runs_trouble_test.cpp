// Runs of a node whose ledger or folders fail it: what it says stays true.
#include "p2pd/runs.h"
#include "tests/p2pd/runs_fixture.h"

namespace p2p {
namespace {

using test::HeardRun;
using test::RunsNode;

RunId id_of(const proto::RunOrder& order) {
  return *RunId::from_raw(order.id());
}

TEST_CASE("A run without its input is not begun, whatever the ledger could not say before",
          "[p2pd][runs]") {
  RunsNode node;
  proto::RunTask task;
  *task.mutable_order() = node.command({"cat"});
  task.set_input_sha256(std::string(sha256("input").view()));
  node.store->reads_to_fail = 1;
  node.offer(task);
  const HeardRun& run = node.await_end(id_of(task.order()));
  CHECK(run.last.state() == "rejected");
  CHECK_THAT(run.last.text(), Catch::Contains("nothing was started"));
  CHECK_FALSE(node.has_folder(id_of(task.order())));
}

TEST_CASE("An end is told although one look behind it has failed", "[p2pd][runs]") {
  RunsNode node;
  node.takes_output = false;
  proto::RunOrder order = node.shell("head -c 300000 /dev/zero");
  const RunId id = id_of(order);
  node.offer(order);
  REQUIRE(node.until([&] { return node.has_result(id) && node.on_the_way(id) == 64 * 1024; }));
  for (int i = 0; i < 50; ++i) node.turn();
  node.store->reads_to_fail = 1;
  node.take_output(id);
  REQUIRE(node.until([&] { return node.store->reads_to_fail == 0; }));
  node.takes_output = true;
  CHECK(node.await_end(id).last.state() == "exited");
  CHECK(node.heard[id].output[0].size() == 300'000);
}

TEST_CASE("Without its ledger a node still finds what its shims say", "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder running = node.shell("echo a; sleep 1000");
  const proto::RunOrder ended = node.shell("echo b; exit 4");
  const proto::RunOrder gone = node.shell("echo $PPID; sleep 1000");
  for (const auto& order : {running, ended, gone}) node.offer(order);
  REQUIRE(node.until([&] { return node.heard[id_of(running)].output[0] == "a\n"; }));
  REQUIRE(node.until([&] { return node.heard[id_of(gone)].output[0].ends_with("\n"); }));
  REQUIRE(::kill(std::stoi(node.heard[id_of(gone)].output[0]), SIGKILL) == 0);
  node.await_end(id_of(ended));
  node.await_end(id_of(gone));
  node.heard.clear();
  node.restart_without_ledger();
  for (const auto& order : {running, ended, gone}) {
    // A large script or input would have to be fetched: it is not needed.
    proto::RunTask task;
    task.set_job(17);
    task.set_accepted_before(true);
    *task.mutable_order() = order;
    task.set_input_sha256(std::string(sha256("input").view()));
    node.offer(task);
  }
  REQUIRE(node.until([&] { return node.heard.contains(id_of(gone)); }));
  node.know(id_of(gone), /*final=*/false);
  CHECK(node.await_end(id_of(gone)).last.state() == "lost");
  REQUIRE(node.until([&] {
    return node.heard[id_of(running)].last.state() == "running" &&
           node.heard[id_of(ended)].last.state() == "running";
  }));
  node.know(id_of(ended), /*final=*/false);
  CHECK(node.await_end(id_of(ended)).last.code() == 4);
  CHECK(node.heard[id_of(ended)].output[0] == "b\n");
  node.know(id_of(running), /*final=*/false);
  node.cancel(id_of(running));
  CHECK(node.await_end(id_of(running)).last.state() == "cancelled");
  CHECK(node.recorded(id_of(running)) == RunState::cancelled);
  CHECK(node.blobs_wanted.empty());
}

TEST_CASE("Without its ledger, and with one that takes no writes, nothing that lives is lost",
          "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.shell("echo a; sleep 1000");
  node.offer(order);
  REQUIRE(node.until([&] { return node.heard[id_of(order)].output[0] == "a\n"; }));
  node.heard.clear();
  node.restart_without_ledger();
  node.store->writes_to_do = 0;
  node.offer(order, /*accepted_before=*/true);
  REQUIRE(node.until([&] { return node.heard.contains(id_of(order)); }));
  CHECK(node.heard[id_of(order)].last.state() == "accepted");
  const proto::RunOrder unknown = node.command({"true"});
  node.offer(unknown, /*accepted_before=*/true);
  CHECK(node.await_end(id_of(unknown)).last.state() == "lost");
  CHECK(node.until([&] { return !node.ledger_broken.empty(); }));
  node.store->writes_to_do = 1'000;
  node.restart();
  node.cancel(id_of(order));
  node.know(id_of(order), /*final=*/false);
  REQUIRE(node.until([&] {
    node.know(id_of(order), /*final=*/false);
    return node.heard[id_of(order)].ended();
  }));
  CHECK(node.heard[id_of(order)].last.state() == "cancelled");
}

TEST_CASE("A run that the launcher refuses is rejected, also when that cannot be written",
          "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.command({"true"});
  // No folder can be made for it.
  const std::string fresh = node.runs_folder() + "/.new-" + id_of(order).hex();
  test::put_file(fresh, "");
  node.store->writes_to_do = 1;
  node.offer(order);
  CHECK(node.await_end(id_of(order)).last.state() == "rejected");
  CHECK_THAT(node.heard[id_of(order)].last.text(), Catch::Contains(id_of(order).hex()));
}

TEST_CASE("An end that cannot be written is told, and the agent ends", "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.shell("exit 5");
  node.store->writes_to_do = 1;
  node.offer(order);
  CHECK(node.await_end(id_of(order)).last.state() == "exited");
  CHECK(node.heard[id_of(order)].last.code() == 5);
  CHECK(node.until([&] { return !node.ledger_broken.empty(); }));
  // The next one finds it again.
  node.heard.clear();
  node.store->writes_to_do = 1'000;
  node.restart();
  CHECK(node.await_end(id_of(order)).last.code() == 5);
  CHECK(node.recorded(id_of(order)) == RunState::exited);
}

TEST_CASE("A stream that has said its head costs no more looks while the other is silent",
          "[p2pd][runs]") {
  RunsNode node;
  proto::RunOrder order =
      node.shell("head -c 5000 /dev/zero; while :; do echo more; sleep 0.02; done");
  order.set_keep_bytes(8 * 1024);
  const RunId id = id_of(order);
  node.offer(order);
  REQUIRE(node.until([&] { return node.on_the_way(id) == 4 * 1024; }));
  node.take_output(id);
  const int before = node.store->reads;
  const auto end = monotonic_now() + std::chrono::seconds(1);
  while (monotonic_now() < end) node.turn();
  CHECK(node.store->reads - before < 10);
  node.cancel(id);
  node.await_end(id);
}

TEST_CASE("An id that stands for another order is answered with what became of it",
          "[p2pd][runs]") {
  RunsNode node;
  const proto::RunOrder order = node.shell("exit 6");
  node.run(order);
  node.know(id_of(order), /*final=*/true);
  REQUIRE(node.until([&] { return !node.has_folder(id_of(order)); }));
  node.heard.clear();
  proto::RunOrder other = node.command({"true"});
  other.set_id(order.id());
  CHECK(node.run(other).last.state() == "exited");
  CHECK(node.heard[id_of(order)].last.code() == 6);
}

}  // namespace
}  // namespace p2p
