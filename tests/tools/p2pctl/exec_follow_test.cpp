#include "tools/p2pctl/exec_follow.h"

#include <deque>

#include "io/wire/proto_json.h"
#include "tests/support/catch.h"
#include "tests/tools/p2pctl/exec_data.h"

namespace p2p {
namespace {

const Failure kGone{ExitCode::no_tracker, {Errc::unavailable, "connection refused"}, true};

proto::JobEvent event_of(const std::string& state, std::uint64_t next) {
  proto::JobEvent event;
  event.mutable_job()->set_id("j7");
  event.mutable_job()->set_state(state);
  event.mutable_job()->set_finished(state == "succeeded");
  event.set_next(next);
  return event;
}

// What one connection to the tracker brings: events, then an end or a failure.
struct Connection {
  std::vector<proto::JobEvent> events;
  std::optional<Failure> failure;
};

// A tracker that follows a script, and a clock that moves only while somebody waits.
struct ScriptedTracker {
  std::deque<Connection> script;
  std::vector<std::string> targets;
  std::string written;
  std::size_t events = 0;
  std::size_t stop_after_events = 1000;
  Time now;
  ExecRecord record{ExecRecord::Outputs::keep};

  WatchEnd follow() {
    FollowWorld world;
    world.open = [this](const std::string& target,
                        const FollowWorld::OnLine& on_line) -> std::optional<Failure> {
      targets.push_back(target);
      if (script.empty()) return kGone;
      const Connection connection = script.front();
      script.pop_front();
      for (const proto::JobEvent& event : connection.events) {
        if (!on_line(to_json(event))) return std::nullopt;
      }
      return connection.failure;
    };
    world.on_event = [this](const proto::JobEvent&, std::string_view) {
      ++events;
      return true;
    };
    world.on_output = [this](std::size_t, bool, std::uint64_t, std::string_view bytes) {
      written += bytes;
    };
    WatchWorld watch;
    watch.say = [](const std::string&) {};
    watch.wait = [this](Duration duration) { now = now + duration; };
    watch.interrupted = [this] { return events >= stop_after_events; };
    watch.now = [this] { return now; };
    return follow_exec("j7", record, world, watch);
  }
};

TEST_CASE("An exec job is followed until its output is told, too", "[tools][exec_follow]") {
  ScriptedTracker tracker;
  proto::JobEvent first = event_of("running", 0);
  add_run(first, "a1", "running");
  proto::JobEvent finished = event_of("succeeded", 3);
  add_piece(finished, 0, 0, "abc");
  proto::JobEvent late = event_of("succeeded", 6);
  add_piece(late, 0, 3, "def");
  tracker.script = {{{first, finished, late}, {}}};
  const WatchEnd end = tracker.follow();
  REQUIRE(end.kind == WatchEnd::Kind::finished);
  CHECK(end.job.finished());
  CHECK(tracker.written == "abcdef");
  CHECK(tracker.targets == std::vector<std::string>{"/v1/jobs/j7/events"});
}

TEST_CASE("After a lost tracker it goes on behind what was told, and tells nothing twice",
          "[tools][exec_follow]") {
  ScriptedTracker tracker;
  proto::JobEvent first = event_of("running", 3);
  add_run(first, "a1", "running");
  add_piece(first, 0, 0, "abc");
  // A job that is finished with a connection that broke may have more to say.
  proto::JobEvent finished = event_of("succeeded", 6);
  add_piece(finished, 0, 3, "def");
  proto::JobEvent again = event_of("succeeded", 9);
  add_piece(again, 0, 3, "def");
  add_piece(again, 0, 6, "ghi");
  tracker.script = {{{first}, kGone}, {{}, kGone}, {{finished}, kGone}, {{again}, {}}};
  const WatchEnd end = tracker.follow();
  REQUIRE(end.kind == WatchEnd::Kind::finished);
  CHECK(tracker.written == "abcdefghi");
  CHECK(tracker.targets ==
        std::vector<std::string>{"/v1/jobs/j7/events", "/v1/jobs/j7/events?from=3",
                                 "/v1/jobs/j7/events?from=3", "/v1/jobs/j7/events?from=6"});
}

TEST_CASE("A run that has ended stays ended, whatever a new tracker says", "[tools][exec_follow]") {
  ScriptedTracker tracker;
  proto::JobEvent first = event_of("running", 0);
  add_run(first, "a1", "exited", 3);
  proto::JobEvent older = event_of("succeeded", 0);
  add_run(older, "a1", "running");
  tracker.script = {{{first}, kGone}, {{older}, {}}};
  tracker.follow();
  CHECK(tracker.record.runs()[0].return_code() == 3);
}

TEST_CASE("Ctrl-C leaves an exec job running", "[tools][exec_follow]") {
  ScriptedTracker tracker;
  tracker.stop_after_events = 1;
  tracker.script = {{{event_of("running", 0), event_of("succeeded", 0)}, {}}};
  CHECK(tracker.follow().kind == WatchEnd::Kind::detached);
  CHECK(tracker.events == 1);
}

TEST_CASE("A tracker that stays away ends the watch with 7", "[tools][exec_follow]") {
  ScriptedTracker tracker;
  tracker.script = {{{event_of("running", 0)}, kGone}};
  const WatchEnd end = tracker.follow();
  REQUIRE(end.kind == WatchEnd::Kind::failed);
  CHECK(end.failure->exit_code == ExitCode::no_tracker);
  CHECK(end.failure->error.detail.find("p2pctl job watch j7") != std::string::npos);
}

}  // namespace
}  // namespace p2p
