#include "core/jobs/job.h"

#include <algorithm>
#include <utility>

namespace p2p {

Job::Job(std::vector<TaskStatus> tasks, const JobRules& rules, WallTime now)
    : tasks_(std::move(tasks)),
      rules_(rules),
      presence_(tasks_.size(), Presence{false, now}),
      shares_(tasks_.size(), 0),
      changed_(tasks_.size(), false) {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    index_[tasks_[i].node] = i;
    if (!is_final(tasks_[i].state)) ++unfinished_;
  }
}

void Job::on_node_online(NodeId node, WallTime now) {
  const auto index = index_of(node);
  if (!index) return;
  presence_[*index] = {true, now};
  TaskStatus& task = tasks_[*index];
  if (is_final(task.state)) return;
  task.state = TaskState::offered;
  if (task.started == WallTime{}) task.started = now;
  mark_changed(*index);
  // The others give way before the newcomer gets its share: the cap is never over-issued.
  shares_[*index] = share(now);
  share_out(now);
  effects_.push_back(Offer{node, shares_[*index]});
}

void Job::on_node_offline(NodeId node, WallTime now) {
  const auto index = index_of(node);
  if (!index || !presence_[*index].online) return;
  presence_[*index] = {false, now};
}

void Job::on_report(NodeId node, const TaskReport& report, WallTime now) {
  const auto index = index_of(node);
  if (!index) return;
  TaskStatus& task = tasks_[*index];
  if (is_final(task.state)) return;
  // A node has nothing to say about queues and offers, and only the tracker lets a task expire.
  if (report.state < TaskState::accepted || report.state == TaskState::expired) return;
  // Progress never goes back, whatever a restarted agent has to verify again.
  task.bytes_done = std::max(task.bytes_done, report.bytes_done);
  if (report.bytes_total > 0) task.bytes_total = report.bytes_total;
  task.bytes_sent = std::max(task.bytes_sent, report.bytes_sent);
  task.bytes_received = std::max(task.bytes_received, report.bytes_received);
  if (!report.path.empty()) task.path = report.path;
  task.durable = report.durable;
  task.detail = report.detail;
  mark_changed(*index);
  if (is_final(report.state)) {
    finish(*index, report.state, report.detail, now);
    share_out(now);
  } else if (may_follow(task.state, report.state)) {
    task.state = report.state;
  }
}

void Job::on_cancel(WallTime now) {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (is_final(tasks_[i].state)) continue;
    if (tasks_[i].state != TaskState::queued) effects_.push_back(Withdraw{tasks_[i].node});
    finish(i, TaskState::cancelled, "cancelled", now);
  }
}

void Job::on_impossible(const std::string& why, WallTime now) {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (!is_final(tasks_[i].state)) finish(i, TaskState::failed, why, now);
  }
}

void Job::on_tick(WallTime now) {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (is_final(tasks_[i].state) || presence_[i].online) continue;
    if (now - presence_[i].since < rules_.offline_ttl) continue;
    const bool begun = tasks_[i].state != TaskState::queued;
    finish(i, TaskState::expired,
           begun ? "the node went away and did not come back in time" : "the node was not reached",
           now);
  }
  share_out(now);
}

std::vector<Job::Effect> Job::take_effects() {
  return std::exchange(effects_, {});
}

WallTime Job::next_deadline() const {
  WallTime next = WallTime::max();
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (is_final(tasks_[i].state) || presence_[i].online) continue;
    next = std::min(next, presence_[i].since + rules_.offline_ttl);
    if (shares_[i] > 0) next = std::min(next, presence_[i].since + rules_.share_kept);
  }
  return next;
}

std::vector<std::size_t> Job::take_changed() {
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < changed_.size(); ++i) {
    if (!changed_[i]) continue;
    indices.push_back(i);
    changed_[i] = false;
  }
  return indices;
}

std::optional<std::size_t> Job::index_of(NodeId node) const {
  const auto found = index_.find(node);
  if (found == index_.end()) return std::nullopt;
  return found->second;
}

bool Job::is_online(NodeId node) const {
  const auto index = index_of(node);
  return index && presence_[*index].online;
}

TaskCounts Job::counts() const {
  TaskCounts counts;
  for (const TaskStatus& task : tasks_) ++counts[task.state];
  return counts;
}

bool Job::holds_share(const TaskStatus& task, WallTime now) const {
  if (is_final(task.state) || task.state == TaskState::queued) return false;
  const Presence& presence = presence_[index_.at(task.node)];
  return presence.online || now - presence.since < rules_.share_kept;
}

std::uint64_t Job::share(WallTime now) const {
  if (!rules_.bytes_per_second) return 0;
  std::uint64_t sharers = 0;
  for (const TaskStatus& task : tasks_) sharers += holds_share(task, now) ? 1 : 0;
  return std::max<std::uint64_t>(1, *rules_.bytes_per_second / std::max<std::uint64_t>(1, sharers));
}

void Job::share_out(WallTime now) {
  if (!rules_.bytes_per_second) return;
  const std::uint64_t each = share(now);
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    const bool sharer = holds_share(tasks_[i], now);
    if (!sharer) {
      shares_[i] = 0;
    } else if (shares_[i] != each) {
      shares_[i] = each;
      effects_.push_back(SetRate{tasks_[i].node, each});
    }
  }
}

void Job::finish(std::size_t index, TaskState state, std::string detail, WallTime now) {
  TaskStatus& task = tasks_[index];
  task.state = state;
  task.detail = std::move(detail);
  task.finished = now;
  if (task.started == WallTime{}) task.started = now;
  mark_changed(index);
  if (--unfinished_ == 0) effects_.push_back(Finished{});
}

void Job::mark_changed(std::size_t index) {
  changed_[index] = true;
}

}  // namespace p2p
