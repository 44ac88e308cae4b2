// The states of a run: one command or script on one node.
//
//   queued → offered → accepted → running → exited
//
// queued: the tracker has not told the node yet · offered: told, no answer yet · accepted: the node
// has it in its own durable ledger · running: the command has begun · exited: it ended by itself,
// with an exit code or by a signal. Instead of exited: rejected: the node would not or could not
// begin it, nothing ran · undeliverable: the node is not in the cluster any more, or the tracker
// has lost the order · expired: the node was not reached in time · timed_out: it ran too long, and
// nothing of it is left · cancelled: an operator stopped it, and nothing of it is left · lost: the
// node cannot or does not say what became of it; it may have run, it never runs again under this id
// · skipped: its job had stopped before.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>

namespace p2p {

enum class RunState {
  queued,
  offered,
  accepted,
  running,
  exited,
  rejected,
  undeliverable,
  expired,
  timed_out,
  cancelled,
  lost,
  skipped,
};

inline constexpr std::size_t kRunStates = 12;
inline constexpr std::array<std::pair<RunState, std::string_view>, kRunStates> kRunStateNames{{
    {RunState::queued, "queued"},
    {RunState::offered, "offered"},
    {RunState::accepted, "accepted"},
    {RunState::running, "running"},
    {RunState::exited, "exited"},
    {RunState::rejected, "rejected"},
    {RunState::undeliverable, "undeliverable"},
    {RunState::expired, "expired"},
    {RunState::timed_out, "timed_out+killed"},
    {RunState::cancelled, "cancelled"},
    {RunState::lost, "lost"},
    {RunState::skipped, "skipped"},
}};

constexpr std::string_view to_string(RunState state) {
  return kRunStateNames[static_cast<std::size_t>(state)].second;
}

// Nothing when `name` is no state.
constexpr std::optional<RunState> run_state_from(std::string_view name) {
  for (const auto& [state, text] : kRunStateNames) {
    if (text == name) return state;
  }
  return std::nullopt;
}

constexpr bool is_final(RunState state) {
  return state >= RunState::exited;
}

// Whether a run may change from `from` to `to`. Forward only, also past states that nobody reported
// (a node reports its latest one); offering a run again changes nothing. What only the tracker may
// say (undeliverable, expired, skipped) it may say as long as the node has not accepted. A final
// state never changes, and staying is no change.
constexpr bool may_follow(RunState from, RunState to) {
  using enum RunState;
  const auto among = [to](std::initializer_list<RunState> states) {
    for (const RunState state : states) {
      if (state == to) return true;
    }
    return false;
  };
  const bool of_the_tracker = among({undeliverable, expired, skipped});
  switch (from) {
    case queued:
      return to == offered || to == cancelled || of_the_tracker;
    case offered:
      return to > offered;
    case accepted:
      return to > accepted && !of_the_tracker;
    case running:
      return among({exited, timed_out, cancelled, lost});
    default:
      return false;
  }
}

}  // namespace p2p
