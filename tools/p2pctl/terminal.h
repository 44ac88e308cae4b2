// The operator's terminal: what it is, drawing in place, and Ctrl-C.
#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "core/base/time.h"

namespace p2p {

// Progress may be drawn on stderr: it is a terminal that can move its cursor.
bool stderr_can_draw();
// Columns of the terminal on stderr now; 80 when it does not say.
std::size_t stderr_columns();
// Neither NO_COLOR (https://no-color.org) nor a terminal without colours forbids it.
bool colour_allowed();

// Lines on stderr that the next drawing replaces.
class LivePainter {
 public:
  LivePainter() = default;
  LivePainter(const LivePainter&) = delete;
  LivePainter& operator=(const LivePainter&) = delete;
  ~LivePainter() { leave(); }

  // No line may be wider than the terminal.
  void draw(const std::vector<std::string>& lines);
  // Removes what was drawn, so that other output can follow.
  void clear();
  // Keeps what was drawn and moves below it.
  void leave();

 private:
  std::string back_to_start() const;

  std::size_t drawn_ = 0;
};

// True from the first Ctrl-C or SIGTERM on, for the rest of the process. The second one kills it.
// Call once, before other threads start.
std::atomic<bool>& watch_for_interrupt();

// Somebody can be asked: there is a terminal, and stderr is it.
bool can_ask();
// A line of the terminal behind `question`; nothing after Ctrl-C or at its end.
std::optional<std::string> ask_terminal(const std::string& question);

// Sleeps; comes back early, within a tenth of a second, when `stop` becomes true.
void sleep_unless(const std::atomic<bool>& stop, Duration duration);

Time monotonic_now();
WallTime wall_now();

}  // namespace p2p
