#include "tools/p2pctl/audit_chain.h"

#include "core/base/text.h"
#include "io/content/merkle.h"
#include "proto/records.pb.h"

namespace p2p {
namespace {

Error broken(std::uint64_t number, const std::string& what) {
  return Error{Errc::corrupt, "audit record " + std::to_string(number) + ": " + what};
}

}  // namespace

Status AuditChain::add(const proto::AuditEntry& entry) {
  const std::uint64_t number = number_ + 1;
  if (entry.number() != number) {
    return broken(number, "is missing: after " + std::to_string(number_) + " comes " +
                              std::to_string(entry.number()));
  }
  proto::AuditRecord record;
  if (!record.ParseFromString(entry.record())) return broken(number, "cannot be read");
  if (record.number() != number) {
    return broken(number, "was record " + std::to_string(record.number()) + " when it was written");
  }
  if (record.previous() != hash_) {
    return broken(number, "does not follow the one before: that one, or this one, was replaced");
  }
  const Digest digest = sha256(hash_ + entry.record());
  if (digest.hex() != entry.hash()) {
    return broken(number,
                  "its bytes do not have the hash that was written with them: it was "
                  "changed");
  }
  if (record.who() != entry.who() || record.what() != entry.what()) {
    return broken(number, "is shown as " + quoted(entry.what()) + " of " + quoted(entry.who()) +
                              ", but was written as " + quoted(record.what()) + " of " +
                              quoted(record.who()));
  }
  number_ = number;
  hash_ = digest.view();
  return {};
}

std::string AuditChain::hash() const {
  return to_hex(reinterpret_cast<const std::uint8_t*>(hash_.data()), hash_.size());
}

}  // namespace p2p
