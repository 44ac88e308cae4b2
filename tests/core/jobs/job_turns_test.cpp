// A job whose targets get their turns in waves.
#include <algorithm>
#include <map>

#include "core/base/rng.h"
#include "core/jobs/job.h"
#include "core/jobs/outcome.h"
#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using enum TaskState;
using std::chrono::minutes;
using std::chrono::seconds;
using test::name_of;
using test::node;

JobRules waves(const std::string& sizes, const std::string& max_fail = "") {
  RolloutTexts texts;
  texts.waves = sizes;
  texts.max_fail = max_fail;
  JobRules rules;
  rules.rollout = *parse_rollout(texts);
  return rules;
}

JobRules with(JobRules rules, JobRules::Offline offline) {
  rules.offline = offline;
  return rules;
}

// A job for nodes named by letters, in the order of their turns.
class Turns {
 public:
  Turns(const std::string& nodes, const JobRules& rules_value)
      : rules(rules_value), job(tasks_of(nodes), rules, now) {}

  // Letters that were offered their task since the last call.
  std::string offered_to() {
    look();
    return std::exchange(offered_, {});
  }
  std::string withdrawn() {
    look();
    return std::exchange(withdrawn_, {});
  }
  void online(const std::string& names) {
    for (const char name : names) job.on_node_online(node(name), now);
  }
  void offline(const std::string& names) {
    for (const char name : names) job.on_node_offline(node(name), now);
    look();
  }
  void report(const std::string& names, TaskState state) {
    TaskReport report;
    report.state = state;
    for (const char name : names) job.on_report(node(name), report, now);
    look();
  }
  void passes(Duration time) {
    now = now + time;
    job.on_tick(now);
    look();
  }
  // The tracker ends and starts again: nobody is online.
  void restart() { job = Job(job.tasks(), rules, now, job.rollout().memory()); }
  TaskState state(char name) const { return task(name).state; }
  const TaskStatus& task(char name) const { return job.tasks()[*job.index_of(node(name))]; }

  WallTime now{std::chrono::hours(500'000)};
  JobRules rules;
  Job job;
  int finished = 0;

 private:
  static std::vector<TaskStatus> tasks_of(const std::string& nodes) {
    std::vector<TaskStatus> tasks(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) tasks[i].node = node(nodes[i]);
    return tasks;
  }
  void look() {
    for (const Job::Effect& effect : job.take_effects()) {
      if (const auto* offer = std::get_if<Job::Offer>(&effect)) offered_ += name_of(offer->node);
      if (const auto* withdraw = std::get_if<Job::Withdraw>(&effect)) {
        withdrawn_ += name_of(withdraw->node);
      }
      if (std::holds_alternative<Job::Finished>(effect)) ++finished;
    }
  }

  std::string offered_, withdrawn_;
};

TEST_CASE("A target is offered its task only when its turn has come", "[core][job][turns]") {
  Turns test("abcde", waves("1,2"));
  test.online("abcde");
  CHECK(test.offered_to() == "a");
  CHECK(test.state('b') == queued);
  test.report("a", running);
  test.passes(minutes(60));
  CHECK(test.offered_to().empty());
  test.report("a", succeeded);
  CHECK(test.offered_to() == "bc");
  test.report("bc", succeeded);
  CHECK(test.offered_to() == "de");
  test.report("de", succeeded);
  CHECK(test.finished == 1);
}

TEST_CASE("Who waits for its turn has all the time, also when it is offline",
          "[core][job][turns]") {
  Turns test("ab", waves("1"));
  test.online("a");
  CHECK(test.offered_to() == "a");
  test.passes(minutes(60));
  CHECK(test.state('b') == queued);
  test.report("a", succeeded);
  CHECK(test.job.next_deadline() == test.now + minutes(10));
  test.passes(minutes(10));
  CHECK(test.state('b') == expired);
}

TEST_CASE("A target that is offline when its turn comes holds nobody up, and begins when it comes",
          "[core][job][turns]") {
  Turns test("abc", waves("1"));
  test.online("bc");
  CHECK(test.offered_to() == "b");
  test.online("a");
  CHECK(test.offered_to() == "a");
  test.report("b", succeeded);
  CHECK(test.offered_to() == "c");  // a is of an earlier wave
}

TEST_CASE("One that has begun and went away holds its wave until it is given up",
          "[core][job][turns]") {
  Turns test("ab", waves("1"));
  test.online("ab");
  CHECK(test.offered_to() == "a");
  test.report("a", running);
  test.offline("a");
  test.passes(minutes(9));
  CHECK(test.offered_to().empty());
  test.passes(minutes(1));
  CHECK(test.state('a') == expired);
  CHECK(test.offered_to() == "b");
}

TEST_CASE("Offline targets may fail at once, or be left out", "[core][job][turns]") {
  Turns fails("abc", with(waves("2"), JobRules::Offline::fail));
  fails.online("ac");
  CHECK(fails.offered_to() == "a");
  CHECK(fails.state('b') == expired);
  CHECK(fails.task('b').detail == "offline when its turn came");
  Turns skips("abc", with(waves("2"), JobRules::Offline::skip));
  skips.online("ac");
  CHECK(skips.offered_to() == "a");
  CHECK(skips.state('b') == skipped);
  skips.report("a", succeeded);
  CHECK(skips.offered_to() == "c");
  skips.report("c", succeeded);
  CHECK(skips.finished == 1);
  CHECK(exit_code_of(skips.job.counts(), false, false, false) == 0);
}

TEST_CASE("Who is offline counts as a failure unless it is left out", "[core][job][turns]") {
  Turns fails("abcd", with(waves("2", "1"), JobRules::Offline::fail));
  CHECK(fails.offered_to().empty());
  CHECK(fails.job.rollout().stopped());
  CHECK(fails.state('d') == skipped);
  CHECK(fails.finished == 1);
  Turns skips("abcd", with(waves("2", "1"), JobRules::Offline::skip));
  CHECK(skips.offered_to().empty());
  CHECK_FALSE(skips.job.rollout().stopped());
  CHECK(skips.finished == 1);
}

TEST_CASE("Too many failures: what waits is left out, what has begun goes on",
          "[core][job][turns]") {
  Turns test("abcdefgh", waves("4", "1"));
  test.online("bcdefgh");  // a's turn comes, and it is not reached
  CHECK(test.offered_to() == "bcd");
  test.report("b", failed);
  CHECK(test.state('e') == queued);
  test.report("c", failed);
  for (const char name : std::string("aefgh")) CHECK(test.state(name) == skipped);
  CHECK(test.task('e').detail == "stopped: 2 of 8 failed (--max-fail 1)");
  CHECK(test.withdrawn().empty());
  CHECK(test.state('d') == offered);
  CHECK(test.finished == 0);
  test.report("d", succeeded);
  CHECK(test.finished == 1);
  test.online("a");
  CHECK(test.offered_to().empty());
}

TEST_CASE("A pause lets go on what has begun, and begins nothing", "[core][job][turns]") {
  Turns test("abc", waves("2"));
  test.online("b");
  CHECK(test.offered_to() == "b");
  test.job.pause("by anna");
  test.online("ac");
  test.report("b", succeeded);
  CHECK(test.offered_to().empty());
  test.offline("c");
  test.passes(minutes(60));
  test.online("c");
  CHECK(test.offered_to().empty());
  CHECK(test.finished == 0);
  test.job.resume(test.now);
  CHECK(test.offered_to() == "a");
  test.report("a", succeeded);
  CHECK(test.offered_to() == "c");
}

TEST_CASE("Held, nobody's turn comes", "[core][job][turns]") {
  Turns test("ab", waves("1"));
  test.job.hold();
  test.online("ab");
  test.passes(minutes(60));
  CHECK(test.offered_to().empty());
  CHECK(test.job.next_deadline() == WallTime::max());
  test.job.begin(test.now);
  CHECK(test.offered_to() == "a");
}

TEST_CASE("Cancelled while it waits, a target never hears of its task", "[core][job][turns]") {
  Turns test("abc", waves("1"));
  test.online("abc");
  CHECK(test.offered_to() == "a");
  test.job.on_cancel(test.now);
  CHECK(test.withdrawn() == "a");
  CHECK(test.finished == 1);
  CHECK(test.offered_to().empty());
}

TEST_CASE("What can be had from nobody is no failure of targets", "[core][job][turns]") {
  Turns test("abc", waves("1", "0"));
  test.online("abc");
  test.job.on_impossible("withdrawn", test.now);
  CHECK(test.offered_to().empty());
  CHECK_FALSE(test.job.rollout().stopped());
  for (const char name : std::string("abc")) CHECK(test.state(name) == failed);
}

TEST_CASE("After a restart a job goes on in the wave where it was", "[core][job][turns]") {
  Turns test("abcd", waves("1,1,2"));
  test.online("abcd");
  CHECK(test.offered_to() == "a");
  test.report("a", succeeded);
  CHECK(test.offered_to() == "b");
  test.report("b", running);
  test.restart();
  test.online("cd");
  CHECK(test.offered_to().empty());
  test.online("b");
  CHECK(test.offered_to() == "b");
  test.report("b", succeeded);
  CHECK(test.offered_to() == "cd");
}

TEST_CASE("After a restart turns wait until agents had time to come back", "[core][job][turns]") {
  for (const bool all_come : {true, false}) {
    JobRules rules = with(waves("2"), JobRules::Offline::fail);
    Turns test("abcd", rules);
    test.rules.patient_until = test.now + seconds(20);
    test.restart();
    test.online("abc");
    test.passes(seconds(19));
    CHECK(test.offered_to().empty());
    CHECK(test.state('d') == queued);
    CHECK(test.job.next_deadline() == test.now + seconds(1));
    if (all_come) {
      test.online("d");
      CHECK(test.offered_to() == "ab");
    } else {
      test.passes(seconds(1));
      CHECK(test.offered_to() == "ab");
      test.report("ab", succeeded);
      CHECK(test.offered_to() == "c");
      CHECK(test.state('d') == expired);
    }
  }
  Turns plain("ab", JobRules{});
  plain.rules.patient_until = plain.now + seconds(20);
  plain.restart();
  plain.online("a");
  CHECK(plain.offered_to() == "a");  // nothing depends on who else is there
}

TEST_CASE("A report of a target that was told before the tracker forgot it counts",
          "[core][job][turns]") {
  Turns test("abc", waves("1"));
  test.online("abc");
  CHECK(test.offered_to() == "a");
  test.report("b", running);
  test.report("a", succeeded);
  test.report("b", succeeded);
  CHECK(test.offered_to() == "c");
}

TEST_CASE("The cap is shared by those whose turn has come", "[core][job][turns]") {
  JobRules rules = waves("2");
  rules.bytes_per_second = 100;
  Turns test("abcd", rules);
  test.online("abcd");
  std::map<char, std::uint64_t> told;
  for (const Job::Effect& effect : test.job.take_effects()) {
    const auto& offer = std::get<Job::Offer>(effect);
    told[name_of(offer.node)] = offer.bytes_per_second;
  }
  CHECK(told == std::map<char, std::uint64_t>{{'a', 50}, {'b', 50}});
}

TEST_CASE("Whatever nodes do, every job in waves comes to its end, wave after wave",
          "[core][job][turns]") {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    INFO("seed " << seed);
    Rng rng(seed);
    const std::string names = "abcdefghij";
    JobRules rules = waves(rng.chance(1, 2) ? "1,20%,50%" : "3", rng.chance(1, 3) ? "30%" : "");
    rules.offline = static_cast<JobRules::Offline>(rng.below(3));
    if (rng.chance(1, 2)) rules.rollout.window = 1 + static_cast<std::size_t>(rng.below(3));
    Turns test(names, rules);
    for (int step = 0; test.finished == 0; ++step) {
      REQUIRE(step < 5'000);
      const std::string name(1, names[static_cast<std::size_t>(rng.below(names.size()))]);
      const bool is_online = test.job.is_online(node(name[0]));
      const TaskState state = test.state(name[0]);
      const bool is_told = state == offered || state == running;
      if (!is_online) {
        test.online(name);
      } else if (rng.chance(1, 8)) {
        test.offline(name);
      } else if (is_told) {
        test.report(name, rng.chance(1, 2) ? running : rng.chance(4, 5) ? succeeded : failed);
      }
      test.passes(seconds(rng.below(30)));
      if (rng.chance(1, 40)) test.restart();
      std::size_t under_way = 0;
      for (const TaskStatus& task : test.job.tasks()) {
        under_way += task.state == offered || task.state == running ? 1 : 0;
      }
      // Those that were not reached in time are not counted when they come.
      if (rules.rollout.window > 0 && rules.offline != JobRules::Offline::queue) {
        REQUIRE(under_way <= rules.rollout.window);
      }
    }
    CHECK(test.job.counts().unfinished() == 0);
    if (test.job.rollout().stopped()) {
      CHECK(test.job.counts()[failed] + test.job.counts()[expired] > 3);
    }
  }
}

}  // namespace
}  // namespace p2p
