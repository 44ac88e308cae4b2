// All exec jobs of the cluster: making them, telling agents, keeping what becomes of them.
//
// Control thread only. A job, its order and its frozen targets are on stable storage before any
// agent hears of it, and a run is stored as offered before its offer is sent: what the store calls
// queued was never told to anybody. Other states follow in batches, at most 250 ms later. Split by
// topic: run_plan.cpp (making jobs), run_reports.cpp (what agents say), run_logs.cpp (output),
// run_blobs.cpp (scripts and inputs that are not in orders), run_retention.cpp (what goes).
#pragma once

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/rng.h"
#include "core/runs/exec_job.h"
#include "io/disk/disk_pool.h"
#include "io/runtime/wall_clock.h"
#include "proto/api.pb.h"
#include "proto/control.pb.h"
#include "proto/records.pb.h"
#include "tracker/accounts.h"
#include "tracker/blobs.h"
#include "tracker/caller.h"
#include "tracker/exec_files.h"
#include "tracker/job_numbers.h"
#include "tracker/journal.h"
#include "tracker/registry.h"
#include "tracker/run_output.h"
#include "tracker/run_records.h"
#include "tracker/scripts.h"

namespace p2p {

struct RunBoardLimits {
  // Finished jobs that are kept in memory: the newest ones, as long as neither is exceeded.
  std::size_t finished_jobs = 1000;
  std::size_t finished_runs = 100'000;
  // That are kept at all, likewise; the others are removed with everything of theirs.
  std::size_t kept_jobs = 10'000;
  std::size_t kept_runs = 2'000'000;
  // A blob of which nobody says what it is for is removed when it is so old.
  Duration blob_age = std::chrono::minutes(10);
  // Of output logs; in one that is full nothing more is taken. All together: those of the oldest
  // finished jobs go.
  std::uint64_t output_of_job = std::uint64_t{1} << 30;
  std::uint64_t output_of_all = std::uint64_t{10} << 30;
  // Output of one node that is not on the disk yet; agents keep to 64 KiB.
  std::uint64_t output_of_node = 256 * 1024;
  // Scripts and inputs on their way to agents.
  std::uint64_t blobs_under_way = 4 * 1024 * 1024;
  // After a start, nobody counts as offline before this: agents try again after up to 15 s, and may
  // need 30 to be connected.
  Duration patience = std::chrono::seconds(45);
};

// What is known of the output of one run, each stream: where it ends, and how much of it is here.
struct RunStreams {
  struct Stream {
    std::uint64_t upto = 0;
    std::uint64_t bytes = 0;
    std::uint64_t logged = 0;  // with the headers of its pieces
  };
  Stream out, err;
  Stream& of(bool is_err) { return is_err ? err : out; }
};

// One job as the board keeps it.
struct BoardExec {
  proto::ExecRecord record;
  std::optional<ExecJob> job;
  proto::TrackerMessage offer;  // what every node is sent, but for the run's id
  mutable std::string folded;   // the targets, for people; once asked for
  bool stored = false;          // agents may hear of it

  std::uint64_t stored_changes = 0;  // of ExecJob::changes
  Rollout::Memory stored_memory;
  std::vector<std::size_t> first_offers;  // stored with the job
  std::vector<std::size_t> offers;        // to be sent when they are stored
  bool storing_offers = false;

  // Runs that the tracker itself has ended, until that is stored: nobody is told before.
  struct Untold {
    RunState before = RunState::queued;  // as they are shown
    std::uint64_t change = 0;
  };
  std::map<std::size_t, Untold> untold;
  std::uint64_t untold_from = 0;  // the first change of these
  bool end_stored = false;
  bool storing_decisions = false;

  std::vector<bool> known_told;   // of each run: answered on this connection
  std::vector<std::size_t> ends;  // that nodes have said, to be acknowledged once they are stored
  bool storing_ends = false;

  struct Log {
    std::shared_ptr<OutputLog> file;
    std::vector<RunStreams> streams;  // of each run
    std::uint64_t end = 0;            // with what is on its way to the disk
    std::uint64_t written = 0;
    std::uint64_t synced = 0;
    std::string pending;  // from `end` - its size on
    struct Ack {
      std::size_t run = 0;
      bool err = false;
      std::uint64_t upto = 0;
      std::uint64_t bytes = 0;
    };
    std::vector<Ack> acks;  // of what is pending
    std::vector<std::function<void()>> when_synced;
    bool busy = false;  // a disk thread has it
    bool full = false;  // or broken: nothing more is taken
  };
  Log log;

  std::map<std::uint64_t, std::function<void()>> listeners;

  bool finished() const { return record.finished_unix_ms() != 0; }
  // What people may be told: the state of a run, and whether the job is over.
  RunState told_state(std::size_t run) const {
    const auto hidden = untold.find(run);
    return hidden == untold.end() ? job->runs()[run].state : hidden->second.before;
  }
  bool over() const { return finished() && end_stored; }
  // Runs that have changed up to here (ExecJob::changes) can be told as they are.
  std::uint64_t tellable() const { return untold.empty() ? job->changes() : untold_from - 1; }
  // Over, and nobody waits for anything of it.
  bool settled() const {
    return over() && stored && !storing_decisions && untold.empty() && ends.empty() &&
           !storing_ends && !log.busy && log.pending.empty() && listeners.empty();
  }
};

class RunBoard {
 public:
  // What the board needs of the rest of the tracker.
  struct Agents {
    virtual void send(NodeId node, const proto::TrackerMessage& message) = 0;

   protected:
    ~Agents() = default;
  };
  struct Parts {
    boost::asio::io_context& loop;
    Registry& registry;
    const Accounts& accounts;
    const Scripts& scripts;
    const Blobs& blobs;
    Journal& journal;
    DiskPool& disk;
    Agents& agents;
    JobNumbers& numbers;
    ExecFiles files;
  };

  RunBoard(Parts parts, Rng rng, const RunBoardLimits& limits = {});

  // Blocking, once. `store` outlives this.
  Status load(StateStore& store, WallTime now);

  // Called with a job that is durable and has begun; or, of a dry run, with one that is not made
  // and lives until the call returns.
  using Done = std::function<void(Result<const BoardExec*>)>;
  // Checks everything that can be checked before anything is stored.
  void create(const proto::ExecSpec& spec, const Caller& caller, bool dry_run, WallTime now,
              Done done);
  void retry(JobId id, const proto::RetryRequest& request, const Caller& caller, WallTime now,
             Done done);
  // Of a job that has been made, before its head is committed with the same batch. What it returns
  // is called when that could not be stored.
  using Made = std::function<std::function<void()>(const BoardExec& job, StateBatch& batch)>;
  void on_made(Made made) { made_ = std::move(made); }

  // Durable when `done` is called. denied: only administrators, and who made the job, may.
  using Steered = std::function<void(const Status&)>;
  void cancel(JobId id, const Caller& caller, WallTime now, Steered done);
  void pause(JobId id, const Caller& caller, WallTime now, Steered done);
  void resume(JobId id, const Caller& caller, WallTime now, Steered done);

  // It has connected. What does not know runs is offered none.
  void on_agent_hello(NodeId node, bool knows_runs, WallTime now);
  void on_agent_offline(NodeId node, WallTime now);
  void on_node_removed(NodeId node, WallTime now);
  void on_run_reports(NodeId node, const proto::RunReports& reports, WallTime now);
  void on_run_output(NodeId node, const proto::RunOutput& output, WallTime now);
  void on_blob_wanted(NodeId node, const proto::BlobWanted& wanted);
  // Every 250 ms: deadlines, states to the store, ends acknowledged.
  void on_tick(WallTime now);

  // denied, with the same words for everybody: no administrator, not who made the job, and without
  // a role for its account as that is now. Then only state and counts are shown.
  Status may_look(const BoardExec& job, const Caller& caller) const;

  // Nothing when there is no such job. What it returns lives until the loop goes on, or until the
  // next call. May read the store.
  const BoardExec* find(JobId id) const;
  // Those in memory: all that are not finished, and the newest of the others.
  std::vector<const BoardExec*> newest_first() const;
  std::size_t running() const;

  // `changed` is called with every change of a job in memory, of its runs and of its output; often,
  // and it must not call the board. 0: the job is not in memory, and changes no more.
  std::uint64_t listen(JobId id, std::function<void()> changed);
  void unlisten(JobId id, std::uint64_t handle);

  // A page of what a job's runs have written. Nothing: it is not kept any more.
  using Read = std::function<void(Result<std::optional<OutputChunk>>)>;
  void read_output(JobId id, std::uint64_t from, std::optional<std::uint32_t> run,
                   std::size_t bytes_max, Read done) const;
  // How far it can be read, and whether more may come.
  struct OutputEnd {
    std::uint64_t written = 0;
    bool last = false;
  };
  OutputEnd output_end(const BoardExec& job) const;

 private:
  struct Plan;  // a job that is being made

  // run_plan.cpp
  Result<Plan> plan(const proto::ExecSpec& spec, const Caller& caller, WallTime now);
  Result<Plan> plan_retry(const BoardExec& old, const proto::RetryRequest& request,
                          const Caller& caller, WallTime now);
  Status check_account(const std::string& name, const Caller& caller,
                       const std::vector<NodeId>& nodes, proto::AccountRecord& account) const;
  std::vector<NodeId> in_order(std::vector<NodeId> nodes, const std::string& order);
  std::vector<RunStatus> freeze(const std::vector<NodeId>& nodes, WallTime now);
  void make(Plan plan, bool dry_run, WallTime now, Done done);
  void store_made(std::shared_ptr<Plan> plan, Done done);
  static Status complete_order(Plan& plan, const Blobs& blobs, bool dry_run);
  BoardExec board_form(const Plan& plan, WallTime now) const;

  // run_board.cpp
  BoardExec from_store(StoredExec stored, WallTime now) const;
  Status load_unfinished(BoardExec& entry, WallTime now);
  static bool has_made(const Caller& caller, const BoardExec& job);
  Result<BoardExec*> steerable(JobId id, const Caller& caller);
  void store_head(BoardExec& entry, Steered done);
  void perform(BoardExec& entry, WallTime now);
  void finish(BoardExec& entry, WallTime now);
  void send_when_stored(BoardExec& entry);
  void send_offers(BoardExec& entry, const std::vector<std::size_t>& runs, WallTime now);
  void send_cancel(const BoardExec& entry, std::size_t run);
  enum class WithHead { no, yes };
  void store(BoardExec& entry, WithHead with_head, std::function<void()> stored);
  void store_decisions(BoardExec& entry);
  static void hide(BoardExec& entry, std::size_t run, RunState before);
  static void tell_decided(BoardExec& entry, std::uint64_t upto);
  static void notify(const BoardExec& entry);
  BoardExec* in_memory(std::uint64_t number);

  // run_reports.cpp
  void on_report(NodeId node, const proto::RunReport& report, WallTime now);
  void on_report_of_unknown(NodeId node, const proto::RunReport& report);
  void send_known(const BoardExec& entry, std::size_t run, bool final);
  void acknowledge_ends(BoardExec& entry);

  // run_logs.cpp
  void send_taken(NodeId node, const RunId& run, bool err, std::uint64_t upto, bool enough);
  void lose_output(BoardExec& entry, std::size_t run, bool err);
  void work_on_log(BoardExec& entry);
  void on_log_written(std::uint64_t number, std::vector<BoardExec::Log::Ack> acks,
                      std::uint64_t upto, const Status& status);
  void on_log_synced(std::uint64_t number, std::uint64_t upto, const Status& status);
  void when_output_is_synced(BoardExec& entry, std::function<void()> then);
  void break_log(BoardExec& entry, const Error& why);
  void remove_old_output();

  // run_retention.cpp
  void keep(const proto::ExecRecord& record);
  void release(BoardExec& entry);
  void forget_old_jobs();
  void remove_old_jobs();
  void remove_job(std::uint64_t number, std::size_t runs);
  void remove_old_blobs();

  // run_blobs.cpp
  bool may_have_blob(NodeId node, const std::string& sha256) const;
  void send_blobs();
  void on_blob_read(const std::string& sha256, Result<std::string> bytes);
  void send_blob(NodeId node, const proto::TrackerMessage& message);
  void blob_has_arrived(NodeId node);

  boost::asio::io_context& loop_;
  Registry& registry_;
  const Accounts& accounts_;
  const Scripts& scripts_;
  const Blobs& blobs_;
  Journal& journal_;
  DiskPool& disk_;
  Agents& agents_;
  JobNumbers& numbers_;
  const ExecFiles files_;
  Rng rng_;
  const RunBoardLimits limits_;
  Made made_;
  StateStore* store_ = nullptr;  // set by load()
  WallTime started_{};
  WallTime patient_until_{};
  std::map<JobId, BoardExec> jobs_;
  mutable std::optional<std::pair<JobId, BoardExec>> recalled_;  // the last one read again
  std::uint64_t last_listener_ = 0;

  struct Place {
    std::uint64_t job = 0;
    std::size_t run = 0;
  };
  struct HashOfRun {
    std::size_t operator()(const RunId& id) const {
      std::size_t hash;
      std::memcpy(&hash, id.bytes.data() + 8, sizeof hash);  // the random half
      return hash;
    }
  };
  std::unordered_map<RunId, Place, HashOfRun> places_;  // of jobs that are not settled
  std::set<NodeId> ready_;                              // connected, and have said what they know
  std::set<NodeId> unable_;  // of those, the ones whose release knows no runs

  struct Kept {
    std::size_t runs = 0;
    std::string script_sha256, input_sha256;
  };
  std::map<std::uint64_t, Kept> kept_;  // all jobs that are over
  std::size_t kept_runs_ = 0;
  std::multiset<std::uint64_t> repeated_;  // by jobs that are being made: theirs are kept so long
  std::optional<Time> blobs_checked_;

  std::map<std::uint64_t, std::uint64_t> logs_;  // how large each job's log is
  std::uint64_t logs_bytes_ = 0;
  std::unordered_map<NodeId, std::uint64_t> untaken_;  // bytes of a node's output on their way

  std::deque<std::pair<NodeId, std::string>> blobs_wanted_;
  std::map<NodeId, std::pair<std::uint64_t, Time>> blobs_out_;  // bytes under way, since when
  std::uint64_t blobs_bytes_ = 0;
  bool reading_blob_ = false;
  std::pair<std::string, proto::TrackerMessage> last_blob_;  // that was read
};

// The state of a whole job, as operators see it: running, succeeded, failed, cancelled.
const char* exec_state(const BoardExec& job);

}  // namespace p2p
