// The state store on LevelDB: embedded, one process at a time, the default.
//
// A stored value is the version as 8 bytes, little-endian, and then the bytes of the record.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "io/state/state_store.h"

namespace leveldb {
class DB;
}

namespace p2p {

class LevelDbStore final : public StateStore {
 public:
  // Opens the store in `folder`, which is made (mode 0700) when it is missing; its parent is not.
  // unavailable: another process, or another store of this one, has it open; not_found: no parent
  // folder; corrupt: its bytes are damaged, and nothing was changed or dropped.
  static Result<std::unique_ptr<LevelDbStore>> open(const std::string& folder);
  ~LevelDbStore() override;

  Result<std::optional<Entry>> get(std::string_view key) override;
  // One batch at a time. After a failed write (a full disk, say) every later one fails too, until
  // the store is opened again: what the failed one left behind is unknown until then.
  Status apply(const StateBatch& batch, Durability durability = Durability::synced) override;
  // Visits what was there when the scan began; `visit` may call the store.
  Status scan(std::string_view prefix, const Visitor& visit) override;

 private:
  LevelDbStore(std::string folder, std::unique_ptr<leveldb::DB> db);

  const std::string folder_;
  const std::unique_ptr<leveldb::DB> db_;
  std::mutex apply_mutex_;  // from reading the versions to writing the batch
  std::optional<Error> failed_;
};

}  // namespace p2p
