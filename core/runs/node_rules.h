// What a node decides about runs: whether to begin one, and what to say of those that it finds.
#pragma once

#include <optional>
#include <string_view>

#include "core/base/time.h"
#include "core/runs/run_id.h"
#include "core/runs/run_state.h"

namespace p2p {

// The ledger forgets a run this long after its id was made, if it has ended; an offer of an id that
// is nearly as old is not begun, because it may have been run and forgotten.
inline constexpr Duration kRunForgotten = std::chrono::hours(24 * 60);
inline constexpr Duration kRunTooOld = std::chrono::hours(24 * 40);

// ---- an offer --------------------------------------------------------------------------------

struct RunOffer {
  RunId id;
  // The tracker has heard `accepted`, or anything later, of this run before.
  bool accepted_before = false;
};

enum class OfferAnswer {
  begin,         // write it to the ledger, synced; then say accepted; then start it
  say_recorded,  // the ledger knows it: say what stands there, start nothing
  say_lost,      // it was accepted here, and the ledger does not know it any more
  say_too_old,   // rejected: it may have run here, and been forgotten
};

// `recorded` is the state in the ledger.
OfferAnswer answer_offer(const RunOffer& offer, std::optional<RunState> recorded, WallTime now);

// Whether the ledger may forget a run.
bool may_forget(const RunId& id, RunState recorded, WallTime now);

// ---- what is found of a run ------------------------------------------------------------------

// How a run ended, as its shim has written it.
enum class RunEnd { by_itself, not_begun, by_timeout, by_cancel };

// What there is of a run outside of the ledger.
struct RunTraces {
  bool begun = false;         // the shim has written that the command has begun
  bool shim_lives = false;    // its lock is held
  std::optional<RunEnd> end;  // of the result, which is written once and synced
};

// The state of a run whose ledger says `recorded`: after a restart of the agent, and whenever its
// traces change. Never a reason to start it again.
RunState state_of_run(RunState recorded, const RunTraces& traces);

// What to say of a lost run: whether its command may have run.
std::string_view why_lost(const RunTraces& traces);

}  // namespace p2p
