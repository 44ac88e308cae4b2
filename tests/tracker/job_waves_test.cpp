// Pushes whose targets get their turns in waves.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "tests/tracker/board_fixture.h"
#include "tracker/job_board.h"
#include "tracker/views.h"

namespace p2p {
namespace {

using test::Disk;
using test::must;
using test::Process;
using test::publish_base;
using test::push_of;
using test::say_holding;

// Enough for agents to come back after a start.
constexpr Duration kPatience = SourceLossRules{}.after_start;

proto::CreateJobRequest in_waves(const std::string& waves, const std::string& targets = "*") {
  proto::CreateJobRequest request = push_of("images/base", targets);
  request.mutable_push()->mutable_rollout()->set_waves(waves);
  return request;
}

// "web1 web3": who was told to begin since the last call.
std::string told(Process& process) {
  std::set<std::string> names;
  for (const auto& [node, message] : process.agents.take()) {
    if (message.has_push()) names.insert(process.registry.name_of(node));
  }
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  return text;
}

void enrol_web(Process& process, int nodes) {
  for (int i = 1; i <= nodes; ++i) process.enrol_online("web" + std::to_string(i));
}

proto::Job view_of(Process& process, JobId job) {
  return job_view(process.job(job), process.board, process.registry, process.catalogue,
                  WithTasks::yes);
}

Status paused(Process& process, JobId job) {
  std::optional<Status> done;
  process.board.pause(job, "anna", process.now, [&](const Status& status) { done = status; });
  REQUIRE(process.run_until([&] { return done.has_value(); }));
  return *done;
}

Status resumed(Process& process, JobId job) {
  std::optional<Status> done;
  process.board.resume(job, process.now, [&](const Status& status) { done = status; });
  REQUIRE(process.run_until([&] { return done.has_value(); }));
  return *done;
}

Result<JobId> retried(Process& process, JobId job, const std::vector<std::string>& only = {}) {
  proto::RetryRequest request;
  *request.mutable_only() = {only.begin(), only.end()};
  std::optional<Result<JobId>> made;
  process.board.retry(job, request, "test", process.now,
                      [&](Result<JobId> result) { made = std::move(result); });
  REQUIRE(process.run_until([&] { return made.has_value(); }));
  return *made;
}

}  // namespace

TEST_CASE("A push goes on wave by wave", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  enrol_web(process, 4);
  const JobId job = process.create(in_waves("1,2,1"));
  CHECK(told(process) == "web1");
  CHECK(process.state_of(job, "web2") == TaskState::queued);
  proto::Job view = view_of(process, job);
  CHECK(view.rollout_state() == "wave 1 of 3");
  CHECK(view.wave() == 1);
  CHECK(view.waves() == 3);
  CHECK(view.targets_folded() == "web[1-4]");
  CHECK(view.push().rollout().waves() == "1,2,1");
  CHECK(view.tasks(3).wave() == 3);
  CHECK(view.tasks(3).detail() == "waits for its turn");
  process.report("web1", job, TaskState::succeeded);
  CHECK(told(process) == "web2 web3");
  process.report("web2", job, TaskState::succeeded);
  CHECK(told(process).empty());
  process.report("web3", job, TaskState::succeeded);
  CHECK(told(process) == "web4");
  process.report("web4", job, TaskState::succeeded);
  view = view_of(process, job);
  CHECK(view.state() == "succeeded");
  CHECK(view.exit_code() == 0);
}

TEST_CASE("Nobody is told about a target that waits for its turn", "[tracker]") {
  Disk disk;
  Process process(disk);
  const PackedManifest manifest = publish_base(process);
  enrol_web(process, 4);
  process.enrol_online("seed1");
  process.enrol_online("seed2");
  say_holding(process, "seed1", manifest.content_id);
  const JobId job = process.create(in_waves("2", "web[1-4]"));
  for (const char* name : {"web1", "web2"}) {
    const auto sent = process.sent_to(name);
    REQUIRE(sent.size() == 1);
    std::set<std::string> peers;
    for (const auto& peer : sent[0].push().peers()) {
      peers.insert(process.registry.name_of(*NodeId::parse(peer.node_id())));
    }
    CHECK(peers == std::set<std::string>{"seed1", std::string(name) == "web1" ? "web2" : "web1"});
  }
  process.agents.take();
  say_holding(process, "seed2", manifest.content_id);  // news for those who have begun
  CHECK_FALSE(process.sent_to("web1").empty());
  CHECK(process.sent_to("web3").empty());
  process.agents.take();
  process.report("web1", job, TaskState::succeeded);
  process.report("web2", job, TaskState::succeeded);
  CHECK(process.sent_to("web3")[0].push().peers_size() == 5);
}

TEST_CASE("A seed that is a target itself stays a seed until its turn comes", "[tracker]") {
  Disk disk;
  Process process(disk);
  const PackedManifest manifest = publish_base(process);
  for (const char* name : {"seed1", "seed2", "web1", "web2"}) process.enrol_online(name);
  for (const char* name : {"seed1", "seed2", "web2"}) {
    say_holding(process, name, manifest.content_id);
  }
  const JobId job = process.create(in_waves("1", "web[1-2]"));
  const auto seeds_told = [&] {
    int seeds = 0;
    for (const auto& message : process.sent_to("seed1")) {
      if (message.has_seeds()) seeds = message.seeds().node_ids_size();
    }
    return seeds;
  };
  CHECK(seeds_told() == 3);
  process.agents.take();
  process.report("web1", job, TaskState::succeeded);
  CHECK(seeds_told() == 2);
}

TEST_CASE("Too many failures stop a push; the rest is skipped, and p2pctl exits with 5",
          "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  enrol_web(process, 5);
  proto::CreateJobRequest request = in_waves("2");
  request.mutable_push()->mutable_rollout()->set_max_fail("20%");
  const JobId job = process.create(request);
  process.report("web1", job, TaskState::failed, "disk full");
  CHECK_FALSE(process.job(job).finished());
  process.report("web2", job, TaskState::failed, "disk full");
  CHECK(process.job(job).finished());
  const proto::Job view = view_of(process, job);
  CHECK(view.state() == "failed");
  CHECK(view.detail() == "stopped: 2 of 5 failed (--max-fail 20%)");
  CHECK(view.rollout_state() == view.detail());
  CHECK(view.exit_code() == 5);
  CHECK(view.counts().skipped() == 3);
  CHECK(view.tasks(4).state() == "skipped");
  process.settle();
  Process later(disk);
  CHECK(view_of(later, job).exit_code() == 5);
}

TEST_CASE("A push pauses at its limit, and goes on when it is resumed, also after a restart",
          "[tracker]") {
  Disk disk;
  JobId job;
  {
    Process process(disk);
    publish_base(process);
    enrol_web(process, 3);
    proto::CreateJobRequest request = in_waves("1");
    request.mutable_push()->mutable_rollout()->set_max_fail("0");
    request.mutable_push()->mutable_rollout()->set_on_max_fail("pause");
    job = process.create(request);
    process.report("web1", job, TaskState::failed);
    CHECK(view_of(process, job).rollout_state() == "paused: 1 of 3 failed (--max-fail 0)");
    CHECK(view_of(process, job).paused());
    process.board.on_tick(process.now);
    process.settle();
  }
  Process process(disk);
  for (const char* name : {"web1", "web2", "web3"}) process.online(name);
  CHECK(told(process).empty());
  CHECK(view_of(process, job).paused());
  REQUIRE(resumed(process, job));
  CHECK(told(process) == "web2");
  process.report("web2", job, TaskState::succeeded);
  CHECK(told(process) == "web3");
}

TEST_CASE("An operator's pause is durable when it is answered", "[tracker]") {
  Disk disk;
  JobId job;
  {
    Process process(disk);
    publish_base(process);
    enrol_web(process, 3);
    job = process.create(in_waves("1"));
    REQUIRE(paused(process, job));
    CHECK(view_of(process, job).rollout_state() == "paused by anna");
    process.report("web1", job, TaskState::succeeded);
    CHECK(told(process) == "web1");
    process.board.on_tick(process.now);
    process.settle();
  }
  Process process(disk);
  for (const char* name : {"web1", "web2", "web3"}) process.online(name);
  process.now = process.now + kPatience;
  process.board.on_tick(process.now);
  CHECK(told(process).empty());
  CHECK(view_of(process, job).rollout_state() == "paused by anna");
  REQUIRE(resumed(process, job));
  CHECK(told(process) == "web2");
}

TEST_CASE("A push without waves can be paused, too: who is offline does not begin", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  enrol_web(process, 2);
  process.offline("web2");
  const JobId job = process.create(push_of("images/base", "*"));
  CHECK(told(process) == "web1");
  REQUIRE(paused(process, job));
  process.online("web2");
  CHECK(told(process).empty());
  REQUIRE(resumed(process, job));
  CHECK(told(process) == "web2");
}

TEST_CASE("What cannot be paused or resumed says why", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  enrol_web(process, 2);
  const JobId job = process.create(in_waves("1"));
  CHECK_THAT(resumed(process, job).error().detail, Catch::Contains("not paused: wave 1 of 2"));
  CHECK(paused(process, JobId{99}).error().code == Errc::not_found);
  REQUIRE(process.board.cancel(job, process.now));
  CHECK_THAT(paused(process, job).error().detail, Catch::Contains("over already (cancelled)"));
}

TEST_CASE("After a restart a push goes on in its wave, once agents had time to come back",
          "[tracker]") {
  Disk disk;
  JobId job;
  {
    Process process(disk);
    publish_base(process);
    enrol_web(process, 4);
    job = process.create(in_waves("1,1,2"));
    process.report("web1", job, TaskState::succeeded);
    process.report("web2", job, TaskState::running);
    process.board.on_tick(process.now);
    process.settle();
  }
  Process process(disk);
  process.online("web3");
  process.online("web2");
  CHECK(told(process) == "web2");
  process.report("web2", job, TaskState::succeeded);
  CHECK(told(process).empty());  // web4 may be on its way
  process.now = process.now + kPatience;
  process.board.on_tick(process.now);
  CHECK(told(process) == "web3");
  CHECK(view_of(process, job).wave() == 3);
  process.online("web4");
  CHECK(told(process) == "web4");
}

TEST_CASE("Offline targets fail, are skipped or wait, as the operator wants it", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  enrol_web(process, 3);
  process.offline("web2");
  process.now = process.now + kPatience;
  const auto run = [&](const std::string& offline) {
    proto::CreateJobRequest request = push_of("images/base", "*");
    request.mutable_push()->mutable_rollout()->set_offline(offline);
    const JobId job = process.create(request);
    process.board.on_tick(process.now);
    for (const char* name : {"web1", "web3"}) process.report(name, job, TaskState::succeeded);
    return job;
  };
  const JobId fails = run("fail");
  CHECK(view_of(process, fails).exit_code() == 3);
  CHECK(view_of(process, fails).tasks(1).detail() == "offline when its turn came");
  const JobId skips = run("skip");
  CHECK(view_of(process, skips).exit_code() == 0);
  CHECK(view_of(process, skips).state() == "succeeded");
  const JobId waits = run("queue");
  CHECK_FALSE(process.job(waits).finished());
  (void)told(process);
  process.online("web2");
  CHECK(told(process) == "web2");
}

TEST_CASE("The order of turns: by name, spread over racks, or drawn", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  for (int i = 1; i <= 9; ++i) {
    const std::string name = "n" + std::to_string(i);
    process.enrol(name, {{"rack", i <= 5 ? "r1" : "r2"}});
    process.online(name);
  }
  const auto order = [&](const std::string& how) {
    proto::CreateJobRequest request = in_waves("1");
    request.mutable_push()->mutable_rollout()->set_order(how);
    const BoardJob job = must(process.board.dry_run(request, process.now));
    std::string names;
    for (const TaskStatus& task : job.targets->tasks())
      names += process.registry.name_of(task.node);
    return names;
  };
  CHECK(order("") == "n1n2n3n4n5n6n7n8n9");
  CHECK(order("name") == order(""));
  CHECK(order("rack-spread") == "n1n6n2n7n3n8n4n9n5");
  std::set<std::string> drawn;
  for (int i = 0; i < 10; ++i) drawn.insert(order("random"));
  CHECK(drawn.size() > 1);
}

TEST_CASE("A dry run shows targets and waves, and makes nothing", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  enrol_web(process, 3);
  const BoardJob job = must(process.board.dry_run(in_waves("1,2"), process.now));
  const proto::Job view =
      job_view(job, process.board, process.registry, process.catalogue, WithTasks::yes);
  CHECK(view.id().empty());
  CHECK(view.waves() == 2);
  CHECK(view.tasks(0).wave() == 1);
  CHECK(view.tasks(2).wave() == 2);
  CHECK(process.board.newest_first().empty());
  CHECK(told(process).empty());
  process.settle();
  CHECK(disk.store.keys("job/").empty());
  CHECK(process.create(in_waves("1")).number == 1);
}

TEST_CASE("What is wrong with a rollout is said before anything begins", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  enrol_web(process, 1);
  const auto why = [&](const std::function<void(proto::Rollout&)>& set) {
    proto::CreateJobRequest request = push_of("images/base", "*");
    set(*request.mutable_push()->mutable_rollout());
    return process.refusal(request).detail;
  };
  CHECK_THAT(why([](auto& r) { r.set_waves("1,x"); }), Catch::Contains("--wave \"1,x\""));
  CHECK_THAT(why([](auto& r) { r.set_max_fail("200%"); }), Catch::Contains("--max-fail"));
  CHECK_THAT(why([](auto& r) { r.set_order("size"); }), Catch::Contains("--order \"size\""));
  CHECK_THAT(why([](auto& r) { r.set_offline("ask"); }), Catch::Contains("--offline \"ask\""));
  CHECK_THAT(why([](auto& r) { r.set_ttl_seconds(1ull << 40); }), Catch::Contains("30 days"));
  CHECK_THAT(why([](auto& r) {
               r.set_waves("1");
               r.set_pause_between_ms(~0ull);
             }),
             Catch::Contains("--pause-between"));
}

TEST_CASE("A pause between waves is waited for", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  enrol_web(process, 2);
  proto::CreateJobRequest request = in_waves("1");
  request.mutable_push()->mutable_rollout()->set_pause_between_ms(30'000);
  const JobId job = process.create(request);
  process.report("web1", job, TaskState::succeeded);
  (void)told(process);
  process.now = process.now + std::chrono::seconds(29);
  process.board.on_tick(process.now);
  CHECK(told(process).empty());
  process.now = process.now + std::chrono::seconds(1);
  process.board.on_tick(process.now);
  CHECK(told(process) == "web2");
}

TEST_CASE("A retry pushes the same content to those that have it not", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  enrol_web(process, 5);
  proto::CreateJobRequest request = in_waves("4");
  request.mutable_push()->mutable_rollout()->set_max_fail("0");
  const JobId job = process.create(request);
  process.report("web1", job, TaskState::failed);
  CHECK_THAT(retried(process, job).error().detail, Catch::Contains("not over yet"));
  process.report("web2", job, TaskState::cancelled);
  for (const char* name : {"web3", "web4"}) process.report(name, job, TaskState::succeeded);
  (void)told(process);

  const JobId again = must(retried(process, job));
  const proto::Job view = view_of(process, again);
  CHECK(view.targets_folded() == "web[1-2,5]");
  CHECK(view.push().targets() == "web[1-2,5]");
  CHECK(view.push().source() == "images/base@1");
  CHECK(view.push().path() == "/srv/base.img");
  CHECK(view.push().rollout().waves() == "4");
  CHECK(told(process) == "web1 web2 web5");

  const JobId failed = must(retried(process, job, {"failed", "lost"}));
  CHECK(told(process) == "web1");
  CHECK(view_of(process, failed).targets_folded() == "web1");
  CHECK_THAT(retried(process, job, {"expired"}).error().detail,
             Catch::Contains("no target of j1 to try again: 2 succeeded, 1 failed, 1 cancelled, 1 "
                             "skipped"));
  CHECK_THAT(retried(process, job, {"sad"}).error().detail, Catch::Contains("--only \"sad\""));
}

}  // namespace p2p
