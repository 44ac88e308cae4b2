// Following an exec job to its end, across the tracker's absences, without telling anything twice.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "tools/p2pctl/exec_record.h"
#include "tools/p2pctl/watch.h"

namespace p2p {

// The world of a follower, so that a test can be it; the rest of it is in WatchWorld.
struct FollowWorld {
  // Opens a stream of the API; see ApiClient::stream.
  using OnLine = std::function<bool(std::string_view line)>;
  std::function<std::optional<Failure>(const std::string& target, const OnLine& on_line)> open;
  // Called with each event, after `record` has it. False: the operator's own end of it.
  std::function<bool(const proto::JobEvent& event, std::string_view line)> on_event;
  // Where bytes go that are new.
  ExecRecord::OnOutput on_output;
};

// `watch`: everything but stream and show, which are this function's. Finished only when all output
// has been told, too.
WatchEnd follow_exec(const std::string& id, ExecRecord& record, const FollowWorld& world,
                     WatchWorld watch);

}  // namespace p2p
