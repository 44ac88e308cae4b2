// Scripts and inputs of runs that came apart from their orders, the latest ones, in memory.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "core/base/ids.h"

namespace p2p {

inline constexpr std::size_t kBlobCacheBytes = 8 * 1024 * 1024;

class BlobCache {
 public:
  explicit BlobCache(std::size_t bytes_max = kBlobCacheBytes) : bytes_max_(bytes_max) {}

  // `bytes` must have this hash. Those that nobody has asked for longest make room.
  void put(const Digest& sha256, std::string bytes);
  // Nothing when it is not here.
  std::optional<std::string> get(const Digest& sha256);

 private:
  using Blob = std::pair<Digest, std::string>;

  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::list<Blob> latest_first_;
  std::map<Digest, std::list<Blob>::iterator> by_hash_;
};

}  // namespace p2p
