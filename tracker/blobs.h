// Scripts and inputs of runs: small files, named by their SHA-256.
//
// DATA/blobs/HH/HASH. Blocking and thread-safe: call from disk threads.
#pragma once

#include <string>

#include "core/base/result.h"

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

 private:
  explicit Blobs(std::string folder) : folder_(std::move(folder)) {}
  std::string folder_;
};

}  // namespace p2p
