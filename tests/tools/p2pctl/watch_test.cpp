#include "tools/p2pctl/watch.h"

#include <algorithm>
#include <deque>
#include <vector>

#include "tests/support/catch.h"

namespace p2p {
namespace {

const Failure kGone{ExitCode::no_tracker, {Errc::unavailable, "connection refused"}, true};

proto::Job job_in(const std::string& state) {
  proto::Job job;
  job.set_id("j7");
  job.set_state(state);
  job.set_finished(state == "succeeded");
  return job;
}

// What one connection to the tracker brings: states, then an end or a failure.
struct Connection {
  std::vector<proto::Job> jobs;
  std::optional<Failure> failure;
};

// A tracker that follows a script, and a clock that moves only while somebody waits. After the end
// of the script the tracker is gone.
struct ScriptedWorld {
  std::deque<Connection> script;
  std::vector<std::string> said;
  std::vector<Duration> waits;
  std::size_t shown = 0;
  std::size_t interrupt_after_waits = 1000;
  bool interrupt_on_show = false;
  Time now;

  bool interrupted() const {
    return waits.size() >= interrupt_after_waits || (interrupt_on_show && shown > 0);
  }

  WatchEnd watch(WatchedJob kind) {
    WatchWorld world;
    world.stream = [this](const WatchWorld::OnJob& go_on) -> std::optional<Failure> {
      if (script.empty()) return kGone;
      const Connection connection = script.front();
      script.pop_front();
      for (const proto::Job& job : connection.jobs) {
        if (!go_on(job)) return std::nullopt;
      }
      return connection.failure;
    };
    world.show = [this](const proto::Job&) { ++shown; };
    world.say = [this](const std::string& line) { said.push_back(line); };
    world.wait = [this](Duration duration) {
      waits.push_back(duration);
      now = now + duration;
    };
    world.interrupted = [this] { return interrupted(); };
    world.now = [this] { return now; };
    return watch_job("j7", kind, world);
  }
};

TEST_CASE("A watch ends with the job", "[tools][watch]") {
  ScriptedWorld world;
  world.script = {{{job_in("running"), job_in("succeeded")}, {}}};
  const WatchEnd end = world.watch(WatchedJob::asked_for);
  CHECK(end.kind == WatchEnd::Kind::finished);
  CHECK(end.job.state() == "succeeded");
  CHECK(world.shown == 2);
  CHECK(world.said.empty());
}

TEST_CASE("A watch that finds no tracker at first fails at once with 7", "[tools][watch]") {
  ScriptedWorld world;
  const WatchEnd end = world.watch(WatchedJob::asked_for);
  REQUIRE(end.kind == WatchEnd::Kind::failed);
  CHECK(end.failure->exit_code == ExitCode::no_tracker);
  CHECK(world.waits.empty());
}

TEST_CASE("A watch comes back after the tracker was away, and says so once", "[tools][watch]") {
  ScriptedWorld world;
  world.script = {
      {{job_in("running")}, kGone}, {{}, kGone}, {{}, kGone}, {{job_in("succeeded")}, {}}};
  const WatchEnd end = world.watch(WatchedJob::asked_for);
  CHECK(end.kind == WatchEnd::Kind::finished);
  CHECK(world.said.size() == 1);
  CHECK(world.waits.size() == 3);
}

TEST_CASE("A stream that ends before the job does is a tracker that went away", "[tools][watch]") {
  ScriptedWorld world;
  world.script = {{{job_in("running")}, {}}, {{job_in("succeeded")}, {}}};
  const WatchEnd end = world.watch(WatchedJob::known);
  CHECK(end.kind == WatchEnd::Kind::finished);
  CHECK(world.said.size() == 1);
}

TEST_CASE("After 60 s without a tracker a watch exits with 7 and says how to watch again",
          "[tools][watch]") {
  ScriptedWorld world;
  const WatchEnd end = world.watch(WatchedJob::known);
  REQUIRE(end.kind == WatchEnd::Kind::failed);
  CHECK(end.failure->exit_code == ExitCode::no_tracker);
  CHECK(end.failure->error.detail.find("p2pctl job watch j7") != std::string::npos);
  CHECK(world.now.since_start == kWatchPatience);
  CHECK(world.waits.front() == kFirstRetryWait);
  CHECK(world.waits[1] == kFirstRetryWait * 2);
  CHECK(*std::max_element(world.waits.begin(), world.waits.end()) == kLongestRetryWait);
}

TEST_CASE("A refusal ends a watch without another attempt", "[tools][watch]") {
  ScriptedWorld world;
  const Failure denied{ExitCode::not_authorised, {Errc::denied, "removed"}, false};
  world.script = {{{job_in("running")}, denied}, {{job_in("succeeded")}, {}}};
  const WatchEnd end = world.watch(WatchedJob::known);
  REQUIRE(end.kind == WatchEnd::Kind::failed);
  CHECK(end.failure->exit_code == ExitCode::not_authorised);
}

TEST_CASE("Ctrl-C detaches, from a running stream and from waiting", "[tools][watch]") {
  ScriptedWorld streaming;
  streaming.script = {{{job_in("running"), job_in("succeeded")}, {}}};
  streaming.interrupt_on_show = true;
  CHECK(streaming.watch(WatchedJob::known).kind == WatchEnd::Kind::detached);
  CHECK(streaming.shown == 1);

  ScriptedWorld waiting;
  waiting.interrupt_after_waits = 2;
  CHECK(waiting.watch(WatchedJob::known).kind == WatchEnd::Kind::detached);
  CHECK(waiting.waits.size() == 2);
}

TEST_CASE("Detaching tells how to watch again and how to stop the job", "[tools][watch]") {
  CHECK(detached_text("j7") ==
        "detached: job j7 goes on; watch it again with: p2pctl job watch j7  (stop it with: p2pctl "
        "job cancel j7)");
}

}  // namespace
}  // namespace p2p
