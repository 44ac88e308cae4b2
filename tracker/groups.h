// Names for target expressions: "@web".
//
// Control thread only; a mirror in memory of what the store holds (tracker/journal.h). Each group
// names only groups that exist, and none contains itself.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "io/state/state_store.h"
#include "proto/records.pb.h"

namespace p2p {

class Groups {
 public:
  static Result<Groups> load(StateStore& store);

  // invalid_argument: what is wrong with it, the chain of names when it would contain itself.
  // not_found: it names a group that does not exist.
  Status set(proto::GroupRecord group, StateBatch& batch);
  // not_found; invalid_argument while other groups name it.
  Result<proto::GroupRecord> remove(const std::string& name, StateBatch& batch);
  const proto::GroupRecord* find(const std::string& name) const;
  std::optional<std::string> expression_of(const std::string& name) const;
  std::vector<const proto::GroupRecord*> list() const;
  static Error unknown(const std::string& name);

 private:
  struct Walk {
    std::string root;                // that is to be set
    std::vector<std::string> chain;  // from it to here
    std::set<std::string> seen;      // that do not lead to it
  };
  Status check_names(const std::string& expression, Walk& walk) const;

  std::map<std::string, proto::GroupRecord> groups_;
};

}  // namespace p2p
