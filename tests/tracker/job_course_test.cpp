// The course of a push: shares of its cap, nodes that come and go, reports, watchers.
#include <algorithm>
#include <map>
#include <vector>

#include "tests/tracker/board_fixture.h"
#include "tracker/job_board.h"

namespace p2p {
namespace {

using test::Disk;
using test::Process;
using test::publish_base;
using test::push_of;
using test::say_holding;

// What each node may use at most, as it was told last.
class Shares {
 public:
  void take(const std::vector<test::FakeAgents::Sent>& messages) {
    for (const auto& [node, message] : messages) {
      if (message.has_push()) told_[node] = message.push().rate_bytes_per_second();
      if (message.has_rate()) told_[node] = message.rate().bytes_per_second();
      highest_ = std::max(highest_, sum());
    }
  }
  std::uint64_t of(NodeId node) const { return told_.at(node); }
  std::uint64_t sum() const {
    std::uint64_t total = 0;
    for (const auto& [node, rate] : told_) total += rate;
    return total;
  }
  // Over all moments between two messages.
  std::uint64_t highest() const { return highest_; }

 private:
  std::map<NodeId, std::uint64_t> told_;
  std::uint64_t highest_ = 0;
};

}  // namespace

TEST_CASE("A cap is shared by those who are under way, and never handed out twice", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  for (const char* name : {"web1", "web2", "web3", "web4"}) process.enrol_online(name);
  process.offline("web4");
  proto::CreateJobRequest request = push_of("images/base", "*");
  request.mutable_push()->set_limit_bytes_per_second(30'000'000);
  const JobId job = process.create(request);
  Shares shares;
  shares.take(process.agents.take());
  for (const char* name : {"web1", "web2", "web3"}) {
    CHECK(shares.of(process.id(name)) == 10'000'000);
  }

  process.online("web4");
  shares.take(process.agents.take());
  CHECK(shares.of(process.id("web1")) == 7'500'000);
  CHECK(shares.of(process.id("web4")) == 7'500'000);
  CHECK(shares.highest() <= 30'000'000);

  process.report("web2", job, TaskState::succeeded);
  const auto grown = process.agents.take();
  CHECK(grown.size() == 3);
  for (const auto& [node, message] : grown) {
    CHECK(message.rate().bytes_per_second() == 10'000'000);
  }
}

TEST_CASE("A node that lost its connection keeps its share for five seconds", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  process.enrol_online("web1");
  process.enrol_online("web2");
  proto::CreateJobRequest request = push_of("images/base", "*");
  request.mutable_push()->set_limit_bytes_per_second(10'000'000);
  process.create(request);
  process.agents.take();
  process.now = wall_now();
  process.offline("web2");
  process.board.on_tick(process.now + std::chrono::milliseconds(4900));
  CHECK(process.agents.sent.empty());
  process.board.on_tick(process.now + std::chrono::milliseconds(5100));
  REQUIRE(process.agents.sent.size() == 1);
  CHECK(process.sent_to("web1").front().rate().bytes_per_second() == 10'000'000);
}

TEST_CASE("A target that cannot be reached in time expires, and the job ends without it",
          "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  process.enrol_online("web1");
  process.enrol("web2");
  proto::CreateJobRequest request = push_of("images/base", "*");
  request.mutable_push()->set_offline_ttl_seconds(60);
  const JobId job = process.create(request);
  const WallTime begun = wall_now();
  process.report("web1", job, TaskState::succeeded);
  process.board.on_tick(begun + std::chrono::seconds(50));
  CHECK(process.state_of(job, "web2") == TaskState::queued);
  process.board.on_tick(begun + std::chrono::seconds(61));
  CHECK(process.state_of(job, "web2") == TaskState::expired);
  CHECK(process.job(job).record.state() == "failed");
  process.online("web2");
  CHECK(process.sent_to("web2").empty());
}

TEST_CASE("Cancelling withdraws what was offered and ends the job", "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  process.enrol_online("web1");
  process.enrol("web2");
  const JobId job = process.create(push_of("images/base", "*"));
  process.agents.take();
  REQUIRE(process.board.cancel(job, process.now));
  REQUIRE(process.agents.sent.size() == 1);
  CHECK(process.sent_to("web1").front().cancel().job() == job.number);
  CHECK(process.job(job).record.state() == "cancelled");
  CHECK(process.board.cancel(job, process.now).error().code == Errc::invalid_argument);
  CHECK(process.board.cancel(JobId{99}, process.now).error().code == Errc::not_found);
  process.report("web1", job, TaskState::succeeded);
  CHECK(process.state_of(job, "web1") == TaskState::cancelled);
}

TEST_CASE("A node that was away when its task was cancelled is told so when it goes on",
          "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  process.enrol_online("web1");
  const JobId job = process.create(push_of("images/base", "*"));
  process.offline("web1");
  REQUIRE(process.board.cancel(job, process.now));
  process.agents.take();
  process.online("web1");
  CHECK(process.agents.sent.empty());
  process.report("web1", job, TaskState::running);
  REQUIRE(process.sent_to("web1").size() == 1);
  CHECK(process.sent_to("web1").front().cancel().job() == job.number);
  process.agents.take();
  process.report("web1", job, TaskState::cancelled);
  CHECK(process.agents.sent.empty());
}

TEST_CASE("A report changes the task of its own node only, and nothing once that is over",
          "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  for (const char* name : {"web1", "web2", "web3"}) process.enrol_online(name);
  const JobId job = process.create(push_of("images/base", "web[1-2]"));
  process.report("web3", job, TaskState::failed);
  process.report("web1", JobId{99}, TaskState::failed);
  CHECK(process.state_of(job, "web1") == TaskState::offered);
  process.report("web1", job, TaskState::failed, "disk full");
  process.report("web1", job, TaskState::succeeded);
  CHECK(process.state_of(job, "web1") == TaskState::failed);
  CHECK(process.state_of(job, "web2") == TaskState::offered);
  CHECK_FALSE(process.job(job).finished());
}

TEST_CASE("Watchers are told of a job's end at once, and may stop watching while they are told",
          "[tracker]") {
  Disk disk;
  Process process(disk);
  publish_base(process);
  process.enrol_online("web1");
  const JobId job = process.create(push_of("images/base", "*"));
  int once = 0;
  std::vector<bool> ends;
  std::uint64_t first = 0;
  first = process.board.watch(job, [&](const BoardJob&) {
    ++once;
    process.board.unwatch(first);
  });
  process.board.watch(job, [&](const BoardJob& told) { ends.push_back(told.finished()); });
  process.report("web1", job, TaskState::running);
  CHECK(ends.empty());
  process.board.on_tick(process.now);
  CHECK(ends == std::vector<bool>{false});
  process.report("web1", job, TaskState::succeeded);
  CHECK(ends == std::vector<bool>{false, true});
  CHECK(once == 1);
}

TEST_CASE("A seed that appears is made known to those who want its content", "[tracker]") {
  Disk disk;
  Process process(disk);
  const auto manifest = publish_base(process);
  for (const char* name : {"seed", "web1", "web2"}) process.enrol_online(name);
  const JobId job = process.create(push_of("images/base", "web[1-2]"));
  process.report("web2", job, TaskState::succeeded);
  process.agents.take();
  say_holding(process, "seed", manifest.content_id);
  REQUIRE(process.agents.sent.size() == 1);
  const auto messages = process.sent_to("web1");
  REQUIRE(messages.size() == 1);
  REQUIRE(messages.front().peers().peers_size() == 1);
  CHECK(messages.front().peers().peers(0).address() == "seed:7402");
  CHECK(messages.front().peers().peers(0).seed());
}

}  // namespace p2p
