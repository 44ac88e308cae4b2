#include "core/runs/output_window.h"

#include <algorithm>

#include "core/base/check.h"

namespace p2p {

// Less than this is no turn: a piece has its price, however short.
bool OutputWindow::has_room() const {
  return limit_ - used_ >= limit_ / 8;
}

std::size_t OutputWindow::ask(const RunId& run) {
  OfRun& mine = runs_[run];
  if (mine.kept > 0) return 0;  // it has a turn
  const bool first = waiting_.empty() || waiting_.front() == run;
  if (!first || !has_room()) {
    if (std::find(waiting_.begin(), waiting_.end(), run) == waiting_.end()) {
      waiting_.push_back(run);
    }
    return 0;
  }
  if (!waiting_.empty()) waiting_.pop_front();
  mine.kept = std::min(limit_ - used_, kOutputPieceBytes);
  used_ += mine.kept;
  return mine.kept;
}

void OutputWindow::sent(const RunId& run, bool err, std::uint64_t end, std::size_t bytes) {
  OfRun& mine = runs_[run];
  P2P_CHECK(bytes <= mine.kept);
  mine.kept -= bytes;
  mine.on_the_way[err ? 1 : 0].push_back({end, bytes});
}

void OutputWindow::end_turn(const RunId& run) {
  const auto found = runs_.find(run);
  if (found == runs_.end()) return;
  used_ -= found->second.kept;
  found->second.kept = 0;
  drop_if_empty(found);
}

void OutputWindow::taken(const RunId& run, bool err, std::uint64_t upto) {
  const auto found = runs_.find(run);
  if (found == runs_.end()) return;
  std::deque<Piece>& pieces = found->second.on_the_way[err ? 1 : 0];
  while (!pieces.empty() && pieces.front().end <= upto) {
    used_ -= pieces.front().bytes;
    pieces.pop_front();
  }
  drop_if_empty(found);
}

void OutputWindow::forget(const RunId& run) {
  std::erase(waiting_, run);
  const auto found = runs_.find(run);
  if (found == runs_.end()) return;
  used_ -= found->second.kept;
  for (const auto& pieces : found->second.on_the_way) {
    for (const Piece& piece : pieces) used_ -= piece.bytes;
  }
  runs_.erase(found);
}

void OutputWindow::forget_sent() {
  used_ = 0;
  for (auto run = runs_.begin(); run != runs_.end();) {
    for (auto& pieces : run->second.on_the_way) pieces.clear();
    used_ += run->second.kept;
    run = run->second.kept == 0 ? runs_.erase(run) : std::next(run);
  }
}

std::optional<RunId> OutputWindow::next() {
  if (waiting_.empty() || !has_room()) return std::nullopt;
  return waiting_.front();
}

void OutputWindow::drop_if_empty(std::map<RunId, OfRun>::iterator run) {
  const OfRun& mine = run->second;
  if (mine.kept == 0 && mine.on_the_way[0].empty() && mine.on_the_way[1].empty()) runs_.erase(run);
}

}  // namespace p2p
