// The states of a task: one job on one node.
//
//   queued → offered → accepted → running → succeeded | failed | cancelled | expired | skipped
//
// queued: the tracker has not told the node yet · offered: told, no answer yet · accepted: the node
// has it in its own durable record · running: work is under way · expired: the node was not reached
// in time · skipped: it was left out, because its job had stopped before or as its operator wanted
// it for nodes that are offline. The last five are final.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace p2p {

enum class TaskState {
  queued,
  offered,
  accepted,
  running,
  succeeded,
  failed,
  cancelled,
  expired,
  skipped,
};

inline constexpr std::size_t kTaskStates = 9;
inline constexpr std::array<std::pair<TaskState, std::string_view>, kTaskStates> kTaskStateNames{{
    {TaskState::queued, "queued"},
    {TaskState::offered, "offered"},
    {TaskState::accepted, "accepted"},
    {TaskState::running, "running"},
    {TaskState::succeeded, "succeeded"},
    {TaskState::failed, "failed"},
    {TaskState::cancelled, "cancelled"},
    {TaskState::expired, "expired"},
    {TaskState::skipped, "skipped"},
}};

constexpr std::string_view to_string(TaskState state) {
  return kTaskStateNames[static_cast<std::size_t>(state)].second;
}

// Nothing when `name` is no state.
constexpr std::optional<TaskState> task_state_from(std::string_view name) {
  for (const auto& [state, text] : kTaskStateNames) {
    if (text == name) return state;
  }
  return std::nullopt;
}

constexpr bool is_final(TaskState state) {
  return state >= TaskState::succeeded;
}

// Whether a task may change from `from` to `to`. Forward, also past states that nobody reported
// (an agent reports its latest state only, and a new leader may know an old one); back only to
// offered, because a node that comes back is offered its task again. A final state never changes,
// and staying is no change.
constexpr bool may_follow(TaskState from, TaskState to) {
  if (is_final(from)) return false;
  return to > from || (to == TaskState::offered && from > TaskState::offered);
}

// How many of a job's tasks are in each state.
class TaskCounts {
 public:
  constexpr std::uint32_t& operator[](TaskState state) {
    return counts_[static_cast<std::size_t>(state)];
  }
  constexpr std::uint32_t operator[](TaskState state) const {
    return counts_[static_cast<std::size_t>(state)];
  }
  constexpr std::uint32_t total() const { return sum(0, kTaskStates); }
  // Tasks in no final state yet.
  constexpr std::uint32_t unfinished() const {
    return sum(0, static_cast<std::size_t>(TaskState::succeeded));
  }
  friend bool operator==(const TaskCounts&, const TaskCounts&) = default;

 private:
  constexpr std::uint32_t sum(std::size_t begin, std::size_t end) const {
    std::uint32_t count = 0;
    for (std::size_t i = begin; i < end; ++i) count += counts_[i];
    return count;
  }

  std::array<std::uint32_t, kTaskStates> counts_{};
};

}  // namespace p2p
