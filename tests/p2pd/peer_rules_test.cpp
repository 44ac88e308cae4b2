// What ends a connection between agents, and what does not.
#include <functional>

#include "tests/p2pd/mesh_fixture.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using test::close_message;
using test::content_number;
using test::Guest;
using test::MeshHost;
using test::open_message;

constexpr auto kControl = FrameType::control;

void data(Guest& guest, std::uint16_t channel, const ChunkRange& range) {
  const auto length = static_cast<std::uint32_t>(kDataPrefixBytes + range.length);
  Buffer frame(kFrameHeaderBytes + length);
  const auto header = encode_header({length, FrameType::data, 0, channel});
  std::copy(header.begin(), header.end(), frame.data());
  encode_data_prefix(range, frame.span().subspan<kFrameHeaderBytes, kDataPrefixBytes>());
  guest.connection->send_data(std::move(frame), range.length);
}

std::string leaves_message(std::size_t bytes) {
  proto::PeerMessage message;
  message.mutable_leaves()->set_content_id(std::string(content_number(1).digest.view()));
  message.mutable_leaves()->set_leaves(std::string(bytes, 'x'));
  return message.SerializeAsString();
}

struct Offence {
  std::string name;
  std::string reason;
  std::function<void(Guest&)> commit;
};

// By a guest that has said Hello and opened content 1 on channel 1.
const std::vector<Offence>& offences() {
  static const std::vector<Offence> all = {
      {"a message that is none", "cannot be read",
       [](Guest& guest) { guest.say(std::string(100, '\xff')); }},
      {"a message over the limit", "message of 65537 bytes",
       [](Guest& guest) { guest.say(std::string(65537, '\0')); }},
      {"a channel that was never opened", "never opened",
       [](Guest& guest) { guest.connection->send(FrameType::have, 2, std::string(8, '\1')); }},
      {"data on a channel that was never opened", "never opened",
       [](Guest& guest) {
         data(guest, 2, {ChunkIndex{0}, 0, 16384});
       }},
      {"an odd HAVE", "malformed HAVE",
       [](Guest& guest) { guest.connection->send(FrameType::have, 1, "1234567"); }},
      {"a HAVE that wraps around", "malformed HAVE",
       [](Guest& guest) { guest.connection->send(FrameType::have, 1, std::string(8, '\xff')); }},
      {"an OFFER that is too long", "malformed OFFER",
       [](Guest& guest) { guest.connection->send(FrameType::offer, 1, std::string(9, '\1')); }},
      {"an empty REQUEST", "malformed REQUEST",
       [](Guest& guest) { guest.connection->send(FrameType::request, 1, std::string(12, '\0')); }},
      {"a CANCEL that is cut short", "malformed REQUEST",
       [](Guest& guest) { guest.connection->send(FrameType::cancel, 1, std::string(11, '\1')); }},
      {"data without bytes", "malformed DATA",
       [](Guest& guest) { guest.connection->send(FrameType::data, 1, std::string(8, '\0')); }},
      {"data in the middle of a block", "malformed DATA",
       [](Guest& guest) {
         data(guest, 1, {ChunkIndex{0}, 1000, 16384});
       }},
      {"a REQUEST_RANGES without ranges", "malformed REQUEST_RANGES",
       [](Guest& guest) {
         guest.connection->send(FrameType::request_ranges, 1, std::string(8, '\0'));
       }},
      {"a REQUEST_RANGES with 1,025 of them", "malformed REQUEST_RANGES",
       [](Guest& guest) {
         const std::string ranges(2 * (kMaxRequestRanges + 1), '\1');
         guest.connection->send(FrameType::request_ranges, 1, std::string(8, '\0') + ranges);
       }},
      {"ranges on a channel that was never opened", "never opened",
       [](Guest& guest) {
         guest.connection->send(FrameType::request_ranges, 2, std::string(10, '\1'));
       }},
      {"data of a run without bytes", "malformed RUN_DATA",
       [](Guest& guest) { guest.connection->send(FrameType::run_data, 1, std::string(8, '\0')); }},
      {"data of a run of more than 64 KiB", "malformed RUN_DATA",
       [](Guest& guest) {
         guest.connection->send(FrameType::run_data, 1, std::string(8 + kMaxDataBytes + 1, '\0'));
       }},
      {"LeavesWanted of no content", "malformed LeavesWanted",
       [](Guest& guest) {
         proto::PeerMessage message;
         message.mutable_leaves_wanted()->set_chunk(1);
         guest.say(message.SerializeAsString());
       }},
      {"half a leaf", "malformed Leaves", [](Guest& guest) { guest.say(leaves_message(48)); }},
      {"more leaves than a chunk has", "malformed Leaves",
       [](Guest& guest) { guest.say(leaves_message(513 * 32)); }},
      {"an Open of no content", "malformed Open",
       [](Guest& guest) {
         proto::PeerMessage message;
         message.mutable_open()->set_channel(2);
         guest.say(message.SerializeAsString());
       }},
      {"an Open on channel 0", "malformed Open",
       [](Guest& guest) { guest.say(open_message(0, content_number(2))); }},
      {"an Open on a channel of 17 bits", "malformed Open",
       [](Guest& guest) { guest.say(open_message(0x10001, content_number(2))); }},
      {"two spaces on one channel", "two on one channel",
       [](Guest& guest) { guest.say(open_message(1, content_number(2))); }},
      {"5,000 spaces", "more than 4096 spaces",
       [](Guest& guest) {
         for (std::uint32_t i = 2; i <= 5000; ++i) guest.say(open_message(i, content_number(i)));
       }},
      {"a Close of no content", "malformed Close",
       [](Guest& guest) {
         proto::PeerMessage message;
         message.mutable_close();
         guest.say(message.SerializeAsString());
       }},
  };
  return all;
}

// Greeted, and content 1 open on channel 1.
void make_ready(MeshHost& host, Guest& guest) {
  host.greet(guest);
  guest.say(open_message(1, content_number(1)));
  REQUIRE(host.run_until([&] { return !host.owner.opened.empty(); }));
}

}  // namespace

TEST_CASE("Who breaks the rules is dropped, banned and reported", "[p2pd]") {
  const Offence& offence = offences()[GENERATE(range<std::size_t>(0, 25))];
  REQUIRE(offences().size() == 25);
  INFO(offence.name);
  MeshHost host;
  Guest guest;
  make_ready(host, guest);
  offence.commit(guest);
  REQUIRE(host.run_until([&] { return guest.over() && !host.owner.broke_rules.empty(); }));
  CHECK(host.owner.broke_rules.size() == 1);
  CHECK(host.owner.broke_rules.front().first == guest.id);
  CHECK_THAT(host.owner.broke_rules.front().second, Catch::Contains(offence.reason));
  CHECK(host.owner.down == std::vector<NodeId>{guest.id});
  guest.ear = {};
  host.dial(guest);
  REQUIRE(host.run_until([&] { return guest.over(); }));
  CHECK(host.owner.up.size() == 1);
}

TEST_CASE("Who says something before Hello is dropped, banned and reported", "[p2pd]") {
  const auto type = GENERATE(FrameType::control, FrameType::data, static_cast<FrameType>(77));
  MeshHost host;
  Guest guest;
  host.dial(guest);
  guest.connection->send(type, 0, std::string(20, '\0'));
  REQUIRE(host.run_until([&] { return guest.over() && !host.owner.broke_rules.empty(); }));
  CHECK(host.owner.broke_rules.front().first == guest.id);
  CHECK(host.owner.up.empty());
}

TEST_CASE("Who speaks other versions of the protocol is let go, and may come again updated",
          "[p2pd]") {
  MeshHost host;
  Guest guest;
  host.dial(guest);
  proto::Hello hello;
  hello.set_version_min(7);
  hello.set_version_max(9);
  guest.connection->send(FrameType::hello, 0, hello.SerializeAsString());
  REQUIRE(host.run_until([&] { return guest.over(); }));
  CHECK(host.owner.broke_rules.empty());
  guest.ear = {};
  host.greet(guest);
}

TEST_CASE("What a later version may say is passed over", "[p2pd]") {
  MeshHost host;
  Guest guest;
  make_ready(host, guest);
  guest.connection->send(static_cast<FrameType>(77), 500, std::string(kMaxFrameBytes, 'x'));
  guest.connection->send(static_cast<FrameType>(23), 0, "");
  guest.say("");                        // a message of a kind that is not known
  guest.hello();                        // once more
  guest.say(std::string("\x7a\x01x"));  // a field that is not known
  guest.say(open_message(2, content_number(2)));
  REQUIRE(host.run_until([&] { return host.owner.opened.size() == 2; }));
  CHECK(host.owner.broke_rules.empty());
  CHECK_FALSE(guest.over());
}

TEST_CASE("What was on its way when a space was closed is passed over", "[p2pd]") {
  MeshHost host;
  Guest guest;
  make_ready(host, guest);
  guest.say(close_message(content_number(1)));
  guest.connection->send(FrameType::have, 1, std::string(8, '\1'));
  data(guest, 1, {ChunkIndex{0}, 0, 16384});
  guest.say(open_message(1, content_number(2)));
  guest.connection->send(FrameType::have, 1, std::string(8, '\1'));
  REQUIRE(host.run_until([&] { return !host.owner.have.empty(); }));
  CHECK(host.owner.closed == std::vector<SpaceKey>{{content_number(1), false}});
  CHECK(host.owner.have == std::vector<SpaceKey>{{content_number(2), false}});
  CHECK(host.owner.data.empty());
  CHECK(host.owner.broke_rules.empty());
}

TEST_CASE("A peer may open any number of spaces one after the other", "[p2pd]") {
  MeshHost host;
  Guest guest;
  host.greet(guest);
  for (std::uint32_t i = 1; i <= 6000; ++i) {
    guest.say(open_message(i % 100 + 1, content_number(i)));
    guest.say(close_message(content_number(i)));
  }
  REQUIRE(host.run_until([&] { return host.owner.closed.size() == 6000; }));
  CHECK(host.owner.broke_rules.empty());
}

TEST_CASE("The mesh closes its oldest space rather than open too many", "[p2pd]") {
  MeshHost host;
  Guest guest;
  host.greet(guest);
  for (std::uint32_t i = 0; i < OwnChannels::kOpenMost + 1; ++i) {
    host.mesh.send_open(guest.id, {content_number(i), false}, {});
  }
  REQUIRE(host.run_until(
      [&] { return guest.ear.frames.size() == 1 + OwnChannels::kOpenMost + 1 + 1; }));
  proto::PeerMessage closed, opened;
  const auto& frames = guest.ear.frames;
  REQUIRE(closed.ParseFromString(frames[frames.size() - 2].body));
  REQUIRE(opened.ParseFromString(frames.back().body));
  CHECK(closed.close().content_id() == content_number(0).digest.view());
  CHECK(opened.open().content_id() == content_number(OwnChannels::kOpenMost).digest.view());
}

TEST_CASE("A peer that talks faster than it is listened to waits, and is heard in full", "[p2pd]") {
  PeerMeshSettings settings;
  settings.session.unhandled_max = 64 * 1024;
  settings.session.frame_cost = 1024;
  MeshHost host(settings);
  Guest guest;
  make_ready(host, guest);
  constexpr std::size_t kFrames = 5000;
  for (std::size_t i = 0; i < kFrames; ++i) {
    guest.connection->send(FrameType::have, 1, std::string(8, '\1'));
  }
  for (std::uint32_t i = 0; i < 200; ++i) data(guest, 1, {ChunkIndex{i}, 0, 65536});
  REQUIRE(host.run_until(
      [&] { return host.owner.have.size() == kFrames && host.owner.data.size() == 200; }));
  CHECK_FALSE(guest.over());
}

}  // namespace p2p
