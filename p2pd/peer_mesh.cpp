#include "p2pd/peer_mesh.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "io/wire/hello.h"

namespace p2p {
namespace {

constexpr int kDialSeconds = 10;
constexpr Duration kYieldToSmallerId = std::chrono::seconds(1);
constexpr Duration kFirstRetry = std::chrono::milliseconds(500);
constexpr Duration kLongestRetry = std::chrono::seconds(15);
constexpr Duration kPunishment = std::chrono::minutes(1);
// Open spaces of one connection, each way: more is no reasonable peer.
constexpr std::size_t kMaxChannels = 4096;

}  // namespace

PeerMesh::PeerMesh(boost::asio::io_context& control, DiskPool& disk, unsigned data_threads,
                   NodeId self, std::string cluster, Owner& owner, Rng rng)
    : control_(control),
      disk_(disk),
      self_(self),
      cluster_(std::move(cluster)),
      owner_(owner),
      rng_(rng),
      listener_(control),
      timer_(control) {
  for (unsigned i = 0; i < data_threads; ++i) {
    threads_.push_back(std::make_unique<LoopThread>("data-" + std::to_string(i)));
  }
}

PeerMesh::~PeerMesh() {
  stop();
}

void PeerMesh::stop() {
  listener_.close();
  timer_.cancel();
  for (auto& thread : threads_) thread->stop();
  // The threads are gone: what lived on them may be destroyed here.
  sessions_.clear();
  up_.clear();
}

void PeerMesh::set_contexts(TlsContext server, TlsContext client) {
  server_ = std::move(server);
  client_ = std::move(client);
}

Result<std::uint16_t> PeerMesh::listen(const HostPort& address) {
  auto port = listener_.listen(
      address.host, address.port, [this](Listener::Socket socket, std::string peer) {
        begin(std::move(socket), Connection::Side::server, peer, std::nullopt);
      });
  if (port) port_ = *port;
  return port;
}

void PeerMesh::begin(Listener::Socket socket, Connection::Side side, std::string peer,
                     std::optional<NodeId> expected) {
  LoopThread& thread = *threads_[next_thread_++ % threads_.size()];
  auto moved = move_socket(std::move(socket), thread.loop());
  if (!moved) return;
  const PeerSession::Id id = ++last_id_;
  Session session;
  Events& events = *this;
  session.half = std::make_shared<PeerSession>(id, events, thread.loop(), disk_);
  session.thread = &thread;
  session.dialled_by_us = side == Connection::Side::client;
  session.expected = expected;
  Connection::Settings settings;
  settings.cluster = cluster_;
  const TlsContext& tls = side == Connection::Side::client ? *client_ : *server_;
  auto connection =
      Connection::make(thread.loop(), std::move(*moved), tls, side, settings, std::move(peer));
  boost::asio::post(thread.loop(), [half = session.half, connection = std::move(connection)] {
    half->start(connection);
  });
  sessions_.emplace(id, std::move(session));
}

void PeerMesh::know(NodeId peer, const HostPort& address, bool seed) {
  if (peer == self_) return;
  const auto [entry, added] = known_.try_emplace(peer);
  Known& known = entry->second;
  if (added || known.address != address || !known.wanted) {
    known.failures = 0;
    known.not_before = monotonic_now();
    if (!seed && peer < self_) known.not_before = known.not_before + kYieldToSmallerId;
  }
  known.address = address;
  known.seed = known.seed || seed;
  known.wanted = true;
  dial_due();
}

void PeerMesh::forget_all_but(const std::function<bool(NodeId)>& wanted) {
  for (auto& [peer, known] : known_) known.wanted = wanted(peer);
}

std::vector<NodeId> PeerMesh::peers_up() const {
  std::vector<NodeId> list;
  for (const auto& [node, id] : up_) list.push_back(node);
  return list;
}

// Dials whoever is wanted, not connected and due; seeds first.
void PeerMesh::dial_due() {
  const Time now = monotonic_now();
  for (const bool seeds : {true, false}) {
    for (auto& [peer, known] : known_) {
      if (known.seed != seeds || !known.wanted || known.dialling || is_up(peer)) continue;
      if (known.not_before > now) continue;
      known.dialling = true;
      dial(control_, known.address.host, known.address.port, kDialSeconds,
           [this, peer = peer](Result<boost::asio::ip::tcp::socket> socket) {
             Known& dialled = known_[peer];
             dialled.dialling = false;
             // Whatever comes of it, the next try is not before this.
             const Duration pause =
                 std::min(kLongestRetry, kFirstRetry * (1 << std::min(dialled.failures, 5)));
             ++dialled.failures;
             dialled.not_before = monotonic_now() + pause / 2 +
                                  Duration(static_cast<std::int64_t>(
                                      rng_.below(static_cast<std::uint64_t>(pause.count()))));
             if (socket && !is_up(peer)) {
               begin(std::move(*socket), Connection::Side::client, dialled.address.str(), peer);
             } else if (!socket) {
               log_debug("peers", "cannot connect", {{"why", socket.error().detail}});
             }
             schedule();
           });
    }
  }
  schedule();
}

void PeerMesh::schedule() {
  Time next = Time::max();
  for (const auto& [peer, known] : known_) {
    if (known.wanted && !known.dialling && !is_up(peer)) next = std::min(next, known.not_before);
  }
  if (next == Time::max()) return;
  const Duration wait = std::max(next - monotonic_now(), Duration(std::chrono::milliseconds(1)));
  timer_.expires_after(wait);
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error) dial_due();
  });
}

// ---- from the data threads to the control thread -----------------------------------------------

void PeerMesh::on_peer_open(PeerSession::Id id, const Identity& identity) {
  boost::asio::post(control_, [this, id, identity] { opened(id, identity); });
}

void PeerMesh::on_peer_frame(PeerSession::Id id, FrameHeader header, Buffer body) {
  boost::asio::post(control_,
                    [this, id, header, body = std::move(body)] { take_frame(id, header, body); });
}

void PeerMesh::on_peer_data(PeerSession::Id id, ArrivedData data) {
  boost::asio::post(control_, [this, id, data = std::move(data)]() mutable {
    const auto found = sessions_.find(id);
    if (found == sessions_.end() || !found->second.greeted) return;
    const auto space = found->second.theirs.find(data.channel);
    if (space == found->second.theirs.end())
      return end(id, "sent data on a channel it never opened");
    const SpaceKey key = space->second;  // the session may end meanwhile
    owner_.on_peer_data(*found->second.node, key, std::move(data));
  });
}

void PeerMesh::on_peer_sent(PeerSession::Id id, std::uint32_t payload_bytes) {
  boost::asio::post(control_, [this, id, payload_bytes] {
    const auto found = sessions_.find(id);
    if (found != sessions_.end() && found->second.greeted) {
      owner_.on_peer_sent(*found->second.node, payload_bytes);
    }
  });
}

void PeerMesh::on_serve_failed(PeerSession::Id, ServeSourcePtr source, Error why) {
  boost::asio::post(control_, [this, source = std::move(source), why = std::move(why)] {
    owner_.on_serve_failed(source, why);
  });
}

void PeerMesh::on_peer_closed(PeerSession::Id id, Error why) {
  boost::asio::post(control_, [this, id, why = std::move(why)] { closed(id, why); });
}

// ---- on the control thread ---------------------------------------------------------------------

void PeerMesh::opened(PeerSession::Id id, const Identity& identity) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  Session& session = found->second;
  session.node = NodeId::parse(identity.id);
  if (!session.node || *session.node == self_) return end(id, "has no node id of another node");
  if (session.expected && *session.expected != *session.node) {
    return end(id, "is another node than the one that was dialled");
  }
  if (const auto ban = banned_until_.find(*session.node); ban != banned_until_.end()) {
    if (monotonic_now() < ban->second) return end(id, "was dropped less than a minute ago");
    banned_until_.erase(ban);
  }
  send(session, FrameType::hello, 0, make_hello(port_).SerializeAsString());
}

// The peer has said Hello: the connection counts from now on.
void PeerMesh::greeted(PeerSession::Id id, Session& session) {
  const NodeId node = *session.node;
  if (const auto other = up_.find(node); other != up_.end()) {
    // Two connections: both ends keep the one that the smaller id has dialled. Two of the same
    // direction: the older one has not noticed its end yet.
    const Session& older = sessions_.at(other->second);
    const bool same_direction = older.dialled_by_us == session.dialled_by_us;
    const bool keep_new = same_direction || session.dialled_by_us == (self_ < node);
    if (!keep_new) return end(id, "a second connection");
    end(other->second, "replaced by another connection");
  }
  session.greeted = true;
  up_[node] = id;
  if (const auto known = known_.find(node); known != known_.end()) known->second.failures = 0;
  log_debug("peers", "connected", {{"node", node.str()}});
  owner_.on_peer_up(node);
}

void PeerMesh::take_frame(PeerSession::Id id, const FrameHeader& header, const Buffer& body) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || !found->second.node) return;
  Session& session = found->second;
  if (!session.greeted) {
    if (header.type != FrameType::hello) return end(id, "said something before Hello");
    const auto hello = read_hello(body.span());
    if (!hello) return end(id, hello.error().detail);
    return greeted(id, session);
  }
  if (header.type == FrameType::control) return take_message(id, session, body);
  const auto space = session.theirs.find(header.channel);
  if (space == session.theirs.end()) {
    if (header.type >= FrameType::have && header.type <= FrameType::data) {
      end(id, "used a channel that it never opened");
    }
    return;  // a later version's frame
  }
  const NodeId node = *session.node;
  const SpaceKey key = space->second;
  if (header.type == FrameType::have) {
    auto runs = decode_have(body.span());
    if (!runs) return end(id, "sent a malformed HAVE");
    owner_.on_peer_have(node, key, std::move(*runs));
  } else if (header.type == FrameType::offer) {
    const auto offer = decode_offer(body.span());
    if (!offer) return end(id, "sent a malformed OFFER");
    owner_.on_peer_offer(node, key, *offer);
  } else if (header.type == FrameType::request || header.type == FrameType::cancel) {
    take_range(node, key, header, body, id);
  }
}

void PeerMesh::take_range(NodeId node, const SpaceKey& space, const FrameHeader& header,
                          const Buffer& body, PeerSession::Id id) {
  const auto range = decode_range(body.span());
  if (!range) return end(id, "sent a malformed REQUEST or CANCEL");
  if (header.type == FrameType::request) {
    owner_.on_peer_request(node, space, *range);
  } else if (header.flags & kBusy) {
    owner_.on_peer_busy(node, space, *range);
  } else if (header.flags & kRefusal) {
    owner_.on_peer_refusal(node, space, *range);
  } else {
    owner_.on_peer_cancel(node, space, *range);
  }
}

void PeerMesh::take_message(PeerSession::Id id, Session& session, const Buffer& body) {
  proto::PeerMessage message;
  if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return end(id, "sent a message that cannot be read");
  }
  const NodeId node = *session.node;
  if (message.has_open()) {
    const auto content = ContentId::from_raw(message.open().content_id());
    const std::uint32_t channel = message.open().channel();
    if (!content || channel == 0 || channel > 0xffff || session.theirs.size() >= kMaxChannels) {
      return end(id, "sent a malformed Open");
    }
    const SpaceKey space{*content, message.open().space() == proto::SPACE_BODY};
    session.theirs[static_cast<std::uint16_t>(channel)] = space;
    owner_.on_peer_open(node, space, message.open().wants(), message.open().offers());
  } else if (message.has_close()) {
    if (const auto content = ContentId::from_raw(message.close().content_id())) {
      owner_.on_peer_close(node, {*content, message.close().space() == proto::SPACE_BODY});
    }
  }
}

void PeerMesh::closed(PeerSession::Id id, const Error& why) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  if (found->second.node) {
    log_debug("peers", "disconnected", {{"node", found->second.node->str()}, {"why", why.detail}});
  } else {
    log_warn("peers", "connection refused", {{"why", why.detail}});
  }
  end(id, why.detail);
}

// Closes the data thread's half and forgets the session.
void PeerMesh::end(PeerSession::Id id, const std::string& why) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  const Session session = std::move(found->second);
  sessions_.erase(found);
  boost::asio::post(session.thread->loop(), [half = session.half] { half->close(); });
  if (!session.node) return;
  const auto up = up_.find(*session.node);
  if (up == up_.end() || up->second != id) return;
  up_.erase(up);
  log_debug("peers", "connection ended", {{"node", session.node->str()}, {"why", why}});
  owner_.on_peer_down(*session.node);
  schedule();
}

void PeerMesh::drop(NodeId peer, const std::string& reason) {
  log_warn("peers", "peer dropped", {{"node", peer.str()}, {"why", reason}});
  const Time until = monotonic_now() + kPunishment;
  banned_until_[peer] = until;
  if (const auto known = known_.find(peer); known != known_.end()) known->second.not_before = until;
  if (const auto up = up_.find(peer); up != up_.end()) end(up->second, reason);
}

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

void PeerMesh::send_open(NodeId peer, const SpaceKey& space, bool wants, bool offers) {
  Session* session = session_of(peer);
  if (session == nullptr) return;
  const auto [entry, added] =
      session->ours.try_emplace(space, static_cast<std::uint16_t>(session->ours.size() + 1));
  proto::PeerMessage message;
  message.mutable_open()->set_channel(entry->second);
  message.mutable_open()->set_content_id(std::string(space.content.digest.view()));
  message.mutable_open()->set_space(space.body ? proto::SPACE_BODY : proto::SPACE_DATA);
  message.mutable_open()->set_wants(wants);
  message.mutable_open()->set_offers(offers);
  send(*session, FrameType::control, 0, message.SerializeAsString());
}

void PeerMesh::send_close(NodeId peer, const SpaceKey& space, const std::string& reason) {
  Session* session = session_of(peer);
  if (session == nullptr) return;
  proto::PeerMessage message;
  message.mutable_close()->set_content_id(std::string(space.content.digest.view()));
  message.mutable_close()->set_space(space.body ? proto::SPACE_BODY : proto::SPACE_DATA);
  message.mutable_close()->set_reason(reason);
  send(*session, FrameType::control, 0, message.SerializeAsString());
}

std::optional<std::uint16_t> PeerMesh::channel_of(NodeId peer, const SpaceKey& space) {
  Session* session = session_of(peer);
  if (session == nullptr) return std::nullopt;
  const auto found = session->ours.find(space);
  if (found == session->ours.end()) return std::nullopt;
  return found->second;
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
    send(*session_of(peer), type, *channel, encode_range(range), flags);
  }
}

void PeerMesh::send_request(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  send_range(peer, space, FrameType::request, range, 0);
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

void PeerMesh::serve(NodeId peer, const SpaceKey& space, ServeSourcePtr source,
                     const ChunkRange& range) {
  const auto channel = channel_of(peer, space);
  if (!channel) return;
  Session& session = *session_of(peer);
  boost::asio::post(session.thread->loop(),
                    [half = session.half, source = std::move(source), channel = *channel, range] {
                      half->serve(source, channel, range);
                    });
}

}  // namespace p2p
