// The part of the mesh that sends: what its owner says becomes frames on the peer's data thread.
#include <algorithm>
#include <boost/asio/post.hpp>

#include "p2pd/peer_mesh.h"

namespace p2p {
namespace {

proto::PeerMessage close_message(const SpaceKey& space, const std::string& reason) {
  proto::PeerMessage message;
  message.mutable_close()->set_content_id(std::string(space.content.digest.view()));
  message.mutable_close()->set_space(space.body ? proto::SPACE_BODY : proto::SPACE_DATA);
  message.mutable_close()->set_reason(reason);
  return message;
}

}  // namespace

PeerMesh::Session* PeerMesh::session_of(NodeId peer) {
  const auto up = up_.find(peer);
  return up == up_.end() ? nullptr : &sessions_.at(up->second);
}

void PeerMesh::send(Session& session, FrameType type, std::uint16_t channel, std::string body,
                    std::uint8_t flags) {
  boost::asio::post(session.thread->loop(),
                    [half = session.half, type, channel, body = std::move(body), flags] {
                      half->send(type, channel, body, flags);
                    });
}

void PeerMesh::send_message(NodeId peer, const proto::PeerMessage& message) {
  if (Session* session = session_of(peer)) {
    send(*session, FrameType::control, 0, message.SerializeAsString());
  }
}

void PeerMesh::send_open(NodeId peer, const SpaceKey& space, const Opening& opening) {
  Session* session = session_of(peer);
  if (session == nullptr) return;
  const OwnChannels::Opened opened = session->ours.open(space);
  if (opened.closed) send_message(peer, close_message(*opened.closed, "not used for long"));
  proto::PeerMessage message;
  message.mutable_open()->set_channel(opened.number);
  message.mutable_open()->set_content_id(std::string(space.content.digest.view()));
  message.mutable_open()->set_space(space.body ? proto::SPACE_BODY : proto::SPACE_DATA);
  message.mutable_open()->set_wants(opening.wants);
  message.mutable_open()->set_offers(opening.offers);
  message.mutable_open()->set_ticket(opening.ticket);
  message.mutable_open()->set_rack(opening.rack);
  send_message(peer, message);
}

void PeerMesh::send_ticket(NodeId peer, const ContentId& content, const std::string& ticket) {
  proto::PeerMessage message;
  message.mutable_ticket()->set_content_id(std::string(content.digest.view()));
  message.mutable_ticket()->set_ticket(ticket);
  send_message(peer, message);
}

void PeerMesh::send_deny_version(NodeId peer, std::uint64_t version) {
  proto::PeerMessage message;
  message.set_deny_version(version);
  send_message(peer, message);
}

void PeerMesh::send_deny_list(NodeId peer, const std::string& statement) {
  if (Session* session = session_of(peer)) send(*session, FrameType::deny_list, 0, statement);
}

void PeerMesh::send_close(NodeId peer, const SpaceKey& space, const std::string& reason) {
  if (Session* session = session_of(peer)) session->ours.close(space);
  send_message(peer, close_message(space, reason));
}

void PeerMesh::send_no_ticket(NodeId peer, const SpaceKey& space, const std::string& reason) {
  if (Session* session = session_of(peer)) session->ours.close(space);
  proto::PeerMessage message = close_message(space, reason);
  message.mutable_close()->set_no_ticket(true);
  send_message(peer, message);
}

std::optional<std::uint16_t> PeerMesh::channel_of(NodeId peer, const SpaceKey& space) {
  Session* session = session_of(peer);
  if (session == nullptr) return std::nullopt;
  return session->ours.use(space);
}

void PeerMesh::send_have(NodeId peer, const SpaceKey& space, const std::vector<ChunkRun>& runs) {
  const auto channel = channel_of(peer, space);
  if (!channel) return;
  // A frame holds 131,072 runs; a very ragged set takes several.
  constexpr std::size_t kRunsInFrame = 100'000;
  for (std::size_t at = 0; at < runs.size(); at += kRunsInFrame) {
    const std::span part(runs.data() + at, std::min(kRunsInFrame, runs.size() - at));
    send(*session_of(peer), FrameType::have, *channel, encode_have(part));
  }
}

void PeerMesh::send_range(NodeId peer, const SpaceKey& space, FrameType type,
                          const ChunkRange& range, std::uint8_t flags) {
  if (const auto channel = channel_of(peer, space)) {
    if (range.of_run) flags |= kOfRun;
    send(*session_of(peer), type, *channel, encode_range(range), flags);
  }
}

void PeerMesh::send_request(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  send_range(peer, space, FrameType::request, range, 0);
}

void PeerMesh::send_run_request(NodeId peer, const SpaceKey& space, const ChunkRange& run,
                                const std::vector<ByteRange>& pieces) {
  if (const auto channel = channel_of(peer, space)) {
    send(*session_of(peer), FrameType::request_ranges, *channel, encode_run_request(run, pieces));
  }
}

void PeerMesh::send_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  send_range(peer, space, FrameType::cancel, range, 0);
}

void PeerMesh::send_busy(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  send_range(peer, space, FrameType::cancel, range, kBusy);
}

void PeerMesh::send_offer(NodeId peer, const SpaceKey& space, const Offer& offer) {
  if (const auto channel = channel_of(peer, space)) {
    send(*session_of(peer), FrameType::offer, *channel, encode_offer(offer));
  }
}

void PeerMesh::send_refusal(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  send_range(peer, space, FrameType::cancel, range, kRefusal);
}

void PeerMesh::send_leaves_wanted(NodeId peer, const ContentId& content, ChunkIndex chunk) {
  proto::PeerMessage message;
  message.mutable_leaves_wanted()->set_content_id(std::string(content.digest.view()));
  message.mutable_leaves_wanted()->set_chunk(chunk.value);
  send_message(peer, message);
}

void PeerMesh::send_leaves(NodeId peer, const ContentId& content, ChunkIndex chunk,
                           std::string leaves) {
  proto::PeerMessage message;
  message.mutable_leaves()->set_content_id(std::string(content.digest.view()));
  message.mutable_leaves()->set_chunk(chunk.value);
  message.mutable_leaves()->set_leaves(std::move(leaves));
  send_message(peer, message);
}

void PeerMesh::serve(NodeId peer, const SpaceKey& space, ServeSourcePtr source,
                     const ChunkRange& range, std::vector<ByteRange> pieces) {
  const auto channel = channel_of(peer, space);
  if (!channel) return;
  Session& session = *session_of(peer);
  boost::asio::post(session.thread->loop(),
                    [half = session.half, source = std::move(source), channel = *channel, range,
                     pieces = std::move(pieces)]() mutable {
                      half->serve(std::move(source), channel, range, std::move(pieces));
                    });
}

}  // namespace p2p
