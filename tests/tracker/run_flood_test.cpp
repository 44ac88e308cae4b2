// Nodes that say more than they should: what that costs the tracker, and the jobs of others.
#include "io/run/run_order.h"
#include "tests/support/catch.h"
#include "tests/tracker/run_fixture.h"

namespace p2p::test {
namespace {

using Kind = proto::TrackerMessage;

struct FloodTest {
  Disk disk;
  RunProcess tracker{disk};
  JobId job;

  FloodTest() {
    tracker.enrol_online("n1");
    tracker.enrol_online("n2");
    proto::ExecSpec spec = exec_of("*");
    spec.set_keep_bytes(kMinKeepBytes);
    job = tracker.create(spec);
  }
  bool told_enough(const std::string& name) {
    const auto told = tracker.sent_to(name, Kind::kOutputTaken);
    return !told.empty() && told.back().output_taken().enough();
  }
  std::uint64_t kept() { return tracker.board.output_end(tracker.job(job)).written; }
  // Pieces of this size, one behind the other; how many bytes were sent.
  std::uint64_t flood(const std::string& name, std::size_t piece, int pieces, bool err = false) {
    std::uint64_t at = 0;
    for (; pieces > 0; --pieces, at += piece) {
      tracker.write(job, name, at, std::string(piece, 'x'), err);
    }
    return at;
  }
};

TEST_CASE("of a stream no more is taken than its node was told to keep, and a little") {
  FloodTest test;
  CHECK(test.flood("n1", 8 * 1024, 30) == 240 * 1024);
  CHECK(test.told_enough("n1"));
  CHECK(test.tracker.run(test.job, "n1").facts.out_truncated);
  CHECK_FALSE(test.tracker.run(test.job, "n1").facts.err_truncated);
  CHECK(test.kept() >= 64 * 1024);
  CHECK(test.kept() <= 64 * 1024 + kMinKeepBytes + 9 * kOutputHeaderBytes);
  // The log is open to the others.
  test.tracker.write(test.job, "n2", 0, "hello");
  CHECK_FALSE(test.told_enough("n2"));
  CHECK(test.tracker.page(test.job, 0, 1)->pieces.at(0).bytes == "hello");
}

TEST_CASE("small pieces do not make a log long") {
  FloodTest test;
  for (int i = 0; i < 6000; ++i) {
    proto::RunOutput output;
    output.set_id(test.tracker.run(test.job, "n1").id.raw());
    output.set_offset(static_cast<std::uint64_t>(i) * 100);  // and gaps
    output.set_bytes("x");
    test.tracker.board.on_run_output(test.tracker.id("n1"), output, test.tracker.now);
    if (i % 100 == 0) test.tracker.settle();
  }
  test.tracker.settle();
  CHECK(test.told_enough("n1"));
  CHECK(test.tracker.run(test.job, "n1").facts.out_truncated);
  CHECK(test.kept() <= 2 * (64 * 1024 + kMinKeepBytes));
}

TEST_CASE("pieces on their way count with their headers") {
  Disk disk;
  RunBoardLimits limits = RunProcess::no_patience();
  limits.output_of_node = 10 * (1 + kOutputHeaderBytes);
  RunProcess tracker(disk, limits);
  tracker.enrol_online("n1");
  const JobId job = tracker.create(exec_of("n1"));
  for (std::uint64_t i = 0; i < 50; ++i) {
    proto::RunOutput output;
    output.set_id(tracker.run(job, "n1").id.raw());
    output.set_offset(i);
    output.set_bytes("x");
    tracker.board.on_run_output(tracker.id("n1"), output, tracker.now);
  }
  tracker.settle();
  CHECK(tracker.output(job).size() == 10);
}

TEST_CASE("behind its end a run writes nothing") {
  FloodTest test;
  test.tracker.report(test.job, "n1", RunState::exited, 0);
  test.tracker.write(test.job, "n1", 0, "late");
  CHECK(test.told_enough("n1"));
  CHECK(test.tracker.run(test.job, "n1").facts.out_truncated);
  CHECK(test.kept() == 0);
}

TEST_CASE("empty pieces are no output") {
  FloodTest test;
  for (std::uint64_t i = 0; i < 10; ++i) test.tracker.write(test.job, "n1", i * 1000, "");
  CHECK(test.kept() == 0);
}

TEST_CASE("what was taken before the tracker ended counts") {
  Disk disk;
  JobId job;
  {
    RunProcess tracker(disk);
    tracker.enrol_online("n1");
    proto::ExecSpec spec = exec_of("n1");
    spec.set_keep_bytes(kMinKeepBytes);
    job = tracker.create(spec);
    for (std::uint64_t i = 0; i < 9; ++i) {
      tracker.write(job, "n1", i * 8192, std::string(8192, 'x'));
    }
    CHECK_FALSE(tracker.run(job, "n1").facts.out_truncated);
  }
  RunProcess tracker(disk);
  tracker.online("n1");
  tracker.write(job, "n1", 9 * 8192, "x");
  CHECK(tracker.run(job, "n1").facts.out_truncated);
}

TEST_CASE("what a node says of jobs that are not in memory costs no look at the store") {
  Disk disk;
  RunBoardLimits limits = RunProcess::no_patience();
  limits.finished_jobs = 1;
  RunProcess tracker(disk, limits);
  tracker.enrol_online("n1");
  const JobId old = tracker.create(exec_of("n1"));
  const proto::RunReport running = tracker.word(old, "n1", RunState::running);
  const proto::RunReport ended = tracker.word(old, "n1", RunState::exited, 0);
  REQUIRE(tracker.steer(&RunBoard::cancel, old));
  tracker.report(old, "n1", RunState::cancelled);
  for (int i = 0; i < 2; ++i) {
    tracker.report(tracker.create(exec_of("n1")), "n1", RunState::exited, 0);
    tracker.tick();
    tracker.tick();
  }
  tracker.take();
  const auto say = [&](const proto::RunReport& report) {
    proto::RunReports reports;
    *reports.add_runs() = report;
    tracker.board.on_run_reports(tracker.id("n1"), reports, tracker.now);
  };
  // From the store it could be known that this one was cancelled.
  say(running);
  const auto told = tracker.sent_to("n1", Kind::kOutputTaken);
  REQUIRE(told.size() == 1);
  CHECK(told[0].output_taken().enough());
  CHECK(tracker.sent_to("n1", Kind::kCancelRun).empty());
  say(ended);
  CHECK(tracker.told_final("n1"));
}

}  // namespace
}  // namespace p2p::test
