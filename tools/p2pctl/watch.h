// Watching a job to its end across the tracker's absences.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/base/time.h"
#include "proto/api.pb.h"
#include "tools/p2pctl/failure.h"

namespace p2p {

// After a tracker went away, how long a watch tries to reach it, and how often: the wait doubles
// from the first to the longest.
inline constexpr Duration kWatchPatience = std::chrono::seconds(60);
inline constexpr Duration kFirstRetryWait = std::chrono::milliseconds(500);
inline constexpr Duration kLongestRetryWait = std::chrono::seconds(5);

// The world of a watch, so that a test can be it.
struct WatchWorld {
  // Hands over each state of the job until it ends, `go_on` says false, or something fails.
  using OnJob = std::function<bool(const proto::Job& job)>;
  std::function<std::optional<Failure>(const OnJob& go_on)> stream;
  std::function<void(const proto::Job& job)> show;
  std::function<void(const std::string& line)> say;
  // Comes back early when the operator interrupts.
  std::function<void(Duration)> wait;
  std::function<bool()> interrupted;
  std::function<Time()> now;
};

struct WatchEnd {
  enum class Kind { finished, detached, failed };
  Kind kind = Kind::failed;
  proto::Job job;                  // the last state that was seen
  std::optional<Failure> failure;  // when failed
};

// known: the job was seen before (this command has just created it), so that a tracker that does
// not answer now went away. asked_for: the first answer decides whether there is a tracker and such
// a job.
enum class WatchedJob { known, asked_for };

WatchEnd watch_job(const std::string& id, WatchedJob kind, const WatchWorld& world);

// How to come back to a job that goes on.
std::string watch_again_hint(const std::string& id);
// What an operator is told who stops watching.
std::string detached_text(const std::string& id);

}  // namespace p2p
