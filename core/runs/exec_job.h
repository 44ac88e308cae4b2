// One exec job and its runs: whose turn it is, what each run's state is, and what a node is told.
//
// Pure state machine, like everything in core: facts come in, effects go out. The owner calls
// take_effects() after every input, and on_tick() from time to time. Runs are numbered from 0 in
// the order of their turns; a node has one run of a job. Times are wall times because they are kept
// across restarts of the tracker.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/check.h"
#include "core/base/ids.h"
#include "core/base/time.h"
#include "core/jobs/outcome.h"
#include "core/jobs/rollout.h"
#include "core/runs/run_id.h"
#include "core/runs/run_state.h"

namespace p2p {

// What is known of a run beside its state; most of it the node's word.
struct RunFacts {
  std::string text;  // how it ended, why it did not begin
  std::optional<int> code;
  int signal = 0;
  WallTime begun{};
  WallTime ended{};
  std::uint64_t out_bytes = 0;  // that it has written
  std::uint64_t err_bytes = 0;
  bool out_truncated = false;  // not all of it is kept
  bool err_truncated = false;
  std::uint64_t cpu_us = 0;
  std::uint64_t peak_bytes = 0;
  std::uint32_t left_running = 0;
  std::string account;
  friend bool operator==(const RunFacts&, const RunFacts&) = default;
};

struct RunStatus {
  NodeId node;
  RunId id;
  RunState state = RunState::queued;
  WallTime turn{};     // when its turn came; zero: it has not
  WallTime offered{};  // first
  RunFacts facts;
};

// Whether a run that has ended counts against its job.
bool is_failure(const RunStatus& run);

// One that has connected and says nothing of what it knows is away after this.
inline constexpr Duration kComingPatience = std::chrono::seconds(30);
// What has been offered is never given up earlier, however short the ttl.
inline constexpr Duration kBegunPatience = std::chrono::minutes(10);
// For timeout and grace of an order that nobody knows any more: no order asks for more.
inline constexpr Duration kLongestRun = std::chrono::hours(24 * 30);

struct ExecRules {
  // Of a target that is not online when its turn comes.
  enum class Offline {
    fail,   // it expires at once
    skip,   // it is left out
    queue,  // it has `ttl`
  };

  RolloutRules rollout;
  Offline offline = Offline::fail;
  // For a queued target to come; and, but not below kBegunPatience, for one that was offered its
  // run to come back and to answer.
  Duration ttl = std::chrono::minutes(10);
  // Until then nobody counts as offline who is not online: after a start of the tracker, agents are
  // still on their way back. With waves or a window, turns wait for the target whose turn it is.
  WallTime patient_until{};
};

class ExecJob {
 public:
  // Ask the node to begin, or what has become of the run.
  struct Offer {
    std::size_t run = 0;
    bool accepted_before = false;
  };
  struct Cancel {
    std::size_t run = 0;
  };
  // Every run is final.
  struct Finished {};
  using Effect = std::variant<Offer, Cancel, Finished>;

  // Runs, `memory` and `cancelled` may come from a store. Nobody is online yet.
  ExecJob(std::vector<RunStatus> runs, const ExecRules& rules, const Rollout::Memory& memory,
          bool cancelled, WallTime now);

  // What the order allows, timeout and grace together; zero: there is no limit. kLongestRun until
  // this is said.
  void set_longest(Duration longest) { longest_ = longest; }
  // Everything is loaded, which takes its time: from now on nodes can come.
  void on_start(WallTime now, WallTime patient_until);
  // It is connected, and is about to say what it knows.
  void on_node_coming(NodeId node, WallTime now);
  // It has said what it knows (on_report). Runs of which it said nothing are offered again.
  void on_node_online(NodeId node, WallTime now);
  void on_node_offline(NodeId node, WallTime now);
  // It is away, and was not when the tracker started: nobody waits for it to come back from that.
  void on_node_seen(NodeId node);
  // It is not in the cluster any more.
  void on_node_removed(NodeId node, WallTime now);
  // False: it changed nothing, because that state may not follow.
  bool on_report(std::size_t run, RunState state, RunFacts facts, WallTime now);
  // Its node sends what it has written: it is not lost.
  void on_output(std::size_t run, WallTime now) { presence_[run].spoke = now; }
  // Not all output of a run could be kept.
  void on_output_lost(std::size_t run, bool err);
  void on_cancel(WallTime now);
  void pause(std::string why);
  void resume(WallTime now);
  // Nothing can be offered any more, nor asked about: what waits is not delivered; of the rest only
  // its nodes can say what becomes of it.
  void on_impossible(const std::string& why, WallTime now);
  void on_tick(WallTime now);

  std::vector<Effect> take_effects(WallTime now);
  // Runs that have ended without a word of their node since the last call, and what they were.
  struct Decided {
    std::size_t run = 0;
    RunState before = RunState::queued;
  };
  std::vector<Decided> take_decided() { return std::exchange(decided_, {}); }

  const std::vector<RunStatus>& runs() const { return runs_; }
  // Nothing when the node is no target.
  std::optional<std::size_t> index_of(NodeId node) const;
  bool is_online(std::size_t run) const { return presence_[run].where == Where::here; }
  bool cancelled() const { return cancelled_; }
  // An operator wants this run to end, or never to begin.
  bool is_cancelling(std::size_t run) const { return cancelled_ && !is_final(runs_[run].state); }
  bool finished() const { return unfinished_ == 0; }
  const Rollout& rollout() const { return rollout_; }
  std::size_t count(RunState state) const { return counts_[static_cast<std::size_t>(state)]; }
  // Of a job that has finished.
  ExitCode exit_code() const;

  // Rises with every change of a run; each run has the number of its last one.
  std::uint64_t changes() const { return changes_; }
  std::uint64_t changed_at(std::size_t run) const { return changed_at_[run]; }

 private:
  enum class Where { away, coming, here };
  struct Presence {
    Where where = Where::away;
    WallTime since{};    // of the last change between away and the others
    bool seen = false;   // it was here since the tracker's start: its patience is for others
    bool heard = false;  // it has said something of the run since it is here
    WallTime spoke{};    // when it did last, or sent output; or since when nothing is known
    WallTime begun{};    // when it said first that it has begun, as far as this process knows
  };

  void advance(WallTime now);
  void offer_parked(WallTime now);
  bool may_have_turn(std::size_t run, WallTime now);
  void begin_turn(std::size_t run, WallTime now);
  void set_where(std::size_t run, Where where, WallTime now);
  void check_begun(std::size_t run, WallTime now);
  bool is_on_its_way(std::size_t run, WallTime now) const {
    return now < rules_.patient_until && !presence_[run].seen;
  }
  void give_up_waiting(std::size_t run, WallTime now);
  void offer(std::size_t run, WallTime now);
  void move(std::size_t run, RunState state);
  void finish(std::size_t run, RunState state, std::string text, WallTime now);
  bool is_parked(std::size_t run) const {
    return runs_[run].state == RunState::queued && runs_[run].turn != WallTime{};
  }

  std::vector<RunStatus> runs_;
  ExecRules rules_;
  Rollout rollout_;
  bool cancelled_ = false;
  bool impossible_ = false;
  Duration longest_ = kLongestRun;
  std::unordered_map<NodeId, std::size_t> index_;
  std::vector<Presence> presence_;
  std::vector<std::uint64_t> changed_at_;
  std::uint64_t changes_ = 0;
  std::array<std::size_t, kRunStates> counts_{};
  std::size_t unfinished_ = 0;
  std::set<std::size_t> back_;  // parked when they came; some of them may be no more
  bool left_out_ = false;       // a stop has been carried out
  // Since when turns have waited for one that was coming.
  std::optional<std::pair<std::size_t, WallTime>> awaited_;
  std::vector<Effect> effects_;
  std::vector<Decided> decided_;
};

}  // namespace p2p
