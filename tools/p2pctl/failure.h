// Why a command ended, and what the process exits with.
#pragma once

#include "core/base/result.h"
#include "core/jobs/outcome.h"

namespace p2p {

struct Failure {
  ExitCode exit_code = ExitCode::usage_or_internal;
  Error error;
  bool may_pass = false;  // the tracker did not answer: it may later
};

}  // namespace p2p
