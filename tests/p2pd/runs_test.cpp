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

}  // namespace
}  // namespace p2p
