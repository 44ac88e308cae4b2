#include "bench/emulator/grouped_store.h"

#include <utility>

namespace p2p::emulator {
namespace {

// Well below kMaxBatchBytes, of which keys and more take a part.
constexpr std::size_t kGroupBytes = kMaxBatchBytes / 2;

std::uint64_t version_of(const std::optional<StateStore::Entry>& entry) {
  return entry ? entry->version : 0;
}

}  // namespace

Result<std::optional<StateStore::Entry>> GroupedStore::get(std::string_view key) {
  const auto found = pending_.find(key);
  if (found == pending_.end()) return below_.get(key);
  if (!found->second.value) return std::optional<Entry>();
  return std::optional(Entry{*found->second.value, found->second.version_below + 1});
}

Status GroupedStore::apply(const StateBatch& batch, Durability) {
  if (!broken_) return broken_;
  std::size_t bytes = 0;
  bool changed_again = false;
  for (const StateBatch::Change& change : batch.changes) {
    const auto now = get(change.key);
    if (!now) return now.error();
    if (change.expected_version && *change.expected_version != version_of(*now)) {
      return Error{Errc::already_exists, "the record " + change.key + " has changed meanwhile"};
    }
    changed_again = changed_again || pending_.contains(change.key);
    bytes += change.key.size() + (change.value ? change.value->size() : 0);
  }
  if (changed_again || pending_bytes_ + bytes > kGroupBytes) {
    if (Status synced = sync(); !synced) return synced;
  }
  for (const StateBatch::Change& change : batch.changes) {
    const auto below = below_.get(change.key);
    if (!below) return below.error();
    pending_[change.key] = {change.value, version_of(*below)};
  }
  pending_bytes_ += bytes;
  return {};
}

Status GroupedStore::scan(std::string_view prefix, const Visitor& visit) {
  if (Status synced = sync(); !synced) return synced;
  return below_.scan(prefix, visit);
}

Status GroupedStore::sync() {
  if (!broken_) return broken_;
  if (pending_.empty()) return {};
  StateBatch batch;
  for (auto& [key, pending] : pending_) {
    batch.changes.push_back({key, std::move(pending.value), pending.version_below});
  }
  pending_.clear();
  pending_bytes_ = 0;
  ++syncs_;
  broken_ = below_.apply(batch, Durability::synced);
  return broken_;
}

}  // namespace p2p::emulator
