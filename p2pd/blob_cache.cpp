#include "p2pd/blob_cache.h"

namespace p2p {

void BlobCache::put(const Digest& sha256, std::string bytes) {
  if (by_hash_.contains(sha256) || bytes.size() > bytes_max_) return;
  bytes_ += bytes.size();
  latest_first_.emplace_front(sha256, std::move(bytes));
  by_hash_[sha256] = latest_first_.begin();
  while (bytes_ > bytes_max_) {
    bytes_ -= latest_first_.back().second.size();
    by_hash_.erase(latest_first_.back().first);
    latest_first_.pop_back();
  }
}

std::optional<std::string> BlobCache::get(const Digest& sha256) {
  const auto found = by_hash_.find(sha256);
  if (found == by_hash_.end()) return std::nullopt;
  latest_first_.splice(latest_first_.begin(), latest_first_, found->second);
  return found->second->second;
}

}  // namespace p2p
