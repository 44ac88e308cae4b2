#include "tools/p2pctl/job_display.h"

#include <algorithm>
#include <cstdio>

namespace p2p {

void JobDisplay::show(const proto::Job& job) {
  if (output_.format() == OutputFormat::jsonl) {
    output_.print(job);
    return;
  }
  view_.update(job);
  if (draws_) {
    // A line that fills the last column would wrap on some terminals.
    const std::size_t width = std::max<std::size_t>(stderr_columns(), 2) - 1;
    painter_.draw(view_.lines({.width = width, .colour = colour_}));
    return;
  }
  const Time now = monotonic_now();
  if (!job.finished() && last_event_ && now - *last_event_ < kProgressLineEvery) return;
  last_event_ = now;
  write_event();
}

void JobDisplay::write_event() {
  const std::string line = json_text(view_.event(), JsonStyle::one_line);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void JobDisplay::say(const std::string& line) {
  painter_.clear();
  output_.say(line);
}

void JobDisplay::end() {
  painter_.leave();
}

}  // namespace p2p
