#include "tools/p2pctl/exec_text.h"

#include "tests/support/catch.h"
#include "tests/tools/p2pctl/exec_data.h"
#include "tools/p2pctl/exec_show.h"

namespace p2p {
namespace {

std::string groups_text(const ExecRecord& record, Streams streams = Streams::both) {
  std::string text;
  write_groups(record, streams, [&](std::string_view bytes) { text += bytes; });
  return text;
}

std::string diff_text(const ExecRecord& record) {
  std::string text;
  write_diff(record, Streams::both, [&](std::string_view bytes) { text += bytes; });
  return text;
}

TEST_CASE("Equal outputs are shown once, under the folded names of their nodes",
          "[tools][exec_text]") {
  const auto record =
      record_of({{"web2", "6.1\n"}, {"web1", "6.1\n"}, {"db1", "5.10\n"}, {"web3", "6.1\n"}});
  CHECK(groups_text(record) ==
        "---------------\nweb[1-3] (3)\n---------------\n6.1\n"
        "---------------\ndb1\n---------------\n5.10\n");
  CHECK(failure_lines(record).empty());
}

TEST_CASE("Equal outputs with other return codes are groups of their own", "[tools][exec_text]") {
  const auto record = record_of({{"a1", "x\n"}, {"a2", "x\n", 3}, {"a3", "x\n"}});
  CHECK(
      groups_text(record) ==
      "---------------\na[1,3] (2)\n---------------\nx\n---------------\na2\n---------------\nx\n");
  CHECK(failure_lines(record) == "a2: exited with code 3\n");
}

TEST_CASE("Nodes that wrote nothing are not listed unless they failed", "[tools][exec_text]") {
  const auto record = record_of({{"a1", ""}, {"a2", "", 1}, {"a3", "", 1}});
  CHECK(groups_text(record).empty());
  CHECK(failure_lines(record) == "a[2-3] (2): exited with code 1\n");
}

TEST_CASE("What a group wrote to stderr stands behind its stdout", "[tools][exec_text]") {
  const auto record = record_of({{"a1", "out\n", 2, "err\n"}, {"a2", "out\n", 2, "err\n"}});
  CHECK(groups_text(record) ==
        "---------------\na[1-2] (2)\n---------------\nout\n"
        "---------------\na[1-2] (2) stderr\n---------------\nerr\n");
  CHECK(groups_text(record, Streams::out) == "---------------\na[1-2] (2)\n---------------\nout\n");
}

TEST_CASE("A group's output ends with a line break", "[tools][exec_text]") {
  CHECK(groups_text(record_of({{"a1", "x"}, {"a2", "y\n"}})) ==
        "---------------\na1\n---------------\nx\n---------------\na2\n---------------\ny\n");
}

TEST_CASE("The reference of differences has the lowest return code, then the most nodes",
          "[tools][exec_text]") {
  const auto record = record_of({{"a1", "bad\n", 1},
                                 {"a2", "bad\n", 1},
                                 {"a3", "bad\n", 1},
                                 {"a4", "rare\n"},
                                 {"a5", "good\n"},
                                 {"a6", "good\n"}});
  const std::string text = diff_text(record);
  CHECK(text.find("---------------\na[5-6] (2)\n---------------\ngood\n") == 0);
  CHECK(text.find("--- a[5-6] (2)\n+++ a[1-3] (3)\n@@ -1 +1 @@\n-good\n+bad\n") !=
        std::string::npos);
  CHECK(text.find("--- a[5-6] (2)\n+++ a4\n@@ -1 +1 @@\n-good\n+rare\n") != std::string::npos);
}

TEST_CASE("A node that wrote nothing differs from those that wrote something",
          "[tools][exec_text]") {
  CHECK(diff_text(record_of({{"a1", "x\n"}, {"a2", "x\n"}, {"a3", ""}})) ==
        "---------------\na[1-2] (2)\n---------------\nx\n--- a[1-2] (2)\n+++ a3\n"
        "@@ -1 +0,0 @@\n-x\n");
}

TEST_CASE("Each way of not ending well has its line", "[tools][exec_text]") {
  proto::JobEvent event;
  event.mutable_job()->set_id("j7");
  add_run(event, "a1", "exited");
  proto::Run& killed = add_run(event, "a2", "exited");
  killed.set_has_code(false);
  killed.set_signal(9);
  add_run(event, "a3", "lost").set_detail("the node cannot say");
  add_run(event, "a4", "expired").set_detail("not online");
  add_run(event, "a5", "timed_out+killed");
  add_run(event, "a6", "exited").set_left_running(2);
  add_run(event, "a7", "exited").set_out_truncated(true);
  ExecRecord record(ExecRecord::Outputs::keep);
  record.add(event);
  const std::string text = failure_lines(record);
  CHECK(text.find("a2: killed by signal 9 (KILL)\n") != std::string::npos);
  CHECK(text.find("a3: lost: the node cannot say\n") != std::string::npos);
  CHECK(text.find("a4: expired: not online\n") != std::string::npos);
  CHECK(text.find("a5: timed_out+killed\n") != std::string::npos);
  CHECK(text.find("a6: what its command started goes on: 2 processes\n") != std::string::npos);
  CHECK(text.find("a7: not all of the output was kept") != std::string::npos);
  CHECK(text.find("a1") == std::string::npos);
}

TEST_CASE("Long lists of nodes and of reasons are cut and say so", "[tools][exec_text]") {
  std::vector<Wrote> nodes;
  for (int i = 1; i <= 40; ++i) nodes.push_back({"n" + std::to_string(i), "", i});
  CHECK(failure_lines(record_of(nodes)).find("and 20 more reasons: p2pctl job show j7\n") !=
        std::string::npos);
  std::vector<std::string> names;
  for (int i = 0; i < 500; ++i) names.push_back("n" + std::to_string(i * i * 7));
  const std::string text = nodes_text(names);
  CHECK(text.size() < 300);
  CHECK(text.find(" more (500)") != std::string::npos);
}

TEST_CASE("With --rc max it is the largest return code, a signal as a shell counts it",
          "[tools][exec_text]") {
  CHECK(largest_return_code(record_of({{"a1", "", 0}, {"a2", "", 3}, {"a3", "", 1}})) == 3);
  CHECK(largest_return_code(record_of({{"a1", "", 0}})) == 0);
  proto::JobEvent event;
  event.mutable_job()->set_exit_code(3);
  ExecRecord unreached(ExecRecord::Outputs::keep);
  add_run(event, "a1", "expired");
  unreached.add(event);
  CHECK(largest_return_code(unreached) == 3);
  event.mutable_job()->set_exit_code(6);
  add_run(event, "a2", "exited", 9);
  ExecRecord refused(ExecRecord::Outputs::keep);
  refused.add(event);
  CHECK(largest_return_code(refused) == 6);
  proto::Run& killed = *event.mutable_runs(1);
  killed.set_has_code(false);
  killed.set_signal(15);
  event.mutable_job()->set_exit_code(2);
  ExecRecord signalled(ExecRecord::Outputs::keep);
  signalled.add(event);
  CHECK(largest_return_code(signalled) == 143);
}

TEST_CASE("The last line says how many are well and how to go on", "[tools][exec_text]") {
  const std::string text = exec_summary(record_of({{"a1", ""}, {"a2", "", 1}}));
  CHECK(text.find("j7: 1 of 2 nodes ok in ") == 0);
  CHECK(text.find("p2pctl job retry j7") != std::string::npos);
  CHECK(exec_summary(record_of({{"a1", ""}, {"a2", ""}})).find("retry") == std::string::npos);
}

TEST_CASE("With --no-group every line stands behind its node's name", "[tools][exec_text]") {
  std::string out, err;
  write_lines(
      record_of({{"a1", "x\ny", 0, "oops\n"}, {"a2", "z\n"}}), Streams::both,
      [&](std::string_view bytes) { out += bytes; }, [&](std::string_view bytes) { err += bytes; });
  CHECK(out == "a1: x\na1: y\na2: z\n");
  CHECK(err == "a1: oops\n");
}

TEST_CASE("With -o json it is one document with every node's result", "[tools][exec_text]") {
  std::string text;
  write_json_result(record_of({{"a1", "x\n", 0, "e"}, {"a2", std::string("\xff\x00", 2), 3}}),
                    [&](std::string_view bytes) { text += bytes; });
  proto::ExecResult result;
  REQUIRE(from_json(text, result));
  CHECK(result.job().id() == "j7");
  REQUIRE(result.results_size() == 2);
  CHECK(result.results(0).run().node() == "a1");
  CHECK(result.results(0).out() == "x\n");
  CHECK(result.results(0).err() == "e");
  CHECK(result.results(1).out().empty());
  CHECK(result.results(1).out_base64() == std::string("\xff\x00", 2));
  CHECK(result.results(1).run().code() == 3);
}

}  // namespace
}  // namespace p2p
