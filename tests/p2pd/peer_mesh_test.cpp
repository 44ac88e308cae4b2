#include "p2pd/peer_mesh.h"

#include <algorithm>

#include "io/log/log.h"
#include "tests/p2pd/mesh_fixture.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using test::Guest;
using test::MeshHost;

}  // namespace

TEST_CASE("A connection counts from the peer's Hello on", "[p2pd]") {
  MeshHost host;
  Guest guest;
  host.dial(guest);
  REQUIRE(host.run_until([&] { return !guest.ear.frames.empty(); }));
  CHECK(guest.ear.frames.front().header.type == FrameType::hello);
  CHECK(host.owner.up.empty());
  guest.hello();
  REQUIRE(host.run_until([&] { return !host.owner.up.empty(); }));
  CHECK(host.owner.up == std::vector<NodeId>{guest.id});
}

TEST_CASE("Who does not say Hello in time is let go", "[p2pd]") {
  PeerMeshSettings settings;
  settings.greeting = Duration::zero();
  MeshHost host(settings);
  SECTION("after the handshake") {
    Guest guest;
    host.dial(guest);
    REQUIRE(host.run_until([&] { return guest.over(); }));
  }
  SECTION("without TLS") {
    Connection::Socket silent(host.io);
    silent.connect({test::asio::ip::address_v4::loopback(), host.port});
    bool ended = false;
    silent.async_wait(Connection::Socket::wait_read,
                      [&](boost::system::error_code) { ended = true; });
    REQUIRE(host.run_until([&] { return ended; }));
  }
  CHECK(host.owner.up.empty());
}

TEST_CASE(
    "Who has said Hello is not ended by the deadline of those who have not, and they are reported",
    "[p2pd]") {
  PeerMeshSettings settings;
  settings.greeting = std::chrono::seconds(1);
  MeshHost host(settings);
  Guest silent, guest;
  host.greet(guest);
  host.dial(silent);
  REQUIRE(host.run_until([&] { return silent.over(); }));
  CHECK_FALSE(guest.over());
  CHECK(host.mesh.is_up(guest.id));
  REQUIRE(host.owner.broke_rules.size() == 1);
  CHECK(host.owner.broke_rules.front() == std::pair(silent.id, std::string("no Hello within 1 s")));
}

TEST_CASE("Connections without a word make room for newer ones, the oldest first", "[p2pd]") {
  PeerMeshSettings settings;
  settings.ungreeted_max = 2;
  MeshHost host(settings);
  Guest guest, first, second, third;
  host.greet(guest);
  host.dial(first);
  host.dial(second);
  CHECK_FALSE(first.over());
  host.dial(third);
  REQUIRE(host.run_until([&] { return first.over(); }));
  third.hello();
  REQUIRE(host.run_until([&] { return host.mesh.is_up(third.id); }));
  CHECK_FALSE(second.over());
  CHECK_FALSE(guest.over());
}

TEST_CASE("A peer whose handshake takes its time is not dialled again meanwhile", "[p2pd]") {
  PeerMeshSettings settings;
  settings.book.first_retry = std::chrono::milliseconds(1);
  settings.greeting = std::chrono::milliseconds(300);
  MeshHost host(settings);
  test::asio::ip::tcp::acceptor acceptor(host.io, {test::asio::ip::address_v4::loopback(), 0});
  std::vector<Connection::Socket> accepted;
  std::function<void()> accept = [&] {
    acceptor.async_accept([&](boost::system::error_code error, Connection::Socket socket) {
      if (error) return;
      accepted.push_back(std::move(socket));
      accept();
    });
  };
  accept();
  const NodeId silent = *NodeId::parse(new_uuid());
  host.mesh.know(silent, {"127.0.0.1", acceptor.local_endpoint().port()}, true);
  // It says nothing: the first dial ends at the deadline, and only then comes another.
  REQUIRE(host.run_until([&] { return accepted.size() == 2; }));
  accepted.front().non_blocking(true);
  std::string hello(2000, '\0');
  boost::system::error_code end;
  while (!end) accepted.front().read_some(test::asio::buffer(hello), end);
  CHECK(end != test::asio::error::would_block);
  acceptor.close();
}

TEST_CASE("Who was dropped is not let in again before its ban is over", "[p2pd]") {
  PeerMeshSettings settings;
  SECTION("not yet") {
    MeshHost host(settings);
    Guest guest;  // lives on the host's loop, so it goes first
    host.greet(guest);
    host.mesh.drop(guest.id, "sent a wrong chunk");
    REQUIRE(host.run_until([&] { return guest.over(); }));
    CHECK(host.owner.down == std::vector<NodeId>{guest.id});
    guest.ear = {};
    host.dial(guest);
    REQUIRE(host.run_until([&] { return guest.over(); }));
    CHECK(host.owner.up.size() == 1);
  }
  SECTION("over") {
    settings.book.ban = Duration::zero();
    MeshHost host(settings);
    Guest guest;  // lives on the host's loop, so it goes first
    host.greet(guest);
    host.mesh.drop(guest.id, "sent a wrong chunk");
    REQUIRE(host.run_until([&] { return guest.over(); }));
    guest.ear = {};
    host.greet(guest);
  }
}

TEST_CASE("A removed node is turned away, whether it is up, half-way or new", "[p2pd]") {
  std::vector<std::string> log;
  set_log_sink([&](std::string_view line) { log.emplace_back(line); });
  {
    MeshHost host;
    Guest up, half_way, stays;
    host.greet(up);
    host.greet(stays);
    host.dial(half_way);
    host.owner.removed = {up.id, half_way.id};
    host.mesh.end_removed();
    REQUIRE(host.run_until([&] { return up.over() && half_way.over(); }));
    CHECK(host.owner.down == std::vector<NodeId>{up.id});
    CHECK_FALSE(host.mesh.is_up(up.id));
    Guest again;
    again.credentials = up.credentials;
    host.dial(again);
    REQUIRE(host.run_until([&] { return again.over(); }));
    CHECK(again.ear.frames.empty());
    CHECK(host.mesh.is_up(stays.id));
    CHECK_FALSE(stays.over());
    // Once for each node, not once for each attempt.
    const auto told = [&](const Guest& guest) {
      return std::count_if(log.begin(), log.end(), [&](const std::string& line) {
        return line.find("turned away") != line.npos && line.find(guest.id.str()) != line.npos;
      });
    };
    CHECK(told(up) == 1);
    CHECK(told(half_way) == 1);
    CHECK(told(stays) == 0);
  }
  set_log_sink({});
}

TEST_CASE("A removed node is not dialled", "[p2pd]") {
  MeshHost host;
  test::asio::ip::tcp::acceptor acceptor(host.io, {test::asio::ip::address_v4::loopback(), 0});
  std::size_t accepted = 0;
  Connection::Socket other(host.io);
  acceptor.async_accept(other, [&](boost::system::error_code error) { accepted += error ? 0 : 1; });
  const NodeId removed = *NodeId::parse(new_uuid());
  const NodeId member = *NodeId::parse(new_uuid());
  host.owner.removed = {removed};
  test::asio::ip::tcp::acceptor forbidden(host.io, {test::asio::ip::address_v4::loopback(), 0});
  std::size_t dialled = 0;
  Connection::Socket never(host.io);
  forbidden.async_accept(never, [&](boost::system::error_code error) { dialled += error ? 0 : 1; });
  host.mesh.know(removed, {"127.0.0.1", forbidden.local_endpoint().port()}, true);
  host.mesh.know(member, {"127.0.0.1", acceptor.local_endpoint().port()}, true);
  REQUIRE(host.run_until([&] { return accepted == 1; }));
  CHECK(dialled == 0);
}

TEST_CASE("Versions of the deny-list and lists go both ways, after Hello only", "[p2pd]") {
  MeshHost host;
  Guest guest;
  host.greet(guest);
  proto::PeerMessage version;
  version.set_deny_version(7);
  guest.say(version.SerializeAsString());
  const std::string list(900 * 1024, 'l');
  guest.connection->send(FrameType::deny_list, 0, list);
  REQUIRE(host.run_until([&] { return !host.owner.deny_lists.empty(); }));
  CHECK(host.owner.deny_versions == std::vector<std::uint64_t>{7});
  CHECK(host.owner.deny_lists.front() == list);
  host.mesh.send_deny_version(guest.id, 9);
  host.mesh.send_deny_list(guest.id, list);
  REQUIRE(host.run_until([&] { return guest.ear.frames.size() == 3; }));
  CHECK(guest.ear.frames[1].header.type == FrameType::control);
  CHECK(guest.ear.frames[2].header.type == FrameType::deny_list);
  CHECK(guest.ear.frames[2].header.length == list.size());

  Guest early;
  host.dial(early);
  early.connection->send(FrameType::deny_list, 0, list);
  REQUIRE(host.run_until([&] { return early.over(); }));
  CHECK(host.owner.deny_lists.size() == 1);
}

}  // namespace p2p
