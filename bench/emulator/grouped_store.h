// Many small writes as one synced one: what is applied is kept in memory until sync() writes it.
//
// For the shared ledger of emulated nodes, whose runs are accepted by the hundred at a time. One
// thread; nobody else writes the same keys below.
#pragma once

#include <map>
#include <string>

#include "io/state/state_store.h"

namespace p2p::emulator {

class GroupedStore final : public StateStore {
 public:
  explicit GroupedStore(StateStore& below) : below_(below) {}

  // As if what has been applied were written already.
  Result<std::optional<Entry>> get(std::string_view key) override;
  // Not on stable storage before the next sync(), whatever `durability` says. After a sync() that
  // failed, every call fails.
  Status apply(const StateBatch& batch, Durability durability = Durability::synced) override;
  // Syncs first.
  Status scan(std::string_view prefix, const Visitor& visit) override;

  // Everything applied so far is on stable storage when it returns.
  Status sync();
  std::uint64_t syncs() const { return syncs_; }

 private:
  struct Pending {
    std::optional<std::string> value;
    std::uint64_t version_below = 0;
  };

  StateStore& below_;
  std::map<std::string, Pending, std::less<>> pending_;
  std::size_t pending_bytes_ = 0;
  std::uint64_t syncs_ = 0;
  Status broken_;
};

}  // namespace p2p::emulator
