// Which peers may have bytes of which content, and with what this node asks for its own.
//
// A peer shows the tracker's ticket when it opens a space. From then on the pair of peer and
// content is admitted until the ticket ends or the connection does, for the manifest body and the
// data alike. What is kept of one peer is bounded. Refusals are logged here, once for each peer,
// content and connection. Control thread only; the time comes in.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "io/identity/statement.h"

namespace p2p {

// Contents of which something is kept for one peer.
inline constexpr std::size_t kMaxContentsOfPeer = 4096;
// After so many tickets that are none, no further one of this connection is looked at.
inline constexpr std::size_t kMaxBadTickets = 64;

class Admission {
 public:
  // `verifier` outlives this; when it comes to trust other roots, who is admitted stays so.
  explicit Admission(StatementVerifier& verifier) : verifier_(verifier) {}

  // `name` is for the log.
  void on_peer_up(NodeId peer, std::string name);
  void on_peer_down(NodeId peer);

  // A peer that is up shows a ticket, or none (empty). Whether it is admitted now, by this ticket
  // or an earlier one; denied says why not.
  Status show(NodeId peer, const ContentId& content, std::string_view ticket, WallTime now);
  bool admits(NodeId peer, const ContentId& content, WallTime now) const;
  // Writes down that the peer wanted something and did not get it. True the first time since it was
  // last admitted: tell it, too.
  bool refused(NodeId peer, const ContentId& content, const std::string& why);
  // The other way round: the peer gives this node nothing for want of a valid ticket.
  void refused_us(NodeId peer, const ContentId& content, const std::string& why);
  // Why admits() says no to one that was admitted or never was.
  std::string reason(NodeId peer, const ContentId& content) const;

  // This node's own tickets, one for each content that it fetches. True when it is another one than
  // before.
  bool keep_own(const ContentId& content, std::string ticket);
  void drop_own(const ContentId& content) { own_.erase(content); }
  // Empty: none.
  const std::string& own(const ContentId& content) const;

 private:
  struct Entry {
    WallTime expires{};  // of the best ticket; zero: none was good
    bool told = false;   // the refusal is in the log
    bool heard = false;  // the peer's refusal is
  };
  struct Peer {
    std::string name;
    std::map<ContentId, Entry> contents;
    std::size_t bad_tickets = 0;
  };

  Entry* entry_of(NodeId peer, const ContentId& content);
  Result<WallTime> check(NodeId peer, const ContentId& content, std::string_view ticket,
                         WallTime now);
  const Entry* find(NodeId peer, const ContentId& content) const;

  StatementVerifier& verifier_;
  std::map<NodeId, Peer> peers_;
  std::map<ContentId, std::string> own_;
};

}  // namespace p2p
