#include "p2pd/channels.h"

#include <set>

#include "tests/support/catch.h"

namespace p2p {
namespace {

SpaceKey space(std::uint32_t number) {
  SpaceKey key;
  for (std::size_t i = 0; i < 4; ++i) {
    key.content.digest.bytes[i] = static_cast<std::uint8_t>(number >> (8 * i));
  }
  return key;
}

}  // namespace

TEST_CASE("A space keeps its number while it is open", "[p2pd]") {
  OwnChannels channels;
  const auto first = channels.open(space(1));
  CHECK(first.number != 0);
  CHECK_FALSE(first.closed);
  CHECK(channels.open(space(2)).number != first.number);
  CHECK(channels.open(space(1)).number == first.number);
  CHECK(channels.use(space(1)) == first.number);
  CHECK_FALSE(channels.use(space(3)));
  channels.close(space(1));
  CHECK_FALSE(channels.use(space(1)));
}

TEST_CASE("A connection can open any number of spaces, and the peer never has too many", "[p2pd]") {
  OwnChannels ours;
  PeerChannels theirs;
  std::set<std::uint16_t> numbers;
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    const OwnChannels::Opened opened = ours.open(space(i));
    if (opened.closed) theirs.close(*opened.closed);
    REQUIRE(opened.number != 0);
    REQUIRE(theirs.open(opened.number, space(i)));
    REQUIRE(theirs.find(opened.number) == space(i));
    numbers.insert(opened.number);
  }
  CHECK(numbers.size() < kMaxChannels);
}

TEST_CASE("The space that nothing was sent about for longest makes room", "[p2pd]") {
  OwnChannels channels;
  for (std::uint32_t i = 0; i < OwnChannels::kOpenMost; ++i) channels.open(space(i));
  channels.use(space(0));
  CHECK(channels.open(space(10'000)).closed == space(1));
  CHECK(channels.open(space(10'001)).closed == space(2));
  CHECK(channels.use(space(0)));
}

TEST_CASE("A number rests before it stands for another space", "[p2pd]") {
  OwnChannels channels;
  const std::uint16_t number = channels.open(space(0)).number;
  channels.close(space(0));
  for (std::uint32_t i = 1; i <= OwnChannels::kResting; ++i) {
    REQUIRE(channels.open(space(i)).number != number);
    channels.close(space(i));
  }
  CHECK(channels.open(space(10'000)).number == number);
}

TEST_CASE("A number that the peer has closed is told from one that it never opened", "[p2pd]") {
  PeerChannels channels;
  CHECK_FALSE(channels.was_closed(7));
  CHECK(channels.open(7, space(1)));
  CHECK(channels.open(7, space(1)));
  CHECK_FALSE(channels.was_closed(7));
  channels.close(space(1));
  channels.close(space(2));
  CHECK_FALSE(channels.find(7));
  CHECK(channels.was_closed(7));
  CHECK_FALSE(channels.was_closed(6));
  CHECK_FALSE(channels.was_closed(8));
  CHECK(channels.open(7, space(2)));
  CHECK(channels.find(7) == space(2));
  CHECK_FALSE(channels.was_closed(7));
}

TEST_CASE("A number of the peer stands for one space, and a space for one number", "[p2pd]") {
  PeerChannels channels;
  CHECK(channels.open(1, space(1)));
  CHECK_FALSE(channels.open(1, space(2)));
  CHECK(channels.find(1) == space(1));
  CHECK(channels.open(2, space(1)));
  CHECK_FALSE(channels.find(1));
  CHECK(channels.was_closed(1));
  channels.close(space(1));
  CHECK_FALSE(channels.find(2));
}

TEST_CASE("A peer has at most 4,096 spaces open, and closing one makes room", "[p2pd]") {
  PeerChannels channels;
  for (std::uint16_t i = 0; i < kMaxChannels; ++i) REQUIRE(channels.open(i + 1u, space(i)));
  CHECK_FALSE(channels.open(60'000, space(60'000)));
  CHECK(channels.open(1, space(0)));
  channels.close(space(0));
  CHECK(channels.open(60'000, space(60'000)));
}

}  // namespace p2p
