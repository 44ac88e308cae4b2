// A state store that forgets: for tests and the simulator.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "io/state/state_store.h"

namespace p2p {

class MemoryStore final : public StateStore {
 public:
  Result<std::optional<Entry>> get(std::string_view key) override;
  // Both durabilities mean the same here.
  Status apply(const StateBatch& batch, Durability durability = Durability::synced) override;
  // Visits what was there when the scan began; `visit` may call the store.
  Status scan(std::string_view prefix, const Visitor& visit) override;

 private:
  std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace p2p
