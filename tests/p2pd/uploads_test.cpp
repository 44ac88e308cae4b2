#include "p2pd/uploads.h"

#include <algorithm>

#include "io/content/merkle.h"
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

  // A second content, of three chunks that are what their hashes say.
  const SpaceKey real{test::content_number(2), false};
  std::shared_ptr<ServeSource> real_source = std::make_shared<ServeSource>();

  Serving() {
    for (std::size_t i = 0; i < 2 * kMinChunkBytes + 20'000; ++i) {
      real_source->memory += static_cast<char>(i * 7 + i / 253);
    }
    real_source->space = ChunkSpace(tree_of_bytes(real_source->memory));
    uploads.share(real, real_source, nullptr);
    auto source = std::make_shared<ServeSource>();
    source->space = test::space_of(32);
    source->memory.assign(32 * std::size_t{kMinChunkBytes}, 'x');
    uploads.share(space, source, nullptr);
    host.greet(guest);
    uploads.on_peer_open(guest.id, space, /*wants=*/true);
    uploads.on_peer_open(guest.id, real, /*wants=*/true);
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
      const FrameType type = frame.header.type;
      const bool data = type == FrameType::data || type == FrameType::run_data;
      if (data) bytes += frame.body.size() - kDataPrefixBytes;
    }
    return bytes;
  }
  // Answers of CANCEL with these flags.
  std::size_t cancels(std::uint8_t flags) const {
    return static_cast<std::size_t>(
        std::count_if(guest.ear.frames.begin(), guest.ear.frames.end(), [&](const auto& frame) {
          return frame.header.type == FrameType::cancel && frame.header.flags == flags;
        }));
  }
  void ask_for_run(const SpaceKey& of, std::uint32_t chunk, std::vector<ByteRange> pieces) {
    ChunkRange run{ChunkIndex{chunk}, 0, 0, /*of_run=*/true};
    for (const ByteRange& piece : pieces) run.length += static_cast<std::uint32_t>(piece.length);
    uploads.on_peer_run_request(guest.id, of, run, std::move(pieces));
  }
  // What the guest was told of leaves.
  std::vector<proto::Leaves> leaves() const {
    std::vector<proto::Leaves> told;
    for (const auto& frame : guest.ear.frames) {
      proto::PeerMessage message;
      if (frame.header.type != FrameType::control || !message.ParseFromString(frame.body)) continue;
      if (message.has_leaves()) told.push_back(message.leaves());
    }
    return told;
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

TEST_CASE("Ranges of a chunk that a peer has asked for are served in one run", "[p2pd]") {
  Serving serving;
  serving.ask_for_run(serving.real, 2, {{0, 16}, {19'990, 10}});
  REQUIRE(serving.host.run_until([&] { return serving.data_arrived() == 26; }));
  const std::string& text = serving.real_source->memory;
  CHECK(serving.guest.ear.frames.back().body.substr(kDataPrefixBytes) ==
        text.substr(2 * kMinChunkBytes, 16) + text.substr(2 * kMinChunkBytes + 19'990, 10));
  CHECK(serving.uploads.bytes_sent().at(serving.real.content) == 26);
}

TEST_CASE("Ranges outside of a chunk, or of a chunk that is not here, are refused", "[p2pd]") {
  Serving serving;
  serving.ask_for_run(serving.real, 2, {{0, 16}, {19'990, 11}});
  serving.ask_for_run(serving.real, 3, {{0, 16}});
  serving.ask_for_run({test::content_number(3), false}, 0, {{0, 16}});
  // A run as a whole is not longer than its chunk either.
  serving.uploads.on_peer_run_request(serving.guest.id, serving.real,
                                      {ChunkIndex{2}, 19'999, 2, /*of_run=*/true}, {{0, 2}});
  Bitfield have(3);
  have.set(1);
  serving.uploads.share(serving.real, serving.real_source, &have);
  serving.ask_for_run(serving.real, 0, {{0, 16}});
  serving.ask_for_run(serving.real, 1, {{0, 16}});
  // Of a space that was never opened nothing can be said.
  REQUIRE(serving.host.run_until(
      [&] { return serving.cancels(kRefusal | kOfRun) == 4 && serving.data_arrived() == 16; }));
}

TEST_CASE("A busy node says so of a run, and forgets one that is cancelled", "[p2pd]") {
  Serving serving;
  const std::uint64_t all = std::uint64_t{serving.request_much()} * kRequest;
  serving.ask_for_run(serving.space, 31, {{0, 16}});
  REQUIRE(serving.host.run_until([&] { return serving.cancels(kBusy | kOfRun) == 1; }));
  // Of a chunk that waits already it is taken, like any request for it.
  serving.ask_for_run(serving.space, 11, {{0, 16}});
  serving.uploads.on_peer_cancel(serving.guest.id, serving.space,
                                 {ChunkIndex{11}, 0, 16, /*of_run=*/true});
  REQUIRE(serving.host.run_until([&] {
    serving.pass_on_sent();
    return serving.data_arrived() >= all;
  }));
  CHECK(serving.data_arrived() == all);
  CHECK(serving.refused() == 0);
}

TEST_CASE("A run that waits when its space is closed is refused", "[p2pd]") {
  Serving serving;
  serving.request_much();
  serving.ask_for_run(serving.space, 11, {{0, 16}});
  serving.uploads.unshare(serving.space);
  REQUIRE(serving.host.run_until([&] { return serving.cancels(kRefusal | kOfRun) == 1; }));
}

TEST_CASE("Leaves of a chunk are told as they are", "[p2pd]") {
  Serving serving;
  for (const std::uint32_t chunk : {0u, 2u}) {
    serving.uploads.on_peer_leaves_wanted(serving.guest.id, serving.real.content,
                                          ChunkIndex{chunk});
  }
  REQUIRE(serving.host.run_until([&] { return serving.leaves().size() == 2; }));
  for (const proto::Leaves& told : serving.leaves()) {
    std::vector<Digest> leaves(told.leaves().size() / sizeof(Digest));
    REQUIRE(leaves.size() * sizeof(Digest) == told.leaves().size());
    std::copy(told.leaves().begin(), told.leaves().end(), reinterpret_cast<char*>(leaves.data()));
    CHECK(told.content_id() == serving.real.content.digest.view());
    CHECK(verify_chunk(serving.real_source->space, ChunkIndex{told.chunk()}, leaves));
  }
}

TEST_CASE("Of what is not here, and of bytes that are not the content's, no leaves are told",
          "[p2pd]") {
  Serving serving;
  const ContentId real = serving.real.content;
  SECTION("no such chunk") {
    serving.uploads.on_peer_leaves_wanted(serving.guest.id, real, ChunkIndex{3});
  }
  SECTION("not served") {
    serving.uploads.on_peer_leaves_wanted(serving.guest.id, test::content_number(3), ChunkIndex{0});
  }
  SECTION("not verified yet") {
    const Bitfield have(3);
    serving.uploads.share(serving.real, serving.real_source, &have);
    serving.uploads.on_peer_leaves_wanted(serving.guest.id, real, ChunkIndex{0});
  }
  SECTION("other bytes") {
    serving.uploads.on_peer_leaves_wanted(serving.guest.id, serving.space.content, ChunkIndex{0});
  }
  SECTION("too short") {
    serving.real_source->memory.resize(100);
    serving.uploads.on_peer_leaves_wanted(serving.guest.id, real, ChunkIndex{0});
  }
  REQUIRE(serving.host.run_until([&] { return serving.leaves().size() == 1; }));
  CHECK(serving.leaves().front().leaves().empty());
}

TEST_CASE("Of the leaves that a peer wants at a time sixteen wait", "[p2pd]") {
  Serving serving;
  for (int i = 0; i < 20; ++i) {
    serving.uploads.on_peer_leaves_wanted(serving.guest.id, serving.real.content, ChunkIndex{1});
  }
  REQUIRE(serving.host.run_until([&] { return serving.leaves().size() == 20; }));
  const auto told = serving.leaves();
  CHECK(std::count_if(told.begin(), told.end(),
                      [](const proto::Leaves& leaves) { return leaves.leaves().empty(); }) == 4);
}

}  // namespace p2p
