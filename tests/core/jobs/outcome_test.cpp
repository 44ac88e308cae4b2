#include "core/jobs/outcome.h"

#include <vector>

#include "core/jobs/task_state.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using enum TaskState;

const std::vector<TaskState> kAll{queued, offered,   accepted, running, succeeded,
                                  failed, cancelled, expired,  skipped};
const std::vector<TaskState> kFinal{succeeded, failed, cancelled, expired, skipped};

TaskCounts counts_of(const std::vector<TaskState>& tasks) {
  TaskCounts counts;
  for (const TaskState state : tasks) ++counts[state];
  return counts;
}

int exit_code(const std::vector<TaskState>& tasks) {
  return exit_code_of(counts_of(tasks), false, false, false);
}

TEST_CASE("Every task state has a name that leads back to it", "[core][jobs]") {
  for (const TaskState state : kAll) CHECK(task_state_from(to_string(state)) == state);
  CHECK(to_string(running) == "running");
  CHECK_FALSE(task_state_from("Running").has_value());
  CHECK_FALSE(task_state_from("").has_value());
}

TEST_CASE("succeeded, failed, cancelled, expired and skipped are final", "[core][jobs]") {
  for (const TaskState state : kFinal) CHECK(is_final(state));
  for (const TaskState state : {queued, offered, accepted, running}) CHECK_FALSE(is_final(state));
}

TEST_CASE("A task goes forward, also past states that nobody reported", "[core][jobs]") {
  CHECK(may_follow(queued, offered));
  CHECK(may_follow(offered, accepted));
  CHECK(may_follow(accepted, running));
  CHECK(may_follow(offered, running));
  for (const TaskState from : {queued, offered, accepted, running}) {
    for (const TaskState to : kFinal) CHECK(may_follow(from, to));
  }
}

TEST_CASE("A task goes back only to be offered again", "[core][jobs]") {
  CHECK(may_follow(running, offered));
  CHECK(may_follow(accepted, offered));
  CHECK_FALSE(may_follow(running, accepted));
  CHECK_FALSE(may_follow(running, queued));
  CHECK_FALSE(may_follow(offered, queued));
}

TEST_CASE("A final state never changes, and staying is no change", "[core][jobs]") {
  for (const TaskState from : kFinal) {
    for (const TaskState to : kAll) CHECK_FALSE(may_follow(from, to));
  }
  for (const TaskState state : kAll) CHECK_FALSE(may_follow(state, state));
}

TEST_CASE("Counts know how many tasks there are and how many have not ended", "[core][jobs]") {
  const TaskCounts counts = counts_of({queued, running, running, succeeded, expired});
  CHECK(counts.total() == 5);
  CHECK(counts.unfinished() == 3);
  CHECK(counts[running] == 2);
  CHECK(counts_of({}).total() == 0);
}

TEST_CASE("A job's exit code says the worst that happened to a target", "[core][jobs]") {
  CHECK(exit_code({succeeded, succeeded}) == 0);
  CHECK(exit_code({succeeded, failed}) == 2);
  CHECK(exit_code({succeeded, expired}) == 3);
  CHECK(exit_code({succeeded, queued}) == 3);
  CHECK(exit_code({succeeded, cancelled}) == 5);
  CHECK(exit_code({succeeded, skipped}) == 0);  // as its operator wanted it
  CHECK(exit_code_of(counts_of({failed, skipped}), false, true, false) == 5);
}

TEST_CASE("Of several exit codes of a job the first of 5, 2, 4, 3 counts", "[core][jobs]") {
  const TaskCounts all_wrong = counts_of({succeeded, failed, expired});
  const TaskCounts late = counts_of({succeeded, expired});
  const TaskCounts fine = counts_of({succeeded});
  CHECK(exit_code_of(all_wrong, true, false, true) == 5);
  CHECK(exit_code_of(all_wrong, false, true, true) == 5);
  CHECK(exit_code_of(all_wrong, false, false, true) == 2);
  CHECK(exit_code_of(late, false, false, true) == 4);
  CHECK(exit_code_of(late, false, false, false) == 3);
  CHECK(exit_code_of(fine, false, false, true) == 4);
  CHECK(exit_code_of(fine, true, false, false) == 5);
}

TEST_CASE("The weightier of two exit codes is the first of 7, 6, 1, 5, 2, 4, 3, 0",
          "[core][jobs]") {
  const std::vector<int> order{7, 6, 1, 5, 2, 4, 3, 0};
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (std::size_t j = i; j < order.size(); ++j) {
      const auto first = static_cast<ExitCode>(order[i]);
      const auto second = static_cast<ExitCode>(order[j]);
      CHECK(weightier(first, second) == first);
      CHECK(weightier(second, first) == first);
    }
  }
}

TEST_CASE("Every exit code has its documented meaning", "[core][jobs]") {
  CHECK(meaning_of(ExitCode::ok) == "all targets ok");
  CHECK(meaning_of(ExitCode::no_tracker) == "no tracker reachable");
  for (int code = 0; code <= 7; ++code) {
    CHECK(meaning_of(static_cast<ExitCode>(code)) != "unknown exit code");
  }
}

}  // namespace
}  // namespace p2p
