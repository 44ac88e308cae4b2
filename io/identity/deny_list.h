// The deny-list: nodes that were removed from the cluster while their certificates may still be
// valid. The tracker signs it, agents keep the newest one and hand it to each other.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "io/identity/statement.h"

namespace p2p {

// As many as fit a statement of one frame.
inline constexpr std::size_t kMaxDenied = 50'000;

struct DenyList {
  std::uint64_t version = 0;  // 0: nobody was ever removed
  WallTime issued{};          // whole seconds
  std::set<NodeId> nodes;
  friend bool operator==(const DenyList&, const DenyList&) = default;
};

// A Statement of `cluster`, serialised. invalid_argument: more than kMaxDenied nodes.
Result<std::string> sign_deny_list(const StatementSigner& signer, const std::string& cluster,
                                   const DenyList& list);
// Any bytes may come in. Errors of StatementVerifier::verify, and denied: of another cluster. A
// list has no end of its own: it counts as long as its signer's certificate does.
Result<DenyList> verify_deny_list(StatementVerifier& verifier, std::string_view statement,
                                  WallTime now);

}  // namespace p2p
