// A node that receives a new version of a file, and a neighbour that has all of it and does what
// the test says.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/content/merkle.h"
#include "io/content/recipe_codec.h"
#include "io/log/log.h"
#include "p2pd/transfer.h"
#include "tests/p2pd/mesh_fixture.h"
#include "tests/p2pd/versions_fixture.h"

namespace p2p::test {

// A mesh whose node is who its certificate says, so that others can dial it.
template <class Owner>
struct MeshNode {
  Credentials credentials = our_cluster().member(Role::agent);
  NodeId id = *NodeId::parse(must(identity_of(credentials.chain_pem)).id);
  DiskPool disk{2, 1000};
  Owner owner;
  PeerMesh mesh;
  HostPort address{"127.0.0.1", 0};

  explicit MeshNode(asio::io_context& io)
      : mesh(io, disk, PeerMeshSettings{}, id, our_cluster().id, owner, Rng(1)) {
    mesh.set_contexts(must(make_server_context(credentials, {kAlpn}, ClientCertificate::required,
                                               ChainSent::with_root)),
                      must(make_client_context(credentials, {kAlpn})));
    address.port = must(mesh.listen(address));
  }
};

// Serves whole spaces from memory.
struct Holder final : MeshOwner {
  PeerMesh* mesh = nullptr;
  std::map<SpaceKey, std::shared_ptr<ServeSource>> spaces;
  std::uint64_t run_bytes_asked = 0;
  std::uint64_t chunk_bytes_asked = 0;
  // Before a request is answered.
  std::function<void(const SpaceKey&)> on_request = [](const SpaceKey&) {};
  // Answers a question for leaves; the second argument is how many came before it.
  std::function<void(NodeId, ChunkIndex, int)> on_leaves_asked =
      [this](NodeId peer, ChunkIndex chunk, int) { tell_leaves(peer, chunk); };
  int leaves_asked = 0;
  // Requests for data wait until answer_data().
  bool data_waits = false;
  std::vector<std::function<void()>> waiting;

  void answer_data() {
    data_waits = false;
    for (const auto& answer : std::exchange(waiting, {})) answer();
  }
  void add(const SpaceKey& space, std::string bytes, ChunkSpace chunks) {
    auto source = std::make_shared<ServeSource>();
    source->space = std::move(chunks);
    source->memory = std::move(bytes);
    spaces[space] = source;
  }
  void tell_leaves(NodeId peer, ChunkIndex chunk) {
    const auto& [space, source] = *data_space();
    std::vector<Digest> digests(source->space.leaves_of(chunk));
    hash_leaves(span_of(source->memory)
                    .subspan(source->space.offset_of(chunk), source->space.size_of(chunk)),
                digests.data());
    std::string joined;
    for (const Digest& leaf : digests) joined += leaf.view();
    mesh->send_leaves(peer, space.content, chunk, joined);
  }
  std::map<SpaceKey, std::shared_ptr<ServeSource>>::iterator data_space() {
    auto at = spaces.begin();
    while (at->first.body) ++at;
    return at;
  }

  void answer(const SpaceKey& space, std::function<void()> how) {
    if (data_waits && !space.body) {
      waiting.push_back(std::move(how));
    } else {
      how();
    }
  }
  void on_peer_open(NodeId peer, const SpaceKey& space, const PeerMesh::Opening&) override {
    const auto found = spaces.find(space);
    if (found == spaces.end()) return mesh->send_close(peer, space, "not here");
    mesh->send_open(peer, space, {});
    mesh->send_have(peer, space, {{0, found->second->space.count()}});
  }
  void on_peer_request(NodeId peer, const SpaceKey& space, const ChunkRange& range) override {
    on_request(space);
    if (!space.body) chunk_bytes_asked += range.length;
    answer(space, [=, this] { mesh->serve(peer, space, spaces.at(space), range); });
  }
  void on_peer_run_request(NodeId peer, const SpaceKey& space, const ChunkRange& range,
                           std::vector<ByteRange> pieces) override {
    on_request(space);
    run_bytes_asked += range.length;
    answer(space, [=, this] { mesh->serve(peer, space, spaces.at(space), range, pieces); });
  }
  void on_peer_leaves_wanted(NodeId peer, const ContentId&, ChunkIndex chunk) override {
    on_leaves_asked(peer, chunk, leaves_asked++);
  }
};

// Passes what the mesh says on to the one transfer.
struct Fetching final : MeshOwner {
  Transfer* transfer = nullptr;

  template <class Call>
  void each(Call call) {
    if (transfer == nullptr) return;
    if (SpaceFetch* fetch = transfer->fetch()) call(*fetch);
    if (SpaceFetch* fetch = transfer->hint_fetch()) call(*fetch);
  }
  SpaceFetch* of(const SpaceKey& space) {
    return transfer == nullptr ? nullptr : transfer->fetch_of(space);
  }
  void on_peer_up(NodeId peer, const std::string& name) override {
    MeshOwner::on_peer_up(peer, name);
    each([&](SpaceFetch& fetch) { fetch.on_peer_up(peer); });
  }
  void on_peer_down(NodeId peer) override {
    each([&](SpaceFetch& fetch) { fetch.on_peer_down(peer); });
  }
  void on_peer_open(NodeId peer, const SpaceKey& space, const PeerMesh::Opening& o) override {
    if (SpaceFetch* fetch = of(space)) fetch->on_peer_open(peer, o);
  }
  void on_peer_close(NodeId peer, const SpaceKey& space) override {
    if (SpaceFetch* fetch = of(space)) fetch->on_peer_close(peer);
  }
  void on_peer_have(NodeId peer, const SpaceKey& space, std::vector<ChunkRun> runs) override {
    if (SpaceFetch* fetch = of(space)) fetch->on_peer_have(peer, runs);
  }
  void on_peer_refusal(NodeId peer, const SpaceKey& space, const ChunkRange& range) override {
    if (SpaceFetch* fetch = of(space)) fetch->on_peer_refusal(peer, range);
  }
  void on_peer_data(NodeId peer, const SpaceKey& space, ArrivedData arrived) override {
    if (SpaceFetch* fetch = of(space)) fetch->on_peer_data(peer, std::move(arrived));
  }
  void on_peer_leaves(NodeId peer, const ContentId& content, ChunkIndex chunk,
                      std::string text) override {
    if (SpaceFetch* fetch = of({content, false})) fetch->on_peer_leaves(peer, chunk, text);
  }
};

struct Updating final : Transfer::Owner {
  Versions node;
  Loop loop;
  MeshNode<Holder> holder{loop.io};
  MeshNode<Fetching> self{loop.io};
  StatementVerifier verifier =
      must(StatementVerifier::make(our_cluster().root.certificate_pem, our_cluster().id));
  Admission admission{verifier};
  PartRecords records{node.state};
  PushOrder order;
  std::string new_bytes;
  std::optional<LoadedManifest> old_version, new_version;
  std::vector<std::pair<ContentId, std::string>> wrong_hints;
  std::vector<std::string> bad_peers;
  std::vector<Recipe> recipes;
  std::set<SpaceKey> shared;
  std::unique_ptr<Transfer> transfer;
  std::atomic<bool> search_over{false};  // the log says so

  Updating() {
    set_log_sink([this](std::string_view line) {
      if (line.find("transfer old file") != std::string_view::npos) search_over = true;
    });
    holder.owner.mesh = &holder.mesh;
  }
  Updating(const Updating&) = delete;
  Updating& operator=(const Updating&) = delete;
  ~Updating() {
    self.owner.transfer = nullptr;
    if (transfer) transfer->let_go_of_files();
    transfer.reset();
    self.mesh.stop();
    holder.mesh.stop();
    self.disk.stop();
    holder.disk.stop();
    loop.io.poll();
    set_log_sink({});
  }

  std::string old_path() const { return node.share + "/v1"; }
  std::string new_path() const { return node.root + "/new.img"; }
  // Of this old file the neighbour has this new version.
  void set(const std::string& old_bytes, const std::string& bytes) {
    put_file(old_path(), old_bytes);
    put_file(node.share + "/new", bytes);
    set_files();
  }
  void set_files() {
    old_version = node.hold(old_path());
    new_version = node.describe(node.share + "/new");
    new_bytes = text_of(node.share + "/new");
    fs::remove(node.share + "/new");
    const ManifestEntry& file = new_version->file();
    holder.owner.add({new_version->id, false}, new_bytes, ChunkSpace(file.tree, file.data));
    order.job = JobId{1};
    order.content = new_version->id;
    order.root_record = new_version->root_record_bytes;
    order.path = new_path();
    order.original_name = "new.img";
    order.node_name = "n1";
    order.older = {old_version->id};
  }
  // A hint that the tracker knows of: here already, or at the neighbour.
  ContentId know_hint(bool recipe, const std::string& bytes, bool is_here = true) {
    RootRecord record;
    record.body = tree_of_bytes(bytes);
    KnownHint hint;
    hint.recipe = recipe;
    hint.root_record = encode_root_record(record);
    hint.id = content_id_of(hint.root_record);
    hint.record = record;
    if (recipe) hint.old_root = old_version->file().tree.root;
    order.hints.push_back(hint);
    if (is_here) {
      REQUIRE(node.hints.save(bytes));
    } else {
      holder.owner.add({hint.id, true}, bytes, ChunkSpace(record.body));
    }
    return hint.id;
  }
  std::string recipe_of(std::vector<CopyRange> copies) const {
    const HashTree& old_tree = old_version->file().tree;
    const HashTree& new_tree = new_version->file().tree;
    return encode_recipe({.old_file = {old_tree.size, old_tree.root},
                          .new_file = {new_tree.size, new_tree.root},
                          .copies = std::move(copies)});
  }
  // With the neighbour, unless the test wants none.
  void begin(bool with_neighbour = true) {
    const TransferParts parts{
        self.id,   loop.io,       self.disk,  self.mesh,
        admission, node.contents, node.hints, {*node.privileged, records, FileCalls::system()}};
    Transfer::Owner& owner = *this;
    transfer = std::make_unique<Transfer>(parts, owner, order, Rng(5));
    self.owner.transfer = transfer.get();
    if (with_neighbour) {
      self.mesh.know(holder.id, holder.address, /*seed=*/true);
      REQUIRE(loop.run_until([&] { return self.mesh.is_up(holder.id); }));
    }
    transfer->begin();
  }
  // No data comes before the search has come to its end.
  void lets_the_search_end() {
    holder.owner.data_waits = true;
    begin();
    REQUIRE(loop.run_until([&] { return search_over.load(); }));
    holder.owner.answer_data();
  }
  // The file is there, right to the last byte.
  void lands() {
    REQUIRE(loop.run_until([&] { return is_final(transfer->state()); }));
    INFO(transfer->detail());
    REQUIRE(transfer->state() == TaskState::succeeded);
    CHECK((text_of(new_path()) == new_bytes));
  }

  void on_transfer_changed(Transfer&) override {}
  void share(const SpaceKey& space, ServeSourcePtr, const Bitfield*) override {
    shared.insert(space);
  }
  void unshare(const SpaceKey& space) override { shared.erase(space); }
  void on_landed(Transfer&, const proto::HoldingRecord&) override {}
  void on_bad_peer(const ContentId&, NodeId, ChunkIndex, const std::string& reason) override {
    bad_peers.push_back(reason);
  }
  void on_hint_wrong(const ContentId& hint, const ContentId&, const std::string& why) override {
    wrong_hints.emplace_back(hint, why);
  }
  void on_recipe_found(const ContentId&, const ContentId&, const Recipe& recipe) override {
    recipes.push_back(recipe);
  }
  std::uint64_t promised_to_others(const Transfer&, std::uint64_t) const override { return 0; }
};

}  // namespace p2p::test
