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
#include <string>
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
#include "p2pd/peer_session.h"
#include "proto/peer.pb.h"

namespace p2p {

class PeerMesh final : private PeerSession::Events {
 public:
  struct Owner {
    virtual void on_peer_up(NodeId peer) = 0;
    virtual void on_peer_down(NodeId peer) = 0;
    // The peer holds or wants the space; `wants`: it waits for our Open or Close.
    // `offers`: it is a seed that hands out chunks by OFFER.
    virtual void on_peer_open(NodeId peer, const SpaceKey& space, bool wants, bool offers) = 0;
    virtual void on_peer_offer(NodeId peer, const SpaceKey& space, const Offer& offer) = 0;
    virtual void on_peer_busy(NodeId peer, const SpaceKey& space, const ChunkRange& range) = 0;
    virtual void on_peer_close(NodeId peer, const SpaceKey& space) = 0;
    virtual void on_peer_have(NodeId peer, const SpaceKey& space, std::vector<ChunkRun> runs) = 0;
    virtual void on_peer_request(NodeId peer, const SpaceKey& space, const ChunkRange& range) = 0;
    virtual void on_peer_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range) = 0;
    virtual void on_peer_refusal(NodeId peer, const SpaceKey& space, const ChunkRange& range) = 0;
    virtual void on_peer_data(NodeId peer, const SpaceKey& space, ArrivedData data) = 0;
    virtual void on_peer_sent(NodeId peer, std::uint32_t payload_bytes) = 0;
    virtual void on_serve_failed(const ServeSourcePtr& source, const Error& why) = 0;

   protected:
    ~Owner() = default;
  };

  PeerMesh(boost::asio::io_context& control, DiskPool& disk, unsigned data_threads, NodeId self,
           std::string cluster, Owner& owner, Rng rng);
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

  bool is_up(NodeId peer) const { return up_.contains(peer); }
  std::vector<NodeId> peers_up() const;

  void send_open(NodeId peer, const SpaceKey& space, bool wants, bool offers);
  void send_offer(NodeId peer, const SpaceKey& space, const Offer& offer);
  void send_close(NodeId peer, const SpaceKey& space, const std::string& reason);
  // Nothing is sent on a space that was not opened.
  void send_have(NodeId peer, const SpaceKey& space, const std::vector<ChunkRun>& runs);
  void send_request(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  void send_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  void send_refusal(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  void send_busy(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  void serve(NodeId peer, const SpaceKey& space, ServeSourcePtr source, const ChunkRange& range);
  // It broke the rules: closed, and neither dialled nor let in for a minute.
  void drop(NodeId peer, const std::string& reason);

 private:
  struct Session {
    std::shared_ptr<PeerSession> half;  // lives on `thread`
    LoopThread* thread = nullptr;
    std::optional<NodeId> node;      // after the handshake
    std::optional<NodeId> expected;  // whom we dialled
    bool dialled_by_us = false;
    bool greeted = false;
    std::map<SpaceKey, std::uint16_t> ours;
    std::map<std::uint16_t, SpaceKey> theirs;
  };
  struct Known {
    HostPort address;
    bool seed = false;
    bool wanted = true;
    bool dialling = false;
    int failures = 0;
    Time not_before{};
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
  void opened(PeerSession::Id id, const Identity& identity);
  void greeted(PeerSession::Id id, Session& session);
  void take_frame(PeerSession::Id id, const FrameHeader& header, const Buffer& body);
  void take_message(PeerSession::Id id, Session& session, const Buffer& body);
  void take_range(NodeId node, const SpaceKey& space, const FrameHeader& header, const Buffer& body,
                  PeerSession::Id id);
  void closed(PeerSession::Id id, const Error& why);
  void end(PeerSession::Id id, const std::string& why);
  void send(Session& session, FrameType type, std::uint16_t channel, std::string body,
            std::uint8_t flags = 0);
  void send_range(NodeId peer, const SpaceKey& space, FrameType type, const ChunkRange& range,
                  std::uint8_t flags);
  Session* session_of(NodeId peer);
  std::optional<std::uint16_t> channel_of(NodeId peer, const SpaceKey& space);

  boost::asio::io_context& control_;
  DiskPool& disk_;
  NodeId self_;
  std::string cluster_;
  Owner& owner_;
  Rng rng_;
  std::vector<std::unique_ptr<LoopThread>> threads_;
  std::size_t next_thread_ = 0;
  std::optional<TlsContext> server_;
  std::optional<TlsContext> client_;
  Listener listener_;
  std::uint16_t port_ = 0;
  boost::asio::steady_timer timer_;
  PeerSession::Id last_id_ = 0;
  std::map<PeerSession::Id, Session> sessions_;
  std::map<NodeId, PeerSession::Id> up_;
  std::map<NodeId, Known> known_;
  std::map<NodeId, Time> banned_until_;
};

}  // namespace p2p
