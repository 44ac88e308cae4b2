#include "tools/p2pctl/progress.h"

#include "tests/support/catch.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;

proto::Job push_job(std::uint64_t done, std::uint64_t total) {
  proto::Job job;
  job.set_id("j7");
  job.set_kind("push");
  job.set_state("running");
  job.set_bytes_done(done);
  job.set_bytes_total(total);
  job.set_bytes_per_second(100'000'000);
  return job;
}

void add_task(proto::Job& job, const std::string& node, const std::string& state,
              std::uint64_t percent) {
  proto::Task& task = *job.add_tasks();
  task.set_node(node);
  task.set_state(state);
  task.set_bytes_done(percent * kMiB);
  task.set_bytes_total(100 * kMiB);
  if (state == "running") task.set_bytes_per_second(1'000'000);
}

// Eight nodes, one in each bucket and two below 50 %.
proto::Job fleet_job() {
  proto::Job job = push_job(400 * kMiB, 800 * kMiB);
  add_task(job, "n1", "succeeded", 100);
  add_task(job, "n2", "running", 91);
  add_task(job, "n3", "running", 90);
  add_task(job, "n4", "running", 49);
  add_task(job, "n5", "running", 3);
  add_task(job, "n6", "accepted", 0);
  add_task(job, "n7", "failed", 10);
  add_task(job, "n8", "expired", 0);
  return job;
}

TEST_CASE("Nothing is drawn before the first state", "[tools][progress]") {
  const ProgressView view;
  CHECK(view.lines({}).empty());
}

TEST_CASE("For whom a job waits is said while it runs", "[tools][progress]") {
  for (proto::Job job : {push_job(50 * kMiB, 100 * kMiB), fleet_job()}) {
    if (job.tasks().empty()) add_task(job, "web01", "running", 50);
    job.set_detail("waits for n1: offline");
    ProgressView view;
    view.update(job);
    CHECK(view.lines({.width = 100}).back() == "waits for n1: offline");
    CHECK(view.lines({.width = 12}).back() == "waits for...");
    CHECK(view.event().detail() == "waits for n1: offline");
    job.set_finished(true);
    job.set_state("failed");
    view.update(job);
    CHECK(view.lines({.width = 100}).back() != "waits for n1: offline");
  }
}

TEST_CASE("A job on one node is a bar with bytes, current rate and time left",
          "[tools][progress]") {
  proto::Job job = push_job(50 * kMiB, 100 * kMiB);
  add_task(job, "web01", "running", 50);
  ProgressView view;
  view.update(job);
  const auto lines = view.lines({.width = 100});
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("j7 web01  [####") == 0);
  CHECK(lines[0].find("]  50.0%  50.0 MiB of 100 MiB  100 MB/s  ETA ") != std::string::npos);
}

TEST_CASE("A fleet is counted in buckets whose borders are 50 % and 90 %", "[tools][progress]") {
  ProgressView view;
  view.update(fleet_job());
  const auto lines = view.lines({.width = 120});
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "done 1 | >90% 1 | 50-90% 1 | <50% 2 | queued 1 | failed 1 | expired 1");
  CHECK(lines[1].find("j7  50.0%  400 MiB of 800 MiB  100 MB/s  ETA ") == 0);
}

TEST_CASE("The three slowest running nodes are named, the slowest first", "[tools][progress]") {
  ProgressView view;
  view.update(fleet_job());
  const auto lines = view.lines({.width = 120});
  REQUIRE(lines.size() == 3);
  CHECK(lines[2] == "slowest: n5 3.0% 1.00 MB/s, n4 49.0% 1.00 MB/s, n3 90.0% 1.00 MB/s");
}

TEST_CASE("Progress never goes backwards even when the states that come in do",
          "[tools][progress]") {
  ProgressView view;
  view.update(fleet_job());
  const auto before = view.lines({.width = 120});
  proto::Job earlier = push_job(100 * kMiB, 800 * kMiB);
  for (const char* node : {"n1", "n2", "n3", "n4", "n5"}) add_task(earlier, node, "offered", 0);
  view.update(earlier);
  const auto after = view.lines({.width = 120});
  REQUIRE(after.size() == 3);
  CHECK(after[0] == before[0]);
  CHECK(after[1].find("50.0%  400 MiB of") != std::string::npos);
  CHECK(view.event().percent() == Approx(50.0));
  CHECK(view.event().bytes_done() == 400 * kMiB);
}

TEST_CASE("A state of an earlier phase is ignored", "[tools][progress]") {
  ProgressView view;
  view.update(push_job(400, 800));
  proto::Job preparing = push_job(700, 800);
  preparing.set_state("preparing");
  view.update(preparing);
  CHECK(view.event().state() == "running");
  CHECK(view.event().bytes_done() == 400);
}

TEST_CASE("Sending starts at nothing after the source was hashed", "[tools][progress]") {
  proto::Job job = push_job(90, 100);
  job.set_state("preparing");
  job.mutable_push()->set_source("web01:/srv/a.img");
  ProgressView view;
  view.update(job);
  CHECK(view.lines({.width = 120})[0].find("j7 preparing: hashing web01:/srv/a.img  [") == 0);
  view.update(push_job(0, 200));
  CHECK(view.event().percent() == 0);
}

TEST_CASE("The percentage is rounded down, so that 100 % means all", "[tools][progress]") {
  ProgressView view;
  view.update(push_job(999'999, 1'000'000));
  CHECK(view.event().percent() == Approx(99.9));
  view.update(push_job(1'000'000, 1'000'000));
  CHECK(view.event().percent() == Approx(100.0));
}

TEST_CASE("A progress event counts what has not begun as queued", "[tools][progress]") {
  proto::Job job = push_job(0, 100);
  job.mutable_counts()->set_queued(1);
  job.mutable_counts()->set_offered(2);
  job.mutable_counts()->set_accepted(4);
  job.mutable_counts()->set_running(8);
  ProgressView view;
  view.update(job);
  CHECK(view.event().queued() == 7);
  CHECK(view.event().running() == 8);
}

TEST_CASE("No line is wider than the terminal", "[tools][progress]") {
  ProgressView fleet;
  fleet.update(fleet_job());
  ProgressView single;
  proto::Job job = push_job(50 * kMiB, 100 * kMiB);
  add_task(job, "web01", "running", 50);
  single.update(job);
  for (std::size_t width = 1; width <= 130; ++width) {
    for (const ProgressView* view : {&fleet, &single}) {
      for (const std::string& line : view->lines({.width = width})) {
        CAPTURE(width, line);
        CHECK(display_width(line) <= width);
      }
    }
  }
}

TEST_CASE("Colour is only there when asked for", "[tools][progress]") {
  ProgressView view;
  view.update(fleet_job());
  CHECK(view.lines({.width = 120, .colour = false})[0].find('\x1b') == std::string::npos);
  CHECK(view.lines({.width = 120, .colour = true})[0].find("\x1b[31mfailed 1\x1b[0m") !=
        std::string::npos);
}

TEST_CASE("A job that stands still has no time left to tell", "[tools][progress]") {
  proto::Job job = push_job(50, 100);
  job.set_bytes_per_second(0);
  ProgressView view;
  view.update(job);
  CHECK(view.lines({.width = 120})[0].find("ETA --") != std::string::npos);
}

TEST_CASE("Time left counts only what nodes that still run are missing", "[tools][progress]") {
  proto::Job job = push_job(0, 300 * kMiB);
  job.set_bytes_per_second(kMiB);
  add_task(job, "n1", "failed", 0);
  add_task(job, "n2", "succeeded", 100);
  add_task(job, "n3", "running", 90);
  ProgressView view;
  view.update(job);
  CHECK(view.lines({.width = 120})[1].find("ETA 10.0s") != std::string::npos);
}

TEST_CASE("What old files spare is a line of its own, and never falls", "[tools][progress]") {
  ProgressView view;
  proto::Job job = push_job(50 * kMiB, 100 * kMiB);
  add_task(job, "web01", "running", 50);
  job.mutable_tasks(0)->set_bytes_received(2 * kMiB);
  job.mutable_tasks(0)->set_bytes_copied(40 * kMiB);
  job.mutable_tasks(0)->set_bytes_already(8 * kMiB);
  job.mutable_tasks(0)->set_bytes_written(42 * kMiB);
  view.update(job);
  auto lines = view.lines({.width = 120});
  REQUIRE(lines.size() == 2);
  CHECK(lines[1] == "fetched 2.00 MiB, copied 40.0 MiB, already there 8.00 MiB, written 42.0 MiB");
  job.mutable_tasks(0)->set_bytes_copied(1);
  view.update(job);
  CHECK(view.lines({.width = 120})[1] == lines[1]);
  CHECK(view.event().bytes_fetched() == 2 * kMiB);
  CHECK(view.event().bytes_copied() == 40 * kMiB);
  for (std::size_t width = 1; width < 90; ++width) {
    for (const std::string& line : view.lines({.width = width})) {
      CHECK(display_width(line) <= width);
    }
  }
}

TEST_CASE("A known file that is prepared is compared, not hashed", "[tools][progress]") {
  proto::Job job = push_job(0, 0);
  job.set_state("preparing");
  job.set_content_id("abc");
  job.mutable_push()->set_source("images/base");
  ProgressView view;
  view.update(job);
  CHECK(view.lines({.width = 120})[0].find(
            "j7 preparing: comparing images/base with what nodes have") == 0);
}

}  // namespace
}  // namespace p2p
