// Whose the agent's data folder is.
#pragma once

#include <string>

#include "core/base/result.h"
#include "p2pd/privileges.h"

namespace p2p {

// Gives the folder that p2pd join made as root, with all that is in it but runs, to `account`.
// Once: it does nothing when the folder belongs to the account already, and refuses one that
// belongs to somebody else or that others could have put something into, so that nothing foreign is
// ever given away. After a crash in the middle the folder itself is still root's, and the next call
// does it again. not_found: there is no such folder, or it holds no identity.
Status hand_over(const std::string& folder, const Account& account);

}  // namespace p2p
