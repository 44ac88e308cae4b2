// How much output of a node's runs may be on its way to the tracker, and whose turn it is to send.
//
// One window for all runs of a node, so that no command can fill the connection; runs with output
// take turns, so that none waits for the end of another's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "core/runs/run_id.h"

namespace p2p {

inline constexpr std::size_t kOutputWindowBytes = 64 * 1024;
inline constexpr std::size_t kOutputPieceBytes = 32 * 1024;

class OutputWindow {
 public:
  explicit OutputWindow(std::size_t limit = kOutputWindowBytes) : limit_(limit) {}

  // The run may have output to send. How many bytes it may send now, which are kept for it until
  // end_turn(); 0: it waits for a turn.
  std::size_t ask(const RunId& run);
  // Of what is kept for it, these were sent: up to `end` of the stream.
  void sent(const RunId& run, bool err, std::uint64_t end, std::size_t bytes);
  // What is kept and was not sent is free again.
  void end_turn(const RunId& run);
  // The tracker has this much of the stream.
  void taken(const RunId& run, bool err, std::uint64_t upto);
  // Nothing of this run counts any more, and it waits for nothing.
  void forget(const RunId& run);
  // The connection is gone, and with it what was on the way. Turns go on.
  void forget_sent();

  // The run that waits for a turn which it can have now: it should ask again.
  std::optional<RunId> next();

 private:
  struct Piece {
    std::uint64_t end = 0;
    std::size_t bytes = 0;
  };
  struct OfRun {
    std::size_t kept = 0;
    std::array<std::deque<Piece>, 2> on_the_way;  // stdout, stderr
  };

  bool has_room() const;
  void drop_if_empty(std::map<RunId, OfRun>::iterator run);

  std::size_t limit_;
  std::size_t used_ = 0;  // kept for runs, or on the way
  std::map<RunId, OfRun> runs_;
  std::deque<RunId> waiting_;
};

}  // namespace p2p
