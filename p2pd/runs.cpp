#include "p2pd/runs.h"

#include <cstring>
#include <utility>

#include "io/content/merkle.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "p2pd/offload.h"

namespace p2p {
namespace {

constexpr unsigned kThreads = 2;
constexpr std::size_t kQueue = 1024;

}  // namespace

Runs::Runs(boost::asio::io_context& control, StateStore& store, Fd launcher, RunsSettings settings,
           Owner& owner)
    : control_(control),
      settings_(std::move(settings)),
      owner_(owner),
      ledger_(store),
      folders_(settings_.folder),
      launcher_(launcher ? std::make_unique<LauncherClient>(std::move(launcher)) : nullptr),
      watch_(control, [this](int watch, RunChange change) { on_change(watch, change); }),
      soon_timer_(control),
      pool_(kThreads, kQueue, "runs") {}

Runs::~Runs() {
  *alive_ = false;
  pool_.stop();
}

// By the random end of the id: what two runs share costs them nothing but order.
DiskPool::Lane Runs::lane_of(const RunId& id) {
  DiskPool::Lane lane = 0;
  std::memcpy(&lane, id.bytes.data() + id.bytes.size() - sizeof lane, sizeof lane);
  return lane;
}

Status Runs::recover() {
  // The launcher answers when none before it can start anything any more: what has no folder by
  // then never ran.
  if (launcher_) {
    const Status answered = launcher_->cancel(RunId::make(wall_now(), {}));
    if (!answered && answered.error().code == Errc::unavailable) return answered;
  }
  const auto records = ledger_.recover(folders_);
  if (!records) return records.error();
  for (const proto::RunRecord& record : *records) {
    const RunId id = *RunId::from_raw(record.id());
    Run& run = runs_[id];
    run.phase = Phase::known;
    run.state = state_of(record);
    run.report = report_of(record);
    run.keep_bytes = record.keep_bytes();
    run.watch = watch_.add(folders_.path_of(id));
    if (run.watch >= 0) watched_[run.watch] = id;
    auto glance = glance_at(ledger_, folders_, {.id = id});
    if (!glance) continue;  // again with the next look
    run.looked = true;
    run.state = glance->state;
    run.report = std::move(glance->report);
    run.drained = run.silent = glance->drained;
  }
  if (!runs_.empty()) log_info("runs", "found again", {{"runs", runs_.size()}});
  clean_up();
  return {};
}

std::uint32_t Runs::running() const {
  std::uint32_t count = 0;
  for (const auto& [id, run] : runs_) count += run.phase == Phase::known && !is_final(run.state);
  return count;
}

// ---- offers ------------------------------------------------------------------------------------

void Runs::take(const proto::RunTask& task) {
  const auto id = RunId::from_raw(task.order().id());
  if (!id) return log_warn("runs", "an offer without an id", {{"job", task.job()}});
  if (const auto known = runs_.find(*id); known != runs_.end()) {
    known->second.told.reset();
    if (known->second.phase == Phase::known) step(known);
    return;
  }
  if (runs_.size() >= kMaxRuns) {
    const std::string why = "this node has " + std::to_string(kMaxRuns) +
                            " runs whose end the tracker does not know; try again later";
    offload(
        pool_, lane_of(*id), control_, alive_,
        [this, id = *id, job = task.job(), why] {
          return refuse_now(id, job, RunState::rejected, why);
        },
        [this](const Decided& decided) {
          proto::AgentMessage message;
          *message.mutable_runs()->add_runs() = report_of(decided.record);
          owner_.send_to_tracker(message);
        });
    return;
  }
  const Entry run = runs_.emplace(*id, Run()).first;
  run->second.task = task;
  run->second.connection = connection_;
  if (find_blobs(run->second)) return decide(run);
  ask_ledger_first(run);
}

// Puts them into the order. False: one is not here.
bool Runs::find_blobs(Run& run) {
  proto::RunTask& task = *run.task;
  const auto find = [&](const std::string& sha256, std::string& into) {
    const auto digest = Digest::from_raw(sha256);
    if (!digest || !into.empty()) return true;
    auto bytes = blobs_.get(*digest);
    if (bytes) into = std::move(*bytes);
    return bytes.has_value();
  };
  const bool script = find(task.script_sha256(), *task.mutable_order()->mutable_script());
  return find(task.input_sha256(), *task.mutable_order()->mutable_input()) && script;
}

// Of a run that is on record no script is needed.
void Runs::ask_ledger_first(Entry waiting) {
  waiting->second.phase = Phase::wants_blobs;
  offload(
      pool_, lane_of(waiting->first), control_, alive_,
      [this, id = waiting->first] { return ledger_.find(id); },
      [this, id = waiting->first](const Result<std::optional<proto::RunRecord>>& record) {
        const Entry run = runs_.find(id);
        if (run == runs_.end() || run->second.phase != Phase::wants_blobs) return;
        if (!record || *record || run->second.task->accepted_before()) return decide(run);
        for (const std::string* sha256 :
             {&run->second.task->script_sha256(), &run->second.task->input_sha256()}) {
          const auto digest = Digest::from_raw(*sha256);
          if (!digest || blobs_.get(*digest)) continue;
          proto::AgentMessage message;
          message.mutable_blob()->set_sha256(*sha256);
          owner_.send_to_tracker(message);
        }
      });
}

void Runs::take_blob(const proto::Blob& blob) {
  const auto wanted = Digest::from_raw(blob.sha256());
  if (!wanted) return;
  Status usable;
  if (blob.unknown()) {
    usable =
        Error{Errc::not_found, "the tracker does not have what the run needs: " + wanted->hex() +
                                   "; nothing was started"};
  } else if (sha256(blob.bytes()) != *wanted) {
    usable = Error{Errc::corrupt, "what came from the tracker as " + wanted->hex() +
                                      " has another SHA-256; nothing was started"};
  } else {
    blobs_.put(*wanted, blob.bytes());
  }
  std::vector<RunId> waiting;
  for (const auto& [id, run] : runs_) {
    if (run.phase != Phase::wants_blobs) continue;
    if (run.task->script_sha256() == blob.sha256() || run.task->input_sha256() == blob.sha256()) {
      waiting.push_back(id);
    }
  }
  for (const RunId& id : waiting) {
    const Entry run = runs_.find(id);
    if (usable) {
      if (find_blobs(run->second)) decide(run);
      continue;
    }
    run->second.phase = Phase::deciding;
    offload(
        pool_, lane_of(id), control_, alive_,
        [this, id, job = run->second.task->job(), why = usable.error().detail] {
          return refuse_now(id, job, RunState::rejected, why);
        },
        [this, id](const Decided& decided) { on_decided(id, decided); });
  }
}

void Runs::decide(Entry run) {
  run->second.phase = Phase::deciding;
  auto task = std::make_shared<proto::RunTask>(std::move(*run->second.task));
  run->second.task.reset();
  offload(
      pool_, lane_of(run->first), control_, alive_,
      [this, id = run->first, task, node = node_name_, alive = alive_] {
        return decide_now(id, *task, node, alive);
      },
      [this, id = run->first](const Decided& decided) { on_decided(id, decided); });
}

void Runs::on_decided(const RunId& id, const Decided& decided) {
  note_lost_launcher(decided.launcher_lost);
  if (decided.launcher_lost) return;  // the next agent sees what has become of it
  const Entry run = runs_.find(id);
  if (run == runs_.end()) return;
  run->second.phase = Phase::known;
  run->second.task.reset();
  run->second.state = state_of(decided.record);
  run->second.report = report_of(decided.record);
  run->second.recorded = decided.recorded;
  run->second.keep_bytes = decided.record.keep_bytes();
  run->second.watch = decided.watch;
  if (decided.watch >= 0) watched_[decided.watch] = id;
  log_info("runs", decided.begun ? "begins" : "answered",
           {{"run", id.hex()}, {"job", decided.record.job()}, {"state", decided.record.state()}});
  step(run);
}

void Runs::note_lost_launcher(const std::optional<Error>& why) {
  if (!why || std::exchange(launcher_lost_, true)) return;
  owner_.on_launcher_lost(*why);
}

// ---- cancel ------------------------------------------------------------------------------------

void Runs::cancel(const proto::CancelRun& message) {
  const auto id = RunId::from_raw(message.id());
  if (!id) return;
  const auto [known, is_new] = runs_.try_emplace(*id);
  const bool undecided = is_new || known->second.phase == Phase::wants_blobs;
  if (undecided) known->second.phase = Phase::deciding;
  known->second.task.reset();
  offload(
      pool_, lane_of(*id), control_, alive_,
      [this, id = *id, job = message.job()] { return cancel_now(id, job); },
      [this, id = *id, undecided](const Decided& decided) {
        if (undecided) return on_decided(id, decided);
        note_lost_launcher(decided.launcher_lost);
        const Entry run = runs_.find(id);
        if (run == runs_.end()) return;
        run->second.told.reset();
        if (run->second.phase == Phase::known) step(run);
      });
}

// ---- what the tracker has ----------------------------------------------------------------------

void Runs::on_welcome() {
  constexpr int kInMessage = 200;
  connected_ = true;
  proto::AgentMessage message;
  message.mutable_runs()->set_first(true);
  for (auto& [id, run] : runs_) {
    if (run.phase != Phase::known) continue;
    const proto::RunReport report = to_tell(run);
    run.told = run_state_from(report.state());
    *message.mutable_runs()->add_runs() = report;
    if (message.runs().runs_size() < kInMessage) continue;
    owner_.send_to_tracker(message);
    message.mutable_runs()->Clear();
  }
  message.mutable_runs()->set_last(true);
  owner_.send_to_tracker(message);
}

void Runs::on_tracker_down() {
  connected_ = false;
  ++connection_;
  window_.forget_sent();
  for (auto run = runs_.begin(); run != runs_.end();) {
    Run& at = run->second;
    // Nobody was told of it, so it is offered again.
    if (at.phase == Phase::wants_blobs || (at.phase == Phase::known && !at.recorded)) {
      window_.forget(run->first);
      run = runs_.erase(run);
      continue;
    }
    at.wanted_from = at.enough = false;
    at.drained = at.silent;
    at.told.reset();
    at.next = {};
    at.more = true;
    at.looked = false;
    ++run;
  }
}

void Runs::take_known(const proto::RunKnown& message) {
  const auto id = RunId::from_raw(message.id());
  if (!id) return;
  const Entry run = runs_.find(*id);
  if (run == runs_.end()) {
    if (message.final()) finish(*id);
    return;
  }
  if (message.final()) {
    run->second.tracker_done = run->second.enough = true;
    window_.forget(*id);
    step(run);
    return give_turns();
  }
  if (std::exchange(run->second.wanted_from, true)) return;
  run->second.next = {message.out_from(), message.err_from()};
  run->second.more = true;
  step(run);
}

void Runs::take_output_taken(const proto::RunOutputTaken& message) {
  const auto id = RunId::from_raw(message.id());
  if (!id) return;
  window_.taken(*id, message.err(), message.upto());
  const Entry run = runs_.find(*id);
  if (message.enough() && run != runs_.end()) {
    run->second.enough = true;
    window_.forget(*id);
    step(run);
  }
  give_turns();
}

// The tracker knows its end: neither record nor output has to be kept for it.
void Runs::finish(const RunId& id) {
  window_.forget(id);
  if (const Entry run = runs_.find(id); run != runs_.end()) {
    watch_.remove(run->second.watch);
    watched_.erase(run->second.watch);
    runs_.erase(run);
  }
  offload(
      pool_, lane_of(id), control_, alive_,
      [this, id]() -> Status {
        const Status noted = ledger_.set_reported(id);
        if (!noted && noted.error().code != Errc::not_found) return noted;
        return launcher_ ? launcher_->remove(id) : Status();
      },
      [this, id](const Status& done) {
        // Its shim is about to end; or it is cleaned up after the next start.
        if (done || done.error().code != Errc::unavailable || launcher_lost_) {
          to_remove_.erase(id);
        } else {
          to_remove_.insert(id);
        }
      });
}

// ---- now and then ------------------------------------------------------------------------------

void Runs::on_tick(Time now) {
  constexpr Duration kLookEvery = std::chrono::seconds(1);
  constexpr Duration kCleanUpEvery = std::chrono::hours(1);
  if (last_clean_up_ == Time{}) last_clean_up_ = now;
  if (watch_.works() && now - last_look_ < kLookEvery) return;
  // Behind a look more, so that what was found meanwhile is told.
  if (last_trouble_) owner_.on_ledger_broken(*last_trouble_);
  last_trouble_ = ledger_.trouble();
  last_look_ = now;
  if (launcher_ && launcher_->is_gone()) {
    note_lost_launcher(Error{Errc::unavailable,
                             "the process that starts runs is gone; its log says why; what runs "
                             "goes on and is found again"});
  }
  for (auto run = runs_.begin(); run != runs_.end();) {
    const Entry next = std::next(run);
    // Of one that has ended only the look that failed is left.
    const bool open = !is_final(run->second.state) || !run->second.looked;
    if (run->second.phase == Phase::known && open) step(run);
    run = next;
  }
  for (const RunId& id : std::set<RunId>(to_remove_)) finish(id);
  if (now - last_clean_up_ < kCleanUpEvery) return;
  last_clean_up_ = now;
  pool_.post([this] {
    const auto forgotten = ledger_.forget(wall_now());
    if (!forgotten)
      return log_warn("runs", "old records stay", {{"why", forgotten.error().detail}});
    for (const RunId& id : *forgotten) {
      if (launcher_) (void)launcher_->remove(id).has_value();
    }
  });
}

// Blocking: folders of runs whose ends are known, and of those that nobody can ask for any more.
void Runs::clean_up() {
  const auto folders = launcher_ ? folders_.list() : std::vector<RunId>();
  if (!folders) return log_warn("runs", "not cleaned up", {{"why", folders.error().detail}});
  for (const RunId& id : *folders) {
    if (runs_.contains(id)) continue;
    const auto record = ledger_.find(id);
    const bool old = wall_now() - id.made() > kRunTooOld;
    if (record && (*record ? (*record)->reported() : old)) {
      (void)launcher_->remove(id)
          .has_value();  // of one that still goes on after all: the next time
    }
  }
}

}  // namespace p2p
