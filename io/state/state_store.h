// Durable small facts behind one interface: nodes, tokens, names, jobs; an agent's checkpoints.
//
// Limits hold for every backend, because the narrowest (ZooKeeper) needs them: a record is at most
// 32 KiB, a batch at most 512 KiB, and at most 1,000 keys share one parent (the key up to its last
// '/'); pack what is more numerous, 256 to a record. The stores refuse what exceeds record and batch
// limits with Errc::invalid_argument; the number of children is the caller's promise.
//
// Keys are paths of printable ASCII such as "job/17/head": no empty part, no leading or trailing '/'.
// Values are any bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace p2p {

inline constexpr std::size_t kMaxRecordBytes = 32 * 1024;
inline constexpr std::size_t kMaxBatchBytes = 512 * 1024;

// A set of changes that are made together or not at all.
struct StateBatch {
  struct Change {
    std::string key;
    std::optional<std::string> value;  // nothing: erase (erasing what is absent is no error)
    // Precondition: the version that the key must have now; 0: it must not exist; nothing: any.
    std::optional<std::uint64_t> expected_version;
  };
  std::vector<Change> changes;  // at most one for each key

  StateBatch& put(std::string key, std::string value,
                  std::optional<std::uint64_t> expected_version = std::nullopt) {
    changes.push_back({std::move(key), std::move(value), expected_version});
    return *this;
  }
  StateBatch& erase(std::string key,
                    std::optional<std::uint64_t> expected_version = std::nullopt) {
    changes.push_back({std::move(key), std::nullopt, expected_version});
    return *this;
  }
};

// Blocking and thread-safe: call it from a disk thread, not from a control thread.
class StateStore {
 public:
  struct Entry {
    std::string value;
    std::uint64_t version = 0;  // 1 when created, one more with each put; starts over after erase
  };
  // Return false to stop the scan early.
  using Visitor = std::function<bool(std::string_view key, const Entry& entry)>;

  virtual ~StateStore() = default;
  virtual Result<std::optional<Entry>> get(std::string_view key) = 0;
  // All or nothing. With `sync` the batch is on stable storage when this returns. A precondition
  // that does not hold is Errc::already_exists, its detail names the key.
  enum class Durability { synced, unsynced };
  virtual Status apply(const StateBatch& batch, Durability durability = Durability::synced) = 0;
  // Visits every key that begins with `prefix`, in rising byte order.
  virtual Status scan(std::string_view prefix, const Visitor& visit) = 0;
};

}  // namespace p2p
