#include "p2pd/peer_book.h"

#include <set>

#include "tests/support/catch.h"

namespace p2p {
namespace {

constexpr Time kStart{std::chrono::hours(1)};
const HostPort kAddress{"10.0.0.7", 7402};

NodeId node(std::uint8_t number) {
  NodeId id;
  id.bytes.fill(number);
  return id;
}

// This node is number 5.
struct Book : PeerBook {
  explicit Book(const PeerBookSettings& settings = {}) : PeerBook(node(5), settings, Rng(1)) {}

  std::set<NodeId> up;

  std::vector<NodeId> due(Time now) {
    std::vector<NodeId> peers;
    for (const Dial& dial : take_due(now, is_up())) peers.push_back(dial.peer);
    return peers;
  }
  Time next() const { return next_deadline(is_up()); }
  IsUp is_up() const {
    return [this](NodeId peer) { return up.contains(peer); };
  }
};

using Nodes = std::vector<NodeId>;

}  // namespace

TEST_CASE("Seeds come first, and of two receivers the smaller id dials first", "[p2pd]") {
  Book book;
  book.know(node(3), kAddress, false, kStart);
  book.know(node(7), kAddress, false, kStart);
  book.know(node(4), kAddress, true, kStart);
  book.know(node(5), kAddress, true, kStart);
  CHECK(book.due(kStart) == Nodes{node(4), node(7)});
  CHECK(book.next() == kStart + PeerBookSettings{}.yield_to_smaller_id);
  CHECK(book.due(book.next()) == Nodes{node(3)});
}

TEST_CASE("A peer is dialled once until it is known what came of it", "[p2pd]") {
  Book book;
  book.know(node(7), kAddress, true, kStart);
  CHECK(book.due(kStart).size() == 1);
  // The connection is made and the handshake takes its time.
  CHECK(book.due(kStart + std::chrono::hours(1)).empty());
  CHECK(book.next() == Time::max());
  book.on_not_connected(node(7), kStart + std::chrono::hours(1));
  CHECK(book.next() > kStart + std::chrono::hours(1));
  CHECK(book.due(book.next()).size() == 1);
}

TEST_CASE("Failures double the pause up to the longest, and a connection ends the count",
          "[p2pd]") {
  const PeerBookSettings settings;
  Book book;
  book.know(node(7), kAddress, true, kStart);
  Time now = kStart;
  Duration expected = settings.first_retry;
  for (int i = 0; i < 10; ++i) {
    REQUIRE(book.due(now).size() == 1);
    book.on_not_connected(node(7), now);
    const Duration pause = book.next() - now;
    CHECK(pause >= expected / 2);
    CHECK(pause < 3 * expected / 2);
    expected = std::min(2 * expected, settings.longest_retry);
    now = book.next();
  }
  REQUIRE(book.due(now).size() == 1);
  book.on_connected(node(7), now);
  CHECK(book.next() - now < 3 * settings.first_retry / 2);
}

TEST_CASE("Whoever is connected or not wanted any more is not dialled", "[p2pd]") {
  Book book;
  book.know(node(6), kAddress, true, kStart);
  book.know(node(7), kAddress, true, kStart);
  book.up.insert(node(6));
  book.forget_all_but([](NodeId peer) { return peer == node(6); });
  CHECK(book.due(kStart).empty());
  CHECK(book.next() == Time::max());
  book.up.clear();
  CHECK(book.due(kStart) == Nodes{node(6)});
  book.know(node(7), kAddress, true, kStart);
  CHECK(book.due(kStart) == Nodes{node(7)});
}

TEST_CASE("A banned peer is neither let in nor dialled before its time is over", "[p2pd]") {
  Book book;
  const Time until = kStart + PeerBookSettings{}.ban;
  book.know(node(7), kAddress, true, kStart);
  book.ban(node(7), kStart);
  CHECK(book.is_banned(node(7), until - Duration(1)));
  CHECK_FALSE(book.is_banned(node(6), kStart));
  // Also when the tracker names it again, or says that it has moved.
  book.know(node(7), {"10.0.0.8", 7402}, true, kStart);
  CHECK(book.due(until - Duration(1)).empty());
  CHECK(book.next() == until);
  CHECK_FALSE(book.is_banned(node(7), until));
  CHECK(book.due(until) == Nodes{node(7)});
}

}  // namespace p2p
