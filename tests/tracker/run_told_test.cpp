// What the tracker itself decides about runs, and that a job is over: stored first, told then.
#include "tests/support/catch.h"
#include "tests/tracker/run_fixture.h"

namespace p2p::test {
namespace {

using enum RunState;

proto::Job view_of(RunProcess& tracker, JobId job) {
  return exec_view(tracker.job(job), tracker.registry, WithRuns::yes);
}

void turn_the_loop(RunProcess& tracker) {
  for (int i = 0; i < 50; ++i) tracker.io.run_one_for(std::chrono::milliseconds(1));
}

proto::ExecSpec queued_on(const std::string& targets) {
  proto::ExecSpec spec = exec_of(targets);
  spec.mutable_rollout()->set_offline("queue");
  spec.mutable_rollout()->set_ttl_seconds(60);
  return spec;
}

TEST_CASE("a run that expires is shown as waiting until that is stored") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol("n1");
  const JobId job = tracker.create(queued_on("n1"));
  disk.store.hold();
  tracker.now = tracker.now + std::chrono::seconds(61);
  tracker.board.on_tick(tracker.now);
  turn_the_loop(tracker);
  proto::Job view = view_of(tracker, job);
  CHECK(view.runs(0).state() == "queued");
  CHECK(view.runs(0).detail() == "offline");
  CHECK(view.run_counts().at("queued") == 1);
  CHECK(view.run_counts().count("expired") == 0);
  CHECK_FALSE(view.finished());
  CHECK(view.state() == "running");
  disk.store.let_go();
  tracker.settle();
  view = view_of(tracker, job);
  CHECK(view.runs(0).state() == "expired");
  CHECK(view.run_counts().at("expired") == 1);
  CHECK(view.run_counts().count("queued") == 0);
  CHECK(view.finished());
  CHECK(view.state() == "failed");

  RunProcess again(disk);
  again.online("n1");
  CHECK(again.offers_to("n1") == 0);
  CHECK(again.state(job, "n1") == expired);
}

TEST_CASE("what nodes say is shown at once, that the job is over when that is stored") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  const JobId job = tracker.create(exec_of("n1"));
  disk.store.hold();
  proto::RunReports reports;
  *reports.add_runs() = tracker.word(job, "n1", exited, 0);
  tracker.board.on_run_reports(tracker.id("n1"), reports, tracker.now);
  int told = 0;
  const std::uint64_t handle = tracker.board.listen(job, [&] { ++told; });
  turn_the_loop(tracker);
  CHECK(view_of(tracker, job).runs(0).state() == "exited");
  CHECK_FALSE(view_of(tracker, job).finished());
  CHECK(view_of(tracker, job).finished_at().empty());
  CHECK_FALSE(tracker.board.output_end(tracker.job(job)).last);
  CHECK(told == 0);
  disk.store.let_go();
  tracker.settle();
  CHECK(view_of(tracker, job).finished());
  CHECK(view_of(tracker, job).state() == "succeeded");
  CHECK(tracker.board.output_end(tracker.job(job)).last);
  CHECK(told > 0);
  tracker.board.unlisten(job, handle);
}

TEST_CASE("what the tracker decides goes to the store at once, not with the next tick") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  tracker.enrol("n2");
  const JobId job = tracker.create(queued_on("n[1-2]"));
  tracker.report(job, "n1", running);
  REQUIRE(tracker.steer(&RunBoard::cancel, job));
  CHECK(view_of(tracker, job).runs(1).state() == "cancelled");
  CHECK(must(load_exec(disk.store, job.number))->runs[1].state == cancelled);
}

TEST_CASE("a rollout that stops is stored at once, with all that it leaves out") {
  Disk disk;
  RunProcess tracker(disk);
  for (const char* name : {"n1", "n2", "n3"}) tracker.enrol_online(name);
  proto::ExecSpec spec = exec_of("*");
  spec.mutable_rollout()->set_window(1);
  spec.mutable_rollout()->set_max_fail("0");
  const JobId job = tracker.create(spec);
  tracker.report(job, "n1", exited, 1);
  const auto stored = must(load_exec(disk.store, job.number));
  CHECK(stored->record.rollout().stopped());
  CHECK(stored->record.finished_unix_ms() != 0);
  CHECK(stored->runs[2].state == skipped);
  CHECK(view_of(tracker, job).run_counts().at("skipped") == 2);
}

TEST_CASE("a run that a removed node takes along is told as lost when that is stored") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  tracker.enrol_online("n2");
  const JobId job = tracker.create(exec_of("n[1-2]"));
  tracker.report(job, "n1", running);
  disk.store.hold();
  tracker.board.on_node_removed(tracker.id("n1"), tracker.now);
  turn_the_loop(tracker);
  CHECK(view_of(tracker, job).runs(0).state() == "running");
  CHECK(view_of(tracker, job).run_counts().at("running") == 1);
  disk.store.let_go();
  tracker.settle();
  CHECK(view_of(tracker, job).runs(0).state() == "lost");
  CHECK(must(load_exec(disk.store, job.number))->runs[0].state == lost);
}

}  // namespace
}  // namespace p2p::test
