#include "tracker/run_board.h"

#include <algorithm>
#include <utility>

#include "io/log/log.h"
#include "tracker/job_plan.h"
#include "tracker/run_plan.h"

namespace p2p {
namespace {

Error over_already(JobId id, const BoardExec& job) {
  return Error{Errc::invalid_argument,
               "job " + id.str() + " is over already (" + exec_state(job) + ")"};
}

}  // namespace

RunBoard::RunBoard(Parts parts, Rng rng, const RunBoardLimits& limits)
    : loop_(parts.loop),
      registry_(parts.registry),
      accounts_(parts.accounts),
      scripts_(parts.scripts),
      blobs_(parts.blobs),
      journal_(parts.journal),
      disk_(parts.disk),
      agents_(parts.agents),
      numbers_(parts.numbers),
      files_(std::move(parts.files)),
      rng_(rng),
      limits_(limits) {}

Status RunBoard::load(StateStore& store, WallTime now) {
  const auto heads = load_exec_heads(store);
  if (!heads) return heads.error();
  auto logs = files_.outputs();
  if (!logs) return logs.error();
  logs_ = *std::move(logs);
  store_ = &store;
  const Time began = monotonic_now();
  std::size_t jobs = 0;
  std::size_t runs = 0;
  for (auto head = heads->rbegin(); head != heads->rend(); ++head) {
    const JobId id{head->number()};
    numbers_.take(id.number);
    if (head->finished_unix_ms() != 0) {
      keep(*head);
      runs += head->target_count();
      if (++jobs > limits_.finished_jobs || runs > limits_.finished_runs) continue;
    }
    auto stored = load_exec(store, id.number);
    if (!stored) return stored.error();
    if (!*stored) continue;
    BoardExec& entry = jobs_.emplace(id, from_store(**std::move(stored), now)).first->second;
    if (entry.finished()) continue;
    if (Status read = load_unfinished(entry, now); !read) return read;
  }
  for (const auto& [job, bytes] : logs_) logs_bytes_ += bytes;
  // Reading takes as long as there is to read.
  const WallTime loaded = now + (monotonic_now() - began);
  started_ = loaded;
  patient_until_ = loaded + limits_.patience;
  for (auto& [id, entry] : jobs_) {
    if (!entry.finished()) entry.job->on_start(loaded, patient_until_);
    perform(entry, loaded);
  }
  forget_old_jobs();
  remove_old_output();
  return {};
}

BoardExec RunBoard::from_store(StoredExec stored, WallTime now) const {
  BoardExec entry;
  entry.stored = true;
  entry.record = std::move(stored.record);
  auto rules = exec_rules_of(entry.record.rollout());
  if (!rules) rules = ExecRules{};  // of a later release: it goes on without waves
  entry.stored_memory = memory_of(entry.record.rollout());
  // One that goes on is cancelled once it can say so: load_unfinished().
  const bool cancelled = entry.finished() && entry.record.cancelled();
  entry.job.emplace(std::move(stored.runs), *rules, entry.stored_memory, cancelled, now);
  entry.stored_changes = entry.job->changes();
  entry.end_stored = entry.finished();
  if (entry.finished()) entry.job->take_effects(now);
  return entry;
}

// Order, output and places of one that goes on.
Status RunBoard::load_unfinished(BoardExec& entry, WallTime now) {
  const std::uint64_t number = entry.record.number();
  const std::vector<RunStatus>& runs = entry.job->runs();
  entry.known_told.assign(runs.size(), false);
  entry.log.file = std::make_shared<OutputLog>(files_.output_path(number));
  entry.log.streams.resize(runs.size());
  for (std::size_t i = 0; i < runs.size(); ++i) places_[runs[i].id] = {number, i};
  // The head is stored first: what waited then may still be stored as waiting.
  if (entry.record.cancelled()) entry.job->on_cancel(now);
  auto order = files_.read_order(number);
  if (!order || !set_order(entry, *order)) {
    const std::string why = "the tracker has lost the order of this job: " +
                            (order ? "its file is damaged" : order.error().detail) +
                            "; nothing more is begun";
    log_error("runs", "an order is lost", {{"job", JobId{number}.str()}, {"why", why}});
    entry.record.set_detail(why);
    entry.job->on_impossible(why, now);
  }
  const auto visit = [&](const OutputPieceAt& piece, std::size_t bytes) {
    if (piece.run >= entry.log.streams.size()) return;
    RunStreams::Stream& stream = entry.log.streams[piece.run].of(piece.err);
    stream.upto = piece.offset + bytes;
    stream.bytes += bytes;
    stream.logged += kOutputHeaderBytes + bytes;
  };
  const auto end = recover_output(entry.log.file->path(), visit);
  if (!end) return end.error();
  entry.log.end = entry.log.written = entry.log.synced = *end;
  if (*end > 0) logs_[number] = *end;
  for (const RunStatus& run : std::vector<RunStatus>(runs)) {
    if (registry_.find(run.node) == nullptr) entry.job->on_node_removed(run.node, now);
  }
  return {};
}

BoardExec* RunBoard::in_memory(std::uint64_t number) {
  const auto found = jobs_.find(JobId{number});
  return found == jobs_.end() ? nullptr : &found->second;
}

const BoardExec* RunBoard::find(JobId id) const {
  if (const auto found = jobs_.find(id); found != jobs_.end()) {
    return found->second.stored ? &found->second : nullptr;
  }
  if (recalled_ && recalled_->first.number == id.number) return &recalled_->second;
  if (store_ == nullptr || !kept_.contains(id.number)) return nullptr;
  auto stored = load_exec(*store_, id.number);
  if (!stored) {
    log_error("runs", "an old job cannot be read", {{"why", stored.error().detail}});
    return nullptr;
  }
  if (!*stored || (**stored).record.finished_unix_ms() == 0) return nullptr;
  recalled_.emplace(id, from_store(std::move(**stored), wall_now()));
  return &recalled_->second;
}

std::vector<const BoardExec*> RunBoard::newest_first() const {
  std::vector<const BoardExec*> list;
  for (auto it = jobs_.rbegin(); it != jobs_.rend(); ++it) {
    if (it->second.stored) list.push_back(&it->second);
  }
  return list;
}

std::size_t RunBoard::running() const {
  return static_cast<std::size_t>(std::count_if(
      jobs_.begin(), jobs_.end(), [](const auto& entry) { return !entry.second.finished(); }));
}

bool RunBoard::has_made(const Caller& caller, const BoardExec& job) {
  return !caller.id.empty() && job.record.created_by_id() == caller.id;
}

Status RunBoard::may_look(const BoardExec& job, const Caller& caller) const {
  if (caller.admin || has_made(caller, job)) return {};
  const std::string& account = job.record.account();
  if (!account.empty() && accounts_.usable(account, caller)) return {};
  return Error{Errc::denied,
               "what job " + JobId{job.record.number()}.str() +
                   " runs and writes is for who made it, for those who may use its account, and "
                   "for administrators"};
}

Result<BoardExec*> RunBoard::steerable(JobId id, const Caller& caller) {
  const BoardExec* known = find(id);
  if (known == nullptr) return Error{Errc::not_found, "no job " + id.str()};
  if (!caller.admin && !has_made(caller, *known)) {
    return Error{Errc::denied, "job " + id.str() + " was made by " + known->record.created_by() +
                                   ": only who made it and administrators may do this"};
  }
  if (known->finished()) return over_already(id, *known);
  return in_memory(id.number);
}

void RunBoard::cancel(JobId id, const Caller& caller, WallTime now, Steered done) {
  const auto entry = steerable(id, caller);
  if (!entry) return done(entry.error());
  (*entry)->record.set_cancelled(true);
  // The head first: what nodes are told is not forgotten.
  store_head(**entry, [this, id, now, done = std::move(done)](const Status& stored) {
    BoardExec* job = in_memory(id.number);
    if (job == nullptr) return done(stored);
    if (job->finished() && !job->job->cancelled()) return done(over_already(id, *job));
    if (stored) {
      job->job->on_cancel(now);
      perform(*job, now);
    } else {
      job->record.set_cancelled(job->job->cancelled());
    }
    done(stored);
  });
}

void RunBoard::pause(JobId id, const Caller& caller, WallTime now, Steered done) {
  const auto entry = steerable(id, caller);
  if (!entry) return done(entry.error());
  const Rollout& rollout = (*entry)->job->rollout();
  if (rollout.stopped()) {
    return done(Error{Errc::invalid_argument, "job " + id.str() + " has " + rollout.text(now) +
                                                  "; what has begun goes on"});
  }
  (*entry)->job->pause("by " + caller.name);
  perform(**entry, now);
  store_head(**entry, std::move(done));
}

void RunBoard::resume(JobId id, const Caller& caller, WallTime now, Steered done) {
  const auto entry = steerable(id, caller);
  if (!entry) return done(entry.error());
  const Rollout& rollout = (*entry)->job->rollout();
  if (rollout.stopped()) {
    return done(
        Error{Errc::invalid_argument, "job " + id.str() + " has " + rollout.text(now) +
                                          ": what it left out can be had with p2pctl job retry"});
  }
  // It would forgive failures that nobody has seen.
  if (!rollout.paused()) {
    const std::string text = rollout.text(now);
    return done(Error{Errc::invalid_argument,
                      "job " + id.str() + " is not paused" + (text.empty() ? "" : ": " + text)});
  }
  (*entry)->job->resume(now);
  perform(**entry, now);
  store_head(**entry, std::move(done));
}

void RunBoard::store_head(BoardExec& entry, Steered done) {
  entry.stored_memory = entry.job->rollout().memory();
  set_memory(entry.stored_memory, *entry.record.mutable_rollout());
  StateBatch batch;
  put_exec(entry.record, batch);
  journal_.commit(std::move(batch), std::move(done));
}

void RunBoard::perform(BoardExec& entry, WallTime now) {
  bool over = false;
  for (const ExecJob::Effect& effect : entry.job->take_effects(now)) {
    if (const auto* offer = std::get_if<ExecJob::Offer>(&effect)) {
      entry.offers.push_back(offer->run);
    } else if (const auto* cancel = std::get_if<ExecJob::Cancel>(&effect)) {
      send_cancel(entry, cancel->run);
    } else {
      over = true;
    }
  }
  for (const auto& [run, before] : entry.job->take_decided()) hide(entry, run, before);
  if (over) finish(entry, now);
  store_decisions(entry);
  send_when_stored(entry);
  notify(entry);
}

void RunBoard::hide(BoardExec& entry, std::size_t run, RunState before) {
  const std::uint64_t change = entry.job->changed_at(run);
  entry.untold_from = entry.untold.empty() ? change : std::min(entry.untold_from, change);
  entry.untold[run] = {before, change};
}

// What the tracker itself has decided would be decided anew, and perhaps otherwise, if it ended
// now: it goes to the store at once. Ends that nodes have said are safe with them.
void RunBoard::store_decisions(BoardExec& entry) {
  if (!entry.stored || entry.storing_decisions) return;
  const bool end = entry.finished() && !entry.end_stored;
  const bool head = end || entry.stored_memory != entry.job->rollout().memory();
  if (!head && entry.untold.empty()) return;
  entry.storing_decisions = true;
  store(entry, head ? WithHead::yes : WithHead::no,
        [this, number = entry.record.number(), upto = entry.job->changes(), end] {
          BoardExec* found = in_memory(number);
          P2P_CHECK(found != nullptr);  // such a job is not settled
          found->storing_decisions = false;
          if (end) {
            found->end_stored = true;
            keep(found->record);
          }
          tell_decided(*found, upto);
          store_decisions(*found);
          notify(*found);
        });
}

// Those whose change is stored.
void RunBoard::tell_decided(BoardExec& entry, std::uint64_t upto) {
  std::erase_if(entry.untold, [&](const auto& one) { return one.second.change <= upto; });
  std::uint64_t first = entry.job->changes();
  for (const auto& [run, one] : entry.untold) first = std::min(first, one.change);
  entry.untold_from = first;
}

void RunBoard::finish(BoardExec& entry, WallTime now) {
  if (entry.finished()) return;
  entry.record.set_finished_unix_ms(unix_millis(now));
  // A cancel that is still on its way to the store comes too late.
  entry.record.set_cancelled(entry.job->cancelled());
  if (!entry.stored) return;  // its head is still on its way
  log_info("runs", "job ended",
           {{"job", JobId{entry.record.number()}.str()},
            {"state", exec_state(entry)},
            {"runs", entry.job->runs().size()},
            {"exited", entry.job->count(RunState::exited)},
            {"lost", entry.job->count(RunState::lost)}});
}

// Offers that come up meanwhile go with the next batch.
void RunBoard::send_when_stored(BoardExec& entry) {
  if (!entry.stored || entry.storing_offers || entry.offers.empty()) return;
  entry.storing_offers = true;
  const std::uint64_t number = entry.record.number();
  store(entry, WithHead::no, [this, number, runs = std::exchange(entry.offers, {})] {
    BoardExec* found = in_memory(number);
    if (found == nullptr) return;
    found->storing_offers = false;
    send_offers(*found, runs, wall_now());
    send_when_stored(*found);
  });
}

void RunBoard::send_offers(BoardExec& entry, const std::vector<std::size_t>& runs, WallTime now) {
  bool refused = false;
  proto::RunTask& task = *entry.offer.mutable_run();
  for (const std::size_t index : runs) {
    const RunStatus& run = entry.job->runs()[index];
    if (is_final(run.state) || entry.job->is_cancelling(index) || !entry.job->is_online(index)) {
      continue;
    }
    if (unable_.contains(run.node)) {
      RunFacts facts;
      facts.text = "the agent on this node is of a release that cannot run commands: upgrade p2pd";
      const RunState before = run.state;
      if (!entry.job->on_report(index, RunState::rejected, std::move(facts), now)) continue;
      hide(entry, index, before);
      refused = true;
      continue;
    }
    task.set_accepted_before(run.state >= RunState::accepted);
    task.mutable_order()->set_id(run.id.raw());
    agents_.send(run.node, entry.offer);
  }
  if (refused) perform(entry, now);
}

void RunBoard::send_cancel(const BoardExec& entry, std::size_t run) {
  proto::TrackerMessage message;
  message.mutable_cancel_run()->set_id(entry.job->runs()[run].id.raw());
  message.mutable_cancel_run()->set_job(entry.record.number());
  agents_.send(entry.job->runs()[run].node, message);
}

// The runs that have changed, and the head with the last of them: `stored` is called when all is.
void RunBoard::store(BoardExec& entry, WithHead with_head, std::function<void()> stored) {
  const std::uint64_t number = entry.record.number();
  const std::uint64_t since = std::exchange(entry.stored_changes, entry.job->changes());
  std::vector<StateBatch> batches;
  if (since != entry.stored_changes) batches = changed_run_pages(number, *entry.job, since);
  if (with_head == WithHead::yes) {
    entry.stored_memory = entry.job->rollout().memory();
    set_memory(entry.stored_memory, *entry.record.mutable_rollout());
  }
  if (batches.empty() && (with_head == WithHead::yes || stored)) batches.emplace_back();
  for (StateBatch& batch : batches) {
    const bool last = &batch == &batches.back();
    if (last && with_head == WithHead::yes) put_exec(entry.record, batch);
    journal_.commit_or_stop(std::move(batch), last ? std::move(stored) : nullptr);
  }
}

void RunBoard::on_tick(WallTime now) {
  bool settled = false;
  for (auto& [id, entry] : jobs_) {
    if (!entry.stored) continue;
    if (!entry.finished()) {
      entry.job->on_tick(now);
      perform(entry, now);
    }
    store(entry, WithHead::no, nullptr);
    acknowledge_ends(entry);
    settled = settled || entry.settled();
  }
  for (auto it = blobs_out_.begin(); it != blobs_out_.end();) {
    // Nobody can say when it arrived if the node has nothing more to say.
    const NodeId node = it->first;
    const bool old = monotonic_now() - it->second.second > std::chrono::seconds(10);
    ++it;
    if (old) blob_has_arrived(node);
  }
  send_blobs();
  if (settled) forget_old_jobs();
  remove_old_jobs();
  remove_old_blobs();
}

void RunBoard::notify(const BoardExec& entry) {
  for (const auto& [handle, listener] : entry.listeners) listener();
}

std::uint64_t RunBoard::listen(JobId id, std::function<void()> changed) {
  BoardExec* entry = in_memory(id.number);
  if (entry == nullptr) return 0;
  entry->listeners[++last_listener_] = std::move(changed);
  return last_listener_;
}

void RunBoard::unlisten(JobId id, std::uint64_t handle) {
  if (BoardExec* entry = in_memory(id.number)) entry->listeners.erase(handle);
}

const char* exec_state(const BoardExec& job) {
  if (!job.finished()) return kRunning;
  if (job.job->cancelled()) return kCancelled;
  return job.job->exit_code() == ExitCode::ok ? kSucceeded : kFailed;
}

}  // namespace p2p
