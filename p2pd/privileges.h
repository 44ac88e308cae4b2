// Who the processes of a node are: the account that faces the network, and what its helper keeps of
// root. All of it acts on the calling process, which must not have started a thread yet.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "core/base/result.h"

namespace p2p {

struct Account {
  std::string name;
  uid_t user = 0;
  gid_t group = 0;
};

// The account that shall face the network; nothing when this process stays what it is, with no
// helper beside it: an ordinary user, or root with --user root.
//
// `user` is what --user says. Empty, as root: p2pd, or daemon where there is no such account.
// invalid_argument: no such account, or another one for an ordinary user.
Result<std::optional<Account>> choose_account(const std::string& user);

// Gives up root for good: groups, user, every capability, also those that a program might bring
// back, and core dumps; files that are made from now on are private. Verified: an error means that
// the process may be anything and must end.
Status become(const Account& account);

// Keeps root's rights over files, of every owner, and nothing else of root. What this process does
// not have to begin with (in a container) is no error, but said in the log.
Status keep_file_rights();

}  // namespace p2p
