#include "tools/p2pctl/exec_live.h"

#include "tests/support/catch.h"
#include "tests/tools/p2pctl/exec_data.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

TEST_CASE("A line is passed on when it is complete, behind its node's name", "[tools][exec_live]") {
  std::string text;
  const auto sink = [&](std::string_view bytes) { text += bytes; };
  PrefixedLines lines("web1: ");
  lines.add("hel", sink);
  CHECK(text.empty());
  lines.add("lo\nwor", sink);
  CHECK(text == "web1: hello\n");
  lines.end(sink);
  CHECK(text == "web1: hello\nweb1: wor\n");
}

TEST_CASE("A line without an end is broken instead of being kept for ever", "[tools][exec_live]") {
  std::string text;
  std::size_t longest = 0;
  const auto sink = [&](std::string_view bytes) {
    text += bytes;
    longest = std::max(longest, bytes.size());
  };
  PrefixedLines lines("a: ");
  for (int i = 0; i < 100; ++i) lines.add(std::string(10'000, 'x'), sink);
  lines.end(sink);
  CHECK(std::count(text.begin(), text.end(), 'x') == 1'000'000);
  CHECK(longest <= PrefixedLines::kMaxLineBytes + 4);
}

TEST_CASE("What is missing stands in a line of its own", "[tools][exec_live]") {
  std::string text;
  const auto sink = [&](std::string_view bytes) { text += bytes; };
  PrefixedLines lines("a: ");
  lines.add("x", sink);
  lines.skip(100, sink);
  lines.add("y\n", sink);
  CHECK(text == "a: x\na: [... 100 B not kept ...]\na: y\n");
}

ExecRecord running_record() {
  proto::JobEvent event;
  event.mutable_job()->set_id("j7");
  event.mutable_job()->set_rollout_state("wave 2 of 3");
  add_run(event, "web1", "exited");
  add_run(event, "web2", "exited", 3);
  for (int i = 3; i <= 90; ++i) add_run(event, "web" + std::to_string(i), "running");
  add_run(event, "db1", "queued");
  add_run(event, "db2", "offered");
  ExecRecord record(ExecRecord::Outputs::keep);
  record.add(event);
  return record;
}

TEST_CASE("Progress counts runs by state and names who goes on", "[tools][exec_live]") {
  ExecProgress progress;
  progress.note_output("web5", "one\ntwo\nthr");
  const auto lines = progress.lines(running_record(), 12.5, 200, /*colour=*/false);
  REQUIRE(lines.size() == 4);
  CHECK(lines[0] ==
        "j7: exited 2 (1 failed) | queued 1 | offered 1 | running 88  12.5s  wave 2 of 3");
  CHECK(lines[1] == "running: web[3-90]");
  CHECK(lines[2] == "no answer yet: db2");
  CHECK(lines[3] == "web5: two");
}

TEST_CASE("No line of progress is wider than the terminal, and none steers it",
          "[tools][exec_live]") {
  ExecProgress progress;
  progress.note_output("web5", "\x1b[2J" + std::string(500, 'x') + "\n");
  for (const std::string& line : progress.lines(running_record(), 1, 30, /*colour=*/false)) {
    CHECK(display_width(line) <= 30);
    CHECK(line.find('\x1b') == std::string::npos);
  }
}

}  // namespace
}  // namespace p2p
