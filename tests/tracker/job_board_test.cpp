// Which jobs are made, and when which agent hears of them.
#include "tracker/job_board.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "tests/tracker/board_fixture.h"

namespace p2p {
namespace {

using Catch::Contains;
using test::Disk;
using test::Process;
using test::publish_base;
using test::publish_of;
using test::push_of;
using test::say_holding;

}  // namespace

TEST_CASE("A push is offered to every target that is online, with what it needs to begin",
          "[tracker]") {
  Disk disk;
  Process process(disk);
  const auto manifest = publish_base(process);
  for (const char* name : {"seed", "web1", "web2"}) process.enrol_online(name);
  process.enrol("web3");
  say_holding(process, "seed", manifest.content_id);
  const JobId job = process.create(push_of("images/base", "web[1-3]", "/srv/copies/"));

  CHECK(process.agents.sent.size() == 2);
  REQUIRE(process.sent_to("web1").size() == 1);
  REQUIRE(process.sent_to("web2").size() == 1);
  const proto::PushTask task = process.sent_to("web1").front().push();
  CHECK(task.job() == job.number);
  CHECK(task.root_record() == manifest.root_record_bytes);
  CHECK(task.path() == "/srv/copies/");
  CHECK(task.original_name() == "base.img");
  CHECK(task.rate_bytes_per_second() == 0);
  REQUIRE(task.peers_size() == 2);
  CHECK(task.peers(0).node_id() == process.id("seed").str());
  CHECK(task.peers(0).address() == "seed:7402");
  CHECK(task.peers(0).seed());
  CHECK(task.peers(1).node_id() == process.id("web2").str());
  CHECK_FALSE(task.peers(1).seed());
  CHECK(process.state_of(job, "web3") == TaskState::queued);
  CHECK(process.job(job).record.file_name() == "images/base@1");
}

TEST_CASE("No agent hears of a job before the job and its targets are stored", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  process.enrol_online("web1");
  process.enrol("web2");
  disk.store.hold();
  std::optional<Result<JobId>> made;
  process.board.create(push_of("images/base", "*"), "test", process.now,
                       [&](Result<JobId> result) { made = std::move(result); });
  process.io.poll();
  CHECK(process.agents.sent.empty());
  SECTION("not even one that connects in between") {
    process.online("web2");
    process.online("web1");
    process.board.on_tick(process.now);
    CHECK(process.agents.sent.empty());
  }
  CHECK_FALSE(made);
  disk.store.let_go();
  REQUIRE(process.run_until([&] { return made.has_value(); }));
  REQUIRE(*made);
  CHECK_FALSE(process.sent_to("web1").empty());
  CHECK(process.agents.sent_too_early == 0);
}

TEST_CASE("A job that is cancelled before it is stored never reaches an agent", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  process.enrol_online("web1");
  disk.store.hold();
  const bool is_push = GENERATE(true, false);
  std::optional<Result<JobId>> made;
  process.board.create(is_push ? push_of("images/base", "*") : publish_of("web1", "/srv/a", "a/b"),
                       "test", process.now,
                       [&](Result<JobId> result) { made = std::move(result); });
  const auto jobs = process.board.newest_first();
  REQUIRE(jobs.size() == 1);
  const JobId job{jobs.front()->record.number()};
  REQUIRE(process.board.cancel(job, process.now));
  disk.store.let_go();
  REQUIRE(process.run_until([&] { return made.has_value(); }));
  process.settle();
  CHECK(process.job(job).record.state() == "cancelled");
  CHECK(process.job(job).targets.has_value() == is_push);
  CHECK(std::none_of(process.agents.sent.begin(), process.agents.sent.end(), [](const auto& sent) {
    return sent.message.has_push() || sent.message.has_publish();
  }));
}

TEST_CASE("A node that comes back is offered its task again until the task is over", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  process.enrol_online("web1");
  process.enrol_online("web2");
  const JobId job = process.create(push_of("images/base", "*"));
  process.report("web1", job, TaskState::running);
  process.report("web2", job, TaskState::succeeded);
  process.agents.take();

  for (const char* name : {"web1", "web2"}) process.offline(name);
  CHECK(process.agents.take().empty());
  for (const char* name : {"web1", "web2"}) process.online(name);
  REQUIRE(process.sent_to("web1").size() == 1);
  CHECK(process.sent_to("web1").front().push().job() == job.number);
  CHECK(process.sent_to("web2").empty());
  CHECK(process.state_of(job, "web1") == TaskState::offered);

  process.report("web1", job, TaskState::succeeded);
  CHECK(process.job(job).record.state() == "succeeded");
  process.agents.take();
  process.offline("web1");
  process.online("web1");
  CHECK(process.agents.sent.empty());
}

TEST_CASE("A tracker that was restarted offers what is not over, to those who come back",
          "[tracker]") {
  Disk disk;
  JobId job, over;
  {
    Process process(disk);
    publish_base(process);
    for (const char* name : {"web1", "web2", "web3"}) process.enrol_online(name);
    over = process.create(push_of("images/base", "web1"));
    process.report("web1", over, TaskState::succeeded);
    job = process.create(push_of("images/base", "*"));
    process.report("web1", job, TaskState::succeeded);
    process.report("web2", job, TaskState::failed, "disk full");
    process.board.on_tick(process.now);
  }
  Process process(disk);
  CHECK(process.agents.sent.empty());
  CHECK(process.board.running() == 1);
  CHECK(process.job(over).record.state() == "succeeded");
  CHECK(process.state_of(job, "web1") == TaskState::succeeded);
  CHECK(process.state_of(job, "web2") == TaskState::failed);
  CHECK(process.job(job).targets->tasks()[1].detail == "disk full");
  for (const char* name : {"web1", "web2", "web3"}) process.online(name);
  CHECK(process.agents.sent.size() == 1);
  REQUIRE(process.sent_to("web3").size() == 1);
  CHECK(process.sent_to("web3").front().push().job() == job.number);

  process.report("web3", job, TaskState::succeeded);
  CHECK(process.job(job).record.state() == "failed");
  CHECK(process.create(push_of("images/base", "web1")).number == job.number + 1);
}

TEST_CASE("A job's targets are those of the moment in which it was made", "[tracker]") {
  Disk disk;
  JobId job;
  {
    Process process(disk);
    publish_base(process);
    process.enrol("web1", {{"rack", "a"}});
    process.enrol("web2", {{"rack", "b"}});
    job = process.create(push_of("images/base", "rack=a"));
    process.enrol("web3", {{"rack", "a"}});
    StateBatch batch;
    REQUIRE(process.registry.set_labels(*process.registry.find("web2"), {{"rack", "a"}}, batch));
    REQUIRE(process.registry.set_labels(*process.registry.find("web1"), {{"rack", "c"}}, batch));
    REQUIRE(disk.store.apply(batch));
    for (const char* name : {"web1", "web2", "web3"}) process.online(name);
    CHECK(process.agents.sent.size() == 1);
    CHECK(process.sent_to("web1").size() == 1);
  }
  Process process(disk);
  for (const char* name : {"web1", "web2", "web3"}) process.online(name);
  CHECK(process.agents.sent.size() == 1);
  CHECK(process.sent_to("web1").size() == 1);
  CHECK(process.job(job).targets->tasks().size() == 1);
}

TEST_CASE("Pages of a job that a crash kept from being made add nobody to a later one",
          "[tracker]") {
  Disk disk;
  {
    Process process(disk);
    publish_base(process);
    for (const char* name : {"web1", "web2"}) process.enrol(name);
    // As if the process had ended between the pages and the head.
    std::vector<TaskStatus> tasks(1000);
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      tasks[i].node = process.id(i % 2 == 0 ? "web1" : "web2");
    }
    for (const StateBatch& pages : all_task_pages(1, tasks)) REQUIRE(disk.store.apply(pages));
  }
  JobId job;
  {
    Process process(disk);
    job = process.create(push_of("images/base", "web1"));
  }
  Process process(disk);
  CHECK(process.job(job).targets->tasks().size() == 1);
}

TEST_CASE("What is wrong with a request is said before anything is stored", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  process.enrol_online("web1");
  process.enrol("web2");
  const auto before = disk.store.keys("");

  proto::CreateJobRequest both = push_of("images/base", "*");
  *both.mutable_publish() = publish_of("web1", "/srv/a", "a/b").publish();
  CHECK(process.refusal(both).code == Errc::invalid_argument);
  CHECK(process.refusal({}).code == Errc::invalid_argument);

  const Error node = process.refusal(push_of("images/base", "web1,web9"));
  CHECK(node.code == Errc::not_found);
  CHECK_THAT(node.detail, Contains("web9"));
  const Error nobody = process.refusal(push_of("images/base", "rack=z"));
  CHECK(nobody.code == Errc::not_found);
  CHECK(process.refusal(push_of("images/base", "web1 &")).code == Errc::invalid_argument);
  CHECK(process.refusal(push_of("images/base", "")).code == Errc::invalid_argument);

  const Error file = process.refusal(push_of("images/none", "*"));
  CHECK(file.code == Errc::not_found);
  CHECK_THAT(file.detail, Contains("images/none") && Contains("p2pctl file list"));
  CHECK(process.refusal(push_of("images/base@2", "*")).code == Errc::not_found);
  CHECK(process.refusal(push_of(std::string(64, 'a'), "*")).code == Errc::not_found);
  CHECK(process.refusal(push_of("what is this", "*")).code == Errc::invalid_argument);
  CHECK(process.refusal(push_of("web9:/srv/a", "*")).code == Errc::not_found);

  CHECK_THAT(process.refusal(push_of("images/base", "*", "/etc/passwd")).detail, Contains("/srv"));
  proto::CreateJobRequest long_ttl = push_of("images/base", "*");
  long_ttl.mutable_push()->set_offline_ttl_seconds(31ull * 24 * 3600);
  CHECK_THAT(process.refusal(long_ttl).detail, Contains("30 days"));

  CHECK(process.refusal(publish_of("web9", "/srv/a", "a/b")).code == Errc::not_found);
  const Error away = process.refusal(publish_of("web2", "/srv/a", "a/b"));
  CHECK(away.code == Errc::unavailable);
  CHECK_THAT(away.detail, Contains("web2") && Contains("offline"));
  CHECK(process.refusal(publish_of("web1", "srv/a", "a/b")).code == Errc::invalid_argument);
  CHECK(process.refusal(publish_of("web1", "/srv/a", "")).code == Errc::invalid_argument);
  CHECK(process.refusal(publish_of("web1", "/srv/a", "no-domain")).code == Errc::invalid_argument);
  CHECK(process.refusal(publish_of("web1", "/srv/a", "images/base@1")).code ==
        Errc::already_exists);

  CHECK(disk.store.keys("") == before);
  CHECK(process.agents.sent.empty());
  CHECK(process.board.newest_first().empty());
}

TEST_CASE("A request that does not fit into a record says what to do instead", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  process.enrol("web1");
  const auto before = disk.store.keys("");
  std::string targets = "web1";
  while (targets.size() < 40'000) targets += ",web1";
  const Error refused = process.refusal(push_of("images/base", targets));
  CHECK(refused.code == Errc::invalid_argument);
  CHECK_THAT(refused.detail, Contains("label"));
  CHECK(disk.store.keys("") == before);
}

TEST_CASE("However much an agent has to say, its job can be stored and read back", "[tracker]") {
  Disk disk;
  JobId job;
  {
    Process process(disk);
    publish_base(process);
    process.enrol_online("web1");
    job = process.create(push_of("images/base", "web1"));
    process.report("web1", job, TaskState::failed, std::string(100'000, 'x'));
    process.settle();
  }
  Process process(disk);
  CHECK(process.state_of(job, "web1") == TaskState::failed);
}

}  // namespace p2p
