#include "p2pd/uploads.h"

#include "io/state/memory_store.h"
#include "p2pd/content_store.h"
#include "tests/io/privileged/node.h"
#include "tests/p2pd/mesh_fixture.h"
#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

constexpr std::uint32_t kRequest = 64 * 1024;

// A node that serves 8 MiB from memory to a guest as long as it may have them.
struct Serving final : Uploads::Owner {
  test::Node node;
  MemoryStore state;
  ContentStore contents =
      test::must(ContentStore::open(state, node.base / "manifests", *node.privileged));
  test::MeshHost host;
  test::Guest guest;
  Uploads uploads{host.io, host.disk, host.mesh, host.id, contents, *this, Rng(1)};
  const SpaceKey space{test::content_number(1), false};
  bool admitted = true;
  std::vector<NodeId> not_admitted;

  Serving() {
    auto source = std::make_shared<ServeSource>();
    source->space = test::space_of(32);
    source->memory.assign(32 * std::size_t{kMinChunkBytes}, 'x');
    uploads.share(space, source, nullptr);
    host.greet(guest);
    uploads.on_peer_open(guest.id, space, /*wants=*/true);
  }
  void on_content_gone(const ContentId&, const Error&) override {}
  bool may_have(NodeId, const ContentId&) const override { return admitted; }
  void on_not_admitted(NodeId peer, const SpaceKey&) override { not_admitted.push_back(peer); }

  // As many chunks as a node lets wait for a peer that has nothing yet.
  std::uint32_t request_much() {
    const UploadSettings settings;
    const std::uint32_t chunks = settings.busy_chunks * settings.times_for_one_with_nothing;
    std::uint32_t requests = 0;
    for (std::uint32_t chunk = 0; chunk < chunks; ++chunk) {
      for (std::uint32_t offset = 0; offset < kMinChunkBytes; offset += kRequest) {
        uploads.on_peer_request(guest.id, space, {ChunkIndex{chunk}, offset, kRequest});
        ++requests;
      }
    }
    return requests;
  }
  std::uint64_t data_arrived() const {
    std::uint64_t bytes = 0;
    for (const auto& frame : guest.ear.frames) {
      if (frame.header.type == FrameType::data) bytes += frame.body.size() - 8;
    }
    return bytes;
  }
  std::size_t refused() const {
    std::size_t count = 0;
    for (const auto& frame : guest.ear.frames) {
      count += frame.header.type == FrameType::cancel && (frame.header.flags & kRefusal) ? 1 : 0;
    }
    return count;
  }
  // What has left the process makes room for the next.
  void pass_on_sent() {
    const std::uint64_t sent = std::exchange(host.owner.sent, 0);
    if (sent > 0) uploads.on_peer_sent(guest.id, static_cast<std::uint32_t>(sent));
  }
};

}  // namespace

TEST_CASE("What a peer has asked for is served", "[p2pd]") {
  Serving serving;
  const std::uint64_t all = std::uint64_t{serving.request_much()} * kRequest;
  REQUIRE(serving.host.run_until([&] {
    serving.pass_on_sent();
    return serving.data_arrived() == all;
  }));
  CHECK(serving.refused() == 0);
  CHECK(serving.not_admitted.empty());
}

TEST_CASE("What waits while a ticket ends is refused when its turn comes", "[p2pd]") {
  Serving serving;
  const std::uint32_t requests = serving.request_much();
  REQUIRE(serving.host.run_until([&] { return serving.data_arrived() > 0; }));
  serving.admitted = false;
  REQUIRE(serving.host.run_until([&] {
    serving.pass_on_sent();
    return serving.data_arrived() / kRequest + serving.refused() == requests;
  }));
  CHECK(serving.data_arrived() <= UploadSettings{}.granted_bytes);
  CHECK(std::set(serving.not_admitted.begin(), serving.not_admitted.end()) ==
        std::set{serving.guest.id});
}

}  // namespace p2p
