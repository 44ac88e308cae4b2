// One job and its tasks: when each target is told, what its state is, and which rate it may use.
// Tasks are in the order of their turns (core/jobs/rollout.h).
//
// Pure state machine, like everything in core: facts come in, effects go out, the owner calls
// take_effects() after every input and on_tick() no later than next_deadline(). Times are wall
// times because they are kept across restarts of the tracker.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/base/ids.h"
#include "core/base/time.h"
#include "core/jobs/rollout.h"
#include "core/jobs/task_state.h"

namespace p2p {

struct TaskStatus {
  NodeId node;
  TaskState state = TaskState::queued;
  std::string detail;
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_copied = 0;   // from an old file on the node
  std::uint64_t bytes_already = 0;  // there before the task began
  std::uint64_t bytes_written = 0;
  std::string basis;  // the old file and how it was used, or why there was none
  std::string path;
  bool durable = false;
  WallTime started{};   // first offer
  WallTime finished{};  // final state
};

// What an agent says about its task. Nothing in it is trusted beyond that node's own task.
struct TaskReport {
  TaskState state = TaskState::running;
  std::string detail;
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_copied = 0;
  std::uint64_t bytes_already = 0;
  std::uint64_t bytes_written = 0;
  std::string basis;
  std::string path;
  bool durable = false;
};

struct JobRules {
  // Of a target that is not online when its turn comes.
  enum class Offline {
    queue,  // it has `offline_ttl`
    fail,   // it expires at once
    skip,   // it is left out
  };

  // A target whose turn has come and that cannot be reached for this long expires.
  Duration offline_ttl = std::chrono::minutes(10);
  Offline offline = Offline::queue;
  RolloutRules rollout;
  // Until then targets that are not online yet are waited for: after a start of the tracker, agents
  // are still on their way back. Only where it matters who is online when turns are given.
  WallTime patient_until{};
  // Cap of the whole job, shared by the tasks that are under way; nothing: none.
  std::optional<std::uint64_t> bytes_per_second;
  // A node that lost its connection goes on with the share that it was told last for this long;
  // until then nobody else gets any of it.
  Duration share_kept = std::chrono::seconds(5);
};

class Job {
 public:
  // Tell the node to begin, or to go on after a reconnect.
  struct Offer {
    NodeId node;
    std::uint64_t bytes_per_second = 0;  // its share; 0: no cap
  };
  struct Withdraw {
    NodeId node;
  };
  struct SetRate {
    NodeId node;
    std::uint64_t bytes_per_second = 0;
  };
  // Every task is final.
  struct Finished {};
  using Effect = std::variant<Offer, Withdraw, SetRate, Finished>;

  // Tasks and `memory` may come from a store: a final task stays as it is, any other one whose turn
  // has come is offered again.
  Job(std::vector<TaskStatus> tasks, const JobRules& rules, WallTime now,
      const Rollout::Memory& memory = {});

  // Nobody's turn comes between the two.
  void hold() { held_ = true; }
  void begin(WallTime now);

  void on_node_online(NodeId node, WallTime now);
  void on_node_offline(NodeId node, WallTime now);
  // A report for a task that is final already, or for another node, changes nothing.
  void on_report(NodeId node, const TaskReport& report, WallTime now);
  void on_cancel(WallTime now);
  // The node's task fails, whatever the node says of it; nothing is sent to the node.
  void on_node_lost(NodeId node, const std::string& why, WallTime now);
  // The job cannot begin or go on: every task that is not final fails for the same reason.
  void on_impossible(const std::string& why, WallTime now);
  // What has begun goes on. `why` as of Rollout::pause.
  void pause(std::string why);
  void resume(WallTime now);
  void on_tick(WallTime now);

  std::vector<Effect> take_effects();
  WallTime next_deadline() const;
  // Indices of tasks that changed since the last call, rising.
  std::vector<std::size_t> take_changed();

  const std::vector<TaskStatus>& tasks() const { return tasks_; }
  // Nothing when the node is no target.
  std::optional<std::size_t> index_of(NodeId node) const;
  bool is_online(NodeId node) const;
  TaskCounts counts() const;
  bool finished() const { return unfinished_ == 0; }
  const Rollout& rollout() const { return rollout_; }
  bool has_rollout() const {
    return rules_.rollout.limits_anything() || rules_.offline != JobRules::Offline::queue;
  }

 private:
  struct Presence {
    bool online = false;
    WallTime since{};  // of the last change
  };

  void give_turns();
  void begin_turn(std::size_t index);
  void offer(std::size_t index, WallTime now);
  void leave_out_all();
  bool is_patient() const;
  bool is_parked(std::size_t index) const {
    return rollout_.phase(index) == Rollout::Phase::parked;
  }
  void note_input(WallTime now);
  WallTime waits_since(std::size_t index) const;
  void assume_shares();
  bool holds_share(std::size_t index) const;
  std::uint64_t share() const;
  void share_out();
  void finish(std::size_t index, TaskState state, std::string detail, WallTime now);
  void mark_changed(std::size_t index);

  std::vector<TaskStatus> tasks_;
  JobRules rules_;
  Rollout rollout_;
  std::map<NodeId, std::size_t> index_;
  std::vector<Presence> presence_;
  std::vector<WallTime> turns_;        // when they came
  std::vector<std::uint64_t> shares_;  // last share told and still held; 0: none
  std::vector<std::size_t> offers_;    // to be made with the next effects, when there is a cap
  std::vector<bool> offered_;          // is in offers_
  bool shares_due_ = false;
  bool small_changes_too_ = false;
  bool changes_wait_ = false;  // some shares are a little wrong until the next tick
  WallTime now_{};             // of the last input
  bool held_ = false;
  bool turns_due_ = true;  // somebody's turn may have come
  bool left_out_ = false;  // a stop has been carried out
  std::vector<bool> changed_;
  std::size_t unfinished_ = 0;
  std::vector<Effect> effects_;
};

}  // namespace p2p
