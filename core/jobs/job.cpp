#include "core/jobs/job.h"

#include <algorithm>
#include <utility>

namespace p2p {
namespace {

// With thousands of tasks each one that comes or goes changes all shares a little. Above so many
// tasks, changes below one part in a hundred wait for the tick: telling each at once would cost the
// square of the tasks. The cap may be wrong by that much for that long.
constexpr std::uint64_t kFewTasks = 100;
constexpr std::uint64_t kNoticeable = 100;
constexpr Duration kSmallChangesWait = std::chrono::milliseconds(250);

Rollout::Phase phase_of(TaskState state) {
  switch (state) {
    case TaskState::queued:
      return Rollout::Phase::waiting;
    case TaskState::offered:
    case TaskState::accepted:
    case TaskState::running:
      return Rollout::Phase::begun;
    case TaskState::succeeded:
      return Rollout::Phase::good;
    case TaskState::failed:
    case TaskState::expired:
      return Rollout::Phase::bad;
    case TaskState::cancelled:
    case TaskState::skipped:
      break;
  }
  return Rollout::Phase::left_out;
}

std::vector<Rollout::Phase> phases_of(const std::vector<TaskStatus>& tasks) {
  std::vector<Rollout::Phase> phases;
  phases.reserve(tasks.size());
  for (const TaskStatus& task : tasks) phases.push_back(phase_of(task.state));
  return phases;
}

bool noticeable(std::uint64_t from, std::uint64_t to) {
  return (from > to ? from - to : to - from) > from / kNoticeable;
}

}  // namespace

Job::Job(std::vector<TaskStatus> tasks, const JobRules& rules, WallTime now,
         const Rollout::Memory& memory)
    : tasks_(std::move(tasks)),
      rules_(rules),
      rollout_(rules.rollout, phases_of(tasks_), memory),
      presence_(tasks_.size(), Presence{false, now}),
      turns_(tasks_.size(), now),
      shares_(tasks_.size(), 0),
      offered_(tasks_.size(), false),
      now_(now),
      changed_(tasks_.size(), false) {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    index_[tasks_[i].node] = i;
    if (!is_final(tasks_[i].state)) ++unfinished_;
  }
  assume_shares();
}

void Job::begin(WallTime now) {
  note_input(now);
  held_ = false;
}

// Turns are given with the next effects: by then all is known that happened at this moment.
void Job::note_input(WallTime now) {
  now_ = now;
  turns_due_ = true;
}

// Tasks from a store may be going on with a share of which nothing is known but the cap.
void Job::assume_shares() {
  if (!rules_.bytes_per_second) return;
  const auto began = [](const TaskStatus& task) {
    return task.state != TaskState::queued && !is_final(task.state);
  };
  const auto count = static_cast<std::uint64_t>(std::count_if(tasks_.begin(), tasks_.end(), began));
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (began(tasks_[i])) shares_[i] = std::max<std::uint64_t>(1, *rules_.bytes_per_second / count);
  }
}

void Job::on_node_online(NodeId node, WallTime now) {
  const auto index = index_of(node);
  if (!index) return;
  presence_[*index] = {true, now};
  note_input(now);
  const TaskState state = tasks_[*index].state;
  if (is_final(state)) return;
  const bool goes_on = !rollout_.paused() && !rollout_.stopped();
  if (state != TaskState::queued || (is_parked(*index) && goes_on)) offer(*index, now);
}

void Job::offer(std::size_t index, WallTime now) {
  TaskStatus& task = tasks_[index];
  rollout_.set(index, Rollout::Phase::begun, now);
  task.state = TaskState::offered;
  if (task.started == WallTime{}) task.started = now;
  mark_changed(index);
  if (!rules_.bytes_per_second) {
    effects_.push_back(Offer{task.node, 0});
    return;
  }
  if (!offered_[index]) offers_.push_back(index);
  offered_[index] = true;
  shares_due_ = true;
}

// With waves, or where it counts who is offline, turns wait for those that are still coming back.
bool Job::is_patient() const {
  if (now_ >= rules_.patient_until || !has_rollout()) return false;
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (tasks_[i].state == TaskState::queued && !presence_[i].online) return true;
  }
  return false;
}

void Job::give_turns() {
  if (held_ || !std::exchange(turns_due_, false)) return;
  // Those that are not waited for make room for others.
  while (!is_patient()) {
    const std::vector<std::size_t> turns = rollout_.take_turns(now_);
    if (turns.empty()) break;
    for (const std::size_t index : turns) begin_turn(index);
  }
  if (rollout_.stopped() && !std::exchange(left_out_, true)) leave_out_all();
}

void Job::begin_turn(std::size_t index) {
  if (tasks_[index].state != TaskState::queued) return;
  turns_[index] = now_;
  if (presence_[index].online) return offer(index, now_);
  switch (rules_.offline) {
    case JobRules::Offline::queue:
      return rollout_.set(index, Rollout::Phase::parked, now_);
    case JobRules::Offline::fail:
      return finish(index, TaskState::expired, "offline when its turn came", now_);
    case JobRules::Offline::skip:
      return finish(index, TaskState::skipped, "offline when its turn came", now_);
  }
}

void Job::leave_out_all() {
  const std::string why = rollout_.text(now_);
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (tasks_[i].state == TaskState::queued) finish(i, TaskState::skipped, why, now_);
  }
}

void Job::pause(std::string why) {
  rollout_.pause(std::move(why));
}

void Job::resume(WallTime now) {
  note_input(now);
  rollout_.resume(now);
  if (rollout_.stopped() || rollout_.paused()) return;
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (is_parked(i) && presence_[i].online) offer(i, now);
  }
}

void Job::on_node_offline(NodeId node, WallTime now) {
  const auto index = index_of(node);
  if (!index || !presence_[*index].online) return;
  if (turns_due_) give_turns();
  if (shares_due_) share_out();  // what it was to be told counts as told
  presence_[*index] = {false, now};
  note_input(now);
}

void Job::on_report(NodeId node, const TaskReport& report, WallTime now) {
  const auto index = index_of(node);
  if (!index) return;
  TaskStatus& task = tasks_[*index];
  if (is_final(task.state)) return;
  // A node has nothing to say about queues and offers, and only the tracker lets a task expire.
  if (report.state < TaskState::accepted || report.state >= TaskState::expired) return;
  // Progress never goes back, whatever a restarted agent has to verify again.
  task.bytes_done = std::max(task.bytes_done, report.bytes_done);
  if (report.bytes_total > 0) task.bytes_total = report.bytes_total;
  task.bytes_sent = std::max(task.bytes_sent, report.bytes_sent);
  task.bytes_received = std::max(task.bytes_received, report.bytes_received);
  // These are of one process of the agent, and only together they make sense: after a restart, what
  // the one before had fetched is there already.
  if (report.bytes_copied + report.bytes_already + report.bytes_written > 0) {
    task.bytes_copied = report.bytes_copied;
    task.bytes_already = report.bytes_already;
    task.bytes_written = report.bytes_written;
    task.bytes_received = report.bytes_received;
  }
  if (!report.basis.empty()) task.basis = report.basis;
  if (!report.path.empty()) task.path = report.path;
  task.durable = report.durable;
  task.detail = report.detail;
  mark_changed(*index);
  if (is_final(report.state)) {
    finish(*index, report.state, report.detail, now);
    shares_due_ = true;
  } else if (may_follow(task.state, report.state)) {
    task.state = report.state;
    rollout_.set(*index, phase_of(task.state), now);
  }
}

void Job::on_cancel(WallTime now) {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (is_final(tasks_[i].state)) continue;
    if (tasks_[i].state != TaskState::queued) effects_.push_back(Withdraw{tasks_[i].node});
    finish(i, TaskState::cancelled, "cancelled", now);
  }
}

void Job::on_node_lost(NodeId node, const std::string& why, WallTime now) {
  const auto index = index_of(node);
  if (!index) return;
  presence_[*index] = {false, now};
  if (is_final(tasks_[*index].state)) return;
  finish(*index, TaskState::failed, why, now);
  shares_due_ = true;
}

void Job::on_impossible(const std::string& why, WallTime now) {
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (is_final(tasks_[i].state)) continue;
    if (tasks_[i].state != TaskState::queued) effects_.push_back(Withdraw{tasks_[i].node});
    // It is nobody's own failure, and stops nothing that would go on.
    rollout_.set(i, Rollout::Phase::left_out, now);
    finish(i, TaskState::failed, why, now);
  }
}

void Job::on_tick(WallTime now) {
  give_turns();
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (is_final(tasks_[i].state) || presence_[i].online) continue;
    const bool begun = tasks_[i].state != TaskState::queued;
    if (!begun && !is_parked(i)) continue;
    if (now - waits_since(i) < rules_.offline_ttl) continue;
    finish(i, TaskState::expired,
           begun ? "the node went away and did not come back in time" : "the node was not reached",
           now);
  }
  shares_due_ = true;
  small_changes_too_ = true;
  note_input(now);
}

// Since when it is away while it should be here.
WallTime Job::waits_since(std::size_t index) const {
  return std::max(presence_[index].since, turns_[index]);
}

std::vector<Job::Effect> Job::take_effects() {
  give_turns();
  if (shares_due_) share_out();
  return std::exchange(effects_, {});
}

WallTime Job::next_deadline() const {
  WallTime next = held_ ? WallTime::max() : rollout_.next_deadline();
  if (is_patient()) next = std::min(next, rules_.patient_until);
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (is_final(tasks_[i].state) || presence_[i].online) continue;
    const bool had_turn = tasks_[i].state != TaskState::queued || is_parked(i);
    if (had_turn) next = std::min(next, waits_since(i) + rules_.offline_ttl);
    if (shares_[i] > 0) next = std::min(next, presence_[i].since + rules_.share_kept);
  }
  if (changes_wait_) next = std::min(next, now_ + kSmallChangesWait);
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

bool Job::holds_share(std::size_t index) const {
  const TaskState state = tasks_[index].state;
  if (is_final(state) || state == TaskState::queued) return false;
  return presence_[index].online || now_ - presence_[index].since < rules_.share_kept;
}

// What each node that is online gets: an equal part of what those that are away leave of the cap.
std::uint64_t Job::share() const {
  std::uint64_t sharers = 0;
  std::uint64_t kept = 0;
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (!holds_share(i)) continue;
    if (presence_[i].online) {
      ++sharers;
    } else {
      kept += shares_[i];
    }
  }
  const std::uint64_t left = *rules_.bytes_per_second - std::min(*rules_.bytes_per_second, kept);
  // Never 0, which would mean no cap.
  return std::max<std::uint64_t>(1, left / std::max<std::uint64_t>(1, sharers));
}

// Some give way, then newcomers get their share, then others get more: the cap is never issued
// twice. One that is away keeps the share that it has.
void Job::share_out() {
  const bool all = std::exchange(small_changes_too_, false) || tasks_.size() <= kFewTasks;
  shares_due_ = false;
  if (!rules_.bytes_per_second) return;
  changes_wait_ = false;
  const std::uint64_t each = share();
  std::vector<std::size_t> raised;
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (!holds_share(i)) {
      shares_[i] = 0;
    } else if (presence_[i].online && shares_[i] != each && !offered_[i]) {
      if (!all && !noticeable(shares_[i], each)) {
        changes_wait_ = true;
      } else if (shares_[i] < each) {
        raised.push_back(i);
      } else {
        shares_[i] = each;
        effects_.push_back(SetRate{tasks_[i].node, each});
      }
    }
  }
  for (const std::size_t i : std::exchange(offers_, {})) {
    offered_[i] = false;
    if (is_final(tasks_[i].state) || !presence_[i].online) continue;
    shares_[i] = each;
    effects_.push_back(Offer{tasks_[i].node, each});
  }
  for (const std::size_t i : raised) {
    shares_[i] = each;
    effects_.push_back(SetRate{tasks_[i].node, each});
  }
}

void Job::finish(std::size_t index, TaskState state, std::string detail, WallTime now) {
  TaskStatus& task = tasks_[index];
  task.state = state;
  task.detail = std::move(detail);
  task.finished = now;
  if (task.started == WallTime{}) task.started = now;
  rollout_.set(index, phase_of(state), now);
  note_input(now);
  mark_changed(index);
  if (--unfinished_ == 0) effects_.push_back(Finished{});
}

void Job::mark_changed(std::size_t index) {
  changed_[index] = true;
}

}  // namespace p2p
