// Shows a job that is being watched: drawn in place on a terminal, JSON lines elsewhere.
#pragma once

#include <optional>
#include <string>

#include "core/base/time.h"
#include "proto/api.pb.h"
#include "tools/p2pctl/output.h"
#include "tools/p2pctl/progress.h"
#include "tools/p2pctl/terminal.h"

namespace p2p {

// How often a progress line is written when stderr is no terminal.
inline constexpr Duration kProgressLineEvery = std::chrono::seconds(5);

// With OutputFormat::jsonl every state goes to stdout and nothing to stderr.
class JobDisplay {
 public:
  explicit JobDisplay(const Output& output) : output_(output) {}

  void show(const proto::Job& job);
  // A line of talk, which does not tear what is drawn.
  void say(const std::string& line);
  // Removes or completes what was shown, before the command's last words.
  void end();

 private:
  void write_event();

  const Output& output_;
  const bool draws_ = stderr_can_draw();
  const bool colour_ = colour_allowed();
  ProgressView view_;
  LivePainter painter_;
  std::optional<Time> last_event_;
};

}  // namespace p2p
