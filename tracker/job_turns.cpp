// The part of the board that knows of turns: which order, who has one, what operators do about it.
#include <algorithm>
#include <set>
#include <utility>

#include "core/base/text.h"
#include "core/model/node_set.h"
#include "core/model/place.h"
#include "core/runs/run_state.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "tracker/job_board.h"
#include "tracker/job_plan.h"
#include "tracker/run_records.h"

namespace p2p {
namespace {

constexpr std::size_t kFoldedShown = 4096;  // characters of folded names

// What is empty in a record of turns means something else for runs.
Result<ExecRules> turns_of(proto::RolloutRecord record) {
  if (record.offline().empty()) record.set_offline("queue");
  return exec_rules_of(record);
}

JobRules::Offline offline_of(ExecRules::Offline offline) {
  switch (offline) {
    case ExecRules::Offline::fail:
      return JobRules::Offline::fail;
    case ExecRules::Offline::skip:
      return JobRules::Offline::skip;
    case ExecRules::Offline::queue:
      break;
  }
  return JobRules::Offline::queue;
}

std::string counted(const TaskCounts& counts) {
  std::string text;
  for (const auto& [state, name] : kTaskStateNames) {
    if (counts[state] == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(counts[state]) + " " + std::string(name);
  }
  return text;
}

}  // namespace

proto::PushSpec push_spec_of(const proto::JobRecord& record) {
  proto::PushSpec push;
  push.set_source(record.source());
  push.set_targets(record.targets());
  push.set_path(record.path());
  push.set_limit_bytes_per_second(record.limit_bytes_per_second());
  push.set_offline_ttl_seconds(record.offline_ttl_seconds());
  push.set_allocate(record.allocate());
  push.set_basis(record.basis());
  push.set_no_delta(record.no_delta());
  push.set_no_reflink(record.no_reflink());
  if (!record.has_rollout()) return push;
  const proto::RolloutRecord& asked = record.rollout();
  proto::Rollout& rollout = *push.mutable_rollout();
  rollout.set_waves(asked.waves());
  rollout.set_window(asked.window());
  rollout.set_pause_between_ms(asked.pause_between_ms());
  rollout.set_max_fail(asked.max_fail());
  rollout.set_on_max_fail(asked.on_max_fail());
  rollout.set_order(asked.order());
  rollout.set_offline(asked.offline());
  rollout.set_ttl_seconds(asked.ttl_seconds());
  return push;
}

std::vector<NodeId> in_order_of_turns(std::vector<NodeId> nodes, const std::string& order,
                                      const Registry& registry, std::uint64_t seed) {
  if (order == "random") Rng(seed).shuffle(nodes);
  if (order != "rack-spread") return nodes;
  std::vector<std::string> racks;
  for (const NodeId id : nodes) {
    const NodeEntry* node = registry.find(id);
    racks.push_back(node == nullptr
                        ? std::string()
                        : rack_of({node->record.labels().begin(), node->record.labels().end()}));
  }
  std::vector<NodeId> spread;
  for (const std::size_t index : spread_over_racks(racks)) spread.push_back(nodes[index]);
  return spread;
}

// Checks what was asked for, and puts the targets into the order of their turns.
Status JobBoard::plan_turns(const proto::PushSpec& spec, Plan& plan,
                            std::vector<NodeId>& targets) const {
  if (!spec.has_rollout()) return {};
  const proto::Rollout& asked = spec.rollout();
  proto::RolloutRecord& record = *plan.job.record.mutable_rollout();
  record.set_waves(asked.waves());
  record.set_window(asked.window());
  record.set_pause_between_ms(asked.pause_between_ms());
  record.set_max_fail(asked.max_fail());
  record.set_on_max_fail(asked.on_max_fail());
  record.set_order(asked.order());
  record.set_offline(asked.offline());
  record.set_ttl_seconds(asked.ttl_seconds());
  const auto rules = turns_of(record);
  if (!rules) return rules.error();
  targets = in_order_of_turns(std::move(targets), asked.order(), registry_, plan.seed);
  return {};
}

JobRules JobBoard::rules_for(const proto::JobRecord& record) const {
  JobRules rules;
  rules.offline_ttl = std::chrono::seconds(record.offline_ttl_seconds());
  if (record.limit_bytes_per_second() > 0) {
    rules.bytes_per_second = record.limit_bytes_per_second();
  }
  rules.patient_until = loaded_ + loss_rules_.after_start;
  // What is stored was checked when the job was made.
  if (const auto turns = turns_of(record.rollout()); turns && record.has_rollout()) {
    rules.rollout = turns->rollout;
    rules.offline = offline_of(turns->offline);
  }
  return rules;
}

// Puts what has to survive a restart into the record; whether that has changed.
bool JobBoard::keep_turns(BoardJob& job) {
  if (!job.targets || job.targets->rollout().memory() == job.stored_turns) return false;
  job.stored_turns = job.targets->rollout().memory();
  // A job without waves has nothing to remember but what an operator did.
  if (!job.record.has_rollout() && job.stored_turns.why.empty() && job.stored_turns.forgiven == 0 &&
      !job.stored_turns.paused) {
    return false;
  }
  set_memory(job.stored_turns, *job.record.mutable_rollout());
  return true;
}

void JobBoard::store_turns(BoardJob& job, std::function<void(Status)> done) {
  job.changed = true;
  (void)keep_turns(job);
  StateBatch batch;
  put_job(job.record, batch);
  journal_.commit(std::move(batch),
                  [done = std::move(done)](const Status& stored) { done(stored); });
}

// Those whose turn has come, before any of them is told: they hear of each other, and seeds that
// are targets themselves give up their share of the chunks.
void JobBoard::enter_swarm(BoardJob& job, const std::vector<Job::Effect>& effects) {
  if (!job.targets->has_rollout()) return;
  const ContentId content = content_of(job);
  bool seeds_change = false;
  for (const Job::Effect& effect : effects) {
    const auto* offer = std::get_if<Job::Offer>(&effect);
    if (offer == nullptr) continue;
    Swarm& swarm = swarms_[content];
    stand(swarm, offer->node);
    swarm.on_wants(offer->node);
    const auto held = swarm.holders().find(offer->node);
    seeds_change = seeds_change || (held != swarm.holders().end() && held->second.complete);
  }
  if (seeds_change) tell_seeds(content);
}

std::string JobBoard::folded_targets(const BoardJob& job) const {
  if (!job.targets) return {};
  std::vector<std::string> names;
  for (const TaskStatus& task : job.targets->tasks()) names.push_back(registry_.name_of(task.node));
  return fold_names(std::move(names), kFoldedShown).str();
}

Result<BoardJob> JobBoard::dry_run(const proto::CreateJobRequest& request, WallTime now) {
  auto planned = plan(request, now);
  if (!planned) return planned.error();
  if (planned->job.reserved) catalogue_.release(*planned->job.reserved);
  planned->job.reserved.reset();
  planned->job.source_sent = 0;
  return std::move(planned->job);
}

// A push that goes on.
Result<BoardJob*> JobBoard::steerable(JobId id) {
  const BoardJob* known = find(id);
  if (known == nullptr) return Error{Errc::not_found, "no job " + id.str()};
  if (known->finished()) {
    return Error{Errc::invalid_argument,
                 "job " + id.str() + " is over already (" + known->record.state() + ")"};
  }
  if (!known->targets) {
    return Error{Errc::invalid_argument,
                 "job " + id.str() + " is a publish: it has no targets that could wait"};
  }
  return &jobs_.at(id);
}

void JobBoard::pause(JobId id, const std::string& by, WallTime now,
                     std::function<void(Status)> done) {
  const auto job = steerable(id);
  if (!job) return done(job.error());
  Job& targets = *(*job)->targets;
  if (targets.rollout().stopped()) {
    return done(Error{
        Errc::invalid_argument,
        "job " + id.str() + " has " + targets.rollout().text(now) + "; what has begun goes on"});
  }
  targets.pause("by " + printable(by, 100));
  log_info("jobs", "job paused", {{"job", id.str()}, {"by", by}});
  store_turns(**job, std::move(done));
}

void JobBoard::resume(JobId id, WallTime now, std::function<void(Status)> done) {
  const auto job = steerable(id);
  if (!job) return done(job.error());
  Job& targets = *(*job)->targets;
  if (!targets.rollout().paused()) {
    const std::string text = targets.rollout().text(now);
    return done(Error{Errc::invalid_argument,
                      "job " + id.str() + " is not paused" + (text.empty() ? "" : ": " + text)});
  }
  targets.resume(now);
  log_info("jobs", "job resumed", {{"job", id.str()}});
  store_turns(**job, std::move(done));
  perform(**job, now);
}

Result<std::vector<NodeId>> JobBoard::targets_of_retry(const BoardJob& job,
                                                       const proto::RetryRequest& request) const {
  std::set<std::string> only(request.only().begin(), request.only().end());
  for (const std::string& state : only) {
    // What only runs can be is nobody here.
    if (task_state_from(state) || run_state_from(state)) continue;
    return Error{Errc::invalid_argument,
                 "retry --only " + quoted(state, 40) +
                     ": no state of a target; write failed, expired, cancelled or skipped"};
  }
  const std::string id = JobId{job.record.number()}.str();
  std::vector<NodeId> nodes;
  bool removed = false;
  for (const TaskStatus& task : job.targets->tasks()) {
    const bool asked = only.empty() ? task.state != TaskState::succeeded
                                    : only.contains(std::string(to_string(task.state)));
    if (!asked) continue;
    if (std::as_const(registry_).find(task.node) == nullptr ||
        std::as_const(registry_).find(task.node)->record.removed()) {
      removed = true;
    } else {
      nodes.push_back(task.node);
    }
  }
  if (!nodes.empty()) return nodes;
  return Error{Errc::not_found, "no target of " + id +
                                    " to try again: " + counted(job.targets->counts()) +
                                    (removed ? "; some are not in the cluster any more" : "")};
}

void JobBoard::retry(JobId id, const proto::RetryRequest& request, const std::string& created_by,
                     WallTime now, std::function<void(Result<JobId>)> done) {
  const BoardJob* old = find(id);
  if (old == nullptr) return done(Error{Errc::not_found, "no job " + id.str()});
  if (!old->targets) {
    return done(Error{Errc::invalid_argument,
                      "job " + id.str() + " is a publish: publish again with p2pctl publish"});
  }
  if (!old->finished()) {
    return done(Error{Errc::invalid_argument,
                      "job " + id.str() + " is not over yet: wait for it, or p2pctl job cancel"});
  }
  auto nodes = targets_of_retry(*old, request);
  if (!nodes) return done(nodes.error());
  proto::PushSpec spec = push_spec_of(old->record);
  std::vector<std::string> names;
  for (const NodeId node : *nodes) names.push_back(registry_.name_of(node));
  spec.set_targets(fold_names(std::move(names), kFoldedShown).str());
  // The same bytes, whatever has become of the name or the file since.
  if (const auto content = ContentId::from_raw(old->record.content_id())) {
    const std::string& name = old->record.file_name();
    spec.set_source(name.empty() ? content->hex() : name);
  }
  Plan again;
  again.seed = rng_.next();
  again.targets = std::move(*nodes);
  again.job.record.set_kind("push");
  again.job.record.set_created_unix_ms(unix_millis(now));
  if (Status planned = plan_push(spec, again, now); !planned) return done(planned.error());
  make(std::move(again), created_by, std::move(done));
}

}  // namespace p2p
