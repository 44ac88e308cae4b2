// Rules of one exec job at the tracker: every test is one of them.
#include "tests/core/runs/exec_course.h"

namespace p2p {
namespace {

using namespace exec_course;

TEST_CASE("targets that are online are offered their run, and the job ends when all have ended") {
  Course course(2);
  course.all_online(2);
  course.carry_out();
  CHECK(course.take_offered() == std::vector<std::size_t>{0, 1});
  CHECK_FALSE(course.again);
  course.report(0, accepted);
  course.report(0, running);
  course.report(0, exited, 0);
  CHECK_FALSE(course.finished);
  course.report(1, exited, 0);
  CHECK(course.finished);
  CHECK(course.job->exit_code() == ExitCode::ok);
}

TEST_CASE("offline targets expire at once unless the job says otherwise") {
  Course course(2);
  course.job->on_node_online(node(1), course.now);
  course.carry_out();
  CHECK(course.state(0) == expired);
  CHECK(course.text(0) == "offline");
  CHECK(course.take_offered() == std::vector<std::size_t>{1});
  course.report(1, exited, 0);
  CHECK(course.job->exit_code() == ExitCode::some_not_reached);
}

TEST_CASE("after a start of the tracker, agents have some time to come back") {
  ExecRules rules;
  rules.patient_until = kStart + std::chrono::seconds(15);
  Course course(2, rules);
  course.carry_out();
  CHECK(course.state(0) == queued);
  course.pass(std::chrono::seconds(14));
  course.online(0);
  CHECK(course.take_offered() == std::vector<std::size_t>{0});
  CHECK(course.state(1) == queued);
  course.pass(std::chrono::seconds(1));
  CHECK(course.state(1) == expired);
}

TEST_CASE("a target that is just saying what it knows is waited for") {
  Course course(1);
  course.job->on_node_coming(node(0), course.now);
  course.carry_out();
  CHECK(course.state(0) == queued);
  course.online(0);
  CHECK(course.take_offered() == std::vector<std::size_t>{0});

  Course gone(1);
  gone.job->on_node_coming(node(0), gone.now);
  gone.carry_out();
  gone.offline(0);
  gone.pass(std::chrono::milliseconds(250));
  CHECK(gone.state(0) == expired);
}

TEST_CASE("with offline=skip a target that is away is left out, and that is no failure") {
  Course course(1, offline_is(Offline::skip));
  course.carry_out();
  CHECK(course.state(0) == skipped);
  CHECK(course.finished);
  CHECK(course.job->exit_code() == ExitCode::ok);
}

TEST_CASE("with offline=queue a target has its whole ttl from its turn on") {
  Course course(2, offline_is(Offline::queue));
  course.carry_out();
  course.pass(std::chrono::minutes(9));
  CHECK(course.state(0) == queued);
  course.online(0);
  CHECK(course.take_offered() == std::vector<std::size_t>{0});
  course.pass(std::chrono::minutes(1));
  CHECK(course.state(0) == offered);
  CHECK(course.state(1) == expired);
}

TEST_CASE("the ttl of a queued target goes on over a restart of the tracker") {
  Course course(1, offline_is(Offline::queue));
  course.carry_out();
  course.pass(std::chrono::minutes(9));
  course.restart();
  course.pass(std::chrono::minutes(1));
  CHECK(course.state(0) == expired);
}

TEST_CASE("a run that was never offered expires, one that was offered is lost") {
  Course course(1);
  course.all_online(1);
  course.carry_out();
  course.offline(0);
  course.pass(std::chrono::minutes(9));
  CHECK(course.state(0) == offered);
  course.pass(std::chrono::minutes(1));
  CHECK(course.state(0) == lost);
  CHECK(course.text(0).find("may have run") != std::string::npos);
  CHECK(course.job->exit_code() == ExitCode::some_failed);
}

TEST_CASE("a run goes on while its node is away, until the ttl") {
  Course course(1);
  course.all_online(1);
  course.carry_out();
  course.report(0, running);
  course.offline(0);
  course.pass(std::chrono::minutes(9));
  CHECK(course.state(0) == running);
  course.online(0);
  course.pass(std::chrono::minutes(9));
  course.offline(0);
  course.pass(std::chrono::minutes(9));
  CHECK(course.state(0) == running);  // counted from the last time that it went
  course.pass(std::chrono::minutes(1));
  CHECK(course.state(0) == lost);
}

TEST_CASE("a node that comes back and says nothing of its run is asked") {
  Course course(2);
  course.all_online(2);
  course.carry_out();
  course.take_offered();
  course.report(1, accepted);
  course.offline(0);
  course.offline(1);
  course.online(0);
  CHECK(course.take_offered() == std::vector<std::size_t>{0});
  CHECK_FALSE(course.again);
  course.online(1);
  CHECK(course.take_offered() == std::vector<std::size_t>{1});
  CHECK(course.again);
}

TEST_CASE("a node that comes back and has said what became of its run is not asked") {
  Course course(1);
  course.all_online(1);
  course.carry_out();
  course.take_offered();
  course.offline(0);
  course.job->on_node_coming(node(0), course.now);
  course.report(0, running);
  course.online(0);
  CHECK(course.take_offered().empty());
  CHECK(course.state(0) == running);
}

TEST_CASE("what a node says twice changes nothing, and a final state never changes") {
  Course course(1);
  course.all_online(1);
  course.carry_out();
  course.report(0, exited, 3);
  const auto changes = course.job->changes();
  course.report(0, exited, 0);
  course.report(0, running);
  course.report(0, lost);
  CHECK(course.job->changes() == changes);
  CHECK(course.job->runs()[0].facts.code == 3);
}

TEST_CASE("a node cannot say what only the tracker may, nor speak of what it was not offered") {
  Course course(2, window_of(1));
  course.all_online(2);
  course.carry_out();
  course.report(0, expired);
  course.report(0, skipped);
  course.report(0, undeliverable);
  course.report(0, queued);
  CHECK(course.state(0) == offered);
  course.report(1, exited, 0);
  CHECK(course.state(1) == queued);
}

TEST_CASE("a removed node's run is undeliverable, or lost once it was offered") {
  Course course(2, window_of(1));
  course.all_online(2);
  course.carry_out();
  course.job->on_node_removed(node(1), course.now);
  CHECK(course.state(1) == undeliverable);
  course.job->on_node_removed(node(0), course.now);
  CHECK(course.state(0) == lost);
  course.carry_out();
  CHECK(course.finished);
  CHECK(course.job->exit_code() == ExitCode::some_failed);
}

TEST_CASE("a cancel ends what waits at once, and what runs when its node says so") {
  Course course(3, window_of(2));
  course.all_online(3);
  course.carry_out();
  course.report(0, running);
  course.job->on_cancel(course.now);
  course.carry_out();
  CHECK(course.cancelled == std::vector<std::size_t>{0, 1});
  CHECK(course.state(0) == running);
  CHECK(course.state(1) == offered);
  CHECK(course.state(2) == cancelled);
  course.report(0, cancelled);
  CHECK(course.state(0) == cancelled);
  // Its command had ended before the cancel came.
  course.report(1, exited, 0);
  CHECK(course.state(1) == exited);
  CHECK(course.finished);
  CHECK(course.job->exit_code() == ExitCode::stopped);
}

TEST_CASE("a cancel reaches a node that was away when it comes back, whatever it says first") {
  Course course(2);
  course.all_online(2);
  course.carry_out();
  course.take_offered();
  course.report(0, running);
  course.offline(0);
  course.offline(1);
  course.job->on_cancel(course.now);
  course.carry_out();
  CHECK(course.state(0) == running);
  course.cancelled.clear();
  course.restart();  // also of another process of the tracker
  course.report(0, running);
  course.online(0);
  course.online(1);
  CHECK(course.cancelled == std::vector<std::size_t>{0, 1});
  CHECK(course.take_offered().empty());
}

TEST_CASE("a cancelled run whose node stays away is lost and never called cancelled") {
  Course course(1);
  course.all_online(1);
  course.carry_out();
  course.report(0, running);
  course.offline(0);
  course.job->on_cancel(course.now);
  course.pass(std::chrono::minutes(10));
  CHECK(course.state(0) == lost);
  CHECK(course.finished);
  CHECK(course.job->exit_code() == ExitCode::stopped);
}

TEST_CASE("too many failures: what waits is left out, what runs ends by itself") {
  ExecRules rules = at_most_one_fails(RolloutRules::OnMaxFail::stop);
  rules.rollout.window = 3;
  Course course(5, rules);
  course.all_online(5);
  course.carry_out();
  CHECK(course.take_offered() == std::vector<std::size_t>{0, 1, 2});
  course.report(0, exited, 1);
  CHECK(course.take_offered() == std::vector<std::size_t>{3});
  course.report(1, rejected);
  CHECK(course.take_offered().empty());
  CHECK(course.state(4) == skipped);
  CHECK(course.text(4).find("2 of 5 failed") != std::string::npos);
  CHECK(course.state(2) == offered);
  course.report(2, exited, 0);
  course.report(3, exited, 0);
  CHECK(course.finished);
  CHECK(course.job->exit_code() == ExitCode::stopped);
}

TEST_CASE("every end but a clean one and being left out counts as a failure") {
  const auto failures_after = [](RunState state, std::optional<int> code) {
    Course course(1);
    course.all_online(1);
    course.carry_out();
    course.report(0, state, code);
    return course.job->rollout().failures();
  };
  CHECK(failures_after(exited, 0) == 0);
  CHECK(failures_after(exited, 1) == 1);
  CHECK(failures_after(exited, std::nullopt) == 1);  // by a signal
  CHECK(failures_after(rejected, {}) == 1);
  CHECK(failures_after(timed_out, {}) == 1);
  CHECK(failures_after(lost, {}) == 1);
  CHECK(failures_after(cancelled, {}) == 0);
}

TEST_CASE("a pause keeps turns back, also of those that come late, until it is lifted") {
  ExecRules rules = at_most_one_fails(RolloutRules::OnMaxFail::pause);
  rules.offline = Offline::queue;
  rules.rollout.window = 2;
  Course course(4, rules);
  course.job->on_node_online(node(0), course.now);
  course.carry_out();  // all but 0 are parked, or wait
  course.job->pause("by alice");
  course.online(1);
  CHECK(course.take_offered() == std::vector<std::size_t>{0});
  course.job->resume(course.now);
  course.carry_out();
  CHECK(course.take_offered() == std::vector<std::size_t>{1});
}

TEST_CASE("a restart of the tracker goes on where it was: nothing is offered a second time") {
  Course course(4, window_of(2));
  course.all_online(4);
  course.carry_out();
  course.report(0, exited, 0);
  course.report(1, running);
  CHECK(course.take_offered() == std::vector<std::size_t>{0, 1, 2});
  course.restart();
  for (unsigned i = 0; i < 4; ++i) course.job->on_node_coming(node(i), course.now);
  course.report(1, running);
  for (unsigned i = 0; i < 4; ++i) course.online(i);
  CHECK(course.take_offered() == std::vector<std::size_t>{2});  // of which its node said nothing
  course.report(1, exited, 0);
  CHECK(course.take_offered() == std::vector<std::size_t>{3});
}

TEST_CASE("the weightiest end of a run is the job's exit code") {
  const auto code_after = [](std::vector<std::pair<RunState, std::optional<int>>> ends) {
    Course course(static_cast<unsigned>(ends.size()));
    course.all_online(static_cast<unsigned>(ends.size()));
    course.carry_out();
    for (std::size_t i = 0; i < ends.size(); ++i) course.report(i, ends[i].first, ends[i].second);
    REQUIRE(course.finished);
    return course.job->exit_code();
  };
  CHECK(code_after({{exited, 0}, {exited, 0}}) == ExitCode::ok);
  CHECK(code_after({{exited, 0}, {exited, 7}}) == ExitCode::some_failed);
  CHECK(code_after({{exited, 0}, {timed_out, {}}}) == ExitCode::timed_out);
  CHECK(code_after({{timed_out, {}}, {rejected, {}}}) == ExitCode::some_failed);
  CHECK(code_after({{lost, {}}}) == ExitCode::some_failed);
  CHECK(code_after({{exited, 1}, {cancelled, {}}}) == ExitCode::stopped);
}

}  // namespace
}  // namespace p2p
