#include "p2pd/run_ledger.h"

#include <xxhash.h>

#include <utility>

#include "io/content/merkle.h"
#include "io/run/run_order.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

// A record has to fit, whatever a text says.
constexpr std::size_t kMaxTextBytes = 8 * 1024;
constexpr std::string_view kPrefix = "run/";

// The last two digits are random, so no level has many children.
std::string key_of(const RunId& id) {
  const std::string hex = id.hex();
  return std::string(kPrefix) + hex.substr(hex.size() - 2) + "/" + hex;
}

std::uint64_t checksum_of(proto::RunRecord record) {
  record.set_checksum(0);
  const std::string bytes = record.SerializeAsString();
  return XXH3_64bits(bytes.data(), bytes.size());
}

void set_state(proto::RunRecord& record, RunState state, std::string_view text) {
  record.set_state(std::string(to_string(state)));
  record.set_text(std::string(text.substr(0, kMaxTextBytes)));
}

Result<proto::RunRecord> parse(std::string_view key, const std::string& value) {
  proto::RunRecord record;
  const bool whole = record.ParseFromString(value) && record.checksum() == checksum_of(record) &&
                     RunId::from_raw(record.id()) && run_state_from(record.state());
  if (whole) return record;
  return Error{Errc::corrupt, "the record " + std::string(key) + " of a run is damaged"};
}

Error unknown(const RunId& id) {
  return {Errc::not_found, "run " + id.hex() + " is not in the ledger"};
}

}  // namespace

RunState state_of(const proto::RunRecord& record) {
  return run_state_from(record.state()).value_or(RunState::lost);
}

Result<std::optional<RunLedger::Known>> RunLedger::load(const RunId& id) const {
  const auto entry = store_.get(key_of(id));
  if (!entry) return entry.error();
  if (!*entry) return std::optional<Known>();
  auto record = parse(key_of(id), (*entry)->value);
  if (!record) return record.error();
  return std::optional(Known{std::move(*record), (*entry)->version});
}

Result<std::vector<RunLedger::Known>> RunLedger::load_all() const {
  std::vector<Known> all;
  const Status scanned = store_.scan(kPrefix, [&](std::string_view key, const auto& entry) {
    // A damaged record stays in the store, so that its id is not begun again either.
    if (auto record = parse(key, entry.value)) all.push_back({std::move(*record), entry.version});
    return true;
  });
  if (!scanned) return scanned.error();
  return all;
}

Status RunLedger::save(Known& known, StateStore::Durability durability) const {
  const RunId id = *RunId::from_raw(known.record.id());
  known.record.set_checksum(checksum_of(known.record));
  StateBatch batch;
  batch.put(key_of(id), known.record.SerializeAsString(), known.version);
  Status saved = apply(batch, durability);
  if (saved) ++known.version;
  return saved;
}

Status RunLedger::apply(const StateBatch& batch, StateStore::Durability durability) const {
  Status applied = store_.apply(batch, durability);
  if (applied) return applied;
  // Somebody else was faster, or no store would take this: no trouble.
  const Errc why = applied.error().code;
  if (why == Errc::already_exists || why == Errc::invalid_argument) return applied;
  const std::lock_guard lock(trouble_mutex_);
  trouble_ = applied.error();
  return applied;
}

std::optional<Error> RunLedger::trouble() const {
  const std::lock_guard lock(trouble_mutex_);
  return trouble_;
}

Result<RunLedger::Answer> RunLedger::take(const RunOffer& offer, const proto::RunOrder& order,
                                          std::uint64_t job, WallTime now,
                                          const std::string& account) const {
  if (order.id() != offer.id.raw()) {
    return Error{Errc::invalid_argument, "run " + offer.id.hex() + ": its order is of another run"};
  }
  const std::string digest(sha256(order.SerializeAsString()).view());
  // Twice: somebody may write the same id between the look and the write.
  for (int look = 0; look < 2; ++look) {
    const auto found = load(offer.id);
    if (!found) return found.error();
    std::optional<RunState> recorded;
    if (*found) recorded = state_of((*found)->record);
    Answer answer{.answer = answer_offer(offer, recorded, now), .record = {}};
    if (answer.answer == OfferAnswer::say_recorded) {
      // Of one that was refused no order is on record.
      const std::string& recorded_digest = (*found)->record.order_sha256();
      if (!recorded_digest.empty() && recorded_digest != digest) {
        return Error{Errc::invalid_argument,
                     "run " + offer.id.hex() + " stands for another order here"};
      }
      answer.record = (*found)->record;
      return answer;
    }
    if (answer.answer == OfferAnswer::begin) {
      if (Status checked = check_run_order(order); !checked) return checked.error();
    }
    Known known;
    known.record.set_id(offer.id.raw());
    known.record.set_job(job);
    known.record.set_account(order.account().empty() ? account : order.account());
    known.record.set_keep_bytes(order.keep_bytes());
    known.record.set_order_sha256(digest);
    known.record.set_accepted_unix_ms(unix_millis(now));
    if (answer.answer == OfferAnswer::say_too_old) {
      set_state(known.record, RunState::rejected,
                "this run was made more than 40 days ago: it may have run here and been forgotten; "
                "nothing was started");
      answer.record = known.record;
      return answer;  // there is no end to old ids: none is kept
    }
    if (answer.answer == OfferAnswer::say_lost) {
      set_state(known.record, RunState::lost,
                "this node accepted the run and has lost its ledger since: whether the command ran "
                "is not known");
    } else {
      set_state(known.record, RunState::accepted, "");
    }
    const Status saved = save(known);
    if (saved) {
      answer.record = known.record;
      return answer;
    }
    if (saved.error().code != Errc::already_exists) return saved.error();
  }
  return Error{Errc::unavailable, "run " + offer.id.hex() + " is being taken elsewhere"};
}

Result<proto::RunRecord> RunLedger::update(const RunId& id, const RunSight& sight) const {
  auto found = load(id);
  if (!found) return found.error();
  if (!*found) return unknown(id);
  Known& known = **found;
  const RunState before = state_of(known.record);
  const RunState after = state_of_run(before, sight.traces);
  if (after == before) return known.record;
  std::string_view text;
  if (after == RunState::lost) text = why_lost(sight.traces);
  if (sight.result && after != RunState::lost) {
    text = sight.result->text();
    known.record.set_has_code(sight.result->has_code());
    known.record.set_code(sight.result->code());
    known.record.set_signal(sight.result->signal());
  }
  set_state(known.record, after, text);
  // Running is only news: were it lost, the traces would say it again.
  if (!is_final(after)) return known.record;
  if (Status saved = save(known); !saved && !(sight.result && after != RunState::lost)) {
    return saved.error();
  }
  return known.record;
}

Result<proto::RunRecord> RunLedger::adopt(const RunId& id, std::uint64_t job,
                                          const std::string& account, std::uint64_t keep_bytes,
                                          WallTime now) const {
  auto found = load(id);
  if (!found) return found.error();
  if (*found) return (*found)->record;
  Known known;
  known.record.set_id(id.raw());
  known.record.set_job(job);
  known.record.set_account(account);
  known.record.set_keep_bytes(keep_bytes);
  known.record.set_accepted_unix_ms(unix_millis(now));
  set_state(known.record, RunState::accepted, "");
  if (Status saved = save(known); !saved) return saved.error();
  return known.record;
}

Result<proto::RunRecord> RunLedger::reject(const RunId& id, const Error& why) const {
  auto found = load(id);
  if (!found) return found.error();
  if (!*found) return unknown(id);
  Known& known = **found;
  if (!may_follow(state_of(known.record), RunState::rejected)) return known.record;
  set_state(known.record, RunState::rejected, why.detail);
  if (Status saved = save(known); !saved) return saved.error();
  return known.record;
}

Result<proto::RunRecord> RunLedger::refuse(const RunId& id, std::uint64_t job, RunState end,
                                           std::string_view why, WallTime now) const {
  P2P_CHECK(end == RunState::rejected || end == RunState::cancelled);
  auto found = load(id);
  if (!found) return found.error();
  if (*found) return (*found)->record;
  Known known;
  known.record.set_id(id.raw());
  known.record.set_job(job);
  known.record.set_accepted_unix_ms(unix_millis(now));
  set_state(known.record, end, why);
  // There is no end to old ids, which are not begun in any case.
  if (now - id.made() > kRunTooOld) return known.record;
  if (Status saved = save(known); !saved) return saved.error();
  return known.record;
}

Status RunLedger::set_reported(const RunId& id) const {
  auto found = load(id);
  if (!found) return found.error();
  if (!*found) return unknown(id);
  Known& known = **found;
  if (known.record.reported()) return {};
  if (!is_final(state_of(known.record))) {
    return Error{Errc::unavailable, "the end of run " + id.hex() + " is not on record"};
  }
  known.record.set_reported(true);
  return save(known, StateStore::Durability::unsynced);
}

Result<std::vector<proto::RunRecord>> RunLedger::recover(const RunFolders& folders) const {
  const auto all = load_all();
  if (!all) return all.error();
  std::vector<proto::RunRecord> news;
  for (const Known& known : *all) {
    if (known.record.reported()) continue;
    const RunId id = *RunId::from_raw(known.record.id());
    if (is_final(state_of(known.record))) {
      news.push_back(known.record);
      continue;
    }
    const auto sight = folders.look(id);
    if (!sight) {  // what cannot be looked at is not lost
      news.push_back(known.record);
      continue;
    }
    auto record = update(id, *sight);
    if (!record) return record.error();
    news.push_back(std::move(*record));
  }
  return news;
}

Result<std::optional<proto::RunRecord>> RunLedger::find(const RunId& id) const {
  auto found = load(id);
  if (!found) return found.error();
  if (!*found) return std::optional<proto::RunRecord>();
  return std::optional(std::move((*found)->record));
}

Result<std::vector<RunId>> RunLedger::forget(WallTime now) const {
  const auto all = load_all();
  if (!all) return all.error();
  std::vector<RunId> forgotten;
  for (const Known& known : *all) {
    const RunId id = *RunId::from_raw(known.record.id());
    if (!known.record.reported() || !may_forget(id, state_of(known.record), now)) continue;
    StateBatch batch;
    batch.erase(key_of(id), known.version);
    if (Status erased = apply(batch, StateStore::Durability::synced); !erased)
      return erased.error();
    forgotten.push_back(id);
  }
  return forgotten;
}

}  // namespace p2p
