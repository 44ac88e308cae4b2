// What p2pctl exits with, and how the outcome of a job's tasks becomes that number.
#pragma once

#include <string_view>

#include "core/jobs/task_state.h"

namespace p2p {

// Fixed for users' scripts: numbers are never given another meaning.
enum class ExitCode {
  ok = 0,
  usage_or_internal = 1,
  some_failed = 2,
  some_not_reached = 3,
  timed_out = 4,
  stopped = 5,
  not_authorised = 6,
  no_tracker = 7,
};

// "some target failed": the words of the manual.
std::string_view meaning_of(ExitCode code);

// Which of two codes a command exits with when both apply: the first of 7, 6, 1, 5, 2, 4, 3, 0.
ExitCode weightier(ExitCode a, ExitCode b);

// For a job that has ended. Tasks that never got to a final state count as not reached; a cancelled
// task counts like a cancelled job.
int exit_code_of(const TaskCounts& counts, bool cancelled, bool stopped_by_threshold,
                 bool timed_out);

}  // namespace p2p
