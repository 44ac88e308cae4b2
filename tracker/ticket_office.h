// Signs the tickets that nodes show to each other, and knows when they have to be renewed.
//
// Control thread; signing takes less than 0.1 ms. Nothing is stored: after a restart every task is
// offered again, with a new ticket.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "io/identity/statement.h"
#include "tracker/registry.h"

namespace p2p {

class TicketOffice {
 public:
  TicketOffice(StatementSigner signer, std::string cluster, const Registry& registry)
      : signer_(std::move(signer)), cluster_(std::move(cluster)), registry_(registry) {}

  // The tracker's certificate was renewed.
  void set_signer(StatementSigner signer) { signer_ = std::move(signer); }

  // not_found: the node is not in the cluster.
  Result<std::string> issue(NodeId node, const ContentId& content, WallTime now);

  struct Holder {
    NodeId node;
    ContentId content;
    friend auto operator<=>(const Holder&, const Holder&) = default;
  };
  // Whose latest ticket has lived half of its life. They are forgotten: whoever still needs one
  // gets it by issue().
  std::vector<Holder> take_due(WallTime now);

 private:
  StatementSigner signer_;
  std::string cluster_;
  const Registry& registry_;
  std::map<Holder, WallTime> due_at_;
  std::multimap<WallTime, Holder> queue_;  // an entry counts while due_at_ says the same
};

}  // namespace p2p
