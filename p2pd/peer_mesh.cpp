#include "p2pd/peer_mesh.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "core/model/place.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "io/wire/hello.h"

namespace p2p {
namespace {

// A Hello or PeerMessage: Leaves have 16 KiB, others some hundred bytes, a message of a later
// version perhaps more.
constexpr std::size_t kMaxMessageBytes = 64 * 1024;
constexpr std::size_t kMaxLeavesBytes = kMaxChunkBytes / kBlockBytes * sizeof(Digest);
constexpr Duration kTurnedAwayEvery = std::chrono::minutes(1);

}  // namespace

PeerMesh::PeerMesh(boost::asio::io_context& control, DiskPool& disk,
                   const PeerMeshSettings& settings, NodeId self, std::string cluster, Owner& owner,
                   Rng rng)
    : control_(control),
      disk_(disk),
      settings_(settings),
      self_(self),
      cluster_(std::move(cluster)),
      owner_(owner),
      listener_(control),
      book_(self, settings.book, rng),
      dial_timer_(control),
      greeting_timer_(control) {
  for (unsigned i = 0; i < settings.data_threads; ++i) {
    threads_.push_back(std::make_unique<LoopThread>("data-" + std::to_string(i)));
  }
}

PeerMesh::~PeerMesh() {
  stop();
}

void PeerMesh::stop() {
  listener_.close();
  dial_timer_.cancel();
  greeting_timer_.cancel();
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
  if (!moved) {
    if (expected) book_.on_not_connected(*expected, monotonic_now());
    return;
  }
  const PeerSession::Id id = ++last_id_;
  Session session;
  Events& events = *this;
  session.half = std::make_shared<PeerSession>(id, events, thread.loop(), disk_, settings_.session);
  session.thread = &thread;
  session.dialled_by_us = side == Connection::Side::client;
  session.expected = expected;
  session.since = monotonic_now();
  session.address = peer;
  Connection::Settings settings;
  settings.cluster = cluster_;
  const TlsContext& tls = side == Connection::Side::client ? *client_ : *server_;
  auto connection =
      Connection::make(thread.loop(), std::move(*moved), tls, side, settings, std::move(peer));
  boost::asio::post(thread.loop(), [half = session.half, connection = std::move(connection)] {
    half->start(connection);
  });
  if (!session.dialled_by_us) ++ungreeted_accepted_;
  sessions_.emplace(id, std::move(session));
  ungreeted_.insert(id);
  make_room();
  if (ungreeted_.size() == 1) schedule_overdue();
}

// So that connections without a word cannot use up descriptors and memory.
void PeerMesh::make_room() {
  if (ungreeted_accepted_ <= settings_.ungreeted_max) return;
  const auto oldest =
      std::find_if(ungreeted_.begin(), ungreeted_.end(),
                   [this](PeerSession::Id id) { return !sessions_.at(id).dialled_by_us; });
  end(*oldest, "made room for newer connections");
}

void PeerMesh::end_overdue() {
  while (!ungreeted_.empty()) {
    const PeerSession::Id id = *ungreeted_.begin();
    if (monotonic_now() < sessions_.at(id).since + settings_.greeting) break;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(settings_.greeting);
    const std::string why = "no Hello within " + std::to_string(seconds.count()) + " s";
    // A node that got through TLS could have said it at once.
    if (sessions_.at(id).node) {
      broke_rules(id, why);
    } else {
      closed(id, Error{Errc::timed_out, sessions_.at(id).address + ": " + why});
    }
  }
  schedule_overdue();
}

void PeerMesh::schedule_overdue() {
  if (ungreeted_.empty()) return;
  const Time due = sessions_.at(*ungreeted_.begin()).since + settings_.greeting;
  greeting_timer_.expires_after(due - monotonic_now());
  greeting_timer_.async_wait([this](boost::system::error_code error) {
    if (!error) end_overdue();
  });
}

void PeerMesh::know(NodeId peer, const HostPort& address, bool seed) {
  book_.know(peer, address, seed, monotonic_now());
  dial_due();
}

void PeerMesh::forget_all_but(const std::function<bool(NodeId)>& wanted) {
  book_.forget_all_but(wanted);
}

std::vector<NodeId> PeerMesh::peers_up() const {
  std::vector<NodeId> list;
  for (const auto& [node, id] : up_) list.push_back(node);
  return list;
}

void PeerMesh::dial_due() {
  const auto due =
      book_.take_due(monotonic_now(), [this](NodeId peer) { return needs_no_dial(peer); });
  for (const PeerBook::Dial& next : due) {
    dial(control_, next.address.host, next.address.port, settings_.dial_seconds,
         [this, next](Result<boost::asio::ip::tcp::socket> socket) {
           if (socket && !is_up(next.peer)) {
             begin(std::move(*socket), Connection::Side::client, next.address.str(), next.peer);
           } else {
             book_.on_not_connected(next.peer, monotonic_now());
           }
           if (!socket) log_debug("peers", "cannot connect", {{"why", socket.error().detail}});
           schedule();
         });
  }
  schedule();
}

void PeerMesh::schedule() {
  const Time next = book_.next_deadline([this](NodeId peer) { return needs_no_dial(peer); });
  if (next == Time::max()) return;
  dial_timer_.expires_after(
      std::max(next - monotonic_now(), Duration(std::chrono::milliseconds(1))));
  dial_timer_.async_wait([this](boost::system::error_code error) {
    if (!error) dial_due();
  });
}

// ---- from the data threads to the control thread -----------------------------------------------

void PeerMesh::on_peer_open(PeerSession::Id id, const Identity& identity) {
  boost::asio::post(control_, [this, id, identity] { opened(id, identity); });
}

void PeerMesh::on_peer_frame(PeerSession::Id id, FrameHeader header, Buffer body) {
  boost::asio::post(control_, [this, id, header, body = std::move(body)] {
    take_frame(id, header, body);
    handled(id, body.size());
  });
}

void PeerMesh::on_peer_data(PeerSession::Id id, ArrivedData data) {
  boost::asio::post(control_, [this, id, data = std::move(data)]() mutable {
    const std::size_t bytes = data.body.size();
    take_data(id, std::move(data));
    handled(id, bytes);
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

void PeerMesh::handled(PeerSession::Id id, std::size_t bytes) {
  const auto found = sessions_.find(id);
  if (found != sessions_.end()) found->second.half->handled(bytes);
}

void PeerMesh::opened(PeerSession::Id id, const Identity& identity) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  Session& session = found->second;
  session.node = NodeId::parse(identity.id);
  session.name = identity.shown();
  if (!session.node || *session.node == self_) return end(id, "has no node id of another node");
  if (session.expected && *session.expected != *session.node) {
    return end(id, "is another node than the one that was dialled");
  }
  if (owner_.is_removed(*session.node)) return turn_away(id);
  if (book_.is_banned(*session.node, monotonic_now())) return end(id, "was dropped lately");
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
  forget_greeting(id, session);
  up_[node] = id;
  book_.on_connected(node, monotonic_now());
  log_debug("peers", "connected", {{"node", node.str()}});
  const std::string name = session.name;  // the session may end meanwhile
  owner_.on_peer_up(node, name);
}

void PeerMesh::take_frame(PeerSession::Id id, const FrameHeader& header, const Buffer& body) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || !found->second.node) return;
  Session& session = found->second;
  const bool message = header.type == FrameType::hello || header.type == FrameType::control;
  if (message && body.size() > kMaxMessageBytes) {
    return broke_rules(id, "sent a message of " + std::to_string(body.size()) + " bytes");
  }
  if (!session.greeted) {
    if (header.type != FrameType::hello) return broke_rules(id, "said something before Hello");
    const auto hello = read_hello(body.span());
    if (hello) return greeted(id, session);
    if (hello.error().code == Errc::corrupt) return broke_rules(id, hello.error().detail);
    return closed(id, hello.error().within(session.address));
  }
  if (header.type == FrameType::control) return take_message(id, session, body);
  if (header.type == FrameType::deny_list) {
    const std::string_view statement(reinterpret_cast<const char*>(body.data()), body.size());
    return owner_.on_peer_deny_list(*session.node, statement);
  }
  if (header.type < FrameType::have || header.type > FrameType::run_data)
    return;  // a later version's
  const auto space = session.theirs.find(header.channel);
  if (!space) {
    if (session.theirs.was_closed(header.channel)) return;
    return broke_rules(id, "used a channel that it never opened");
  }
  const NodeId node = *session.node;
  if (header.type == FrameType::have) {
    auto runs = decode_have(body.span());
    if (!runs) return broke_rules(id, "sent a malformed HAVE");
    owner_.on_peer_have(node, *space, std::move(*runs));
  } else if (header.type == FrameType::offer) {
    const auto offer = decode_offer(body.span());
    if (!offer) return broke_rules(id, "sent a malformed OFFER");
    owner_.on_peer_offer(node, *space, *offer);
  } else if (header.type == FrameType::request_ranges) {
    take_run_request(node, *space, body, id);
  } else {
    take_range(node, *space, header, body, id);
  }
}

void PeerMesh::take_data(PeerSession::Id id, ArrivedData data) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || !found->second.node) return;
  Session& session = found->second;
  if (!session.greeted) return broke_rules(id, "said something before Hello");
  const auto space = session.theirs.find(data.channel);
  if (space) return owner_.on_peer_data(*session.node, *space, std::move(data));
  if (session.theirs.was_closed(data.channel)) return;
  broke_rules(id, "sent data on a channel that it never opened");
}

void PeerMesh::take_range(NodeId node, const SpaceKey& space, const FrameHeader& header,
                          const Buffer& body, PeerSession::Id id) {
  auto range = decode_range(body.span());
  if (!range) return broke_rules(id, "sent a malformed REQUEST or CANCEL");
  range->of_run = header.type == FrameType::cancel && (header.flags & kOfRun) != 0;
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

void PeerMesh::take_run_request(NodeId node, const SpaceKey& space, const Buffer& body,
                                PeerSession::Id id) {
  auto request = decode_run_request(body.span());
  if (!request) return broke_rules(id, "sent a malformed REQUEST_RANGES");
  owner_.on_peer_run_request(node, space, request->run, std::move(request->pieces));
}

void PeerMesh::take_message(PeerSession::Id id, Session& session, const Buffer& body) {
  proto::PeerMessage message;
  if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return broke_rules(id, "sent a message that cannot be read");
  }
  if (message.has_open()) {
    take_open(id, session, *message.mutable_open());
  } else if (message.has_close()) {
    take_close(id, session, message.close());
  } else if (message.has_ticket()) {
    const auto content = ContentId::from_raw(message.ticket().content_id());
    if (!content) return broke_rules(id, "sent a malformed NewTicket");
    owner_.on_peer_ticket(*session.node, *content, message.ticket().ticket());
  } else if (message.kind_case() == proto::PeerMessage::kDenyVersion) {
    owner_.on_peer_deny_version(*session.node, message.deny_version());
  } else if (message.has_leaves_wanted()) {
    const auto content = ContentId::from_raw(message.leaves_wanted().content_id());
    if (!content) return broke_rules(id, "sent a malformed LeavesWanted");
    const ChunkIndex chunk{message.leaves_wanted().chunk()};
    owner_.on_peer_leaves_wanted(*session.node, *content, chunk);
  } else if (message.has_leaves()) {
    take_leaves(id, *session.node, *message.mutable_leaves());
  }
}

void PeerMesh::take_leaves(PeerSession::Id id, NodeId node, proto::Leaves& message) {
  const auto content = ContentId::from_raw(message.content_id());
  std::string& leaves = *message.mutable_leaves();
  if (!content || leaves.size() % sizeof(Digest) != 0 || leaves.size() > kMaxLeavesBytes) {
    return broke_rules(id, "sent malformed Leaves");
  }
  owner_.on_peer_leaves(node, *content, ChunkIndex{message.chunk()}, std::move(leaves));
}

void PeerMesh::take_open(PeerSession::Id id, Session& session, proto::Open& open) {
  const auto content = ContentId::from_raw(open.content_id());
  if (!content || open.channel() == 0 || open.channel() > 0xffff) {
    return broke_rules(id, "sent a malformed Open");
  }
  const SpaceKey space{*content, open.space() == proto::SPACE_BODY};
  if (!session.theirs.open(static_cast<std::uint16_t>(open.channel()), space)) {
    return broke_rules(
        id, "opened more than " + std::to_string(kMaxChannels) + " spaces, or two on one channel");
  }
  if (open.rack().size() > kMaxRackBytes) return broke_rules(id, "sent a malformed Open");
  const Opening opening{open.wants(), open.offers(), std::move(*open.mutable_ticket()),
                        std::move(*open.mutable_rack())};
  owner_.on_peer_open(*session.node, space, opening);
}

void PeerMesh::take_close(PeerSession::Id id, Session& session, const proto::Close& close) {
  const auto content = ContentId::from_raw(close.content_id());
  if (!content) return broke_rules(id, "sent a malformed Close");
  const SpaceKey space{*content, close.space() == proto::SPACE_BODY};
  session.theirs.close(space);
  if (close.no_ticket()) owner_.on_peer_refused_us(*session.node, *content, close.reason());
  owner_.on_peer_close(*session.node, space);
}

// Errors of a connection that has come about are the peer's fault when they are about frames.
void PeerMesh::closed(PeerSession::Id id, const Error& why) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  const bool broke = why.code == Errc::corrupt || why.code == Errc::exhausted;
  if (found->second.node && broke) return broke_rules(id, why.detail);
  if (found->second.greeted) {
    log_debug("peers", "disconnected", {{"node", found->second.node->str()}, {"why", why.detail}});
  } else {
    log_warn("peers", "connection refused", {{"why", why.detail}});
  }
  end(id, why.detail);
}

void PeerMesh::broke_rules(PeerSession::Id id, const std::string& how) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  const NodeId node = *found->second.node;
  owner_.on_peer_broke_rules(node, how);
  drop(node, how);
  end(id, how);  // not the one that drop() has ended when it came before its Hello
}

void PeerMesh::end_removed() {
  std::vector<PeerSession::Id> over;
  for (const auto& [id, session] : sessions_) {
    if (session.node && owner_.is_removed(*session.node)) over.push_back(id);
  }
  for (const PeerSession::Id id : over) turn_away(id);
}

// A removed node does not stop asking: its refusal is logged once a minute.
void PeerMesh::turn_away(PeerSession::Id id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  const Session& session = found->second;
  const Time now = monotonic_now();
  const auto [logged, first] = turned_away_.try_emplace(*session.node, now);
  if (first || now - logged->second >= kTurnedAwayEvery) {
    logged->second = now;
    log_warn("peers", "a node that was removed from the cluster was turned away",
             {{"node", session.name}, {"id", session.node->str()}, {"address", session.address}});
  }
  end(id, "was removed from the cluster");
}

// It has said Hello, or is over.
void PeerMesh::forget_greeting(PeerSession::Id id, const Session& session) {
  if (ungreeted_.erase(id) > 0 && !session.dialled_by_us) --ungreeted_accepted_;
}

// Closes the data thread's half and forgets the session.
void PeerMesh::end(PeerSession::Id id, const std::string& why) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  const Session session = std::move(found->second);
  sessions_.erase(found);
  forget_greeting(id, session);
  boost::asio::post(session.thread->loop(), [half = session.half] { half->close(); });
  if (session.expected && !session.greeted) {
    book_.on_not_connected(*session.expected, monotonic_now());
    schedule();
  }
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
  book_.ban(peer, monotonic_now());
  if (const auto up = up_.find(peer); up != up_.end()) end(up->second, reason);
}

}  // namespace p2p
