// The durable memory of a node's runs, by which a command runs at most once.
//
// A run is written here, synced, before anybody is told that it was accepted and before anything
// is started. What stands here is never started again, whatever happens to the agent in between.
// Blocking and thread-safe, as the store is: call from disk threads.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/runs/node_rules.h"
#include "core/runs/run_id.h"
#include "core/runs/run_state.h"
#include "io/run/run_files.h"
#include "io/state/state_store.h"
#include "proto/records.pb.h"
#include "proto/run.pb.h"

namespace p2p {

class RunLedger {
 public:
  explicit RunLedger(StateStore& store) : store_(store) {}

  struct Answer {
    OfferAnswer answer = OfferAnswer::say_lost;
    // What is on record from now on. Of an offer that is not begun for its age, what to say.
    proto::RunRecord record;
  };
  // Decides about an offer and writes what follows from it. When the answer is `begin`, the caller
  // says accepted and starts the run; nobody else is told so for the same id. invalid_argument: the
  // id stands for another order. Other errors: nothing is known to be written, start nothing.
  // `order` is as it was offered; `account` the one that it will have, if it names none.
  Result<Answer> take(const RunOffer& offer, const proto::RunOrder& order, std::uint64_t job,
                      WallTime now, const std::string& account = {}) const;
  // A run that the ledger does not know ends here without having begun: rejected or cancelled, so
  // that a later offer of it starts nothing. Returns what is on record from now on, which is
  // another state of a run that was known.
  Result<proto::RunRecord> refuse(const RunId& id, std::uint64_t job, RunState end,
                                  std::string_view why, WallTime now) const;

  // A run that was found without a record, because the ledger was moved aside: accepted, whatever
  // its order was. What is on record stays and is returned.
  Result<proto::RunRecord> adopt(const RunId& id, std::uint64_t job, const std::string& account,
                                 std::uint64_t keep_bytes, WallTime now) const;

  // What the ledger says, after it was brought up to what is found of the run; final states are
  // synced. An end that has a result is returned also when it cannot be written: the result says it
  // again. not_found: it does not know the run.
  Result<proto::RunRecord> update(const RunId& id, const RunSight& sight) const;
  // The run could not be started, with the reason: nothing ran. For runs that were just taken.
  Result<proto::RunRecord> reject(const RunId& id, const Error& why) const;
  // The tracker knows the final state. Not synced: were it lost, it would be said once more.
  // unavailable: no final state is on record, so what says it must stay.
  Status set_reported(const RunId& id) const;

  // After a restart: brings every run that has not ended up to what is found of it, so that one
  // that nobody watches any more is lost. Returns all whose state the tracker may not know.
  Result<std::vector<proto::RunRecord>> recover(const RunFolders& folders) const;

  // Nothing when there is none. corrupt: it is damaged; the run must not be started.
  Result<std::optional<proto::RunRecord>> find(const RunId& id) const;
  // Forgets old runs (core/runs/node_rules.h) whose ends the tracker knows. Their ids, so that
  // their folders can be removed.
  Result<std::vector<RunId>> forget(WallTime now) const;

  // The latest write that the store refused: it takes no more of them until it is opened again.
  std::optional<Error> trouble() const;

 private:
  struct Known {
    proto::RunRecord record;
    std::uint64_t version = 0;
  };
  Result<std::optional<Known>> load(const RunId& id) const;
  Result<std::vector<Known>> load_all() const;
  Status save(Known& known,
              StateStore::Durability durability = StateStore::Durability::synced) const;

  Status apply(const StateBatch& batch, StateStore::Durability durability) const;

  StateStore& store_;
  mutable std::mutex trouble_mutex_;
  mutable std::optional<Error> trouble_;
};

// The state that a record names. A name that is none counts as lost.
RunState state_of(const proto::RunRecord& record);

}  // namespace p2p
