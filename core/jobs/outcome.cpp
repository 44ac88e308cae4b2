#include "core/jobs/outcome.h"

#include <algorithm>
#include <array>

namespace p2p {
namespace {

constexpr std::array kWeightiestFirst{
    ExitCode::no_tracker,  ExitCode::not_authorised, ExitCode::usage_or_internal, ExitCode::stopped,
    ExitCode::some_failed, ExitCode::timed_out,      ExitCode::some_not_reached,  ExitCode::ok,
};

}  // namespace

std::string_view meaning_of(ExitCode code) {
  switch (code) {
    case ExitCode::ok:
      return "all targets ok";
    case ExitCode::usage_or_internal:
      return "usage or internal error";
    case ExitCode::some_failed:
      return "some target failed";
    case ExitCode::some_not_reached:
      return "some target not reached or expired";
    case ExitCode::timed_out:
      return "timed out";
    case ExitCode::stopped:
      return "stopped by threshold or cancelled";
    case ExitCode::not_authorised:
      return "not authorised";
    case ExitCode::no_tracker:
      return "no tracker reachable";
  }
  return "unknown exit code";
}

ExitCode weightier(ExitCode a, ExitCode b) {
  return *std::find_if(kWeightiestFirst.begin(), kWeightiestFirst.end(),
                       [&](ExitCode code) { return code == a || code == b; });
}

int exit_code_of(const TaskCounts& counts, bool cancelled, bool stopped_by_threshold,
                 bool timed_out) {
  ExitCode code = ExitCode::ok;
  const auto apply = [&](bool applies, ExitCode with) {
    if (applies) code = weightier(code, with);
  };
  apply(cancelled || stopped_by_threshold || counts[TaskState::cancelled] > 0, ExitCode::stopped);
  apply(counts[TaskState::failed] > 0, ExitCode::some_failed);
  apply(timed_out, ExitCode::timed_out);
  apply(counts[TaskState::expired] > 0 || counts.unfinished() > 0, ExitCode::some_not_reached);
  return static_cast<int>(code);
}

}  // namespace p2p
