#include "core/runs/node_rules.h"

namespace p2p {
namespace {

RunState state_after(RunEnd end) {
  switch (end) {
    case RunEnd::by_itself:
      return RunState::exited;
    case RunEnd::not_begun:
      return RunState::rejected;
    case RunEnd::by_timeout:
      return RunState::timed_out;
    case RunEnd::by_cancel:
      return RunState::cancelled;
  }
  return RunState::lost;
}

}  // namespace

OfferAnswer answer_offer(const RunOffer& offer, std::optional<RunState> recorded, WallTime now) {
  if (recorded) return OfferAnswer::say_recorded;
  if (offer.accepted_before) return OfferAnswer::say_lost;
  if (now - offer.id.made() > kRunTooOld) return OfferAnswer::say_too_old;
  return OfferAnswer::begin;
}

bool may_forget(const RunId& id, RunState recorded, WallTime now) {
  return is_final(recorded) && now - id.made() > kRunForgotten;
}

RunState state_of_run(RunState recorded, const RunTraces& traces) {
  if (is_final(recorded)) return recorded;
  if (traces.end) return state_after(*traces.end);
  if (!traces.shim_lives) return RunState::lost;
  return traces.begun || recorded == RunState::running ? RunState::running : recorded;
}

std::string_view why_lost(const RunTraces& traces) {
  return traces.begun ? "the process that watched this run has died without a result: the command "
                        "had begun, how it ended is not known"
                      : "the node stopped while this run was being started: whether the command "
                        "ran is not known";
}

}  // namespace p2p
