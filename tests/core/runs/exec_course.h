// A course of one exec job: what happens to its nodes, and what the job wants done.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/runs/exec_job.h"
#include "tests/support/catch.h"

namespace p2p::exec_course {

using enum RunState;
using Offline = ExecRules::Offline;

inline constexpr WallTime kStart{std::chrono::hours(24 * 365 * 50)};

inline NodeId node(unsigned number) {
  NodeId id;
  id.bytes[15] = static_cast<std::uint8_t>(number);
  return id;
}

inline RunId run_id(unsigned number) {
  return RunId::make(
      kStart, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(number)});
}

// What happened to nodes 0, 1, 2, ... in words.
struct Course {
  explicit Course(unsigned nodes, const ExecRules& rules_value = {}) : rules(rules_value) {
    std::vector<RunStatus> runs(nodes);
    for (unsigned i = 0; i < nodes; ++i) {
      runs[i].node = node(i);
      runs[i].id = run_id(i);
    }
    job.emplace(std::move(runs), rules, Rollout::Memory{}, false, now);
  }

  ExecRules rules;
  WallTime now = kStart;
  std::optional<ExecJob> job;
  std::vector<std::size_t> offered, cancelled;  // since take()
  bool again = false;                           // the last offer said that it was accepted before
  bool finished = false;

  void carry_out() {
    for (const ExecJob::Effect& effect : job->take_effects(now)) {
      if (const auto* offer = std::get_if<ExecJob::Offer>(&effect)) {
        offered.push_back(offer->run);
        again = offer->accepted_before;
      } else if (const auto* cancel = std::get_if<ExecJob::Cancel>(&effect)) {
        cancelled.push_back(cancel->run);
      } else {
        CHECK_FALSE(finished);
        finished = true;
      }
    }
  }
  void online(unsigned number) {
    job->on_node_online(node(number), now);
    carry_out();
  }
  void all_online(unsigned nodes) {
    for (unsigned i = 0; i < nodes; ++i) job->on_node_online(node(i), now);
  }
  void offline(unsigned number) {
    job->on_node_offline(node(number), now);
    carry_out();
  }
  void report(std::size_t run, RunState state, std::optional<int> code = {}) {
    RunFacts facts;
    facts.code = code;
    facts.text = "as the node says";
    job->on_report(run, state, facts, now);
    carry_out();
  }
  void pass(Duration time) {
    now = now + time;
    job->on_tick(now);
    carry_out();
  }
  void restart() {
    job = ExecJob(job->runs(), rules, job->rollout().memory(), job->cancelled(), now);
    finished = false;
    carry_out();
  }
  RunState state(std::size_t run) const { return job->runs()[run].state; }
  std::string text(std::size_t run) const { return job->runs()[run].facts.text; }
  std::vector<std::size_t> take_offered() { return std::exchange(offered, {}); }
};

inline ExecRules offline_is(Offline offline) {
  ExecRules rules;
  rules.offline = offline;
  return rules;
}
inline ExecRules window_of(std::size_t window) {
  ExecRules rules;
  rules.rollout.window = window;
  return rules;
}
inline ExecRules at_most_one_fails(RolloutRules::OnMaxFail what) {
  ExecRules rules = window_of(1);
  rules.rollout.max_fail = TargetShare{1, false};
  rules.rollout.on_max_fail = what;
  return rules;
}

}  // namespace p2p::exec_course
