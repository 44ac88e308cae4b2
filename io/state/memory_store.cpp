#include "io/state/memory_store.h"

#include <utility>
#include <vector>

#include "io/state/state_limits.h"

namespace p2p {

Result<std::optional<StateStore::Entry>> MemoryStore::get(std::string_view key) {
  if (Status ok = check_state_key(key); !ok) return ok.error();
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end()) return std::optional<Entry>();
  return std::optional<Entry>(found->second);
}

Status MemoryStore::apply(const StateBatch& batch, Durability /*durability*/) {
  if (Status ok = check_state_batch(batch); !ok) return ok;
  const std::lock_guard lock(mutex_);
  for (const StateBatch::Change& change : batch.changes) {
    const auto found = entries_.find(change.key);
    const std::uint64_t version = found == entries_.end() ? 0 : found->second.version;
    if (change.expected_version && *change.expected_version != version) {
      return precondition_failed(change.key, *change.expected_version, version);
    }
  }
  for (const StateBatch::Change& change : batch.changes) {
    if (!change.value) {
      entries_.erase(change.key);
      continue;
    }
    Entry& entry = entries_[change.key];
    entry.value = *change.value;
    ++entry.version;
  }
  return {};
}

Status MemoryStore::scan(std::string_view prefix, const Visitor& visit) {
  std::vector<std::pair<std::string, Entry>> matching;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = entries_.lower_bound(prefix);
         it != entries_.end() && std::string_view(it->first).starts_with(prefix); ++it) {
      matching.emplace_back(*it);
    }
  }
  for (const auto& [key, entry] : matching) {
    if (!visit(key, entry)) break;
  }
  return {};
}

}  // namespace p2p
