// Exec jobs at the tracker: from the call to their end, with the tracker ending at any time.
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

TEST_CASE("a job is offered to its targets, and ends when they have said how it ended") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  tracker.enrol_online("n2");
  tracker.enrol_online("n3");
  const JobId job = tracker.create(exec_of("n[1-2]", {"uname", "-r"}));
  CHECK(tracker.offers_to("n1") == 1);
  CHECK(tracker.offers_to("n2") == 1);
  CHECK(tracker.offers_to("n3") == 0);
  const proto::RunTask task = tracker.sent_to("n1", Kind::kRun).front().run();
  CHECK(task.job() == job.number);
  CHECK(task.order().id() == tracker.run(job, "n1").id.raw());
  CHECK(task.order().arguments(1) == "-r");
  CHECK_FALSE(task.accepted_before());
  tracker.report(job, "n1", accepted);
  tracker.report(job, "n1", exited, 0);
  tracker.report(job, "n2", exited, 1);
  const proto::Job view = exec_view(tracker.job(job), tracker.registry, WithRuns::yes);
  CHECK(view.finished());
  CHECK(view.state() == "failed");
  CHECK(view.exit_code() == 2);
  CHECK(view.targets_folded() == "n[1-2]");
  CHECK(view.run_counts().at("exited") == 2);
  CHECK(view.runs(1).code() == 1);
}

TEST_CASE("no agent hears of a job before it is stored, and a run is stored as offered before") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  tracker.enrol_online("n2");
  proto::ExecSpec spec = exec_of("*");
  spec.mutable_rollout()->set_window(1);
  disk.store.hold();
  std::optional<JobId> made;
  tracker.board.create(spec, admin(), false, tracker.now, [&](const Result<const BoardExec*>& job) {
    made = JobId{(*must(job)).record.number()};
  });
  for (int i = 0; i < 50; ++i) {
    tracker.io.run_one_for(std::chrono::milliseconds(1));
  }
  CHECK_FALSE(made);
  CHECK(tracker.agents.sent.empty());
  CHECK(tracker.board.newest_first().empty());
  disk.store.let_go();
  REQUIRE(tracker.run_until([&] { return made.has_value(); }));
  tracker.settle();
  CHECK(tracker.offers_to("n1") == 1);
  const auto stored = must(load_exec(disk.store, made->number));
  REQUIRE(stored);
  CHECK(stored->runs[0].state == offered);
  CHECK(stored->runs[1].state == queued);

  // The second one's turn comes: the same.
  disk.store.hold();
  proto::RunReports ended = said(tracker.word(*made, "n1", exited, 0));
  tracker.board.on_run_reports(tracker.id("n1"), ended, tracker.now);
  for (int i = 0; i < 50; ++i) tracker.io.run_one_for(std::chrono::milliseconds(1));
  CHECK(tracker.state(*made, "n2") == offered);
  CHECK(tracker.offers_to("n2") == 0);
  disk.store.let_go();
  tracker.settle();
  CHECK(tracker.offers_to("n2") == 1);
}

TEST_CASE("an end is acknowledged only when it and the output are stored") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  const JobId job = tracker.create(exec_of("n1"));
  tracker.write(job, "n1", 0, "hello\n");
  tracker.report(job, "n1", exited, 0);
  CHECK_FALSE(tracker.told_final("n1"));
  disk.store.hold();
  tracker.board.on_tick(tracker.now);
  for (int i = 0; i < 50; ++i) tracker.io.run_one_for(std::chrono::milliseconds(1));
  CHECK_FALSE(tracker.told_final("n1"));
  disk.store.let_go();
  tracker.settle();
  CHECK(tracker.told_final("n1"));
  CHECK(must(load_exec(disk.store, job.number))->runs[0].state == exited);
  CHECK(tracker.output(job) == "hello\n");
}

TEST_CASE("a node that says its end again is told again that it is stored") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  const JobId job = tracker.create(exec_of("n1"));
  tracker.report(job, "n1", exited, 0);
  const proto::RunReport word = tracker.word(job, "n1", exited, 0);
  tracker.tick();
  for (const char* when : {"at once", "later", "to another process"}) {
    INFO(when);
    tracker.take();
    tracker.online("n1", said(word));
    tracker.tick();
    CHECK(tracker.told_final("n1"));
    CHECK(tracker.offers_to("n1") == 0);
  }
  RunProcess again(disk);
  again.online("n1", said(word));
  again.tick();
  CHECK(again.told_final("n1"));
  CHECK(again.offers_to("n1") == 0);
  CHECK(again.run(job, "n1").facts.code == 0);
}

TEST_CASE("the tracker ends at every step, and nothing is offered under a second id") {
  // Steps of one run; after each the tracker is another process.
  Disk disk;
  JobId job;
  RunId id;
  {
    RunProcess tracker(disk);
    tracker.enrol_online("n1");
    job = tracker.create(exec_of("n1"));
    id = tracker.run(job, "n1").id;
    CHECK(tracker.offers_to("n1") == 1);
  }
  {
    INFO("it was offered, and the node has said nothing");
    RunProcess tracker(disk);
    CHECK(tracker.state(job, "n1") == offered);
    tracker.online("n1");
    REQUIRE(tracker.offers_to("n1") == 1);
    CHECK(tracker.sent_to("n1", Kind::kRun).front().run().order().id() == id.raw());
    tracker.report(job, "n1", accepted);
    tracker.tick();
  }
  {
    INFO("it was accepted, and the node has lost its ledger");
    RunProcess tracker(disk);
    tracker.online("n1");
    REQUIRE(tracker.offers_to("n1") == 1);
    CHECK(tracker.sent_to("n1", Kind::kRun).front().run().accepted_before());
    tracker.report(job, "n1", running);
    tracker.write(job, "n1", 0, "one ");
    tracker.tick();
  }
  {
    INFO("it runs, and has written since");
    RunProcess tracker(disk);
    tracker.online("n1", said(tracker.word(job, "n1", running)));
    CHECK(tracker.offers_to("n1") == 0);
    const auto known = tracker.sent_to("n1", Kind::kRunKnown);
    REQUIRE(known.size() == 1);
    CHECK(known[0].run_known().out_from() == 4);
    CHECK_FALSE(known[0].run_known().final());
    tracker.write(job, "n1", 4, "two");
    tracker.report(job, "n1", exited, 0);
    // Before the tick: nothing of the end is stored but what the job's end has put there.
  }
  {
    INFO("it has ended, and nobody has acknowledged it");
    RunProcess tracker(disk);
    tracker.online("n1", said(tracker.word(job, "n1", exited, 0)));
    tracker.tick();
    CHECK(tracker.told_final("n1"));
    CHECK(tracker.offers_to("n1") == 0);
    CHECK(tracker.run(job, "n1").id == id);
    CHECK(tracker.job(job).finished());
    CHECK(tracker.output(job) == "one two");
  }
}

TEST_CASE("output is acknowledged when it is written, and never twice in the log") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  const JobId job = tracker.create(exec_of("n1"));
  tracker.write(job, "n1", 0, "abcdef");
  auto taken = tracker.sent_to("n1", Kind::kOutputTaken);
  REQUIRE(taken.size() == 1);
  CHECK(taken[0].output_taken().upto() == 6);
  CHECK_FALSE(taken[0].output_taken().enough());
  tracker.write(job, "n1", 0, "abcdef");  // again
  tracker.write(job, "n1", 4, "efgh");    // overlaps
  tracker.write(job, "n1", 100, "tail");  // what lay between was not kept
  tracker.write(job, "n1", 0, "err", /*err=*/true);
  taken = tracker.sent_to("n1", Kind::kOutputTaken);
  REQUIRE(taken.size() == 5);
  CHECK(taken[1].output_taken().upto() == 6);
  CHECK(taken[2].output_taken().upto() == 8);
  CHECK(taken[3].output_taken().upto() == 104);
  const auto page = tracker.page(job);
  REQUIRE(page);
  REQUIRE(page->pieces.size() == 4);
  CHECK(page->pieces[0].bytes == "abcdef");
  CHECK(page->pieces[1].bytes == "gh");
  CHECK(page->pieces[1].at.offset == 6);
  CHECK(page->pieces[2].at.offset == 100);
  CHECK(page->pieces[3].at.err);
}

TEST_CASE("of a full log agents are told that it is enough, and the run that it is cut") {
  Disk disk;
  RunBoardLimits limits = RunProcess::no_patience();
  limits.output_of_job = 3 * kOutputHeaderBytes;
  RunProcess tracker(disk, limits);
  tracker.enrol_online("n1");
  tracker.enrol_online("n2");
  const JobId job = tracker.create(exec_of("*"));
  tracker.write(job, "n1", 0, std::string(20, 'x'));
  tracker.write(job, "n1", 20, std::string(100, 'y'));
  CHECK(tracker.sent_to("n1", Kind::kOutputTaken).back().output_taken().enough());
  CHECK(tracker.run(job, "n1").facts.out_truncated);
  CHECK_FALSE(tracker.run(job, "n1").facts.err_truncated);
  tracker.write(job, "n2", 0, "z");  // the log is the job's, and it is full
  CHECK(tracker.sent_to("n2", Kind::kOutputTaken).back().output_taken().enough());
  CHECK(tracker.output(job) == std::string(20, 'x'));
  // The flag stays when the node says its end.
  tracker.report(job, "n1", exited, 0);
  CHECK(tracker.run(job, "n1").facts.out_truncated);
}

TEST_CASE("output that did not all arrive before the end is called cut") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  const JobId job = tracker.create(exec_of("n1"));
  tracker.write(job, "n1", 0, "abc");
  proto::RunReports reports = said(tracker.word(job, "n1", exited, 0));
  for (auto* stream :
       {reports.mutable_runs(0)->mutable_out(), reports.mutable_runs(0)->mutable_err()}) {
    stream->set_bytes(3);
    stream->set_head(3);
    stream->set_tail_begin(3);
    stream->set_stored(3);
  }
  tracker.board.on_run_reports(tracker.id("n1"), reports, tracker.now);
  CHECK_FALSE(tracker.run(job, "n1").facts.out_truncated);
  CHECK(tracker.run(job, "n1").facts.err_truncated);
}

TEST_CASE("a node that sends without waiting for acknowledgements is stopped") {
  Disk disk;
  RunBoardLimits limits = RunProcess::no_patience();
  limits.output_of_node = 2 * (50 + kOutputHeaderBytes);
  RunProcess tracker(disk, limits);
  tracker.enrol_online("n1");
  const JobId job = tracker.create(exec_of("n1"));
  proto::RunOutput output;
  output.set_id(tracker.run(job, "n1").id.raw());
  for (std::uint64_t i = 0; i < 5; ++i) {
    output.set_offset(i * 50);
    output.set_bytes(std::string(50, 'x'));
    tracker.board.on_run_output(tracker.id("n1"), output, tracker.now);
  }
  tracker.settle();
  CHECK(tracker.output(job).size() == 100);
  CHECK(tracker.sent_to("n1", Kind::kOutputTaken).front().output_taken().enough());
}

TEST_CASE("logs of the oldest finished jobs go when all together are too large") {
  Disk disk;
  RunBoardLimits limits = RunProcess::no_patience();
  limits.output_of_all = 3000;
  std::vector<JobId> jobs;
  RunProcess tracker(disk, limits);
  tracker.enrol_online("n1");
  for (int i = 0; i < 3; ++i) {
    jobs.push_back(tracker.create(exec_of("n1")));
    tracker.write(jobs.back(), "n1", 0, std::string(1200, 'x'));
    proto::RunReports ended = said(tracker.word(jobs.back(), "n1", exited, 0));
    ended.mutable_runs(0)->mutable_out()->set_bytes(1200);
    tracker.board.on_run_reports(tracker.id("n1"), ended, tracker.now);
    tracker.settle();
    tracker.tick();
  }
  tracker.settle();
  CHECK_FALSE(tracker.page(jobs[0]).has_value());  // gone, and said so
  CHECK(tracker.output(jobs[1]).size() == 1200);
  CHECK(tracker.output(jobs[2]).size() == 1200);
}

TEST_CASE("another node's run cannot be spoken of") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  tracker.enrol_online("n2");
  const JobId job = tracker.create(exec_of("n1"));
  tracker.board.on_run_reports(tracker.id("n2"), said(tracker.word(job, "n1", exited, 0)),
                               tracker.now);
  proto::RunOutput output;
  output.set_id(tracker.run(job, "n1").id.raw());
  output.set_bytes("lies");
  tracker.board.on_run_output(tracker.id("n2"), output, tracker.now);
  tracker.settle();
  CHECK(tracker.state(job, "n1") == offered);
  CHECK(tracker.output(job).empty());
}

TEST_CASE("a cancel is stored before nodes are told, and goes on in another process") {
  Disk disk;
  JobId job;
  {
    RunProcess tracker(disk);
    tracker.enrol_online("n1");
    job = tracker.create(exec_of("n1"));
    tracker.report(job, "n1", running);
    tracker.offline("n1");
    REQUIRE(tracker.steer(&RunBoard::cancel, job));
    CHECK(tracker.state(job, "n1") == running);
  }
  RunProcess tracker(disk);
  tracker.online("n1", said(tracker.word(job, "n1", running)));
  CHECK(tracker.sent_to("n1", Kind::kCancelRun).size() == 1);
  tracker.report(job, "n1", cancelled);
  CHECK(exec_view(tracker.job(job), tracker.registry, WithRuns::no).state() == "cancelled");
  CHECK(tracker.steer(&RunBoard::cancel, job).error().code == Errc::invalid_argument);
}

TEST_CASE("only who made a job and administrators may steer it") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  const JobId job = tracker.create(exec_of("n1"));
  const Caller other{"eve", "id-of-eve", false, {"dev"}};
  CHECK(tracker.steer(&RunBoard::cancel, job, other).error().code == Errc::denied);
  CHECK(tracker.steer(&RunBoard::pause, job, other).error().code == Errc::denied);
  CHECK(tracker.state(job, "n1") == offered);
}

TEST_CASE("a pause survives the tracker, and a resume goes on") {
  Disk disk;
  JobId job;
  {
    RunProcess tracker(disk);
    tracker.enrol_online("n1");
    tracker.enrol_online("n2");
    proto::ExecSpec spec = exec_of("*");
    spec.mutable_rollout()->set_window(1);
    job = tracker.create(spec);
    REQUIRE(tracker.steer(&RunBoard::pause, job));
  }
  RunProcess tracker(disk);
  tracker.online("n1", said(tracker.word(job, "n1", exited, 0)));
  tracker.online("n2");
  CHECK(tracker.offers_to("n2") == 0);
  const proto::Job view = exec_view(tracker.job(job), tracker.registry, WithRuns::yes);
  CHECK(view.paused());
  CHECK(view.rollout_state() == "paused by root");
  CHECK(view.runs(1).detail() == "waits for its turn");
  REQUIRE(tracker.steer(&RunBoard::resume, job));
  CHECK(tracker.offers_to("n2") == 1);
}

TEST_CASE("a retry repeats the same order under new ids, for the targets that ended like that") {
  Disk disk;
  RunProcess tracker(disk);
  for (const char* name : {"n1", "n2", "n3"}) tracker.enrol_online(name);
  const JobId job = tracker.create(exec_of("*", {"sh", "-c", "exit 1"}));
  tracker.report(job, "n1", exited, 0);
  tracker.report(job, "n2", exited, 1);
  tracker.report(job, "n3", lost);
  tracker.take();
  const JobId again = must(tracker.retry(job, {"failed"}));
  CHECK(tracker.offers_to("n2") == 1);
  CHECK(tracker.offers_to("n1") + tracker.offers_to("n3") == 0);
  CHECK(tracker.run(again, "n2").id != tracker.run(job, "n2").id);
  CHECK(tracker.job(again).record.order_sha256() == tracker.job(job).record.order_sha256());
  CHECK(exec_view(tracker.job(again), tracker.registry, WithRuns::no).exec().retry_of() ==
        job.str());
  CHECK(tracker.job(must(tracker.retry(job, {}))).job->runs().size() == 2);
  CHECK(tracker.retry(job, {"expired"}).error().code == Errc::invalid_argument);
  CHECK(tracker.retry(job, {"happy"}).error().code == Errc::invalid_argument);
}

TEST_CASE("a release that knows no runs is offered none, and its run says why") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol("n1");
  tracker.registry.find("n1")->online = true;
  tracker.board.on_agent_hello(tracker.id("n1"), /*knows_runs=*/false, tracker.now);
  const JobId job = tracker.create(exec_of("n1"));
  CHECK(tracker.agents.sent.empty());
  CHECK(tracker.state(job, "n1") == rejected);
  CHECK(tracker.run(job, "n1").facts.text.find("upgrade p2pd") != std::string::npos);
}

TEST_CASE("a removed node's runs end, also when the tracker ended in between") {
  Disk disk;
  JobId job;
  {
    RunProcess tracker(disk);
    tracker.enrol_online("n1");
    tracker.enrol_online("n2");
    job = tracker.create(exec_of("*"));
    NodeEntry* node = tracker.registry.find("n1");
    const NodeId id = node->id;
    StateBatch batch;
    tracker.registry.remove(*node, tracker.now, batch);
    REQUIRE(disk.store.apply(batch));
    tracker.board.on_node_removed(id, tracker.now);
    tracker.settle();
    CHECK(tracker.job(job).job->runs()[0].state == lost);
    node = tracker.registry.find("n2");
    StateBatch second;
    tracker.registry.remove(*node, tracker.now, second);
    REQUIRE(disk.store.apply(second));
  }
  RunProcess tracker(disk);
  CHECK(tracker.job(job).finished());
  CHECK(tracker.job(job).job->runs()[1].state == lost);
}

TEST_CASE("finished jobs beyond the limit are read from the store") {
  Disk disk;
  RunBoardLimits limits = RunProcess::no_patience();
  limits.finished_jobs = 1;
  RunProcess tracker(disk, limits);
  tracker.enrol_online("n1");
  std::vector<JobId> jobs;
  for (int i = 0; i < 3; ++i) {
    jobs.push_back(tracker.create(exec_of("n1")));
    tracker.write(jobs.back(), "n1", 0, "out");
    tracker.report(jobs.back(), "n1", exited, i);
    tracker.tick();
    tracker.tick();
  }
  CHECK(tracker.board.newest_first().size() == 1);
  CHECK(tracker.run(jobs[1], "n1").facts.code == 1);
  CHECK(tracker.output(jobs[0]) == "out");
}

TEST_CASE("a job is given one number with the jobs of other boards") {
  Disk disk;
  {
    RunProcess tracker(disk);
    tracker.enrol_online("n1");
    CHECK(tracker.create(exec_of("n1")).number == 1);
    tracker.numbers.take(41);  // what another board has loaded
    CHECK(tracker.create(exec_of("n1")).number == 42);
  }
  RunProcess tracker(disk);
  CHECK(tracker.numbers.last() == 42);
}

}  // namespace
}  // namespace p2p::test
