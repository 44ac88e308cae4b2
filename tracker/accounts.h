// The accounts that runs may have, and the users who may use them.
//
// Control thread only; a mirror in memory of what the store holds (tracker/journal.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "io/state/state_store.h"
#include "proto/records.pb.h"
#include "tracker/caller.h"

namespace p2p {

class Accounts {
 public:
  static Result<Accounts> load(StateStore& store);

  // invalid_argument: what is wrong with it.
  Status set(proto::AccountRecord account, StateBatch& batch);
  // not_found.
  Result<proto::AccountRecord> remove(const std::string& name, StateBatch& batch);
  std::vector<const proto::AccountRecord*> list() const;
  // For those who may use it. denied, with the same words whether there is such an account or not:
  // who may not use an account learns nothing of it. An administrator is told not_found.
  Result<proto::AccountRecord> usable(const std::string& name, const Caller& caller) const;
  static Error unknown(const std::string& name);

 private:
  std::map<std::string, proto::AccountRecord> accounts_;
};

}  // namespace p2p
