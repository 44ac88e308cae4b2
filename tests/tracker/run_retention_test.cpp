// Of exec jobs that are over only so many are kept; the others lose everything.
#include <filesystem>

#include "tests/support/catch.h"
#include "tests/tracker/run_fixture.h"

namespace p2p::test {
namespace {

using enum RunState;

JobId make_and_end(RunProcess& tracker, const std::string& input = {}) {
  proto::ExecSpec spec = exec_of("n1");
  spec.set_input(input);
  const JobId job = tracker.create(spec);
  tracker.write(job, "n1", 0, "out");
  tracker.report(job, "n1", exited, 0);
  tracker.tick();
  tracker.tick();
  return job;
}

std::size_t files_below(const std::filesystem::path& folder) {
  std::size_t count = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder)) {
    count += file.is_regular_file() ? 1 : 0;
  }
  return count;
}

TEST_CASE("of finished jobs the newest are kept, and of the others nothing is left") {
  Disk disk;
  RunBoardLimits limits = RunProcess::no_patience();
  limits.kept_jobs = 2;
  std::vector<JobId> jobs;
  {
    RunProcess tracker(disk, limits);
    tracker.enrol_online("n1");
    for (int i = 0; i < 4; ++i) jobs.push_back(make_and_end(tracker));
    tracker.tick();
    CHECK(tracker.board.find(jobs[0]) == nullptr);
    CHECK(tracker.board.find(jobs[1]) == nullptr);
    CHECK(tracker.output(jobs[2]) == "out");
    CHECK(tracker.state(jobs[3], "n1") == exited);
    CHECK(disk.store.keys("exec/").size() == 2);
    CHECK(disk.store.keys("exechead/").size() == 2);
    CHECK(files_below(disk.folder / "exec") == 4);
  }
  RunProcess again(disk, limits);
  CHECK(again.board.newest_first().size() == 2);
  CHECK(again.board.find(jobs[0]) == nullptr);
  CHECK(again.numbers.last() == jobs[3].number);
}

TEST_CASE("jobs of too many runs together go, but never the newest, nor one that goes on") {
  Disk disk;
  RunBoardLimits limits = RunProcess::no_patience();
  limits.kept_runs = 0;
  RunProcess tracker(disk, limits);
  tracker.enrol_online("n1");
  const JobId running_on = tracker.create(exec_of("n1"));
  tracker.report(running_on, "n1", running);
  const JobId first = make_and_end(tracker);
  const JobId last = make_and_end(tracker);
  tracker.tick();
  CHECK(tracker.board.find(first) == nullptr);
  CHECK(tracker.state(last, "n1") == exited);
  CHECK(tracker.state(running_on, "n1") == running);
}

TEST_CASE("more jobs than are kept go in a few ticks of the next process, too") {
  Disk disk;
  {
    RunProcess tracker(disk);
    tracker.enrol_online("n1");
    for (int i = 0; i < 7; ++i) make_and_end(tracker);
    CHECK(disk.store.keys("exechead/").size() == 7);
  }
  RunBoardLimits limits = RunProcess::no_patience();
  limits.kept_jobs = 1;
  RunProcess tracker(disk, limits);
  tracker.tick();
  CHECK(disk.store.keys("exechead/").size() == 3);
  tracker.tick();
  CHECK(disk.store.keys("exechead/").size() == 1);
  CHECK(disk.store.keys("exec/").size() == 1);
  CHECK(files_below(disk.folder / "exec") == 2);
}

TEST_CASE("a job of which pages are gone already is none, and goes on being removed") {
  Disk disk;
  JobId job;
  {
    RunProcess tracker(disk);
    tracker.enrol_online("n1");
    job = make_and_end(tracker);
  }
  StateBatch batch;
  batch.erase(disk.store.keys("exec/").front());
  REQUIRE(disk.store.apply(batch));
  RunProcess tracker(disk);
  CHECK(tracker.board.find(job) == nullptr);
  CHECK(tracker.numbers.last() == job.number);
}

TEST_CASE("inputs of jobs that are not kept go, those of scripts and kept jobs stay") {
  Disk disk;
  RunBoardLimits limits = RunProcess::no_patience();
  limits.kept_jobs = 1;
  limits.blob_age = -std::chrono::seconds(10);
  JobId kept;
  std::string script;
  {
    RunProcess tracker(disk, limits);
    tracker.enrol_online("n1");
    make_and_end(tracker, std::string(20'000, 'a'));
    kept = make_and_end(tracker, std::string(20'000, 'b'));
    script = must(tracker.blobs.put("#!/bin/sh\n"));
    proto::ScriptRecord record;
    record.set_name("s");
    record.set_sha256(script);
    StateBatch batch;
    tracker.scripts.put(record, batch);
    REQUIRE(disk.store.apply(batch));
    tracker.tick();
    CHECK(files_below(disk.folder / "blobs") == 3);
  }
  RunProcess tracker(disk, limits);
  tracker.tick();
  CHECK(files_below(disk.folder / "blobs") == 2);
  CHECK(tracker.blobs.get(script));
  CHECK(tracker.blobs.get(tracker.job(kept).record.input_sha256()));
}

TEST_CASE("what was put just now is kept: who put it has not said yet what for") {
  Disk disk;
  RunProcess tracker(disk);
  const std::string fresh = must(tracker.blobs.put("x"));
  tracker.tick();
  CHECK(tracker.blobs.get(fresh));
}

}  // namespace
}  // namespace p2p::test
