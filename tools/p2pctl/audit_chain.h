// The chain of audit records: each one's hash is of the one before and of its own bytes.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.h"
#include "proto/api.pb.h"

namespace p2p {

class AuditChain {
 public:
  // The next record. corrupt: what is wrong with it, and what that means.
  Status add(const proto::AuditEntry& entry);
  std::uint64_t number() const { return number_; }
  // Of the newest record, hexadecimal: whoever has noted it can compare it later.
  std::string hash() const;

 private:
  std::uint64_t number_ = 0;
  std::string hash_ = std::string(32, '\0');
};

}  // namespace p2p
