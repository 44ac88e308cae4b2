// The process that owns one run, from its order to its result: `p2pd shim`, started by the
// launcher.
//
// It is a process of its own, so that neither a crash nor an upgrade of the agent or the launcher
// loses the run or its exit code. It has a session of its own, adopts whatever its command leaves
// behind (PR_SET_CHILD_SUBREAPER), passes the output to the disk, and ends the command when it runs
// too long or is cancelled: TERM to everything, later KILL until nothing is left.
#pragma once

#include "core/base/result.h"
#include "io/run/run_account.h"

namespace p2p {

// Open descriptors that the launcher hands down.
inline constexpr int kShimOrder = 3;    // the order (seal_bytes)
inline constexpr int kShimFolder = 4;   // the folder of the run
inline constexpr int kShimLock = 5;     // its lock, which is held
inline constexpr int kShimRuns = 6;     // the folder of all runs
inline constexpr int kShimControl = 7;  // the FIFO: whatever is written there cancels the run
inline constexpr int kShimDescriptors = 5;

// The shim, until the run has its result. Only a failure to write that result is an error; the lock
// goes free without one, and the run counts as lost.
Status run_shim(const AccountRule& accounts);

}  // namespace p2p
