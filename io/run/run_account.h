// The account that a run has: found on this node, and become by the command's process.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "core/base/result.h"

namespace p2p {

struct RunAccount {
  std::string name;
  uid_t user = 0;
  gid_t group = 0;
  std::vector<gid_t> groups;  // all that it is a member of
  std::string home;
  std::string shell;
};

// `name` empty: nobody, or the account of this process when that is not root's. not_found: there is
// none of that name on this node. denied: only root can become it.
Result<RunAccount> find_run_account(const std::string& name);

// Which accounts runs may have here: the word of the node's owner, from the launcher's command
// line.
struct AccountRule {
  std::vector<std::string> allowed;  // empty: see permit_account()
  uid_t agent = 0;                   // whose files are those of the node itself
};

// denied: the rule does not name it, and says how it would. Without names that is, where this is
// root, every account but the agent's own, elsewhere every one.
Status permit_account(const AccountRule& rule, const RunAccount& account);

// The calling process becomes it for good, with no right of root's unless it is root: groups, group
// and user, then checked. denied: it must end, because it may be anything. Where this process is
// that account already, nothing is changed.
Status become_run_account(const RunAccount& account);

}  // namespace p2p
