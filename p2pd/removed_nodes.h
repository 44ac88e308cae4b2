// The newest deny-list that this node has heard of, and its way from agent to agent.
//
// Agents that meet say which version they have, and the one with the newer hands it over: a removal
// reaches everybody who is connected with anybody, also without a tracker. A version never goes
// back. Control thread only, but for store(); the time comes in.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "io/identity/deny_list.h"

namespace p2p {

inline constexpr std::size_t kListsWithoutNews = 64;

class RemovedNodes {
 public:
  // `verifier` outlives this.
  explicit RemovedNodes(StatementVerifier& verifier) : verifier_(verifier) {}

  // What `file` holds, if it is there and still to be believed. corrupt or denied: it is not, and
  // this node begins without a list. That is harmless for an old one: its signer's certificate is
  // renewed a month before its end, so the nodes on it have none either by then.
  Status load(const std::string& file, WallTime now);
  // Atomic and durable; on any thread.
  static Status store(const std::string& file, const std::string& statement);

  bool contains(NodeId node) const { return list_.nodes.contains(node); }
  const DenyList& list() const { return list_; }
  std::uint64_t version() const { return list_.version; }
  // As it was signed; empty while there is none.
  const std::string& statement() const { return statement_; }

  // From the tracker. False: it is not newer than what is known, and nothing has changed. The
  // caller stores a newer one, tells its peers, and ends the connections of the nodes on it.
  Result<bool> take(std::string_view statement, WallTime now);

  enum class Answer { nothing, version, list };
  void on_peer_up(NodeId peer) { peers_[peer] = {}; }
  void on_peer_down(NodeId peer) { peers_.erase(peer); }
  // The version that a peer says it has: what to tell it in return.
  Answer on_peer_version(NodeId peer, std::uint64_t version);
  // The same as take(). A peer that has sent one that cannot be believed, or kListsWithoutNews in a
  // row that were no news, is not listened to any more on this connection.
  Result<bool> on_peer_list(NodeId peer, std::string_view statement, WallTime now);

 private:
  struct Peer {
    std::uint64_t sent = 0;        // the version that it was given
    std::size_t without_news = 0;  // lists in a row that were known already
    bool ignored = false;
  };

  StatementVerifier& verifier_;
  DenyList list_;
  std::string statement_;
  std::map<NodeId, Peer> peers_;  // those that are up
};

}  // namespace p2p
