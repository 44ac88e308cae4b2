// The runs of this node: takes offers, has the launcher start them, watches them, and tells the
// tracker what becomes of them, with their output.
//
// Control thread. What blocks (ledger, launcher, folders) happens on two threads of its own, the
// steps of one run in their order, so that file data never holds up a command.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "core/base/time.h"
#include "core/runs/exec_policy.h"
#include "core/runs/output_window.h"
#include "io/disk/disk_pool.h"
#include "io/disk/fd.h"
#include "io/run/launcher_client.h"
#include "io/run/run_files.h"
#include "io/state/state_store.h"
#include "p2pd/blob_cache.h"
#include "p2pd/run_glance.h"
#include "p2pd/run_ledger.h"
#include "p2pd/run_watch.h"
#include "proto/control.pb.h"

namespace p2p {

// Of one node, until the tracker knows their ends.
inline constexpr std::size_t kMaxRuns = 1000;

struct RunsSettings {
  std::string folder;  // of runs; the launcher's
  ExecPolicy policy = ExecPolicy::off;
  std::string account;  // of runs that name none; empty: the launcher's choice
};

class Runs {
 public:
  struct Owner {
    // Dropped while there is no connection.
    virtual void send_to_tracker(const proto::AgentMessage& message) = 0;
    // For ever: nothing can be started, cancelled or cleaned up any more. Runs go on.
    virtual void on_launcher_lost(const Error& why) = 0;
    // It takes no more writes: a new agent may find it well again. Runs go on.
    virtual void on_ledger_broken(const Error& why) = 0;

   protected:
    ~Owner() = default;
  };

  // `launcher`: this side of its channel; none where the policy is off.
  Runs(boost::asio::io_context& control, StateStore& store, Fd launcher, RunsSettings settings,
       Owner& owner);
  ~Runs();

  // Blocking, before anything else: finds again what went on while there was no agent.
  Status recover();

  // As the tracker calls this node: commands find it in P2PD_NODE.
  void is_named(const std::string& node) { node_name_ = node; }
  void on_welcome();
  void on_tracker_down();
  void take(const proto::RunTask& task);
  void cancel(const proto::CancelRun& message);
  void take_known(const proto::RunKnown& message);
  void take_output_taken(const proto::RunOutputTaken& message);
  void take_blob(const proto::Blob& blob);
  void on_tick(Time now);

  ExecPolicy policy() const { return settings_.policy; }
  // That go on here.
  std::uint32_t running() const;

 private:
  enum class Phase {
    wants_blobs,  // nothing is decided yet
    deciding,     // the ledger is being asked
    known,        // `report` says what stands there
  };
  struct Run {
    Phase phase = Phase::deciding;
    std::optional<proto::RunTask> task;  // until it is decided
    RunState state = RunState::accepted;
    proto::RunReport report;
    bool recorded = true;  // else it is told once and forgotten: too old, or no ledger
    std::uint64_t keep_bytes = 0;
    int watch = -1;
    bool looking = false;       // a look is under way
    bool look_again = false;    // something has happened since it began
    bool looked = false;        // at least once
    bool more = true;           // there may be output to send
    bool drained = false;       // ended, and all output was sent
    bool silent = false;        // ended without any output
    bool err_first = false;     // the streams take turns
    bool tracker_done = false;  // the tracker wants to hear no more of it
    bool complained = false;
    // Of this connection:
    std::uint64_t connection = 0;  // at the offer
    bool wanted_from = false;      // `next` is what the tracker wants
    bool enough = false;
    std::optional<RunState> told;
    std::array<std::uint64_t, 2> next{};  // offsets of stdout and stderr to send from
  };
  // What came of an offer or a cancel, from a disk thread.
  struct Decided {
    proto::RunRecord record;
    bool recorded = true;
    bool begun = false;  // by this offer
    int watch = -1;
    std::optional<Error> launcher_lost;
  };
  using Entry = std::map<RunId, Run>::iterator;

  // runs.cpp
  bool find_blobs(Run& run);
  void decide(Entry run);
  void ask_ledger_first(Entry waiting);
  void on_decided(const RunId& id, const Decided& decided);
  void note_lost_launcher(const std::optional<Error>& why);
  void finish(const RunId& id);
  void clean_up();

  // runs_decide.cpp
  Decided decide_now(const RunId& id, const proto::RunTask& task, const std::string& node,
                     const std::shared_ptr<bool>& alive);
  Decided start_now(const RunId& id, proto::RunOrder order, proto::RunRecord record,
                    const std::string& node);
  Decided refuse_now(const RunId& id, std::uint64_t job, RunState end, const std::string& why);
  Decided cancel_now(const RunId& id, std::uint64_t job);
  Decided unrecorded(const RunId& id, std::uint64_t job, RunState state, const std::string& why);
  std::optional<Decided> find_again(const RunId& id, std::uint64_t job, const std::string& account,
                                    std::uint64_t keep_bytes, bool unseen_too);

  // runs_watch.cpp
  void step(Entry run);
  void on_glance(const RunId& id, std::uint64_t connection, Result<Glance> glance);
  void send_output(Entry run, const Glance& glance);
  bool is_reading(const Run& run) const;
  bool may_say_end(const Run& run) const;
  proto::RunReport to_tell(const Run& run) const;
  void tell(Entry run);
  void give_turns();
  void on_change(int watch, RunChange change);
  void look_soon(const RunId& id);

  static DiskPool::Lane lane_of(const RunId& id);

  boost::asio::io_context& control_;
  const RunsSettings settings_;
  Owner& owner_;
  std::string node_name_;
  RunLedger ledger_;
  RunFolders folders_;
  std::unique_ptr<LauncherClient> launcher_;
  RunWatch watch_;
  boost::asio::steady_timer soon_timer_;
  std::set<RunId> soon_;
  std::map<RunId, Run> runs_;
  std::map<int, RunId> watched_;
  std::set<RunId> to_remove_;  // folders of runs whose end the tracker knows
  BlobCache blobs_;
  OutputWindow window_;
  bool connected_ = false;  // and welcome
  std::uint64_t connection_ = 0;
  bool launcher_lost_ = false;
  std::optional<Error> last_trouble_;  // of the ledger, at the last tick
  Time last_look_{}, last_clean_up_{};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  DiskPool pool_;  // its jobs use what stands above
};

}  // namespace p2p
