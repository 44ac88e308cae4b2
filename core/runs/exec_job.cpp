#include "core/runs/exec_job.h"

#include <algorithm>
#include <utility>

namespace p2p {
namespace {

Rollout::Phase phase_of(const RunStatus& run) {
  using enum RunState;
  switch (run.state) {
    case queued:
      return run.turn == WallTime{} ? Rollout::Phase::waiting : Rollout::Phase::parked;
    case offered:
    case accepted:
    case running:
      return Rollout::Phase::begun;
    case cancelled:
    case skipped:
      return Rollout::Phase::left_out;
    default:
      return is_failure(run) ? Rollout::Phase::bad : Rollout::Phase::good;
  }
}

std::vector<Rollout::Phase> phases_of(const std::vector<RunStatus>& runs) {
  std::vector<Rollout::Phase> phases;
  phases.reserve(runs.size());
  for (const RunStatus& run : runs) phases.push_back(phase_of(run));
  return phases;
}

ExitCode exit_code_of(const RunStatus& run) {
  using enum RunState;
  switch (run.state) {
    case exited:
      return is_failure(run) ? ExitCode::some_failed : ExitCode::ok;
    case rejected:
    case lost:
      return ExitCode::some_failed;
    case timed_out:
      return ExitCode::timed_out;
    case cancelled:
      return ExitCode::stopped;
    case skipped:
      return ExitCode::ok;
    default:
      return ExitCode::some_not_reached;
  }
}

}  // namespace

bool is_failure(const RunStatus& run) {
  using enum RunState;
  switch (run.state) {
    case exited:
      return run.facts.code != 0;  // none: a signal ended it
    case rejected:
    case undeliverable:
    case expired:
    case timed_out:
    case lost:
      return true;
    default:
      return false;
  }
}

ExecJob::ExecJob(std::vector<RunStatus> runs, const ExecRules& rules, const Rollout::Memory& memory,
                 bool cancelled, WallTime now)
    : runs_(std::move(runs)),
      rules_(rules),
      rollout_(rules.rollout, phases_of(runs_), memory),
      cancelled_(cancelled),
      presence_(runs_.size(), Presence{Where::away, now, false, false, now, now}),
      changed_at_(runs_.size(), 1),
      changes_(1) {
  index_.reserve(runs_.size());
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    index_[runs_[i].node] = i;
    ++counts_[static_cast<std::size_t>(runs_[i].state)];
    if (!is_final(runs_[i].state)) ++unfinished_;
  }
  if (unfinished_ == 0) effects_.push_back(Finished{});
}

std::optional<std::size_t> ExecJob::index_of(NodeId node) const {
  const auto found = index_.find(node);
  if (found == index_.end()) return std::nullopt;
  return found->second;
}

void ExecJob::on_start(WallTime now, WallTime patient_until) {
  rules_.patient_until = patient_until;
  for (Presence& presence : presence_) presence.since = presence.spoke = presence.begun = now;
}

void ExecJob::set_where(std::size_t run, Where where, WallTime now) {
  presence_[run].where = where;
  presence_[run].since = now;
  presence_[run].seen = true;
}

void ExecJob::on_node_coming(NodeId node, WallTime now) {
  if (const auto run = index_of(node)) {
    set_where(*run, Where::coming, now);
    presence_[*run].heard = false;
  }
}

void ExecJob::on_node_online(NodeId node, WallTime now) {
  const auto run = index_of(node);
  if (!run) return;
  set_where(*run, Where::here, now);
  const RunState state = runs_[*run].state;
  if (is_final(state)) return;
  if (state == RunState::queued) {
    if (is_parked(*run)) back_.insert(*run);
  } else if (cancelled_) {
    effects_.push_back(Cancel{*run});
  } else if (!presence_[*run].heard && !impossible_) {
    effects_.push_back(Offer{*run, state >= RunState::accepted});
  }
}

void ExecJob::on_node_offline(NodeId node, WallTime now) {
  const auto run = index_of(node);
  if (!run) return;
  if (presence_[*run].where != Where::away) set_where(*run, Where::away, now);
  presence_[*run].heard = false;
}

void ExecJob::on_node_seen(NodeId node) {
  if (const auto run = index_of(node)) presence_[*run].seen = true;
}

void ExecJob::on_node_removed(NodeId node, WallTime now) {
  const auto run = index_of(node);
  if (!run) return;
  set_where(*run, Where::away, now);
  if (is_final(runs_[*run].state)) return;
  if (runs_[*run].state == RunState::queued) {
    finish(*run, RunState::undeliverable, "the node is not in the cluster any more", now);
  } else {
    finish(
        *run, RunState::lost,
        "the node was removed from the cluster before it said how the run ended; it may have run",
        now);
  }
}

bool ExecJob::on_report(std::size_t run, RunState state, RunFacts facts, WallTime now) {
  RunStatus& known = runs_[run];
  presence_[run].heard = true;
  presence_[run].spoke = now;
  // What was never offered is nothing that a node could speak of, and what only the tracker may say
  // is not the node's to say.
  if (known.state == RunState::queued || state < RunState::accepted) return false;
  if (state == RunState::expired || state == RunState::undeliverable ||
      state == RunState::skipped) {
    return false;
  }
  if (!may_follow(known.state, state)) return false;
  const bool out_lost = known.facts.out_truncated;
  const bool err_lost = known.facts.err_truncated;
  known.facts = std::move(facts);
  known.facts.out_truncated = known.facts.out_truncated || out_lost;
  known.facts.err_truncated = known.facts.err_truncated || err_lost;
  if (is_final(state)) {
    finish(run, state, std::move(known.facts.text), now);
    decided_.pop_back();  // its node has said so
  } else {
    if (known.state == RunState::offered) presence_[run].begun = now;
    move(run, state);
    // It may have begun since it was told; one that is coming is told when it is here.
    if (cancelled_ && presence_[run].where == Where::here) effects_.push_back(Cancel{run});
  }
  return true;
}

void ExecJob::on_output_lost(std::size_t run, bool err) {
  bool& flag = err ? runs_[run].facts.err_truncated : runs_[run].facts.out_truncated;
  if (std::exchange(flag, true)) return;
  changed_at_[run] = ++changes_;
}

void ExecJob::on_cancel(WallTime now) {
  if (std::exchange(cancelled_, true)) return;
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    if (is_final(runs_[i].state)) continue;
    if (runs_[i].state == RunState::queued) {
      finish(i, RunState::cancelled, "cancelled before it was offered", now);
    } else if (presence_[i].where == Where::here) {  // the others are told when they are
      effects_.push_back(Cancel{i});
    }
  }
}

void ExecJob::pause(std::string why) {
  rollout_.pause(std::move(why));
}

void ExecJob::resume(WallTime now) {
  rollout_.resume(now);
}

void ExecJob::on_impossible(const std::string& why, WallTime now) {
  impossible_ = true;
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    if (runs_[i].state == RunState::queued) finish(i, RunState::undeliverable, why, now);
  }
}

void ExecJob::on_tick(WallTime now) {
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    if (is_final(runs_[i].state)) continue;
    const Presence& presence = presence_[i];
    if (presence.where == Where::coming && now - presence.since >= kComingPatience) {
      set_where(i, Where::away, now);
    }
    if (runs_[i].state != RunState::queued) {
      check_begun(i, now);
    } else if (presence.where == Where::away && is_parked(i)) {
      give_up_waiting(i, now);
    }
  }
}

// Of one that was offered: whether anything will still be heard of it.
void ExecJob::check_begun(std::size_t run, WallTime now) {
  const RunState state = runs_[run].state;
  const Presence& presence = presence_[run];
  const Duration patience = std::max(rules_.ttl, kBegunPatience);
  const auto passed = [now](WallTime since, Duration time) { return now - since >= time; };
  if (presence.where == Where::away) {
    if (!passed(std::max(presence.since, rules_.patient_until), patience)) return;
    finish(run, RunState::lost,
           state == RunState::offered
               ? "the node went away without an answer and did not come back in time; it may have "
                 "run"
               : "the node went away and did not come back in time; it may have run to its end",
           now);
  } else if (presence.where == Where::here && state == RunState::offered) {
    if (!passed(std::max(presence.since, runs_[run].offered), patience)) return;
    finish(run, RunState::lost,
           "the node is connected and never answered the offer; it may have run", now);
  } else if (presence.where == Where::here && longest_ > Duration::zero()) {
    // It may have been away when the time was over, or still send what was written.
    if (!passed(presence.begun, longest_ + kBegunPatience) ||
        !passed(std::max(presence.since, presence.spoke), kBegunPatience)) {
      return;
    }
    finish(run, RunState::lost,
           "the node is connected, and has not said for longer than its timeout how the run ended; "
           "it may run still",
           now);
  }
}

// Of one that is away: whether it has had its time.
void ExecJob::give_up_waiting(std::size_t run, WallTime now) {
  if (is_on_its_way(run, now)) return;
  switch (rules_.offline) {
    case ExecRules::Offline::fail:
      return finish(run, RunState::expired, "offline", now);
    case ExecRules::Offline::skip:
      return finish(run, RunState::skipped, "offline", now);
    case ExecRules::Offline::queue:
      if (now - runs_[run].turn < rules_.ttl) return;
      return finish(run, RunState::expired, "offline, and did not come in time", now);
  }
}

std::vector<ExecJob::Effect> ExecJob::take_effects(WallTime now) {
  advance(now);
  return std::exchange(effects_, {});
}

void ExecJob::advance(WallTime now) {
  // Those whose turn has come before go first; those that end at once make room for others.
  offer_parked(now);
  const auto may = [&](std::size_t run) { return may_have_turn(run, now); };
  while (!cancelled_) {
    const std::vector<std::size_t> turns = rollout_.take_turns(now, may);
    for (const std::size_t run : turns) begin_turn(run, now);
    if (turns.empty()) break;
  }
  if (!rollout_.stopped() || std::exchange(left_out_, true)) return;
  const std::string why = "not begun: " + rollout_.text(now);
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    if (runs_[i].state == RunState::queued) finish(i, RunState::skipped, why, now);
  }
}

// Nothing waits for one that is parked, and it keeps to the window all the same.
void ExecJob::offer_parked(WallTime now) {
  if (cancelled_ || rollout_.paused() || rollout_.stopped()) return;
  while (!back_.empty() && rollout_.has_room()) {
    const std::size_t run = *back_.begin();
    back_.erase(back_.begin());
    if (is_parked(run) && presence_[run].where == Where::here) offer(run, now);
  }
}

// One that is parked counts neither for its wave nor for the window: were all parked that are on
// their way back, neither would mean anything when they come.
bool ExecJob::may_have_turn(std::size_t run, WallTime now) {
  if (!rules_.rollout.limits_anything() || presence_[run].where == Where::here) return true;
  if (is_on_its_way(run, now)) return false;
  if (!awaited_ || awaited_->first != run) {
    if (presence_[run].where != Where::coming) return true;
    awaited_ = {run, now};
  }
  // However often it comes and goes.
  return now - awaited_->second >= kComingPatience;
}

void ExecJob::begin_turn(std::size_t run, WallTime now) {
  if (runs_[run].state != RunState::queued) return;
  runs_[run].turn = now;
  changed_at_[run] = ++changes_;
  if (presence_[run].where == Where::here) return offer(run, now);
  rollout_.set(run, Rollout::Phase::parked, now);
  if (presence_[run].where == Where::away) give_up_waiting(run, now);
}

void ExecJob::offer(std::size_t run, WallTime now) {
  rollout_.set(run, Rollout::Phase::begun, now);
  runs_[run].offered = now;
  move(run, RunState::offered);
  effects_.push_back(Offer{run, false});
}

void ExecJob::move(std::size_t run, RunState state) {
  --counts_[static_cast<std::size_t>(runs_[run].state)];
  ++counts_[static_cast<std::size_t>(state)];
  runs_[run].state = state;
  changed_at_[run] = ++changes_;
}

void ExecJob::finish(std::size_t run, RunState state, std::string text, WallTime now) {
  RunStatus& known = runs_[run];
  P2P_CHECK(may_follow(known.state, state));
  known.facts.text = std::move(text);
  if (known.facts.ended == WallTime{}) known.facts.ended = now;
  decided_.push_back({run, known.state});
  move(run, state);
  rollout_.set(run, phase_of(known), now);
  if (--unfinished_ == 0) effects_.push_back(Finished{});
}

ExitCode ExecJob::exit_code() const {
  ExitCode code = cancelled_ || rollout_.stopped() ? ExitCode::stopped : ExitCode::ok;
  for (const RunStatus& run : runs_) code = weightier(code, exit_code_of(run));
  return code;
}

}  // namespace p2p
