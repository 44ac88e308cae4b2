// Scripts and inputs of runs: small files, named by their SHA-256.
//
// DATA/blobs/HH/HASH. Blocking and thread-safe: call from disk threads.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "core/base/result.h"
#include "core/base/time.h"

namespace p2p {

inline constexpr std::size_t kMaxBlobBytes = 960 * 1024;

class Blobs {
 public:
  // `folder` is made when it is missing.
  static Result<Blobs> open(const std::string& folder);

  // On stable storage when it returns; the hash, 32 bytes. exhausted: more than kMaxBlobBytes.
  Result<std::string> put(const std::string& bytes) const;
  // not_found; corrupt: these are not the bytes of that name.
  Result<std::string> get(const std::string& sha256_raw) const;
  // Removes all but `kept` (raw hashes), and but those that were put in the last `age`: who puts
  // one says only later what for. How many.
  Result<std::size_t> remove_others(const std::set<std::string>& kept, Duration age) const;

 private:
  explicit Blobs(std::string folder) : folder_(std::move(folder)) {}
  std::string folder_;
  // Between a look at a file's age and its removal nobody puts it again.
  std::shared_ptr<std::mutex> mutex_ = std::make_shared<std::mutex>();
};

}  // namespace p2p
