// Names of what operators put into the tracker's directory: scripts, accounts, groups, users,
// roles.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

// As of the keys that share one parent in the store.
inline constexpr std::size_t kMaxDirectoryEntries = 1000;

// [A-Za-z0-9][A-Za-z0-9._-]{0,63}; `what` it is the name of: "script".
Status check_directory_name(std::string_view name, std::string_view what);
// exhausted when there is no room for one more. `what`: "scripts".
Status check_directory_room(std::size_t present, std::string_view what);
// invalid_argument: as it is stored it would exceed a record's limit. `what`: "account 'web'".
Status check_record_size(const std::string& bytes, const std::string& what);
// What is said of a stored record that cannot be read.
Error bad_directory_record(std::string_view key);

}  // namespace p2p
