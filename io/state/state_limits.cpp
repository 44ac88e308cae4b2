#include "io/state/state_limits.h"

#include <algorithm>
#include <set>
#include <string>

#include "core/base/text.h"

namespace p2p {
namespace {

Error invalid(std::string_view key, std::string_view why) {
  return Error{Errc::invalid_argument,
               "state key '" + printable(key, 80) + "': " + std::string(why)};
}

}  // namespace

Status check_state_key(std::string_view key) {
  if (key.empty()) return invalid(key, "is empty");
  if (key.size() > kMaxKeyBytes) {
    return invalid(key, "is longer than " + std::to_string(kMaxKeyBytes) + " bytes");
  }
  if (std::any_of(key.begin(), key.end(), [](char c) { return c < ' ' || c > '~'; })) {
    return invalid(key, "holds a byte that is not printable ASCII");
  }
  for (std::size_t begin = 0; begin <= key.size();) {
    const std::size_t end = std::min(key.find('/', begin), key.size());
    const std::string_view part = key.substr(begin, end - begin);
    if (part.empty()) return invalid(key, "has an empty part, or a '/' at an end");
    if (part == "." || part == "..") return invalid(key, "has a part that is '.' or '..'");
    begin = end + 1;
  }
  return {};
}

Status check_state_batch(const StateBatch& batch) {
  std::set<std::string_view> keys;
  std::size_t total = 0;
  for (const StateBatch::Change& change : batch.changes) {
    if (Status ok = check_state_key(change.key); !ok) return ok;
    if (!keys.insert(change.key).second)
      return invalid(change.key, "is changed twice in one batch");
    const std::size_t value_bytes = change.value ? change.value->size() : 0;
    if (value_bytes > kMaxRecordBytes) {
      return invalid(change.key, "its value of " + std::to_string(value_bytes) +
                                     " bytes is over the limit of " +
                                     std::to_string(kMaxRecordBytes) + ": split the record");
    }
    total += change.key.size() + value_bytes;
  }
  if (total > kMaxBatchBytes) {
    return Error{Errc::invalid_argument, "state batch of " + std::to_string(batch.changes.size()) +
                                             " changes and " + std::to_string(total) +
                                             " bytes is over the limit of " +
                                             std::to_string(kMaxBatchBytes) + ": split the batch"};
  }
  return {};
}

Error precondition_failed(std::string_view key, std::uint64_t expected, std::uint64_t actual) {
  const auto say = [](std::uint64_t version) {
    return version == 0 ? std::string("absent") : "at version " + std::to_string(version);
  };
  return Error{Errc::already_exists, "state key '" + std::string(key) + "' is " + say(actual) +
                                         " and should be " + say(expected) +
                                         ": somebody changed it, read it again"};
}

}  // namespace p2p
