#include "tools/p2pctl/exec_live.h"

#include <algorithm>
#include <array>

#include "core/base/text.h"
#include "core/base/units.h"
#include "core/model/node_set.h"
#include "tools/p2pctl/progress.h"

namespace p2p {
namespace {

constexpr std::size_t kNamesMax = 400;

}  // namespace

void PrefixedLines::add(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    const std::size_t room = kMaxLineBytes - partial_.size();
    const std::size_t end = bytes.substr(0, room).find('\n');
    if (end == std::string_view::npos && bytes.size() < room) {
      partial_ += bytes;
      return;
    }
    const bool broken = end == std::string_view::npos;
    const std::size_t taken = broken ? room : end + 1;
    std::string line = prefix_ + partial_;
    line += bytes.substr(0, taken);
    if (broken) line += '\n';
    sink(line);
    partial_.clear();
    bytes.remove_prefix(taken);
  }
}

void PrefixedLines::skip(std::uint64_t bytes, const Sink& sink) {
  end(sink);
  sink(prefix_ + missing_text(bytes) + "\n");
}

void PrefixedLines::end(const Sink& sink) {
  if (partial_.empty()) return;
  sink(prefix_ + partial_ + "\n");
  partial_.clear();
}

void ExecProgress::note_output(const std::string& node, std::string_view bytes) {
  const std::size_t end = bytes.rfind('\n');
  if (end == std::string_view::npos) return;
  bytes = bytes.substr(0, end);
  const std::size_t begin = bytes.rfind('\n');
  if (begin != std::string_view::npos) bytes.remove_prefix(begin + 1);
  last_line_ = node + ": " + printable(bytes);
}

std::string progress_text(const ExecRecord& record, double seconds) {
  std::array<std::size_t, kRunStates> counts{};
  std::size_t failed = 0;
  for (const RunEntry& entry : record.runs()) {
    const auto state = run_state_from(entry.run.state());
    if (!state) continue;
    ++counts[static_cast<std::size_t>(*state)];
    if (*state == RunState::exited && !entry.good()) ++failed;
  }
  std::string text;
  const auto add = [&](RunState state) {
    const std::size_t count = counts[static_cast<std::size_t>(state)];
    if (count == 0) return;
    text +=
        (text.empty() ? "" : " | ") + std::string(to_string(state)) + " " + std::to_string(count);
    if (state == RunState::exited && failed > 0) text += " (" + std::to_string(failed) + " failed)";
  };
  add(RunState::exited);
  for (const auto& [state, name] : kRunStateNames) {
    if (state != RunState::exited) add(state);
  }
  text = record.job().id() + ": " + text + "  " + format_duration(from_seconds(seconds));
  if (!record.job().rollout_state().empty()) text += "  " + record.job().rollout_state();
  return printable(text, 1000);
}

std::vector<std::string> ExecProgress::lines(const ExecRecord& record, double seconds,
                                             std::size_t width, bool colour) const {
  std::vector<std::string> lines{cut_to_width(progress_text(record, seconds), width)};
  std::vector<std::string> running;
  std::vector<std::string> unanswered;
  for (const RunEntry& entry : record.runs()) {
    const auto state = run_state_from(entry.run.state());
    if (state == RunState::running || state == RunState::accepted) {
      running.push_back(entry.run.node());
    } else if (state == RunState::offered) {
      unanswered.push_back(entry.run.node());
    }
  }
  const auto name = [&](const char* what, const std::vector<std::string>& nodes) {
    if (nodes.empty()) return;
    lines.push_back(
        cut_to_width(what + printable(fold_names(nodes, kNamesMax).str(), 2 * kNamesMax), width));
  };
  name("running: ", running);
  name("no answer yet: ", unanswered);
  if (!last_line_.empty()) {
    const std::string line = cut_to_width(last_line_, width);
    lines.push_back(colour ? "\x1b[2m" + line + "\x1b[0m" : line);
  }
  return lines;
}

}  // namespace p2p
