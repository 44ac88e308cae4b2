// The part of runs that decides about offers and cancels, on disk threads.
#include <boost/asio/post.hpp>
#include <utility>

#include "io/log/log.h"
#include "io/run/run_order.h"
#include "io/runtime/wall_clock.h"
#include "p2pd/runs.h"

namespace p2p {
namespace {

Error no_launcher() {
  return {Errc::unavailable, "this node has no process that starts runs"};
}

}  // namespace

Runs::Decided Runs::unrecorded(const RunId& id, std::uint64_t job, RunState state,
                               const std::string& why) {
  Decided decided;
  decided.recorded = false;
  decided.record.set_id(id.raw());
  decided.record.set_job(job);
  decided.record.set_state(std::string(to_string(state)));
  decided.record.set_text(why);
  return decided;
}

Runs::Decided Runs::refuse_now(const RunId& id, std::uint64_t job, RunState end,
                               const std::string& why) {
  auto record = ledger_.refuse(id, job, end, why, wall_now());
  // Nothing has begun in either case.
  if (!record) return unrecorded(id, job, end, why);
  const auto stored = ledger_.find(id);
  Decided decided;
  decided.record = std::move(*record);
  decided.recorded = stored && *stored;
  return decided;
}

// Of a run that the ledger does not know, but may have known before it was moved aside: its shim
// and its result know better. `unseen_too`: also one that cannot be looked at, which is not lost.
std::optional<Runs::Decided> Runs::find_again(const RunId& id, std::uint64_t job,
                                              const std::string& account, std::uint64_t keep_bytes,
                                              bool unseen_too) {
  const auto known = ledger_.find(id);
  if (!known || *known) return std::nullopt;
  const auto sight = folders_.look(id);
  if (!sight && !unseen_too) return std::nullopt;
  if (sight && !sight->traces.shim_lives && !sight->traces.end) return std::nullopt;
  auto record = ledger_.adopt(id, job, account, keep_bytes, wall_now());
  // Found again when the ledger takes writes.
  if (!record) return unrecorded(id, job, RunState::accepted, "");
  Decided decided;
  decided.record = std::move(*record);
  decided.watch = watch_.add(folders_.path_of(id));
  return decided;
}

Runs::Decided Runs::decide_now(const RunId& id, const proto::RunTask& task, const std::string& node,
                               const std::shared_ptr<bool>& alive) {
  const auto known = ledger_.find(id);
  if (!known) {
    return unrecorded(id, task.job(), RunState::lost,
                      "whether this command has run here is not known: " + known.error().detail);
  }
  proto::RunOrder order = task.order();
  if (order.keep_bytes() == 0) order.set_keep_bytes(kDefaultKeepBytes);
  if (*known && (!task.script_sha256().empty() || !task.input_sha256().empty())) {
    Decided decided;
    decided.record = **known;
    return decided;
  }
  if (!*known && task.accepted_before()) {
    const std::string& account = order.account().empty() ? settings_.account : order.account();
    auto found = find_again(id, task.job(), account, order.keep_bytes(), /*unseen_too=*/true);
    if (found) return std::move(*found);
  }
  const RunOffer offer{.id = id, .accepted_before = task.accepted_before()};
  if (answer_offer(offer, std::nullopt, wall_now()) == OfferAnswer::begin && !*known) {
    Status permitted = permit_order(settings_.policy, order);
    if (permitted) permitted = check_run_order(order);
    if (permitted && !launcher_) permitted = no_launcher();
    if (!permitted) {
      return refuse_now(id, task.job(), RunState::rejected, permitted.error().detail);
    }
    const bool whole = (task.script_sha256().empty() || !order.script().empty()) &&
                       (task.input_sha256().empty() || !order.input().empty());
    if (!whole) {
      return unrecorded(id, task.job(), RunState::rejected,
                        "what the run needs is not here; nothing was started");
    }
  }
  auto answer = ledger_.take(offer, order, task.job(), wall_now(), settings_.account);
  if (!answer && *known) {  // it stands for another order, say
    Decided decided;
    decided.record = **known;
    return decided;
  }
  if (!answer && task.accepted_before()) {
    return unrecorded(id, task.job(), RunState::lost,
                      "whether this command has run here is not known: " + answer.error().detail);
  }
  if (!answer) {
    return unrecorded(id, task.job(), RunState::rejected,
                      answer.error().detail + "; nothing was started");
  }
  if (answer->answer == OfferAnswer::begin) {
    // The tracker hears it while the run is being started.
    boost::asio::post(control_, [this, id, record = answer->record, alive] {
      const Entry run = *alive ? runs_.find(id) : runs_.end();
      if (run == runs_.end()) return;
      run->second.report = report_of(record);
      run->second.wanted_from = run->second.connection == connection_;
      tell(run);
    });
    return start_now(id, std::move(order), std::move(answer->record), node);
  }
  Decided decided;
  decided.record = std::move(answer->record);
  decided.recorded = answer->answer != OfferAnswer::say_too_old;
  return decided;
}

Runs::Decided Runs::start_now(const RunId& id, proto::RunOrder order, proto::RunRecord record,
                              const std::string& node) {
  // Beside P2PD_RUN. The ledger has the order as it was given: a node may be renamed.
  order.add_environment("P2PD_NODE=" + node);
  order.add_environment("P2PD_JOB=" + JobId{record.job()}.str());
  Decided decided;
  decided.record = std::move(record);
  decided.begun = true;
  if (order.account().empty()) order.set_account(settings_.account);
  const Status started = launcher_->start(order);
  // Started before: by an agent whose ledger is gone. It is watched like any other.
  if (started || started.error().code == Errc::already_exists) {
    decided.watch = watch_.add(folders_.path_of(id));
    return decided;
  }
  if (started.error().code == Errc::unavailable) {
    decided.launcher_lost = started.error();
    return decided;
  }
  auto rejected = ledger_.reject(id, started.error());
  if (!rejected) {
    return unrecorded(id, decided.record.job(), RunState::rejected, started.error().detail);
  }
  decided.record = std::move(*rejected);
  return decided;
}

// Behind whatever an offer of this run still does.
Runs::Decided Runs::cancel_now(const RunId& id, std::uint64_t job) {
  auto found = find_again(id, job, settings_.account, kDefaultKeepBytes, /*unseen_too=*/false);
  Decided decided = found
                        ? std::move(*found)
                        : refuse_now(id, job, RunState::cancelled, "cancelled before it was begun");
  // One that the ledger could not say anything of may be running.
  if (decided.recorded && is_final(state_of(decided.record))) return decided;
  const Status told = launcher_ ? launcher_->cancel(id) : Status(no_launcher());
  if (told || told.error().code == Errc::not_found) return decided;
  if (launcher_ && told.error().code == Errc::unavailable) decided.launcher_lost = told.error();
  log_warn("runs", "cannot be cancelled", {{"run", id.hex()}, {"why", told.error().detail}});
  return decided;
}

}  // namespace p2p
