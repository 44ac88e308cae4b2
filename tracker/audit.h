// The record of who has changed what: each entry carries the hash of the one before.
//
// Control thread only, but for read(). An entry is part of a batch; batches are applied in order,
// so that an entry that was added before a change is on stable storage before it. A chain shows
// what was changed or taken out of its middle; that its newest entries are gone only those can
// tell who have kept a later hash, such as that of the log's line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "io/state/state_store.h"
#include "proto/api.pb.h"
#include "proto/records.pb.h"

namespace p2p {

inline constexpr std::uint64_t kAuditPage = 500;

class Audit {
 public:
  // Reads the newest entry. corrupt: its hash is not that of its bytes.
  static Result<Audit> load(StateStore& store);

  // Numbers, chains and hashes `entry`, and puts it into `batch`, which must be committed, and in
  // the order of these calls. Texts are cut so that it fits a record. Its number.
  std::uint64_t add(proto::AuditRecord entry, WallTime now, StateBatch& batch);
  // Its batch could not be stored. Ends the process when others were chained to it since: memory
  // and disk would go apart.
  void take_back(std::uint64_t number);

  std::uint64_t last() const { return last_; }
  // Hexadecimal, for logs: who keeps them can tell later that nothing was cut off.
  std::string newest_hash() const;
  // At most kAuditPage from number `from` (at least 1) on up to `last`, checked, and chained to the
  // one before. Of entries that are in the store. Blocking and thread-safe.
  Result<proto::AuditList> read(std::uint64_t from, std::uint64_t last) const;

 private:
  explicit Audit(StateStore& store) : store_(&store) {}

  StateStore* store_;
  std::uint64_t last_ = 0;
  std::string hash_;    // of the newest entry, 32 bytes; zeros before the first
  std::string before_;  // the hash before that; empty: not known
};

// Reads the whole chain; corrupt: where it is broken. In words how long it is, and its last hash.
Result<std::string> verify_audit(StateStore& store);

// What is noted when a job is made, beside the call that asked for it. `targets` are names of
// nodes.
proto::AuditRecord audit_of_job(const std::string& job, const std::string& by,
                                const std::string& kind, std::vector<std::string> targets,
                                const std::string& order_sha256);

}  // namespace p2p
