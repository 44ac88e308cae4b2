#include "tracker/job_board.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "core/base/text.h"
#include "core/model/destination.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "tracker/job_plan.h"
#include "tracker/run_records.h"

namespace p2p {
namespace {

// Watchers hear of a job at least this often, so that they can tell a quiet job from a dead
// tracker.
constexpr Duration kHeartbeat = std::chrono::seconds(2);
// After a job's end its source's last report of bytes sent may still be on its way.
constexpr std::chrono::milliseconds kLastReports{1000};

// Of what an agent says: records and answers have limits, too.
constexpr std::size_t kMaxDetailBytes = 1000;

TaskReport report_from(const proto::TaskUpdate& update) {
  TaskReport report;
  report.state = task_state_from(update.state()).value_or(TaskState::running);
  report.detail = printable(update.detail(), kMaxDetailBytes);
  report.bytes_done = update.bytes_done();
  report.bytes_total = update.bytes_total();
  report.bytes_sent = update.bytes_sent();
  report.bytes_received = update.bytes_received();
  report.bytes_copied = update.bytes_copied();
  report.bytes_already = update.bytes_already();
  report.bytes_written = update.bytes_written();
  report.basis = printable(update.basis(), kMaxDetailBytes);
  report.path = utf8_prefix(update.path(), kMaxPathBytes);
  report.durable = update.durable();
  return report;
}

}  // namespace

JobBoard::JobBoard(boost::asio::io_context& loop, Registry& registry, Catalogue& catalogue,
                   Hints& hints, TicketOffice& tickets, Journal& journal, DiskPool& disk,
                   Agents& agents, Rng rng, const SourceLossRules& loss_rules,
                   const BoardLimits& limits)
    : loop_(loop),
      registry_(registry),
      catalogue_(catalogue),
      hints_(hints),
      tickets_(tickets),
      journal_(journal),
      disk_(disk),
      agents_(agents),
      rng_(rng),
      limits_(limits),
      loss_rules_(loss_rules) {}

Status JobBoard::load(StateStore& store, WallTime now) {
  auto stored = load_jobs(store);
  if (!stored) return stored.error();
  store_ = &store;
  loaded_ = now;
  for (StoredJob& entry : *stored) {
    BoardJob job = from_store(std::move(entry), now);
    const JobId id{job.record.number()};
    numbers_->take(id.number);
    if (!job.finished() && !job.record.name().empty()) {
      const auto name = parse_file_name(job.record.name());
      if (name) {
        const auto reserved = catalogue_.reserve(*name);
        if (reserved) job.reserved = *reserved;
      }
    }
    if (!job.finished()) fail_removed(job, now);
    if (!job.finished() && job.record.state() == kRunning) {
      const bool in_turns = job.targets && job.targets->has_rollout();
      for (const TaskStatus& task : job.shown().tasks()) {
        if (is_final(task.state) || (in_turns && task.state == TaskState::queued)) continue;
        Swarm& swarm = swarms_[content_of(job)];
        stand(swarm, task.node);
        swarm.on_wants(task.node);
      }
    }
    jobs_.emplace(id, std::move(job));
  }
  forget_old_jobs();
  arm_what_removed_nodes_had();
  return {};
}

BoardJob JobBoard::from_store(StoredJob stored, WallTime now) const {
  BoardJob job;
  job.stored = true;
  job.record = std::move(stored.record);
  for (const TaskStatus& task : stored.tasks) job.stored_states.push_back(task.state);
  if (job.record.kind() == "publish") {
    job.source.emplace(std::move(stored.tasks), JobRules{}, now);
  } else {
    job.stored_turns = memory_of(job.record.rollout());
    job.targets.emplace(std::move(stored.tasks), rules_for(job.record), now, job.stored_turns);
    if (job.record.state() == kPreparing) job.targets->hold();
    const auto node = NodeId::parse(job.record.publish_node());
    if (job.record.state() == kPreparing && node) {
      TaskStatus task;
      task.node = *node;
      job.source.emplace(std::vector{task}, JobRules{}, now);
    }
  }
  if (job.finished()) job.source_sent = job.record.source_bytes_sent();
  return job;
}

ContentId JobBoard::content_of(const BoardJob& job) const {
  return ContentId::from_raw(job.record.content_id()).value_or(ContentId{});
}

void JobBoard::begin(BoardJob& job, WallTime now) {
  job.stored = true;
  if (job.finished()) return;  // cancelled meanwhile
  if (job.source && job.record.state() == kPreparing) {
    const NodeId node = job.source->tasks().front().node;
    const NodeEntry* entry = registry_.find(node);
    if (entry != nullptr && entry->online) job.source->on_node_online(node, now);
    perform(job, now);
    return;
  }
  if (!ask_for_hints(job, now)) begin_targets(job, now);
}

void JobBoard::begin_targets(BoardJob& job, WallTime now) {
  const ContentId content = content_of(job);
  Swarm& swarm = swarms_[content];
  // However long the hashing took, the nodes have their whole time to be reached.
  if (job.source) {
    job.targets =
        Job(job.targets->tasks(), rules_for(job.record), now, job.targets->rollout().memory());
  }
  job.uploads_before.clear();
  for (const auto& [key, upload] : uploads_) {
    if (key.first == content) job.uploads_before[key.second] = upload.total;
  }
  job.targets->begin(now);
  // Everybody is entered before anybody is told, so that all of them hear of each other; in turns,
  // those whose turn has come.
  for (const TaskStatus& task : job.targets->tasks()) {
    if (is_final(task.state) || job.targets->has_rollout()) continue;
    stand(swarm, task.node);
    swarm.on_wants(task.node);
  }
  tell_seeds(content);
  std::vector<NodeId> online;
  for (const TaskStatus& task : job.targets->tasks()) {
    const NodeEntry* node = registry_.find(task.node);
    if (node != nullptr && node->online) online.push_back(task.node);
  }
  for (const NodeId node : online) job.targets->on_node_online(node, now);
  perform(job, now);
}

Status JobBoard::cancel(JobId id, WallTime now) {
  const BoardJob* known = find(id);
  if (known == nullptr) return Error{Errc::not_found, "no job " + id.str()};
  if (known->finished()) {
    return Error{Errc::invalid_argument,
                 "job " + id.str() + " is over already (" + known->record.state() + ")"};
  }
  BoardJob& job = jobs_.at(id);
  job.record.set_cancelled(true);
  if (job.source) job.source->on_cancel(now);
  if (job.targets) job.targets->on_cancel(now);
  perform(job, now);
  return {};
}

void JobBoard::on_agent_online(NodeId node, WallTime now) {
  for (auto& [id, job] : jobs_) {
    if (job.finished() || !job.stored) continue;
    if (job.record.state() == kPreparing) {
      if (job.source) job.source->on_node_online(node, now);
    } else if (job.targets) {
      job.targets->on_node_online(node, now);
    }
    perform(job, now);
  }
}

void JobBoard::on_agent_offline(NodeId node, WallTime now) {
  for (auto& [content, swarm] : swarms_) swarm.on_node_offline(node);
  for (auto& [content, lost] : lost_) lost.rule.on_receiver_away(node);
  announced_.erase(node);
  std::erase_if(bodies_, [&](const auto& entry) { return entry.first.first == node; });
  std::erase_if(waiting_hints_, [&](const auto& entry) { return entry.first.first == node; });
  held_paths_.erase(node);
  std::vector<ContentId> fewer;
  for (const auto& [content, seeds] : seeds_told_) {
    if (std::find(seeds.begin(), seeds.end(), node) != seeds.end()) fewer.push_back(content);
  }
  for (const ContentId& content : fewer) tell_seeds(content);
  for (auto& [id, job] : jobs_) {
    if (job.finished()) continue;
    if (job.source) job.source->on_node_offline(node, now);
    if (job.targets) job.targets->on_node_offline(node, now);
    job.lacking.erase(node);
    job.changed = true;
    // Nobody waits for hints.
    if (!job.hinting || job.hinting->maker != node) continue;
    job.source->on_node_lost(node, "the node went away", now);
    perform(job, now);
  }
}

void JobBoard::on_task_update(NodeId node, const proto::TaskUpdate& update, WallTime now) {
  const auto found = jobs_.find(JobId{update.job()});
  const TaskReport report = report_from(update);
  if (!is_final(report.state) && (found == jobs_.end() || is_over(found->second, node))) {
    // It was away when the task was cancelled or expired, or it has a part of a job that nobody
    // remembers.
    proto::TrackerMessage message;
    message.mutable_cancel()->set_job(update.job());
    return agents_.send(node, message);
  }
  if (found == jobs_.end() || found->second.finished()) return;
  BoardJob& job = found->second;
  meter(job, node, update.bytes_done(), monotonic_now());
  note_lacking(job, node, update);
  job.changed = true;
  if (job.record.state() == kPreparing && job.source && job.source->index_of(node)) {
    job.hints_heard = now;
    if (report.state == TaskState::succeeded && job.hinting) {
      take_hints(job, node, update, now);
    } else if (report.state == TaskState::succeeded) {
      take_published(job, node, update);
    } else {
      job.source->on_report(node, report, now);
    }
  } else if (job.targets && update.root_record().empty()) {
    // With a root record it is late word of hashing, and not of this node's copy.
    job.targets->on_report(node, report, now);
  }
  perform(job, now);
}

// Whether a node has nothing to do for this job any more.
bool JobBoard::is_over(const BoardJob& job, NodeId node) {
  if (job.finished()) return true;
  for (const auto* part : {&job.source, &job.targets}) {
    const auto index = *part ? (*part)->index_of(node) : std::nullopt;
    if (index && !is_final((*part)->tasks()[*index].state)) return false;
  }
  return true;
}

void JobBoard::meter(BoardJob& job, NodeId node, std::uint64_t bytes, Time now) {
  BoardJob::Meter& meter = job.meters[node];
  const double past = seconds(now - meter.at);
  if (meter.at != Time{} && past < 0.2) return;
  if (meter.at != Time{} && bytes >= meter.bytes) {
    const double rate = static_cast<double>(bytes - meter.bytes) / past;
    meter.rate = meter.rate == 0 ? rate : 0.5 * meter.rate + 0.5 * rate;
  }
  meter.bytes = bytes;
  meter.at = now;
}

void JobBoard::perform(BoardJob& job, WallTime now) {
  if (job.source) perform_source(job, now);
  if (job.targets) perform_targets(job, now);
}

void JobBoard::perform_targets(BoardJob& job, WallTime now) {
  const std::vector<Job::Effect> effects = job.targets->take_effects();
  enter_swarm(job, effects);
  for (const Job::Effect& effect : effects) {
    job.changed = true;
    proto::TrackerMessage message;
    if (const auto* offer = std::get_if<Job::Offer>(&effect)) {
      offer_push(job, *offer);
    } else if (const auto* withdraw = std::get_if<Job::Withdraw>(&effect)) {
      message.mutable_cancel()->set_job(job.record.number());
      agents_.send(withdraw->node, message);
    } else if (const auto* rate = std::get_if<Job::SetRate>(&effect)) {
      message.mutable_rate()->set_job(job.record.number());
      message.mutable_rate()->set_bytes_per_second(rate->bytes_per_second);
      agents_.send(rate->node, message);
    } else {
      finish(job, now);
    }
  }
}

void JobBoard::finish(BoardJob& job, WallTime now) {
  if (job.finished()) return;
  const TaskCounts counts = job.shown().counts();
  const bool stopped = job.targets && job.targets->rollout().stopped();
  const bool good =
      !stopped && counts[TaskState::succeeded] + counts[TaskState::skipped] == counts.total();
  if (stopped) job.record.set_detail(job.targets->rollout().text(now));
  job.record.set_state(job.record.cancelled() ? kCancelled : good ? kSucceeded : kFailed);
  job.record.set_finished_unix_ms(unix_millis(now));
  if (job.reserved) {
    catalogue_.release(*job.reserved);
    job.reserved.reset();
  }
  const ContentId content = content_of(job);
  if (const auto swarm = swarms_.find(content); swarm != swarms_.end() && job.targets) {
    for (const TaskStatus& task : job.targets->tasks()) swarm->second.on_wants_no_more(task.node);
    if (swarm->second.empty()) swarms_.erase(swarm);
  }
  if (!is_wanted(content)) seeds_told_.erase(content);
  job.lacking.clear();
  (void)keep_turns(job);
  StateBatch batch;
  store_tasks(job, batch);
  put_job(job.record, batch);
  journal_.commit(std::move(batch));
  log_info("jobs", "job ended",
           {{"job", JobId{job.record.number()}.str()},
            {"state", job.record.state()},
            {"succeeded", counts[TaskState::succeeded]},
            {"failed", counts[TaskState::failed]},
            {"expired", counts[TaskState::expired]}});
  job.changed = true;
  tell_watchers(job);
}

// Puts the pages into `batch` whose tasks are in another state than stored.
void JobBoard::store_tasks(BoardJob& job, StateBatch& batch) {
  const auto& tasks = job.shown().tasks();
  std::optional<std::size_t> page_stored;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    if (job.stored_states[i] == tasks[i].state) continue;
    job.stored_states[i] = tasks[i].state;
    if (page_stored == i / kTasksOnPage) continue;
    page_stored = i / kTasksOnPage;
    if (batch.changes.size() >= 12) journal_.commit(std::exchange(batch, {}));
    put_task_page(job.record.number(), tasks, i, batch);
  }
}

void JobBoard::on_tick(WallTime now) {
  renew_tickets(now);
  withdraw_what_is_lost(now);
  bool settled = false;
  for (auto& [id, job] : jobs_) {
    if (job.finished()) {
      settled = settle_finished(job, now) || settled;
      continue;
    }
    if (job.source) job.source->on_tick(now);
    if (job.hinting) give_up_mute_maker(job, now);
    if (job.targets && job.record.state() == kRunning) job.targets->on_tick(now);
    perform(job, now);
    if (job.finished()) continue;
    StateBatch batch;
    store_tasks(job, batch);
    if (keep_turns(job)) put_job(job.record, batch);
    if (!batch.changes.empty()) journal_.commit(std::move(batch));
    tell_watchers(job);
  }
  if (settled) forget_old_jobs();
}

// The last reports are in: what only a running job needs is given back.
bool JobBoard::settle_finished(BoardJob& job, WallTime now) {
  if (job.source_sent || unix_millis(now) - job.record.finished_unix_ms() < kLastReports.count()) {
    return false;
  }
  job.source_sent = source_bytes_sent(job);
  job.record.set_source_bytes_sent(*job.source_sent);
  job.meters.clear();
  job.uploads_before.clear();
  StateBatch batch;
  put_job(job.record, batch);
  journal_.commit(std::move(batch));
  return true;
}

void JobBoard::forget_old_jobs() {
  std::size_t jobs = 0;
  std::size_t tasks = 0;
  std::vector<JobId> old;
  for (auto it = jobs_.rbegin(); it != jobs_.rend(); ++it) {
    const BoardJob& job = it->second;
    if (!job.finished() || !job.source_sent) continue;
    tasks += job.shown().tasks().size();
    if (++jobs > limits_.finished_jobs || tasks > limits_.finished_tasks) old.push_back(it->first);
  }
  for (const JobId id : old) jobs_.erase(id);
}

void JobBoard::tell_watchers(BoardJob& job) {
  const Time now = monotonic_now();
  if (!job.changed && now - job.told < kHeartbeat) return;
  job.changed = false;
  job.told = now;
  // A watcher may unwatch, itself or others.
  std::vector<std::uint64_t> handles;
  for (const auto& [handle, watch] : watches_) {
    if (watch.job.number == job.record.number()) handles.push_back(handle);
  }
  for (const std::uint64_t handle : handles) {
    const auto found = watches_.find(handle);
    if (found == watches_.end()) continue;
    const Watcher watcher = found->second.watcher;
    watcher(job);
  }
}

const BoardJob* JobBoard::find(JobId id) const {
  if (const auto found = jobs_.find(id); found != jobs_.end()) return &found->second;
  if (recalled_ && recalled_->first.number == id.number) return &recalled_->second;
  if (store_ == nullptr || id.number > numbers_->last()) return nullptr;
  auto stored = load_job(*store_, id.number);
  if (!stored) {
    log_error("jobs", "an old job cannot be read", {{"why", stored.error().detail}});
    return nullptr;
  }
  // One that is not finished is being made, and nobody's business yet.
  if (!*stored || (**stored).record.finished_unix_ms() == 0) return nullptr;
  recalled_.emplace(id, from_store(std::move(**stored), wall_now()));
  return &recalled_->second;
}

std::vector<const BoardJob*> JobBoard::newest_first() const {
  std::vector<const BoardJob*> list;
  for (auto it = jobs_.rbegin(); it != jobs_.rend(); ++it) list.push_back(&it->second);
  return list;
}

const Swarm* JobBoard::swarm_of(const ContentId& id) const {
  const auto found = swarms_.find(id);
  return found == swarms_.end() ? nullptr : &found->second;
}

std::size_t JobBoard::running() const {
  std::size_t count = 0;
  for (const auto& [id, job] : jobs_) count += job.finished() ? 0 : 1;
  return count;
}

std::uint64_t JobBoard::watch(JobId id, Watcher watcher) {
  watches_[++last_watch_] = {id, std::move(watcher)};
  return last_watch_;
}

void JobBoard::unwatch(std::uint64_t handle) {
  watches_.erase(handle);
}

}  // namespace p2p
