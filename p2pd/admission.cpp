#include "p2pd/admission.h"

#include <utility>

#include "io/identity/certificates.h"
#include "io/identity/ticket.h"
#include "io/log/log.h"

namespace p2p {

void Admission::on_peer_up(NodeId peer, std::string name) {
  peers_[peer] = Peer{std::move(name), {}, 0};
}

void Admission::on_peer_down(NodeId peer) {
  peers_.erase(peer);
}

const Admission::Entry* Admission::find(NodeId peer, const ContentId& content) const {
  const auto found = peers_.find(peer);
  if (found == peers_.end()) return nullptr;
  const auto entry = found->second.contents.find(content);
  return entry == found->second.contents.end() ? nullptr : &entry->second;
}

// Nothing when the peer is not up, or has its fill.
Admission::Entry* Admission::entry_of(NodeId peer, const ContentId& content) {
  const auto found = peers_.find(peer);
  if (found == peers_.end()) return nullptr;
  auto& contents = found->second.contents;
  if (contents.size() >= kMaxContentsOfPeer && !contents.contains(content)) return nullptr;
  return &contents[content];
}

// When the ticket ends, or why it is none of this peer's for this content.
Result<WallTime> Admission::check(NodeId peer, const ContentId& content, std::string_view ticket,
                                  WallTime now) {
  if (ticket.empty()) return Error{Errc::denied, "no ticket"};
  Peer& known = peers_.at(peer);
  if (known.bad_tickets >= kMaxBadTickets) {
    return Error{Errc::denied, "too many bad tickets on this connection"};
  }
  const auto verified = verify_ticket(verifier_, ticket, now);
  if (verified && verified->node == peer && verified->content == content) return verified->expires;
  ++known.bad_tickets;
  if (!verified) return Error{Errc::denied, verified.error().detail};
  if (verified->node != peer) {
    return Error{Errc::denied, "the ticket is of another node: " + verified->node_name + " (" +
                                   verified->node.str() + ")"};
  }
  return Error{Errc::denied, "the ticket is for another content: " + verified->content.short_hex()};
}

Status Admission::show(NodeId peer, const ContentId& content, std::string_view ticket,
                       WallTime now) {
  if (!peers_.contains(peer)) return Error{Errc::denied, "the peer is not connected"};
  const auto expires = check(peer, content, ticket, now);
  if (!expires) {
    if (admits(peer, content, now)) return {};
    return expires.error();
  }
  Entry* entry = entry_of(peer, content);
  if (entry == nullptr) {
    return Error{Errc::denied,
                 "more than " + std::to_string(kMaxContentsOfPeer) + " contents on one connection"};
  }
  entry->expires = std::max(entry->expires, *expires);
  entry->told = false;
  return {};
}

bool Admission::admits(NodeId peer, const ContentId& content, WallTime now) const {
  const Entry* entry = find(peer, content);
  return entry != nullptr && now < entry->expires + kStatementSkew;
}

std::string Admission::reason(NodeId peer, const ContentId& content) const {
  const Entry* entry = find(peer, content);
  if (entry == nullptr || entry->expires == WallTime{}) return "no ticket";
  return "the ticket expired on " + utc_text(entry->expires);
}

bool Admission::refused(NodeId peer, const ContentId& content, const std::string& why) {
  Entry* entry = entry_of(peer, content);
  if (entry == nullptr || std::exchange(entry->told, true)) return false;
  log_warn("admission", "a node was refused",
           {{"node", peers_.at(peer).name},
            {"id", peer.str()},
            {"content", content.short_hex()},
            {"why", why}});
  return true;
}

void Admission::refused_us(NodeId peer, const ContentId& content, const std::string& why) {
  Entry* entry = entry_of(peer, content);
  if (entry == nullptr || std::exchange(entry->heard, true)) return;
  log_warn("admission", "a node gives this one nothing without a valid ticket",
           {{"node", peers_.at(peer).name},
            {"id", peer.str()},
            {"content", content.short_hex()},
            {"why", why}});
}

bool Admission::keep_own(const ContentId& content, std::string ticket) {
  std::string& kept = own_[content];
  if (kept == ticket) return false;
  kept = std::move(ticket);
  return true;
}

const std::string& Admission::own(const ContentId& content) const {
  static const std::string kNone;
  const auto found = own_.find(content);
  return found == own_.end() ? kNone : found->second;
}

}  // namespace p2p
