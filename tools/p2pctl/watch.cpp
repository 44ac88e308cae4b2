#include "tools/p2pctl/watch.h"

#include <algorithm>

#include "core/base/units.h"

namespace p2p {
namespace {

Failure gave_up(const std::string& id, const std::string& why) {
  return Failure{
      ExitCode::no_tracker,
      Error{Errc::unavailable, "no tracker reachable for " + format_duration(kWatchPatience) +
                                   " (" + why + "): job " + id + " goes on without this watch; " +
                                   watch_again_hint(id)}};
}

}  // namespace

std::string watch_again_hint(const std::string& id) {
  return "watch it again with: p2pctl job watch " + id;
}

std::string detached_text(const std::string& id) {
  return "detached: job " + id + " goes on; " + watch_again_hint(id) +
         "  (stop it with: p2pctl job cancel " + id + ")";
}

WatchEnd watch_job(const std::string& id, WatchedJob kind, const WatchWorld& world) {
  WatchEnd end;
  bool seen = kind == WatchedJob::known;
  std::optional<Time> lost_since;
  Duration wait = kFirstRetryWait;
  while (true) {
    const auto failure = world.stream([&](const proto::Job& job) {
      seen = true;
      lost_since.reset();
      wait = kFirstRetryWait;
      end.job = job;
      world.show(job);
      return !job.finished() && !world.interrupted();
    });
    if (end.job.finished()) {
      end.kind = WatchEnd::Kind::finished;
      return end;
    }
    if (world.interrupted()) {
      end.kind = WatchEnd::Kind::detached;
      return end;
    }
    if (failure && (!failure->may_pass || !seen)) {
      end.failure = failure;
      return end;
    }
    const std::string why = failure ? failure->error.detail : "it ended the connection";
    const Time now = world.now();
    if (!lost_since) {
      lost_since = now;
      world.say("the tracker does not answer (" + why + "): trying again for " +
                format_duration(kWatchPatience) + ", job " + id + " goes on");
    }
    const Duration left = kWatchPatience - (now - *lost_since);
    if (left <= Duration::zero()) {
      end.failure = gave_up(id, why);
      return end;
    }
    world.wait(std::min(wait, left));
    wait = std::min(wait * 2, kLongestRetryWait);
  }
}

}  // namespace p2p
