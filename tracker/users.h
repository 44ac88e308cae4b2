// Who may call the operator's API without being an administrator, and what they may use.
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

class Users {
 public:
  static Result<Users> load(StateStore& store);

  // What is wrong with the name and the roles, or already_exists. A name is free again when its
  // user was removed; the next one of that name has another id.
  Status check(const proto::UserRecord& user) const;
  // One that check() found good; `id` is of its certificate.
  void add(proto::UserRecord user, StateBatch& batch);
  // Refused from now on. not_found.
  Result<proto::UserRecord> remove(const std::string& name, StateBatch& batch);
  std::vector<const proto::UserRecord*> list() const;  // without those that were removed

  // denied: whoever has a certificate of this id is not let in any more.
  Result<Caller> caller(const std::string& id) const;

 private:
  // Removed ones stay as long as there is room, so that they are told why.
  std::map<std::string, proto::UserRecord> users_;  // by name
  std::map<std::string, std::string> names_;        // by id
};

}  // namespace p2p
