// Exec jobs that are steered, or lose their order, while the tracker ends at any time.
#include "io/disk/file_io.h"
#include "tests/support/catch.h"
#include "tests/tracker/run_fixture.h"

namespace p2p::test {
namespace {

using enum RunState;
using Kind = proto::TrackerMessage;

proto::RunReports said(const proto::RunReport& report) {
  proto::RunReports reports;
  *reports.add_runs() = report;
  return reports;
}

proto::ExecSpec one_at_a_time() {
  proto::ExecSpec spec = exec_of("*");
  spec.mutable_rollout()->set_window(1);
  return spec;
}

struct End {
  std::string state;
  int code = 0;
};
End end_of(RunProcess& tracker, JobId job) {
  const proto::Job view = exec_view(tracker.job(job), tracker.registry, WithRuns::no);
  CHECK(view.finished());
  return {view.state(), static_cast<int>(view.exit_code())};
}

TEST_CASE("a cancel ends what waits also when the tracker ends right after it") {
  Disk disk;
  JobId job;
  {
    RunProcess tracker(disk);
    for (const char* name : {"n1", "n2"}) tracker.enrol_online(name);
    job = tracker.create(one_at_a_time());
    tracker.report(job, "n1", running);
    tracker.tick();
    REQUIRE(tracker.steer(&RunBoard::cancel, job));
    // Before the next tick.
  }
  RunProcess tracker(disk);
  CHECK(tracker.state(job, "n2") == cancelled);
  tracker.online("n2");
  tracker.online("n1", said(tracker.word(job, "n1", running)));
  CHECK(tracker.offers_to("n2") == 0);
  CHECK(tracker.sent_to("n1", Kind::kCancelRun).size() == 1);
  tracker.report(job, "n1", cancelled);
  CHECK(end_of(tracker, job).state == "cancelled");
}

TEST_CASE("a cancel that comes behind the last end changes nothing, now and after a restart") {
  Disk disk;
  JobId job;
  {
    RunProcess tracker(disk);
    tracker.enrol_online("n1");
    job = tracker.create(exec_of("n1"));
    disk.store.hold();
    std::optional<Status> answer;
    tracker.board.cancel(job, admin(), tracker.now, [&](const Status& s) { answer = s; });
    tracker.board.on_run_reports(tracker.id("n1"), said(tracker.word(job, "n1", exited, 0)),
                                 tracker.now);
    disk.store.let_go();
    tracker.settle();
    REQUIRE(answer);
    REQUIRE_FALSE(*answer);
    CHECK(answer->error().code == Errc::invalid_argument);
    CHECK(end_of(tracker, job).state == "succeeded");
    CHECK(end_of(tracker, job).code == 0);
  }
  RunProcess tracker(disk);
  CHECK(end_of(tracker, job).state == "succeeded");
  CHECK(end_of(tracker, job).code == 0);
}

TEST_CASE("a job that is not paused cannot be resumed, nor one that has stopped be paused") {
  Disk disk;
  RunProcess tracker(disk);
  for (const char* name : {"n1", "n2", "n3"}) tracker.enrol_online(name);
  proto::ExecSpec spec = one_at_a_time();
  spec.mutable_rollout()->set_window(2);
  spec.mutable_rollout()->set_max_fail("0");
  const JobId job = tracker.create(spec);
  const Status resumed = tracker.steer(&RunBoard::resume, job);
  REQUIRE_FALSE(resumed);
  CHECK(resumed.error().code == Errc::invalid_argument);
  CHECK(resumed.error().detail.find("not paused") != std::string::npos);
  tracker.report(job, "n1", exited, 1);
  CHECK(tracker.state(job, "n3") == skipped);
  for (const auto how : {&RunBoard::pause, &RunBoard::resume}) {
    const Status refused = tracker.steer(how, job);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::invalid_argument);
    CHECK(refused.error().detail.find("stopped: 1 of 3 failed") != std::string::npos);
  }
}

TEST_CASE("an order that is damaged is never sent, and what has begun without it is heard of") {
  Disk disk;
  JobId job;
  {
    RunProcess tracker(disk);
    for (const char* name : {"n1", "n2"}) tracker.enrol_online(name);
    job = tracker.create(one_at_a_time());
  }
  const std::string path = disk.folder / "exec/000000/001/order";
  std::string bytes = must(read_file(path, 1 << 20));
  bytes.back() ^= 1;
  REQUIRE(write_file_atomically(path, bytes, 0600));
  RunProcess tracker(disk);
  tracker.online("n1");
  tracker.online("n2");
  CHECK(tracker.offers_to("n1") + tracker.offers_to("n2") == 0);
  CHECK(tracker.state(job, "n1") == offered);
  CHECK(tracker.state(job, "n2") == undeliverable);
  CHECK(tracker.job(job).record.detail().find("damaged") != std::string::npos);
  tracker.report(job, "n1", exited, 0);
  CHECK(end_of(tracker, job).state == "failed");
  CHECK(end_of(tracker, job).code == 3);
}

TEST_CASE("a run that has gone on beyond its timeout and some time is lost, also after a restart") {
  Disk disk;
  JobId job;
  proto::ExecSpec spec = exec_of("n1");
  spec.set_timeout_ms(60'000);
  {
    RunProcess tracker(disk);
    tracker.enrol_online("n1");
    job = tracker.create(spec);
    tracker.report(job, "n1", running);
    tracker.tick(std::chrono::minutes(11));
    CHECK(tracker.state(job, "n1") == running);  // and five seconds between TERM and KILL
  }
  RunProcess tracker(disk);
  tracker.online("n1", said(tracker.word(job, "n1", running)));
  tracker.tick(std::chrono::minutes(11));
  CHECK(tracker.state(job, "n1") == running);
  tracker.tick(std::chrono::seconds(6));
  CHECK(tracker.state(job, "n1") == lost);
  CHECK(tracker.run(job, "n1").facts.text.find("longer than its timeout") != std::string::npos);
}

}  // namespace
}  // namespace p2p::test
