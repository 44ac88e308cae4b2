// A PeerMesh on loopback, and peers of it that say what the test wants.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "p2pd/peer_mesh.h"
#include "proto/peer.pb.h"
#include "tests/io/net/connection_fixture.h"

namespace p2p::test {

inline ContentId content_number(std::uint32_t number) {
  ContentId id;
  for (std::size_t i = 0; i < 4; ++i) {
    id.digest.bytes[i] = static_cast<std::uint8_t>(number >> (8 * i));
  }
  return id;
}

inline std::string open_message(std::uint32_t channel, const ContentId& content) {
  proto::PeerMessage message;
  message.mutable_open()->set_channel(channel);
  message.mutable_open()->set_content_id(std::string(content.digest.view()));
  message.mutable_open()->set_space(proto::SPACE_DATA);
  return message.SerializeAsString();
}

inline std::string close_message(const ContentId& content) {
  proto::PeerMessage message;
  message.mutable_close()->set_content_id(std::string(content.digest.view()));
  message.mutable_close()->set_space(proto::SPACE_DATA);
  return message.SerializeAsString();
}

// What the mesh tells the rest of the agent.
struct MeshOwner : PeerMesh::Owner {
  virtual ~MeshOwner() = default;
  std::vector<NodeId> up;
  std::vector<NodeId> down;
  std::set<NodeId> removed;
  std::vector<std::uint64_t> deny_versions;
  std::vector<std::string> deny_lists;
  std::vector<SpaceKey> opened;
  std::vector<SpaceKey> closed;
  std::vector<SpaceKey> have;
  std::vector<RunRequest> run_requests;
  std::vector<ChunkRange> cancels, refusals, busy;
  std::vector<ChunkIndex> leaves_wanted;
  std::vector<std::string> leaves;
  std::vector<ChunkRange> data;
  std::vector<std::size_t> leaves_of_data;
  std::uint64_t sent = 0;
  std::vector<std::pair<NodeId, std::string>> broke_rules;

  void on_peer_up(NodeId peer, const std::string&) override { up.push_back(peer); }
  void on_peer_down(NodeId peer) override { down.push_back(peer); }
  bool is_removed(NodeId node) const override { return removed.contains(node); }
  void on_peer_deny_version(NodeId, std::uint64_t version) override {
    deny_versions.push_back(version);
  }
  void on_peer_deny_list(NodeId, std::string_view statement) override {
    deny_lists.emplace_back(statement);
  }
  void on_peer_open(NodeId, const SpaceKey& space, const PeerMesh::Opening&) override {
    opened.push_back(space);
  }
  void on_peer_ticket(NodeId, const ContentId&, const std::string&) override {}
  void on_peer_refused_us(NodeId, const ContentId&, const std::string&) override {}
  void on_peer_offer(NodeId, const SpaceKey&, const Offer&) override {}
  void on_peer_busy(NodeId, const SpaceKey&, const ChunkRange& range) override {
    busy.push_back(range);
  }
  void on_peer_close(NodeId, const SpaceKey& space) override { closed.push_back(space); }
  void on_peer_have(NodeId, const SpaceKey& space, std::vector<ChunkRun>) override {
    have.push_back(space);
  }
  void on_peer_request(NodeId, const SpaceKey&, const ChunkRange&) override {}
  void on_peer_run_request(NodeId, const SpaceKey&, const ChunkRange& run,
                           std::vector<ByteRange> pieces) override {
    run_requests.push_back({run, std::move(pieces)});
  }
  void on_peer_leaves_wanted(NodeId, const ContentId&, ChunkIndex chunk) override {
    leaves_wanted.push_back(chunk);
  }
  void on_peer_leaves(NodeId, const ContentId&, ChunkIndex, std::string text) override {
    leaves.push_back(std::move(text));
  }
  void on_peer_cancel(NodeId, const SpaceKey&, const ChunkRange& range) override {
    cancels.push_back(range);
  }
  void on_peer_refusal(NodeId, const SpaceKey&, const ChunkRange& range) override {
    refusals.push_back(range);
  }
  void on_peer_data(NodeId, const SpaceKey&, ArrivedData arrived) override {
    data.push_back(arrived.range);
    leaves_of_data.push_back(arrived.leaves.size());
  }
  void on_peer_sent(NodeId, std::uint32_t bytes) override { sent += bytes; }
  void on_serve_failed(const ServeSourcePtr&, const Error&) override {}
  void on_peer_broke_rules(NodeId peer, const std::string& reason) override {
    broke_rules.emplace_back(peer, reason);
  }
};

// The other end of a connection with the mesh, with a certificate of its own.
struct Guest {
  Credentials credentials = our_cluster().member(Role::agent);
  NodeId id = *NodeId::parse(must(identity_of(credentials.chain_pem)).id);
  Ear ear;
  std::shared_ptr<Connection> connection;

  Guest() = default;
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;
  ~Guest() {
    if (connection) connection->close();
  }

  bool over() const { return !ear.closed.empty(); }
  Guest& hello() {
    connection->send(FrameType::hello, 0, make_hello(7402).SerializeAsString());
    return *this;
  }
  Guest& say(const std::string& message) {
    connection->send(FrameType::control, 0, message);
    return *this;
  }
};

// `loop` is the mesh's control thread, the guests' loop and the test's.
struct MeshHost : Loop {
  NodeId id = *NodeId::parse(new_uuid());
  DiskPool disk{1, 100};
  MeshOwner owner;
  PeerMesh mesh;
  std::uint16_t port = 0;

  explicit MeshHost(const PeerMeshSettings& settings = {})
      : mesh(io, disk, settings, id, our_cluster().id, owner, Rng(1)) {
    mesh.set_contexts(server_context(our_cluster()), client_context(our_cluster()));
    port = must(mesh.listen({"127.0.0.1", 0}));
  }
  MeshHost(const MeshHost&) = delete;
  MeshHost& operator=(const MeshHost&) = delete;
  ~MeshHost() {
    mesh.stop();
    disk.stop();
  }

  // A guest that has dialled the mesh; its handshake is done, it has not said Hello.
  void dial(Guest& guest) {
    Connection::Socket socket(io);
    socket.connect({asio::ip::address_v4::loopback(), port});
    guest.connection = Connection::make(
        io, std::move(socket), must(make_client_context(guest.credentials, {kAlpn})),
        Connection::Side::client, {.cluster = our_cluster().id}, "mesh");
    guest.connection->start(&guest.ear);
    REQUIRE(run_until([&] { return guest.ear.opened > 0 || guest.over(); }));
  }
  // The same, greeted.
  void greet(Guest& guest) {
    dial(guest);
    guest.hello();
    REQUIRE(run_until([&] { return mesh.is_up(guest.id); }));
  }
};

}  // namespace p2p::test
