// Rules of one exec job for nodes that come late, come back, or say nothing.
#include "tests/core/runs/exec_course.h"

namespace p2p {
namespace {

using namespace exec_course;
using Runs = std::vector<std::size_t>;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration kTick = std::chrono::milliseconds(250);

ExecRules patient(ExecRules rules) {
  rules.patient_until = kStart + seconds(45);
  return rules;
}
ExecRules waves_of_one(Offline offline) {
  ExecRules rules = offline_is(offline);
  rules.rollout.waves = {TargetShare{1, false}};
  return rules;
}

// ---- turns after a start of the tracker ------------------------------------------------------

TEST_CASE(
    "while agents are on their way back, turns of a window wait for the one whose turn it is") {
  Course course(4, patient(window_of(1)));
  course.carry_out();
  for (unsigned i : {1u, 2u, 3u}) course.online(i);
  course.pass(seconds(10));
  CHECK(course.take_offered().empty());
  course.online(0);
  CHECK(course.take_offered() == Runs{0});
  course.report(0, exited, 0);
  CHECK(course.take_offered() == Runs{1});
}

TEST_CASE("while agents are on their way back, a wave waits for all of it") {
  Course course(3, patient(waves_of_one(Offline::fail)));
  course.carry_out();
  course.online(1);
  course.online(2);
  course.pass(seconds(44));
  CHECK(course.take_offered().empty());
  course.pass(seconds(1));
  CHECK(course.state(0) == expired);
  CHECK(course.take_offered() == Runs{1});
}

TEST_CASE("a job without waves and window waits for nobody after a start") {
  Course course(2, patient(ExecRules{}));
  course.carry_out();
  course.online(1);
  CHECK(course.take_offered() == Runs{1});
  course.online(0);
  CHECK(course.take_offered() == Runs{0});
}

TEST_CASE("after a start nobody waits for a node that was here since and has gone") {
  ExecRules rules;
  rules.offline = Offline::fail;
  Course course(2, patient(rules));
  course.job->on_node_seen(node(1));
  course.carry_out();
  CHECK(course.job->runs()[0].state == queued);
  CHECK(course.job->runs()[1].state == expired);
}

TEST_CASE("targets that come back late share the window") {
  ExecRules rules = window_of(1);
  rules.offline = Offline::queue;
  Course course(3, rules);
  course.carry_out();  // all are awaited
  course.online(1);
  course.online(0);
  course.online(2);
  CHECK(course.take_offered() == Runs{1});
  course.report(1, exited, 0);
  CHECK(course.take_offered() == Runs{0});
  course.offline(2);
  course.report(0, exited, 0);
  CHECK(course.take_offered().empty());
  course.online(2);
  CHECK(course.take_offered() == Runs{2});
}

TEST_CASE("a wave waits for a target that is just saying what it knows, but not for ever") {
  Course course(2, waves_of_one(Offline::queue));
  course.job->on_node_coming(node(0), course.now);
  course.job->on_node_online(node(1), course.now);
  course.carry_out();
  CHECK(course.take_offered().empty());
  // It comes and goes, and never says what it knows.
  for (int i = 0; i < 3; ++i) {
    course.pass(seconds(10));
    course.offline(0);
    course.job->on_node_coming(node(0), course.now);
    course.carry_out();
  }
  course.pass(kTick);
  CHECK(course.take_offered() == Runs{1});
}

TEST_CASE("targets of one wave have their turn together, also when one of them fails at once") {
  ExecRules rules = at_most_one_fails(RolloutRules::OnMaxFail::stop);
  rules.rollout.window = 0;
  Course course(4, rules);
  course.job->on_node_online(node(3), course.now);
  course.carry_out();
  CHECK(course.take_offered() == Runs{3});
  CHECK(course.job->rollout().stopped());
}

// ---- when a run is lost ----------------------------------------------------------------------

TEST_CASE("a short ttl is for targets that are awaited, not for runs that have begun") {
  ExecRules rules = offline_is(Offline::queue);
  rules.ttl = seconds(5);
  Course course(3, rules);
  course.job->on_node_online(node(0), course.now);
  course.job->on_node_online(node(1), course.now);
  course.carry_out();
  course.report(0, running);
  course.offline(0);
  course.offline(1);
  course.pass(seconds(5));
  CHECK(course.state(2) == expired);
  course.pass(minutes(9));
  CHECK(course.state(0) == running);
  CHECK(course.state(1) == offered);
  course.pass(minutes(1));
  CHECK(course.state(0) == lost);
  CHECK(course.state(1) == lost);
}

TEST_CASE("the time of a run whose node is away begins when agents had time to come back") {
  Course course(1);
  course.all_online(1);
  course.carry_out();
  course.report(0, running);
  course.rules = patient(course.rules);
  course.restart();
  course.pass(minutes(10) + seconds(44));
  CHECK(course.state(0) == running);
  course.pass(seconds(1));
  CHECK(course.state(0) == lost);
}

TEST_CASE("a node that connects and never says what it knows counts as away") {
  Course course(2, window_of(1));
  course.all_online(1);
  course.carry_out();
  course.offline(0);
  course.job->on_node_coming(node(0), course.now);
  course.pass(seconds(29));
  course.pass(seconds(1));
  CHECK(course.state(0) == offered);
  course.pass(minutes(10));
  CHECK(course.state(0) == lost);

  Course first(1);
  first.job->on_node_coming(node(0), first.now);
  first.carry_out();
  first.pass(seconds(29));
  CHECK(first.state(0) == queued);
  first.pass(seconds(1));
  first.pass(kTick);
  CHECK(first.state(0) == expired);
}

TEST_CASE("an offer that a connected node never answers is lost") {
  Course course(1);
  course.all_online(1);
  course.carry_out();
  course.pass(minutes(9));
  course.offline(0);
  course.online(0);  // and is asked again
  course.pass(minutes(9));
  CHECK(course.state(0) == offered);
  course.pass(minutes(1));
  CHECK(course.state(0) == lost);
  CHECK(course.text(0).find("never answered") != std::string::npos);
}

// ---- what can no more be done ----------------------------------------------------------------

TEST_CASE("after a restart, a cancelled job offers nothing to a target that was awaited") {
  Course course(1, offline_is(Offline::queue));
  course.carry_out();
  course.job = ExecJob(course.job->runs(), course.rules, {}, /*cancelled=*/true, course.now);
  course.online(0);
  CHECK(course.take_offered().empty());
}

TEST_CASE("without the order what waits is not delivered, and what has begun is heard of") {
  Course course(4, window_of(3));
  course.all_online(4);
  course.carry_out();
  course.report(0, running);
  course.report(1, accepted);
  course.take_offered();
  course.job->on_impossible("the order is gone", course.now);
  course.carry_out();
  CHECK(course.state(3) == undeliverable);
  CHECK(course.text(3) == "the order is gone");
  course.offline(2);
  course.online(2);
  CHECK(course.take_offered().empty());
  course.report(0, exited, 0);
  course.report(1, exited, 0);
  course.report(2, exited, 0);
  CHECK(course.finished);
  CHECK(course.job->exit_code() == ExitCode::some_not_reached);
}

}  // namespace
}  // namespace p2p
