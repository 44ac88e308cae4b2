// Requests for byte ranges of a chunk, their answers, and leaves, between a mesh and a guest.
#include <string>

#include "io/content/merkle.h"
#include "tests/p2pd/mesh_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using test::content_number;
using test::Guest;
using test::MeshHost;

constexpr std::uint8_t kFlags[] = {kOfRun, kOfRun | kRefusal, kOfRun | kBusy};

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

ChunkRange run_of(std::uint32_t chunk, std::uint32_t offset, const std::vector<ByteRange>& pieces) {
  ChunkRange run{ChunkIndex{chunk}, offset, 0, /*of_run=*/true};
  for (const ByteRange& piece : pieces) run.length += static_cast<std::uint32_t>(piece.length);
  return run;
}

// A guest for which content 1 is open on channel 1, in both directions.
struct Opened {
  MeshHost host;
  Guest guest;
  SpaceKey space{content_number(1), false};
  std::string text = std::string(4 * std::size_t{kMinChunkBytes}, '\0');

  Opened() {
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7 + i / 253);
    host.greet(guest);
    guest.say(test::open_message(1, space.content));
    host.mesh.send_open(guest.id, space, {});
    REQUIRE(
        host.run_until([&] { return guest.ear.frames.size() == 2 && !host.owner.opened.empty(); }));
    guest.ear.frames.clear();
  }
  void serve(std::size_t memory, std::uint32_t chunk, std::uint32_t offset,
             const std::vector<ByteRange>& pieces) {
    auto source = std::make_shared<ServeSource>();
    source->space = test::space_of(4);
    source->memory = text.substr(0, memory);
    host.mesh.serve(guest.id, space, source, run_of(chunk, offset, pieces), pieces);
  }
  std::string bytes_at(std::uint32_t chunk, const std::vector<ByteRange>& pieces) const {
    std::string bytes;
    for (const ByteRange& piece : pieces) {
      bytes += text.substr(chunk * std::size_t{kMinChunkBytes} + piece.offset, piece.length);
    }
    return bytes;
  }
};

}  // namespace

TEST_CASE("A request for ranges arrives as it was said, in both directions", "[p2pd]") {
  Opened at;
  const std::vector<ByteRange> pieces = {{0, 16}, {4096, 4096}, {100'000, 1}};
  const RunRequest wanted{run_of(2, 77, pieces), pieces};
  at.host.mesh.send_run_request(at.guest.id, at.space, wanted.run, pieces);
  at.guest.connection->send(FrameType::request_ranges, 1, encode_run_request(wanted.run, pieces));
  REQUIRE(at.host.run_until(
      [&] { return !at.guest.ear.frames.empty() && !at.host.owner.run_requests.empty(); }));
  const auto& frame = at.guest.ear.frames.front();
  CHECK(frame.header.type == FrameType::request_ranges);
  CHECK(decode_run_request(bytes_of(frame.body)) == wanted);
  CHECK(at.host.owner.run_requests == std::vector{wanted});
}

TEST_CASE("Cancels, refusals and busy answers say whether they are about a run", "[p2pd]") {
  Opened at;
  const ChunkRange range{ChunkIndex{3}, 16384, 100, GENERATE(true, false)};
  at.host.mesh.send_cancel(at.guest.id, at.space, range);
  at.host.mesh.send_refusal(at.guest.id, at.space, range);
  at.host.mesh.send_busy(at.guest.id, at.space, range);
  for (const std::uint8_t flags : kFlags) {
    const auto sent = static_cast<std::uint8_t>(range.of_run ? flags : flags & ~kOfRun);
    at.guest.connection->send(FrameType::cancel, 1, encode_range(range), sent);
  }
  REQUIRE(at.host.run_until(
      [&] { return at.guest.ear.frames.size() == 3 && !at.host.owner.busy.empty(); }));
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& header = at.guest.ear.frames[i].header;
    CHECK(header.type == FrameType::cancel);
    CHECK(header.flags == (range.of_run ? kFlags[i] : kFlags[i] & ~kOfRun));
  }
  CHECK(at.host.owner.cancels == std::vector{range});
  CHECK(at.host.owner.refusals == std::vector{range});
  CHECK(at.host.owner.busy == std::vector{range});
}

TEST_CASE("64 pieces of 16 bytes come in one frame", "[p2pd]") {
  Opened at;
  std::vector<ByteRange> pieces;
  for (std::uint64_t i = 0; i < 64; ++i) pieces.push_back({4096 * i, 16});
  at.serve(at.text.size(), 1, 5, pieces);
  at.serve(at.text.size(), 0, 0, {{0, 1}});
  REQUIRE(at.host.run_until([&] { return at.guest.ear.frames.size() == 2; }));
  const auto& frame = at.guest.ear.frames.front();
  CHECK(frame.header.type == FrameType::run_data);
  CHECK(decode_run_prefix(bytes_of(frame.body)) == run_of(1, 5, pieces));
  CHECK(frame.body.substr(kDataPrefixBytes) == at.bytes_at(1, pieces));
}

TEST_CASE("A long run comes in rising frames of 64 KiB, without a gap or a byte more", "[p2pd]") {
  Opened at;
  const std::vector<ByteRange> pieces = {{1, 70'000}, {70'001, 60'000}, {140'000, 1}, {150'000, 9}};
  at.serve(at.text.size(), 1, 1000, pieces);
  std::string bytes;
  REQUIRE(at.host.run_until([&] { return at.host.owner.sent == 130'010; }));
  REQUIRE(at.host.run_until([&] { return at.guest.ear.frames.size() == 2; }));
  for (const auto& frame : at.guest.ear.frames) {
    const auto range = decode_run_prefix(bytes_of(frame.body));
    REQUIRE(range);
    CHECK(range->offset == 1000 + bytes.size());
    bytes += frame.body.substr(kDataPrefixBytes);
  }
  CHECK(bytes == at.bytes_at(1, pieces));
}

TEST_CASE("A thousand scattered requests are all answered, in order", "[p2pd]") {
  Opened at;
  std::vector<ByteRange> pieces;
  for (std::uint64_t i = 0; i < 50; ++i) pieces.push_back({5000 * i, 3});
  for (std::uint32_t i = 0; i < 1000; ++i) at.serve(at.text.size(), i % 4, i, pieces);
  REQUIRE(at.host.run_until([&] { return at.guest.ear.frames.size() == 1000; }));
  for (std::uint32_t i = 0; i < 1000; ++i) {
    const auto& frame = at.guest.ear.frames[i];
    REQUIRE(decode_run_prefix(bytes_of(frame.body)) == run_of(i % 4, i, pieces));
    REQUIRE(frame.body.substr(kDataPrefixBytes) == at.bytes_at(i % 4, pieces));
  }
}

TEST_CASE("What is left of a run that cannot be read is refused", "[p2pd]") {
  Opened at;
  // The first 64 KiB are there, what comes behind is not.
  at.serve(100'000, 0, 8, {{0, 60'000}, {70'000, 60'000}});
  REQUIRE(at.host.run_until([&] { return at.guest.ear.frames.size() == 2; }));
  CHECK(at.guest.ear.frames[0].header.type == FrameType::run_data);
  const auto& refusal = at.guest.ear.frames[1];
  CHECK(refusal.header.type == FrameType::cancel);
  CHECK(refusal.header.flags == (kRefusal | kOfRun));
  CHECK(decode_range(bytes_of(refusal.body)) ==
        ChunkRange{ChunkIndex{0}, 8 + kMaxDataBytes, 120'000 - kMaxDataBytes});
}

TEST_CASE("Bytes of a run arrive without leaves, at any offset", "[p2pd]") {
  Opened at;
  std::string body(kDataPrefixBytes + 100, 'x');
  const ChunkRange range{ChunkIndex{2}, 12'345, 100, /*of_run=*/true};
  encode_data_prefix(range, std::span(reinterpret_cast<std::uint8_t*>(body.data()), body.size())
                                .subspan<0, kDataPrefixBytes>());
  at.guest.connection->send(FrameType::run_data, 1, body);
  REQUIRE(at.host.run_until([&] { return !at.host.owner.data.empty(); }));
  CHECK(at.host.owner.data == std::vector{range});
  CHECK(at.host.owner.leaves_of_data == std::vector<std::size_t>{0});
}

TEST_CASE("Leaves are asked for and told in both directions", "[p2pd]") {
  Opened at;
  const std::string most(512 * 32, 'l');
  at.host.mesh.send_leaves_wanted(at.guest.id, at.space.content, ChunkIndex{7});
  at.host.mesh.send_leaves(at.guest.id, at.space.content, ChunkIndex{7}, most);
  REQUIRE(at.host.run_until([&] { return at.guest.ear.frames.size() == 2; }));
  // The guest says the same to the mesh.
  for (const auto& frame : at.guest.ear.frames) at.guest.say(frame.body);
  REQUIRE(at.host.run_until([&] { return !at.host.owner.leaves.empty(); }));
  CHECK(at.host.owner.leaves_wanted == std::vector{ChunkIndex{7}});
  CHECK(at.host.owner.leaves.front() == most);
}

}  // namespace p2p
