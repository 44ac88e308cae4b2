// What the board keeps in memory does not grow for ever.
#include <string>

#include "tests/tracker/board_fixture.h"
#include "tracker/job_board.h"

namespace p2p {
namespace {

using Catch::Contains;
using test::Disk;
using test::packed;
using test::Process;
using test::publish_base;
using test::publish_of;
using test::push_of;
using test::say_holding;

constexpr BoardLimits kTwoJobs{.finished_jobs = 2};

void report_upload(Process& process, const std::string& name, const ContentId& content,
                   std::uint64_t bytes) {
  proto::UploadReport report;
  report.set_content_id(std::string(content.digest.view()));
  report.set_bytes_sent(bytes);
  process.board.on_upload(process.id(name), report);
}

// A push to web1 that ends well, with its last reports in.
JobId finished_push(Process& process, const std::string& path) {
  const JobId job = process.create(push_of("images/base", "web1", path));
  process.report("web1", job, TaskState::succeeded, "landed at " + path);
  REQUIRE(process.job(job).finished());
  process.now = process.now + std::chrono::seconds(2);
  process.board.on_tick(process.now);
  process.settle();
  return job;
}

}  // namespace

TEST_CASE("Old jobs leave the memory and are read from the store, also after a restart",
          "[tracker]") {
  Disk disk;
  std::vector<JobId> jobs;
  const auto check = [&](Process& process) {
    CHECK(process.board.newest_first().size() == 2);
    for (const JobId job : {jobs[0], jobs[3], jobs[1], jobs[0]}) {
      const BoardJob* found = process.board.find(job);
      REQUIRE(found != nullptr);
      CHECK(found->record.number() == job.number);
      CHECK(found->record.state() == "succeeded");
      REQUIRE(found->shown().tasks().size() == 1);
      CHECK_THAT(found->shown().tasks().front().detail,
                 Contains("/srv/" + std::to_string(job.number)));
    }
    const Status cancelled = process.board.cancel(jobs[0], process.now);
    REQUIRE_FALSE(cancelled);
    CHECK_THAT(cancelled.error().detail, Contains("over already (succeeded)"));
    CHECK(process.board.find(JobId{99}) == nullptr);
    CHECK(process.board.cancel(JobId{99}, process.now).error().code == Errc::not_found);
  };
  {
    Process process(disk, {}, kTwoJobs);
    publish_base(process);
    process.enrol_online("web1");
    for (int i = 1; i <= 4; ++i) {
      jobs.push_back(finished_push(process, "/srv/" + std::to_string(i)));
    }
    check(process);
  }
  Process process(disk, {}, kTwoJobs);
  check(process);
}

TEST_CASE("Jobs with many tasks leave the memory sooner, jobs that run never", "[tracker]") {
  Disk disk;
  Process process(disk, {}, {.finished_tasks = 1});
  publish_base(process);
  process.enrol_online("web1");
  process.enrol_online("web2");
  const JobId runs = process.create(push_of("images/base", "web2"));
  finished_push(process, "/srv/1");
  const JobId last = finished_push(process, "/srv/2");
  const auto kept = process.board.newest_first();
  REQUIRE(kept.size() == 2);
  CHECK(kept[0]->record.number() == last.number);
  CHECK(kept[1]->record.number() == runs.number);
}

TEST_CASE("What a source has sent for a job is known when the job is read again", "[tracker]") {
  Disk disk;
  JobId job;
  {
    Process process(disk, {}, {.finished_jobs = 1});
    const auto manifest = publish_base(process);
    process.enrol_online("seed");
    process.enrol_online("web1");
    job = process.create(push_of("images/base", "web1"));
    report_upload(process, "seed", manifest.content_id, 1234);
    process.report("web1", job, TaskState::succeeded);
    process.now = process.now + std::chrono::seconds(2);
    process.board.on_tick(process.now);
    report_upload(process, "seed", manifest.content_id, 5000);
    finished_push(process, "/srv/2");
    CHECK(process.board.source_bytes_sent(process.job(job)) == 1234);
  }
  Process process(disk);
  CHECK(process.board.source_bytes_sent(process.job(job)) == 1234);
}

TEST_CASE("A swarm that nobody is in any more is forgotten with its last job", "[tracker]") {
  Disk disk;
  Process process(disk);
  const auto manifest = publish_base(process);
  process.enrol_online("web1");
  const JobId job = process.create(push_of("images/base", "web1"));
  CHECK(process.board.swarm_of(manifest.content_id) != nullptr);
  REQUIRE(process.board.cancel(job, process.now));
  CHECK(process.board.swarm_of(manifest.content_id) == nullptr);
}

TEST_CASE("Of many reports of what was sent, those of running jobs are kept", "[tracker]") {
  Disk disk;
  Process process(disk, {}, {.uploads = 2});
  const auto manifest = publish_base(process);
  const auto other = packed("other.img", "other");
  StateBatch batch;
  process.catalogue.add_content(test::content_record(other, "other.img"), batch);
  for (const char* name : {"seed", "seed2", "web1"}) process.enrol_online(name);
  const JobId job = process.create(push_of("images/base", "web1"));
  report_upload(process, "seed", manifest.content_id, 10);
  report_upload(process, "seed", other.content_id, 100);
  report_upload(process, "seed2", manifest.content_id, 20);
  report_upload(process, "seed2", other.content_id, 100);
  CHECK(process.board.source_bytes_sent(process.job(job)) == 30);
}

}  // namespace p2p
