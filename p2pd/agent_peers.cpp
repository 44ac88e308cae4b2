// The part of the agent that other agents talk to: who may have what, and which room deals with it.
#include "io/runtime/wall_clock.h"
#include "p2pd/agent.h"

namespace p2p {

void Agent::on_peer_up(NodeId peer, const std::string& name) {
  admission_.on_peer_up(peer, name);
  removed_.on_peer_up(peer);
  if (removed_.version() > 0) mesh_.send_deny_version(peer, removed_.version());
  transfers_->on_peer_up(peer);
}

void Agent::on_peer_down(NodeId peer) {
  admission_.on_peer_down(peer);
  removed_.on_peer_down(peer);
  uploads_.on_peer_down(peer);
  transfers_->on_peer_down(peer);
}

void Agent::on_peer_deny_version(NodeId peer, std::uint64_t version) {
  using Answer = RemovedNodes::Answer;
  const Answer answer = removed_.on_peer_version(peer, version);
  if (answer == Answer::version) mesh_.send_deny_version(peer, removed_.version());
  if (answer == Answer::list) mesh_.send_deny_list(peer, removed_.statement());
}

void Agent::on_peer_deny_list(NodeId peer, std::string_view statement) {
  take_deny_list(removed_.on_peer_list(peer, statement, wall_now()), peer.str());
}

void Agent::on_peer_open(NodeId peer, const SpaceKey& space, const PeerMesh::Opening& opening) {
  const Status admitted = admission_.show(peer, space.content, opening.ticket, wall_now());
  // Who only gives needs no ticket, and gets nothing.
  if (!admitted && (opening.wants || !opening.ticket.empty())) {
    admission_.refused(peer, space.content, admitted.error().detail);
  }
  if (!admitted && opening.wants) {
    return mesh_.send_no_ticket(peer, space, admitted.error().detail);
  }
  uploads_.on_peer_place(peer, opening.rack);
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) {
    return fetch->on_peer_open(peer, opening);
  }
  uploads_.on_peer_open(peer, space, opening.wants);
}

void Agent::on_peer_ticket(NodeId peer, const ContentId& content, const std::string& ticket) {
  const Status admitted = admission_.show(peer, content, ticket, wall_now());
  if (!admitted) {
    admission_.refused(peer, content, admitted.error().detail);
    return;
  }
  for (const bool body : {true, false}) {
    if (SpaceFetch* fetch = transfers_->fetch_of({content, body})) fetch->on_peer_admitted(peer);
  }
}

void Agent::on_peer_refused_us(NodeId peer, const ContentId& content, const std::string& why) {
  admission_.refused_us(peer, content, why);
}

void Agent::on_peer_close(NodeId peer, const SpaceKey& space) {
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) fetch->on_peer_close(peer);
}

void Agent::on_peer_have(NodeId peer, const SpaceKey& space, std::vector<ChunkRun> runs) {
  if (!runs.empty()) uploads_.on_peer_has_some(peer, space);
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) return fetch->on_peer_have(peer, runs);
  uploads_.on_peer_have(peer, space, runs);
}

void Agent::on_peer_offer(NodeId peer, const SpaceKey& space, const Offer& offer) {
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) return fetch->on_peer_offer(peer, offer);
  // Zero milliseconds: an answer to an offer of ours.
  if (offer.milliseconds == 0) uploads_.on_peer_decline(peer, space, ChunkIndex{offer.chunk});
}

void Agent::on_peer_busy(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) fetch->on_peer_busy(peer, range);
}

void Agent::on_peer_request(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  on_peer_run_request(peer, space, range, {});
}

void Agent::on_peer_run_request(NodeId peer, const SpaceKey& space, const ChunkRange& range,
                                std::vector<ByteRange> pieces) {
  if (may_have(peer, space.content)) {
    const SpaceFetch* fetch = transfers_->fetch_of(space);
    if (fetch != nullptr && fetch->sends_away(peer)) return mesh_.send_busy(peer, space, range);
    return uploads_.on_peer_run_request(peer, space, range, std::move(pieces));
  }
  mesh_.send_refusal(peer, space, range);
  on_not_admitted(peer, space);
}

void Agent::on_peer_leaves_wanted(NodeId peer, const ContentId& content, ChunkIndex chunk) {
  if (may_have(peer, content)) return uploads_.on_peer_leaves_wanted(peer, content, chunk);
  mesh_.send_leaves(peer, content, chunk, {});
  on_not_admitted(peer, {content, false});
}

void Agent::on_peer_leaves(NodeId peer, const ContentId& content, ChunkIndex chunk,
                           std::string leaves) {
  // Late ones of a transfer that is over are thrown away.
  if (SpaceFetch* fetch = transfers_->fetch_of({content, false})) {
    fetch->on_peer_leaves(peer, chunk, std::move(leaves));
  }
}

bool Agent::may_have(NodeId peer, const ContentId& content) const {
  return admission_.admits(peer, content, wall_now());
}

// Says so once, to the peer and in the log.
void Agent::on_not_admitted(NodeId peer, const SpaceKey& space) {
  const std::string why = admission_.reason(peer, space.content);
  if (!admission_.refused(peer, space.content, why)) return;
  uploads_.forget(peer, space);
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) return fetch->refuse(peer, why);
  mesh_.send_no_ticket(peer, space, why);
}

void Agent::on_peer_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  uploads_.on_peer_cancel(peer, space, range);
}

void Agent::on_peer_refusal(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) fetch->on_peer_refusal(peer, range);
}

void Agent::on_peer_data(NodeId peer, const SpaceKey& space, ArrivedData data) {
  // Late bytes of a transfer that is over are thrown away.
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) fetch->on_peer_data(peer, std::move(data));
}

void Agent::on_peer_sent(NodeId peer, std::uint32_t payload_bytes) {
  uploads_.on_peer_sent(peer, payload_bytes);
}

void Agent::on_serve_failed(const ServeSourcePtr& source, const Error& why) {
  uploads_.on_serve_failed(source, why);
}

void Agent::on_peer_broke_rules(NodeId peer, const std::string& reason) {
  proto::AgentMessage message;
  message.mutable_report()->set_node_id(peer.str());
  message.mutable_report()->set_reason(reason);
  link_->send(message);
}

}  // namespace p2p
