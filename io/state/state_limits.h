// What every state store refuses, so that a caller never finds out on another backend.
#pragma once

#include <cstddef>
#include <string_view>

#include "core/base/result.h"
#include "io/state/state_store.h"

namespace p2p {

inline constexpr std::size_t kMaxKeyBytes = 1024;

// A path of printable ASCII with no empty part; no part is "." or "..", which ZooKeeper refuses.
Status check_state_key(std::string_view key);

// Keys, the size of each value, the size of all keys and values together, and one change for a key.
Status check_state_batch(const StateBatch& batch);

// The error for a precondition that does not hold. `actual` is 0 when the key does not exist.
Error precondition_failed(std::string_view key, std::uint64_t expected, std::uint64_t actual);

}  // namespace p2p
