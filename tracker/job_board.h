// All jobs of the cluster: making them, telling agents, keeping what becomes of them.
//
// Control thread only. A job and its frozen targets are in the store before any agent hears of it;
// task states follow in batches, at most 250 ms later, and can be rebuilt from what agents report.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/rng.h"
#include "core/jobs/job.h"
#include "core/swarm/hint_choice.h"
#include "core/swarm/source_loss.h"
#include "core/swarm/swarm.h"
#include "io/disk/disk_pool.h"
#include "io/runtime/wall_clock.h"
#include "proto/api.pb.h"
#include "proto/control.pb.h"
#include "proto/records.pb.h"
#include "tracker/audit.h"
#include "tracker/catalogue.h"
#include "tracker/hints.h"
#include "tracker/job_numbers.h"
#include "tracker/job_records.h"
#include "tracker/journal.h"
#include "tracker/registry.h"
#include "tracker/ticket_office.h"

namespace p2p {

// One job as the board keeps it.
struct BoardJob {
  proto::JobRecord record;
  // Hashing at the node that has the file, for a publish and for a push from NODE:/path.
  std::optional<Job> source;
  // The targets of a push. Told nothing before the content is known.
  std::optional<Job> targets;
  // Hints that `source` makes for a content that is known already. Not stored: after a restart the
  // job goes on without them.
  std::optional<HintWish> hinting;
  std::string hinting_path;                     // where the maker has the content
  WallTime hints_heard{};                       // when the maker of hints last said something
  std::optional<std::vector<ContentId>> older;  // versions before, the newest first; once asked for
  std::optional<FileName> reserved;             // name that this job will publish
  bool stored = false;                          // job and targets: agents may hear of it
  bool storing = false;                         // the manifest is on its way to the disk

  struct Meter {  // a task's rate, from its reports
    std::uint64_t bytes = 0;
    Time at{};
    double rate = 0;
  };
  std::map<NodeId, Meter> meters;
  std::set<NodeId> lacking;  // receivers that are online and miss what no peer of theirs has
  std::map<NodeId, std::uint64_t> uploads_before;  // what others had sent of the content before
  // Bytes that the source sent, once the job has ended and the last reports are in: another push of
  // the same content must not count for this one.
  std::optional<std::uint64_t> source_sent;
  std::vector<TaskState> stored_states;
  Rollout::Memory stored_turns;
  bool changed = true;  // since watchers were last told
  Time told{};          // when watchers were last told

  // The tasks that operators see.
  const Job& shown() const { return record.kind() == "publish" ? *source : *targets; }
  bool finished() const { return record.finished_unix_ms() != 0; }
};

// Finished jobs that are kept in memory: the newest ones, as long as neither number is exceeded.
// Others are read from the store when somebody asks for them.
struct BoardLimits {
  std::size_t finished_jobs = 1000;
  std::size_t finished_tasks = 500'000;
  // What nodes said that they have sent, one for each node and content; above it those of contents
  // that no job is about are forgotten.
  std::size_t uploads = 100'000;
};

class JobBoard {
 public:
  // What the board needs of the rest of the tracker.
  struct Agents {
    virtual void send(NodeId node, const proto::TrackerMessage& message) = 0;

   protected:
    ~Agents() = default;
  };

  JobBoard(boost::asio::io_context& loop, Registry& registry, Catalogue& catalogue, Hints& hints,
           TicketOffice& tickets, Journal& journal, DiskPool& disk, Agents& agents, Rng rng,
           const SourceLossRules& loss_rules = {}, const BoardLimits& limits = {});

  // Draws from this counter, which is shared with the other boards, instead of one of its own;
  // before load().
  void share_numbers(JobNumbers& numbers) { numbers_ = &numbers; }
  // Jobs that are made are noted there, in the batch that makes them; `audit` outlives this.
  void set_audit(Audit& audit) { audit_ = &audit; }
  // `store` outlives this.
  Status load(StateStore& store, WallTime now);

  // Checks everything that can be checked before anything is stored; `done` is called when the job
  // is durable and has begun.
  void create(const proto::CreateJobRequest& request, const std::string& created_by, WallTime now,
              std::function<void(Result<JobId>)> done);
  Status cancel(JobId id, WallTime now);
  // Of a job that is not made: its targets in the order of their turns. Its number is 0.
  Result<BoardJob> dry_run(const proto::CreateJobRequest& request, WallTime now);
  // No further target begins, until somebody resumes the job. `by`: a name for people. `done` is
  // called when it is durable.
  void pause(JobId id, const std::string& by, WallTime now, std::function<void(Status)> done);
  void resume(JobId id, WallTime now, std::function<void(Status)> done);
  // A new push of the same content to those targets of a finished one whose states are named; of
  // none named, to all that have it not.
  void retry(JobId id, const proto::RetryRequest& request, const std::string& created_by,
             WallTime now, std::function<void(Result<JobId>)> done);
  // What a push of a known content would cost each node. Changes nothing; the path may be empty.
  Result<proto::PushPlan> push_plan(const proto::PushSpec& spec, WallTime now) const;

  void on_agent_online(NodeId node, WallTime now);
  void on_agent_offline(NodeId node, WallTime now);
  // Its unfinished tasks fail, and nobody is told of it any more. How many tasks that were.
  std::uint32_t on_node_removed(NodeId node, WallTime now);
  void on_task_update(NodeId node, const proto::TaskUpdate& update, WallTime now);
  void on_body_piece(NodeId node, const proto::BodyPiece& piece);
  void on_holdings(NodeId node, const proto::Holdings& holdings);
  void on_hint_made(NodeId node, const proto::HintMade& made, WallTime now);
  void on_hint_blame(NodeId node, const proto::HintBlame& blame);
  // The agent is told; swarms that it enters from now on know.
  void on_labels_changed(const NodeEntry& node);
  void on_upload(NodeId node, const proto::UploadReport& report);
  // Every 250 ms: deadlines, task states to the store, watchers.
  void on_tick(WallTime now);

  // Nothing when there is no such job. What it returns lives until the loop goes on, or until the
  // next call. May read the store.
  const BoardJob* find(JobId id) const;
  // Those in memory: all that are not finished, and the newest of the others.
  std::vector<const BoardJob*> newest_first() const;
  const Swarm* swarm_of(const ContentId& id) const;
  std::size_t running() const;
  std::uint64_t source_bytes_sent(const BoardJob& job) const;
  // For whom a job waits that can go on only when a node is back; empty: for nobody.
  std::string waits_for(const BoardJob& job) const;
  // The targets of a push, for people.
  std::string folded_targets(const BoardJob& job) const;

  // Called with the job on changes, at most four times a second, and at once when it has finished.
  using Watcher = std::function<void(const BoardJob&)>;
  std::uint64_t watch(JobId id, Watcher watcher);
  void unwatch(std::uint64_t handle);

 private:
  struct Plan;  // a job that is being made

  // The number of the record; nothing: none is kept.
  std::optional<std::uint64_t> add_audit(const BoardJob& job, StateBatch& batch) const;
  Result<Plan> plan(const proto::CreateJobRequest& request, WallTime now);
  void make(Plan plan, const std::string& created_by, std::function<void(Result<JobId>)> done);
  Status plan_turns(const proto::PushSpec& spec, Plan& plan, std::vector<NodeId>& targets) const;
  Result<std::vector<NodeId>> targets_of_retry(const BoardJob& job,
                                               const proto::RetryRequest& request) const;
  Result<BoardJob*> steerable(JobId id);
  JobRules rules_for(const proto::JobRecord& record) const;
  bool keep_turns(BoardJob& job);
  void store_turns(BoardJob& job, std::function<void(Status)> done);
  void enter_swarm(BoardJob& job, const std::vector<Job::Effect>& effects);
  Status plan_push(const proto::PushSpec& spec, Plan& plan, WallTime now);
  Status plan_known(const proto::PushSpec& spec, const Source& source, Plan& plan,
                    WallTime now) const;
  Status plan_targets(const proto::PushSpec& spec, const std::string& base_name, Plan& plan,
                      WallTime now) const;
  void plan_node(BoardJob& job, const NodeEntry& node, proto::NodePlan& plan) const;
  Status plan_publish(const std::string& node, const std::string& path, const std::string& name,
                      Plan& plan, WallTime now);
  Status plan_base(const proto::PublishSpec& spec, Plan& plan) const;
  void begin(BoardJob& job, WallTime now);
  void begin_targets(BoardJob& job, WallTime now);
  void perform(BoardJob& job, WallTime now);
  void perform_source(BoardJob& job, WallTime now);
  void perform_targets(BoardJob& job, WallTime now);
  void offer_push(BoardJob& job, const Job::Offer& offer);
  void renew_tickets(WallTime now);
  void fail_removed(BoardJob& job, WallTime now);
  void add_peers(const BoardJob& job, NodeId node, std::vector<Swarm::Member> members,
                 google::protobuf::RepeatedPtrField<proto::PeerAddress>* out) const;
  void take_published(BoardJob& job, NodeId node, const proto::TaskUpdate& update);
  bool ask_for_hints(BoardJob& job, WallTime now);
  void give_up_mute_maker(BoardJob& job, WallTime now);
  void take_hints(BoardJob& job, NodeId node, const proto::TaskUpdate& update, WallTime now);
  void on_hints_over(BoardJob& job, WallTime now);
  proto::PublishTask publish_task(BoardJob& job);
  std::vector<HintFacts::Maker> hint_makers(const BoardJob& job, const HintFacts& facts) const;
  HintFacts hint_facts(BoardJob& job) const;
  void add_hints(BoardJob& job, const NodeEntry& node, proto::PushTask& push,
                 std::vector<Swarm::Member>& members);
  const std::vector<ContentId>& older_of(BoardJob& job) const;
  std::vector<ContentId> held_before(BoardJob& job, const NodeEntry& node) const;
  std::vector<ContentId> held_at(NodeId node, const std::string& path) const;
  void note_held(NodeId node, const ContentId& content, const Holder& holder);
  bool is_publishing(NodeId node) const;
  bool takes_part(NodeId node, const ContentId& content) const;
  void keep_hint(NodeId node, const proto::HintMade& made, WallTime now, StateBatch& batch);
  void keep_waiting_hints(NodeId node, const ContentId& content, WallTime now, StateBatch& batch);
  void on_manifest_stored(JobId id, NodeId node, TaskReport report, proto::ContentRecord content,
                          Status stored);
  void finish(BoardJob& job, WallTime now);
  void on_source_lost(NodeId node, const ContentId& content, const std::string& what,
                      const std::string& path);
  void on_whole_holder(NodeId node, const ContentId& content);
  void on_announced(NodeId node);
  void note_lacking(BoardJob& job, NodeId node, const proto::TaskUpdate& update);
  void note_removed_holder(NodeId node);
  void arm_what_removed_nodes_had();
  void withdraw_what_is_lost(WallTime now);
  void withdraw(const ContentId& content, const std::string& why, WallTime now);
  bool is_wanted(const ContentId& content) const;
  void stand(Swarm& swarm, NodeId node) const;
  void tell_seeds(const ContentId& content, std::optional<NodeId> anew = {});
  std::vector<SourceLoss::Receiver> receivers_of(const ContentId& content) const;
  bool may_be_had(const ContentId& content, WallTime now) const;
  std::vector<NodeId> holders_away(const ContentId& content) const;
  bool may_hold_whole(NodeId node, const ContentId& content) const;
  std::string why_lost(const ContentId& content) const;
  std::string shown_name(const ContentId& content) const;
  bool has_just_started() const;
  std::size_t seeds_of(const ContentId& content) const;
  static bool is_over(const BoardJob& job, NodeId node);
  void meter(BoardJob& job, NodeId node, std::uint64_t bytes, Time now);
  void store_tasks(BoardJob& job, StateBatch& batch);
  bool settle_finished(BoardJob& job, WallTime now);
  void forget_old_jobs();
  void forget_old_uploads();
  BoardJob from_store(StoredJob stored, WallTime now) const;
  void tell_watchers(BoardJob& job);
  ContentId content_of(const BoardJob& job) const;

  boost::asio::io_context& loop_;
  Registry& registry_;
  Catalogue& catalogue_;
  Hints& hints_;
  TicketOffice& tickets_;
  Journal& journal_;
  DiskPool& disk_;
  Agents& agents_;
  Rng rng_;
  StateStore* store_ = nullptr;  // set by load()
  Audit* audit_ = nullptr;
  const BoardLimits limits_;
  std::map<JobId, BoardJob> jobs_;
  mutable std::optional<std::pair<JobId, BoardJob>> recalled_;  // the last one read again
  JobNumbers own_numbers_;
  JobNumbers* numbers_ = &own_numbers_;
  std::map<ContentId, Swarm> swarms_;
  std::map<ContentId, std::vector<NodeId>> seeds_told_;
  const SourceLossRules loss_rules_;
  struct Lost {
    SourceLoss rule;
    std::string why;
    std::set<NodeId> publishers;  // those of them that were lost
  };
  // Contents of which a whole holder was lost and that were not withdrawn since.
  std::map<ContentId, Lost> lost_;
  std::set<NodeId> announced_;  // have said all that they hold since they connected
  Time started_ = monotonic_now();
  WallTime loaded_{};
  std::map<std::pair<NodeId, ContentId>, std::string> bodies_;  // arriving in pieces
  // Hints of contents that are being published: whose manifests are not here yet.
  std::map<std::pair<NodeId, ContentId>, std::vector<proto::HintMade>> waiting_hints_;
  // New and old content (signatures: twice the new one) that a hint was asked for, and none came.
  std::set<std::pair<ContentId, ContentId>> hints_in_vain_;
  // What lies where, as nodes said; a node that has since said otherwise is found in swarms_.
  std::map<NodeId, std::map<std::string, std::set<ContentId>>> held_paths_;
  struct Upload {
    std::uint64_t last_report = 0;
    std::uint64_t total = 0;
  };
  std::map<std::pair<ContentId, NodeId>, Upload> uploads_;
  struct Watch {
    JobId job;
    Watcher watcher;
  };
  std::map<std::uint64_t, Watch> watches_;
  std::uint64_t last_watch_ = 0;
};

}  // namespace p2p
