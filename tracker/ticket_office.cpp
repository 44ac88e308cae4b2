#include "tracker/ticket_office.h"

#include "io/identity/ticket.h"

namespace p2p {

Result<std::string> TicketOffice::issue(NodeId node, const ContentId& content, WallTime now) {
  const NodeEntry* entry = registry_.find(node);
  if (entry == nullptr) {
    return Error{Errc::not_found, "node " + node.str() + " is not in this cluster"};
  }
  Ticket ticket;
  ticket.node = node;
  ticket.node_name = entry->record.name();
  ticket.content = content;
  ticket.issued = now;
  ticket.expires = now + kTicketLife;
  auto statement = sign_ticket(signer_, cluster_, ticket);
  if (!statement) return statement.error().within("ticket for " + ticket.node_name);
  const WallTime due = now + kTicketLife / 2;
  due_at_[{node, content}] = due;
  queue_.emplace(due, Holder{node, content});
  return statement;
}

std::vector<TicketOffice::Holder> TicketOffice::take_due(WallTime now) {
  std::vector<Holder> due;
  while (!queue_.empty() && queue_.begin()->first <= now) {
    const auto [at, holder] = *queue_.begin();
    queue_.erase(queue_.begin());
    const auto latest = due_at_.find(holder);
    if (latest == due_at_.end() || latest->second != at) continue;
    due_at_.erase(latest);
    due.push_back(holder);
  }
  return due;
}

}  // namespace p2p
