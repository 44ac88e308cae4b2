// The scripts that operators have put: names, versions, hashes. The bytes are in Blobs.
//
// Control thread only; a mirror in memory of what the store holds (tracker/journal.h).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "io/state/state_store.h"
#include "proto/records.pb.h"

namespace p2p {

// [A-Za-z0-9][A-Za-z0-9._-]{0,63}
Status check_script_name(std::string_view name);

struct ScriptRef {
  std::string name;
  std::optional<std::uint32_t> version;  // nothing: the newest
};
// "deploy", "deploy@3", "deploy@latest".
Result<ScriptRef> parse_script_ref(std::string_view text);

class Scripts {
 public:
  static Result<Scripts> load(StateStore& store);

  // exhausted: no further version of `name` is kept. Ask before put().
  Status check_room(const std::string& name) const;
  // The next version of `name`, in `batch`; the newest one, with nothing in the batch, when its
  // hash is this one.
  proto::ScriptRecord put(proto::ScriptRecord script, StateBatch& batch);
  // not_found, with what there is.
  Result<proto::ScriptRecord> find(const std::string& name_and_version) const;
  // By name, versions rising.
  std::vector<const proto::ScriptRecord*> list() const;

 private:
  std::map<std::string, std::map<std::uint32_t, proto::ScriptRecord>> scripts_;
};

}  // namespace p2p
