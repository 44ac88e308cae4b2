// --on-max-fail ask: whether a job that has paused shall go on.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "proto/api.pb.h"
#include "tools/p2pctl/api_client.h"

namespace p2p {

class PauseQuestion {
 public:
  enum class Act { nothing, resume, cancel };
  // The operator's line; nothing: nobody answered.
  using Ask = std::function<std::optional<std::string>(const std::string& question)>;

  explicit PauseQuestion(Ask ask) : ask_(std::move(ask)) {}

  // What to do about this state of the job, of which so many targets have begun and not ended. Asks
  // once for each pause. After a no, what has begun may end before the rest is cancelled: as with
  // --on-max-fail stop.
  Act on_state(const proto::Job& job, std::size_t under_way);

 private:
  Ask ask_;
  bool asked_ = false;
  bool refused_ = false;
  bool cancelled_ = false;
};

// Has the tracker do it.
std::optional<Failure> carry_out(ApiClient& api, const std::string& job, PauseQuestion::Act act);

}  // namespace p2p
