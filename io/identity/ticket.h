// Tickets: the tracker's word that a node may have a content. A node shows its ticket to the peers
// that it wants bytes of; it is of no use to anybody else.
#pragma once

#include <string>
#include <string_view>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "io/identity/statement.h"

namespace p2p {

// Renewed at half of it while the task runs. So long a transfer goes on without a tracker.
inline constexpr Duration kTicketLife = std::chrono::hours(24);

struct Ticket {
  NodeId node;
  std::string node_name;  // for logs
  ContentId content;
  WallTime issued{};  // whole seconds, as `expires`
  WallTime expires{};
  friend bool operator==(const Ticket&, const Ticket&) = default;
};

// A Statement of `cluster`, serialised.
Result<std::string> sign_ticket(const StatementSigner& signer, const std::string& cluster,
                                const Ticket& ticket);
// Any bytes may come in. Errors of StatementVerifier::verify, and denied: of another cluster, or
// not valid at `now`. Whose it is and for which content is for the caller to compare.
Result<Ticket> verify_ticket(StatementVerifier& verifier, std::string_view statement, WallTime now);

}  // namespace p2p
