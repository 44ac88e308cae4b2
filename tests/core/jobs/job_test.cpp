#include "core/jobs/job.h"

#include <algorithm>
#include <map>

#include "core/base/rng.h"
#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using enum TaskState;
using std::chrono::minutes;
using std::chrono::seconds;
using test::name_of;
using test::node;

constexpr Duration kTick{1};

// A job for the nodes named by letters, and what it told them: "offer a 50", "rate b 25".
class JobTest {
 public:
  explicit JobTest(const std::string& nodes, const JobRules& rules = {})
      : job(tasks_of(nodes), rules, now) {}
  explicit JobTest(std::vector<TaskStatus> tasks, const JobRules& rules = {})
      : job(std::move(tasks), rules, now) {}

  static std::vector<TaskStatus> tasks_of(const std::string& nodes, TaskState state = queued) {
    std::vector<TaskStatus> tasks;
    for (const char name : nodes) {
      TaskStatus task;
      task.node = node(name);
      task.state = state;
      tasks.push_back(task);
    }
    return tasks;
  }

  // What was told since the last call, in order.
  std::vector<std::string> told() { return std::exchange(told_, {}); }
  // Sum of the shares that nodes were told and may still be using.
  std::uint64_t issued() const {
    std::uint64_t sum = 0;
    for (const auto& [name, rate] : rates) sum += rate;
    return sum;
  }

  void online(const std::string& names) {
    for (const char name : names) {
      job.on_node_online(node(name), now);
      look();
    }
  }
  void offline(char name) {
    job.on_node_offline(node(name), now);
    look();
  }
  void reports(char name, TaskState state, std::uint64_t bytes_done = 0) {
    TaskReport report;
    report.state = state;
    report.bytes_done = bytes_done;
    job.on_report(node(name), report, now);
    if (is_final(state)) rates.erase(name);
    look();
  }
  void cancel() {
    job.on_cancel(now);
    look();
  }
  void impossible(const std::string& why) {
    job.on_impossible(why, now);
    look();
  }
  void passes(Duration time) {
    now = now + time;
    job.on_tick(now);
    look();
  }
  const TaskStatus& task(char name) const { return job.tasks()[job.index_of(node(name)).value()]; }

  WallTime now{std::chrono::hours(500'000)};
  Job job;
  std::map<char, std::uint64_t> rates;
  std::uint64_t issued_most = 0;

 private:
  void look() {
    for (const Job::Effect& effect : job.take_effects()) {
      if (const auto* offer = std::get_if<Job::Offer>(&effect)) {
        told_.push_back(text("offer", offer->node, offer->bytes_per_second));
        rates[name_of(offer->node)] = offer->bytes_per_second;
      } else if (const auto* rate = std::get_if<Job::SetRate>(&effect)) {
        INFO("a node that is away cannot be told");
        REQUIRE(job.is_online(rate->node));
        told_.push_back(text("rate", rate->node, rate->bytes_per_second));
        rates[name_of(rate->node)] = rate->bytes_per_second;
      } else if (const auto* withdraw = std::get_if<Job::Withdraw>(&effect)) {
        told_.push_back(std::string("withdraw ") + name_of(withdraw->node));
      } else {
        told_.push_back("finished");
      }
      issued_most = std::max(issued_most, issued());
    }
  }
  static std::string text(std::string_view what, NodeId node, std::uint64_t rate) {
    return std::string(what) + " " + name_of(node) + " " + std::to_string(rate);
  }

  std::vector<std::string> told_;
};

using Told = std::vector<std::string>;

JobRules cap_of(std::uint64_t rate) {
  JobRules rules;
  rules.bytes_per_second = rate;
  return rules;
}

TEST_CASE("A target is offered its task when it is online, and not before", "[core][job]") {
  JobTest test("ab");
  CHECK(test.told().empty());
  CHECK(test.task('a').state == queued);
  test.online("b");
  CHECK(test.told() == Told{"offer b 0"});
  CHECK(test.task('b').state == offered);
  CHECK(test.task('b').started == test.now);
  CHECK(test.task('a').state == queued);
  CHECK(test.job.is_online(node('b')));
  CHECK_FALSE(test.job.is_online(node('a')));
}

TEST_CASE("After a reconnect the task is offered again and goes on", "[core][job]") {
  JobTest test("a");
  test.online("a");
  const WallTime first_offer = test.now;
  test.reports('a', running, 70);
  test.offline('a');
  test.passes(minutes(1));
  (void)test.told();
  test.online("a");
  CHECK(test.told() == Told{"offer a 0"});
  CHECK(test.task('a').state == offered);
  CHECK(test.task('a').bytes_done == 70);
  CHECK(test.task('a').started == first_offer);
}

TEST_CASE("A target whose task is over is not offered it again", "[core][job]") {
  JobTest test("ab");
  test.online("ab");
  test.reports('a', succeeded);
  test.offline('a');
  (void)test.told();
  test.online("a");
  CHECK(test.told().empty());
  CHECK(test.task('a').state == succeeded);
}

TEST_CASE("Tasks from a store: final ones stay, all others are offered again", "[core][job]") {
  std::vector<TaskStatus> tasks = JobTest::tasks_of("abc", running);
  tasks[0].state = succeeded;
  tasks[1].state = failed;
  JobTest test(tasks);
  test.online("abc");
  CHECK(test.told() == Told{"offer c 0"});
  test.reports('c', succeeded);
  CHECK(test.told() == Told{"finished"});
}

TEST_CASE("A job is finished once, when its last task is final", "[core][job]") {
  JobTest test("abc");
  test.online("abc");
  (void)test.told();
  test.reports('a', succeeded);
  test.reports('b', failed);
  CHECK(test.told().empty());
  CHECK_FALSE(test.job.finished());
  test.reports('c', cancelled);
  CHECK(test.told() == Told{"finished"});
  CHECK(test.job.finished());
  CHECK(test.task('c').finished == test.now);
  test.reports('c', succeeded);
  test.cancel();
  test.passes(minutes(60));
  CHECK(test.told().empty());
}

TEST_CASE("A final state never changes", "[core][job]") {
  for (const TaskState state : {succeeded, failed, cancelled}) {
    JobTest test("ab");
    test.online("ab");
    test.reports('a', state, 10);
    const WallTime finished = test.now;
    test.now = test.now + seconds(1);
    for (const TaskState later : {accepted, running, succeeded, failed, cancelled}) {
      test.reports('a', later, 20);
    }
    test.cancel();
    test.impossible("no");
    CHECK(test.task('a').state == state);
    CHECK(test.task('a').bytes_done == 10);
    CHECK(test.task('a').finished == finished);
  }
}

TEST_CASE("Progress never goes back", "[core][job]") {
  JobTest test("a");
  test.online("a");
  TaskReport report;
  report.bytes_done = 100;
  report.bytes_total = 200;
  report.bytes_sent = 30;
  report.bytes_received = 120;
  report.path = "/srv/a";
  test.job.on_report(node('a'), report, test.now);
  test.job.on_report(node('a'), TaskReport{}, test.now);  // a restarted agent knows nothing yet
  const TaskStatus& task = test.task('a');
  CHECK(task.bytes_done == 100);
  CHECK(task.bytes_total == 200);
  CHECK(task.bytes_sent == 30);
  CHECK(task.bytes_received == 120);
  CHECK(task.path == "/srv/a");
}

TEST_CASE("After a restart what was fetched before is there already, and not counted twice",
          "[core][job]") {
  JobTest test("a");
  test.online("a");
  TaskReport before;
  before.bytes_received = before.bytes_written = 120;
  before.bytes_copied = 30;
  test.job.on_report(node('a'), before, test.now);
  TaskReport after;
  after.bytes_already = 150;
  after.bytes_received = after.bytes_written = 50;
  test.job.on_report(node('a'), after, test.now);
  const TaskStatus& task = test.task('a');
  CHECK(task.bytes_already == 150);
  CHECK(task.bytes_copied == 0);
  CHECK(task.bytes_received == 50);
  CHECK(task.bytes_written == 50);
}

TEST_CASE("A late report of an earlier state does not take the task back", "[core][job]") {
  JobTest test("a");
  test.online("a");
  test.reports('a', running);
  test.reports('a', accepted);
  CHECK(test.task('a').state == running);
}

TEST_CASE("A node cannot say that it was never told or that it expired", "[core][job]") {
  JobTest test("a");
  test.online("a");
  test.reports('a', running);
  for (const TaskState state : {queued, offered, expired}) {
    test.reports('a', state, 50);
    CHECK(test.task('a').state == running);
    CHECK(test.task('a').bytes_done == 0);
  }
}

TEST_CASE("What a node says that is no target changes nothing", "[core][job]") {
  JobTest test("a");
  test.online("az");
  (void)test.told();
  (void)test.job.take_changed();
  test.reports('z', succeeded);
  test.offline('z');
  CHECK(test.told().empty());
  CHECK(test.job.take_changed().empty());
  CHECK_FALSE(test.job.index_of(node('z')));
  CHECK(test.job.counts()[offered] == 1);
}

TEST_CASE("A target that is not reached in time expires", "[core][job]") {
  JobTest test("ab");
  test.online("b");
  (void)test.told();
  CHECK(test.job.next_deadline() == test.now + minutes(10));
  test.passes(minutes(10) - kTick);
  CHECK(test.task('a').state == queued);
  test.passes(kTick);
  CHECK(test.task('a').state == expired);
  CHECK(test.task('a').detail == "the node was not reached");
  CHECK(test.task('b').state == offered);  // online nodes have all the time that they need
  CHECK(test.job.next_deadline() == WallTime::max());
}

TEST_CASE("A target that went away has its whole time anew", "[core][job]") {
  JobTest test("a");
  test.passes(minutes(9));
  test.online("a");
  test.passes(minutes(9));
  test.offline('a');
  test.passes(minutes(5));
  test.offline('a');  // hearing it twice changes nothing
  test.passes(minutes(5) - kTick);
  CHECK(test.task('a').state == offered);
  test.passes(kTick);
  CHECK(test.task('a').state == expired);
  CHECK(test.task('a').detail == "the node went away and did not come back in time");
}

TEST_CASE("Cancelling withdraws only what was told", "[core][job]") {
  JobTest test("abc");
  test.online("ab");
  test.reports('b', succeeded);
  (void)test.told();
  test.cancel();
  CHECK(test.told() == Told{"withdraw a", "finished"});
  CHECK(test.task('a').state == cancelled);
  CHECK(test.task('b').state == succeeded);
  CHECK(test.task('c').state == cancelled);
}

TEST_CASE("A job that cannot begin fails every task for the same reason", "[core][job]") {
  JobTest test("ab");
  test.impossible("no such file");
  CHECK(test.told() == Told{"finished"});
  for (const TaskStatus& task : test.job.tasks()) {
    CHECK(task.state == failed);
    CHECK(task.detail == "no such file");
  }
}

TEST_CASE("Changed tasks are told once", "[core][job]") {
  JobTest test("abc");
  test.online("ac");
  CHECK(test.job.take_changed() == std::vector<std::size_t>{0, 2});
  CHECK(test.job.take_changed().empty());
  test.reports('c', running, 5);
  CHECK(test.job.take_changed() == std::vector<std::size_t>{2});
}

TEST_CASE("The cap of a job is shared by the tasks under way; others give way first",
          "[core][job]") {
  JobTest test("abc", cap_of(100));
  test.online("a");
  CHECK(test.told() == Told{"offer a 100"});
  test.online("b");
  CHECK(test.told() == Told{"rate a 50", "offer b 50"});
  test.online("c");
  CHECK(test.told() == Told{"rate a 33", "rate b 33", "offer c 33"});
}

TEST_CASE("The share of a task that finishes goes to the others", "[core][job]") {
  JobTest test("ab", cap_of(100));
  test.online("ab");
  (void)test.told();
  test.reports('a', succeeded);
  CHECK(test.told() == Told{"rate b 100"});
}

TEST_CASE("A node that lost its connection keeps its share for five seconds, then others get it",
          "[core][job]") {
  JobTest test("ab", cap_of(100));
  test.online("ab");
  test.offline('a');
  (void)test.told();
  CHECK(test.job.next_deadline() == test.now + seconds(5));
  test.passes(seconds(5) - kTick);
  CHECK(test.told().empty());
  test.passes(kTick);
  CHECK(test.told() == Told{"rate b 100"});
  test.online("a");
  CHECK(test.told() == Told{"rate b 50", "offer a 50"});
}

TEST_CASE("A newcomer gets nothing of what an unreachable node may still be using", "[core][job]") {
  JobTest test("abc", cap_of(90));
  test.online("ab");
  test.offline('a');  // it goes on with 45
  (void)test.told();
  test.online("c");
  CHECK(test.told() == Told{"rate b 22", "offer c 22"});
  test.passes(seconds(5));
  CHECK(test.told() == Told{"rate b 45", "rate c 45"});
}

TEST_CASE("A node that comes back gives way before the others get more", "[core][job]") {
  JobTest test("ab", cap_of(100));
  test.online("a");
  test.offline('a');
  test.online("b");
  (void)test.told();
  CHECK(test.rates['b'] == 1);  // never 0, which would mean no cap
  test.online("a");
  CHECK(test.told() == Told{"offer a 50", "rate b 50"});
}

TEST_CASE("After a restart of the tracker nodes keep the shares that they may still have",
          "[core][job]") {
  JobTest test(JobTest::tasks_of("ab", running), cap_of(100));
  test.online("a");
  CHECK(test.told() == Told{"offer a 50"});
  CHECK(test.job.next_deadline() == test.now + seconds(5));
  test.passes(seconds(5));
  CHECK(test.told() == Told{"rate a 100"});
}

TEST_CASE("A share is never nothing, which would mean no cap", "[core][job]") {
  JobTest test("abc", cap_of(2));
  test.online("abc");
  (void)test.told();
  CHECK(test.rates == std::map<char, std::uint64_t>{{'a', 1}, {'b', 1}, {'c', 1}});
}

TEST_CASE("With many tasks a small change of the shares waits for the tick", "[core][job]") {
  std::string names;
  for (int i = 1; i <= 201; ++i) names += static_cast<char>(i);
  JobTest test(names, cap_of(1'000'000));
  test.online(names);
  test.passes(seconds(1));
  (void)test.told();
  test.reports(names[0], succeeded);
  CHECK(test.told().empty());
  CHECK(test.job.next_deadline() == test.now + std::chrono::milliseconds(250));
  test.passes(std::chrono::milliseconds(250));
  CHECK(test.told().size() == 200);
  CHECK(test.issued() == 1'000'000);
  CHECK(test.job.next_deadline() == WallTime::max());
}

TEST_CASE("Whatever nodes do, the cap is never issued twice and always used", "[core][job]") {
  constexpr std::uint64_t kCap = 1'000'000;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    Rng rng(seed);
    const std::string names = "abcdefgh";
    JobTest test(names, cap_of(kCap));
    std::map<char, WallTime> away_since;
    for (int step = 0; step < 400 && !test.job.finished(); ++step) {
      const char name = names[static_cast<std::size_t>(rng.below(names.size()))];
      const bool is_online = test.job.is_online(node(name));
      if (!is_online) {
        test.online(std::string(1, name));
        away_since.erase(name);
      } else if (rng.chance(1, 30)) {
        test.reports(name, rng.chance(1, 2) ? succeeded : failed);
      } else if (rng.chance(1, 2)) {
        test.offline(name);
        away_since[name] = test.now;
      } else {
        test.reports(name, running);
      }
      const WallTime next = test.now + Duration(rng.below(4'000'000'000));
      while (test.job.next_deadline() <= next) {
        test.now = test.job.next_deadline();
        // Who has been away for so long has stopped by itself.
        for (const auto& [gone, since] : away_since) {
          if (test.now - since >= JobRules{}.share_kept) test.rates.erase(gone);
        }
        test.passes(Duration{0});
        REQUIRE(test.job.next_deadline() > test.now);
      }
      test.now = next;
      // Eight may be told the least that there is, 1 B/s, while others use all.
      REQUIRE(test.issued_most <= kCap + names.size());
      const bool somebody_can_use_it =
          std::any_of(test.rates.begin(), test.rates.end(),
                      [&](const auto& entry) { return test.job.is_online(node(entry.first)); });
      if (somebody_can_use_it) REQUIRE(test.issued() >= kCap - names.size());
    }
  }
}

}  // namespace
}  // namespace p2p
