#include "tools/p2pctl/pause_question.h"

#include "core/base/text.h"

namespace p2p {

PauseQuestion::Act PauseQuestion::on_state(const proto::Job& job, std::size_t under_way) {
  if (job.finished()) return Act::nothing;
  if (!job.paused()) {
    asked_ = refused_ = false;
    return Act::nothing;
  }
  if (!asked_) {
    asked_ = true;
    const auto answer =
        ask_(job.id() + ": " + printable(job.rollout_state(), 1000) + ": continue? [y/N] ");
    if (answer && (*answer == "y" || *answer == "Y" || *answer == "yes")) return Act::resume;
    // Whoever left without an answer can still resume it.
    refused_ = answer.has_value();
  }
  if (!refused_ || cancelled_ || under_way > 0) return Act::nothing;
  cancelled_ = true;
  return Act::cancel;
}

std::optional<Failure> carry_out(ApiClient& api, const std::string& job, PauseQuestion::Act act) {
  if (act == PauseQuestion::Act::nothing) return std::nullopt;
  const char* call = act == PauseQuestion::Act::resume ? "/resume" : "/cancel";
  proto::Job changed;
  return api.post("/v1/jobs/" + job + call, nullptr, changed);
}

}  // namespace p2p
