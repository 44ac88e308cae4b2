// The connections of this node with other agents, as the control thread sees them.
//
// One connection for each pair of nodes; when both dial at the same moment, the one dialled by the
// smaller node id stays. Frames of a space travel on channel numbers that each side chooses for
// what it sends; the mesh translates them into SpaceKeys. Control thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/ids.h"
#include "core/base/rng.h"
#include "core/base/time.h"
#include "core/transfer/upload_slots.h"
#include "io/config/config.h"
#include "io/disk/disk_pool.h"
#include "io/identity/tls_context.h"
#include "io/net/listener.h"
#include "io/runtime/loop_thread.h"
#include "p2pd/channels.h"
#include "p2pd/peer_book.h"
#include "p2pd/peer_session.h"
#include "proto/peer.pb.h"

namespace p2p {

struct PeerMeshSettings {
  unsigned data_threads = 1;
  PeerBookSettings book;
  int dial_seconds = 10;
  // From the TCP connection to the peer's Hello, TLS included.
  Duration greeting = std::chrono::seconds(10);
  // Accepted connections that have not said Hello yet; one more ends the oldest of them. Whoever
  // means it needs some milliseconds.
  std::size_t ungreeted_max = 1024;
  PeerSessionSettings session;
};

class PeerMesh final : private PeerSession::Events {
 public:
  // What one side says when it opens a space.
  struct Opening {
    bool wants = false;   // it waits for an Open or Close in return
    bool offers = false;  // it is a seed that hands out chunks by OFFER
    std::string ticket;   // of the side that opens; empty: it has none
    std::string rack;     // where it stands (core/model/place.h); empty: not known
  };

  struct Owner {
    // `name` is what its certificate calls it, for logs.
    virtual void on_peer_up(NodeId peer, const std::string& name) = 0;
    virtual void on_peer_down(NodeId peer) = 0;
    // Neither dialled nor let in.
    virtual bool is_removed(NodeId node) const = 0;
    virtual void on_peer_deny_version(NodeId peer, std::uint64_t version) = 0;
    virtual void on_peer_deny_list(NodeId peer, std::string_view statement) = 0;
    // The peer holds or wants the space.
    virtual void on_peer_open(NodeId peer, const SpaceKey& space, const Opening& opening) = 0;
    // Another ticket for what it has opened.
    virtual void on_peer_ticket(NodeId peer, const ContentId& content,
                                const std::string& ticket) = 0;
    // The peer refuses this node for want of a valid ticket; on_peer_close() follows.
    virtual void on_peer_refused_us(NodeId peer, const ContentId& content,
                                    const std::string& why) = 0;
    virtual void on_peer_offer(NodeId peer, const SpaceKey& space, const Offer& offer) = 0;
    virtual void on_peer_busy(NodeId peer, const SpaceKey& space, const ChunkRange& range) = 0;
    virtual void on_peer_close(NodeId peer, const SpaceKey& space) = 0;
    virtual void on_peer_have(NodeId peer, const SpaceKey& space, std::vector<ChunkRun> runs) = 0;
    virtual void on_peer_request(NodeId peer, const SpaceKey& space, const ChunkRange& range) = 0;
    // The same for bytes of a run: those of `pieces` of the chunk, one behind the other.
    virtual void on_peer_run_request(NodeId peer, const SpaceKey& space, const ChunkRange& run,
                                     std::vector<ByteRange> pieces) = 0;
    virtual void on_peer_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range) = 0;
    virtual void on_peer_refusal(NodeId peer, const SpaceKey& space, const ChunkRange& range) = 0;
    virtual void on_peer_data(NodeId peer, const SpaceKey& space, ArrivedData data) = 0;
    virtual void on_peer_leaves_wanted(NodeId peer, const ContentId& content, ChunkIndex chunk) = 0;
    // Digests, joined; at most those of the largest chunk. Empty: the peer cannot tell.
    virtual void on_peer_leaves(NodeId peer, const ContentId& content, ChunkIndex chunk,
                                std::string leaves) = 0;
    virtual void on_peer_sent(NodeId peer, std::uint32_t payload_bytes) = 0;
    virtual void on_serve_failed(const ServeSourcePtr& source, const Error& why) = 0;
    // The mesh has dropped the peer for what it said, whatever it was about.
    virtual void on_peer_broke_rules(NodeId peer, const std::string& reason) = 0;

   protected:
    ~Owner() = default;
  };

  PeerMesh(boost::asio::io_context& control, DiskPool& disk, const PeerMeshSettings& settings,
           NodeId self, std::string cluster, Owner& owner, Rng rng);
  ~PeerMesh();

  // New connections use them.
  void set_contexts(TlsContext server, TlsContext client);
  Result<std::uint16_t> listen(const HostPort& address);
  void stop();

  // A member of a swarm that this node is in: it is dialled, and dialled again when the connection
  // is lost, until forget_all_but() leaves it out. Seeds at once; of two receivers the one with the
  // smaller id dials first, the other a second later.
  void know(NodeId peer, const HostPort& address, bool seed);
  void forget_all_but(const std::function<bool(NodeId)>& wanted);

  // After the owner's is_removed() has changed: ends connections and half-made ones of such nodes.
  void end_removed();

  bool is_up(NodeId peer) const { return up_.contains(peer); }
  std::vector<NodeId> peers_up() const;

  void send_open(NodeId peer, const SpaceKey& space, const Opening& opening);
  void send_ticket(NodeId peer, const ContentId& content, const std::string& ticket);
  void send_offer(NodeId peer, const SpaceKey& space, const Offer& offer);
  void send_close(NodeId peer, const SpaceKey& space, const std::string& reason);
  void send_deny_version(NodeId peer, std::uint64_t version);
  void send_deny_list(NodeId peer, const std::string& statement);
  // A Close that says: show another ticket.
  void send_no_ticket(NodeId peer, const SpaceKey& space, const std::string& reason);
  // Nothing is sent on a space that was not opened.
  void send_have(NodeId peer, const SpaceKey& space, const std::vector<ChunkRun>& runs);
  void send_request(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  void send_run_request(NodeId peer, const SpaceKey& space, const ChunkRange& run,
                        const std::vector<ByteRange>& pieces);
  // These three speak about a run when the range does.
  void send_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  void send_refusal(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  void send_busy(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  void send_leaves_wanted(NodeId peer, const ContentId& content, ChunkIndex chunk);
  void send_leaves(NodeId peer, const ContentId& content, ChunkIndex chunk, std::string leaves);
  // `pieces`: of a run.
  void serve(NodeId peer, const SpaceKey& space, ServeSourcePtr source, const ChunkRange& range,
             std::vector<ByteRange> pieces = {});
  // It broke the rules, as the caller knows: closed, and neither dialled nor let in for a minute.
  void drop(NodeId peer, const std::string& reason);

 private:
  struct Session {
    std::shared_ptr<PeerSession> half;  // lives on `thread`
    LoopThread* thread = nullptr;
    std::optional<NodeId> node;      // after the handshake
    std::string name;                // the same
    std::optional<NodeId> expected;  // whom we dialled
    std::string address;
    Time since{};
    bool dialled_by_us = false;
    bool greeted = false;
    OwnChannels ours;
    PeerChannels theirs;
  };
  void on_peer_open(PeerSession::Id id, const Identity& identity) override;
  void on_peer_frame(PeerSession::Id id, FrameHeader header, Buffer body) override;
  void on_peer_data(PeerSession::Id id, ArrivedData data) override;
  void on_peer_sent(PeerSession::Id id, std::uint32_t payload_bytes) override;
  void on_serve_failed(PeerSession::Id id, ServeSourcePtr source, Error why) override;
  void on_peer_closed(PeerSession::Id id, Error why) override;

  void begin(Listener::Socket socket, Connection::Side side, std::string peer,
             std::optional<NodeId> expected);
  void dial_due();
  void schedule();
  void end_overdue();
  void make_room();
  void schedule_overdue();
  void handled(PeerSession::Id id, std::size_t bytes);
  void opened(PeerSession::Id id, const Identity& identity);
  void greeted(PeerSession::Id id, Session& session);
  void forget_greeting(PeerSession::Id id, const Session& session);
  void take_frame(PeerSession::Id id, const FrameHeader& header, const Buffer& body);
  void take_data(PeerSession::Id id, ArrivedData data);
  void take_message(PeerSession::Id id, Session& session, const Buffer& body);
  void take_open(PeerSession::Id id, Session& session, proto::Open& open);
  void take_close(PeerSession::Id id, Session& session, const proto::Close& close);
  void take_range(NodeId node, const SpaceKey& space, const FrameHeader& header, const Buffer& body,
                  PeerSession::Id id);
  void take_run_request(NodeId node, const SpaceKey& space, const Buffer& body, PeerSession::Id id);
  void take_leaves(PeerSession::Id id, NodeId node, proto::Leaves& leaves);
  void closed(PeerSession::Id id, const Error& why);
  void broke_rules(PeerSession::Id id, const std::string& how);
  void turn_away(PeerSession::Id id);
  bool needs_no_dial(NodeId peer) const { return is_up(peer) || owner_.is_removed(peer); }
  void end(PeerSession::Id id, const std::string& why);
  void send(Session& session, FrameType type, std::uint16_t channel, std::string body,
            std::uint8_t flags = 0);
  void send_message(NodeId peer, const proto::PeerMessage& message);
  void send_range(NodeId peer, const SpaceKey& space, FrameType type, const ChunkRange& range,
                  std::uint8_t flags);
  Session* session_of(NodeId peer);
  std::optional<std::uint16_t> channel_of(NodeId peer, const SpaceKey& space);

  boost::asio::io_context& control_;
  DiskPool& disk_;
  PeerMeshSettings settings_;
  NodeId self_;
  std::string cluster_;
  Owner& owner_;
  std::vector<std::unique_ptr<LoopThread>> threads_;
  std::size_t next_thread_ = 0;
  std::optional<TlsContext> server_;
  std::optional<TlsContext> client_;
  Listener listener_;
  std::uint16_t port_ = 0;
  PeerBook book_;
  boost::asio::steady_timer dial_timer_;
  boost::asio::steady_timer greeting_timer_;
  PeerSession::Id last_id_ = 0;
  std::map<PeerSession::Id, Session> sessions_;
  std::map<NodeId, PeerSession::Id> up_;
  std::map<NodeId, Time> turned_away_;   // removed nodes: when that was last logged
  std::set<PeerSession::Id> ungreeted_;  // the oldest first
  std::size_t ungreeted_accepted_ = 0;   // of these, not dialled by us
};

}  // namespace p2p
