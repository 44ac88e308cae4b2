#include "core/transfer/seed_offers.h"

#include <map>
#include <set>
#include <string>

#include "core/transfer/have_batch.h"
#include "core/transfer/rack_entry.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

NodeId node(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}

constexpr std::uint32_t kChunkBytes = 1000;
const Time kStart{seconds(100)};

// No waiting for others to join.
OfferSettings at_once() {
  OfferSettings settings;
  settings.open_offers_of_one_peer_at_first = settings.open_offers_of_one_peer_max;
  return settings;
}

struct Seed {
  explicit Seed(std::uint32_t chunks, std::uint8_t peers, OfferSettings settings = at_once())
      : offers(chunks, settings, Rng(7)) {
    for (std::uint8_t i = 1; i <= peers; ++i) offers.on_peer_joined(node(i));
  }
  // The peer takes the offer and gets all of the chunk.
  void serve(const SeedOffers::Offer& offer, Time now) {
    offers.on_requested(offer.peer, *offer.chunk, now);
    offers.on_served(offer.peer, *offer.chunk, kChunkBytes, kChunkBytes, now);
  }
  SeedOffers offers;
};

TEST_CASE("A seed offers no chunk twice before all were offered once", "[core][transfer]") {
  Seed seed(40, 4);
  std::set<std::uint32_t> offered;
  for (int round = 0; round < 40; ++round) {
    for (const auto& offer : seed.offers.take_offers(kStart)) {
      REQUIRE(offer.chunk.has_value());
      CHECK(offered.insert(offer.chunk->value).second);
      seed.serve(offer, kStart);
    }
  }
  CHECK(offered.size() == 40);
}

TEST_CASE("With many peers each has one open offer, a single one has several", "[core][transfer]") {
  Seed many(100, 16);
  CHECK(many.offers.take_offers(kStart).size() == 16);
  CHECK(many.offers.take_offers(kStart).empty());
  Seed one(100, 1);
  CHECK(one.offers.take_offers(kStart).size() == 4);
}

TEST_CASE("A chunk is out when anybody says that it has it, and is not offered then",
          "[core][transfer]") {
  Seed seed(4, 1);
  seed.offers.on_have(node(1), {{0, 3}}, kStart);
  const auto offers = seed.offers.take_offers(kStart);
  REQUIRE(offers.size() == 1);
  CHECK(offers.front().chunk == ChunkIndex{3});
}

TEST_CASE("When all chunks are out each peer is told once that it may ask as it likes",
          "[core][transfer]") {
  Seed seed(4, 2);
  seed.offers.on_have(node(1), {{0, 4}}, kStart);
  const auto offers = seed.offers.take_offers(kStart);
  REQUIRE(offers.size() == 2);
  CHECK_FALSE(offers[0].chunk.has_value());
  CHECK(seed.offers.take_offers(kStart).empty());
  CHECK(seed.offers.all_out());
}

TEST_CASE("An offer that nobody answers is made to somebody else", "[core][transfer]") {
  Seed seed(1, 2);
  const auto first = seed.offers.take_offers(kStart);
  REQUIRE(first.size() == 1);
  CHECK(seed.offers.next_deadline() == kStart + seconds(1));
  const auto again = seed.offers.take_offers(kStart + seconds(1));
  REQUIRE(again.size() == 1);
  CHECK(again.front().chunk == first.front().chunk);
}

TEST_CASE("A declined chunk goes to another peer; the one that declined rests",
          "[core][transfer]") {
  Seed seed(1, 2);
  const auto first = seed.offers.take_offers(kStart);
  REQUIRE(first.size() == 1);
  seed.offers.on_declined(first.front().peer, *first.front().chunk, kStart);
  const auto again = seed.offers.take_offers(kStart);
  REQUIRE(again.size() == 1);
  CHECK(again.front().peer != first.front().peer);
  seed.offers.on_declined(again.front().peer, *again.front().chunk, kStart);
  CHECK(seed.offers.take_offers(kStart).empty());
  CHECK(seed.offers.take_offers(kStart + milliseconds(50)).size() == 1);
}

TEST_CASE("A served chunk of which nobody speaks is offered again after a silence",
          "[core][transfer]") {
  Seed seed(1, 2);
  const auto first = seed.offers.take_offers(kStart);
  seed.serve(first.front(), kStart);
  CHECK(seed.offers.take_offers(kStart + milliseconds(1999)).empty());
  CHECK(seed.offers.take_offers(kStart + seconds(2)).size() == 1);
}

TEST_CASE("A chunk of which a peer asks for a part only is given when it has that",
          "[core][transfer]") {
  Seed seed(10, 1);
  const auto first = seed.offers.take_offers(kStart);
  REQUIRE(first.size() == 4);
  for (const auto& offer : first) {
    seed.offers.on_requested(offer.peer, *offer.chunk, kStart);
    seed.offers.on_part_served(offer.peer, *offer.chunk, kStart);
  }
  // Others are offered in their place, and nobody gets the four again before a silence.
  const auto second = seed.offers.take_offers(kStart + milliseconds(1));
  CHECK(second.size() == 4);
  for (const auto& offer : second) CHECK_FALSE(offer.chunk == first[0].chunk);
  seed.offers.on_peer_joined(node(2));
  for (const auto& offer : seed.offers.take_offers(kStart + milliseconds(1900))) {
    for (const auto& given : first) CHECK_FALSE(offer.chunk == given.chunk);
  }
}

TEST_CASE("A peer that asks for more of a chunk is waited for from then on", "[core][transfer]") {
  Seed seed(1, 1);
  const auto offer = seed.offers.take_offers(kStart).front();
  seed.offers.on_requested(offer.peer, *offer.chunk, kStart);
  seed.offers.on_part_served(offer.peer, *offer.chunk, kStart);
  seed.offers.on_part_served(offer.peer, *offer.chunk, kStart + seconds(1));
  CHECK(seed.offers.take_offers(kStart + milliseconds(2900)).empty());
  CHECK(seed.offers.take_offers(kStart + seconds(3)).size() == 1);
  // What was never offered is given to nobody.
  seed.offers.on_part_served(node(9), ChunkIndex{0}, kStart);
}

TEST_CASE("What was offered to a peer that left is offered to others", "[core][transfer]") {
  Seed seed(1, 2);
  const auto first = seed.offers.take_offers(kStart);
  seed.offers.on_peer_left(first.front().peer);
  const auto again = seed.offers.take_offers(kStart);
  REQUIRE(again.size() == 1);
  CHECK(again.front().peer != first.front().peer);
}

TEST_CASE("When the last peer has left the next swarm begins anew", "[core][transfer]") {
  Seed seed(2, 1);
  seed.offers.on_have(node(1), {{0, 2}}, kStart);
  CHECK(seed.offers.all_out());
  seed.offers.on_peer_left(node(1));
  seed.offers.on_peer_joined(node(2));
  CHECK(seed.offers.take_offers(kStart).size() == 2);
}

TEST_CASE("No more than 16 offers are open, however many peers there are", "[core][transfer]") {
  Seed seed(400, 200);
  CHECK(seed.offers.take_offers(kStart).size() == 16);
  CHECK(seed.offers.take_offers(kStart).empty());
}

// Serves every offer that is open; gives the chunks, and the peers say that they have them.
std::set<std::uint32_t> serve_all(Seed& seed, Time now) {
  std::set<std::uint32_t> chunks;
  for (const auto& offer : seed.offers.take_offers(now)) {
    if (!offer.chunk) continue;
    chunks.insert(offer.chunk->value);
    seed.serve(offer, now);
    seed.offers.on_have(offer.peer, {{offer.chunk->value, 1}}, now);
  }
  return chunks;
}

TEST_CASE("A peer whose chunks reach nobody else gets no more of them", "[core][transfer]") {
  Seed seed(400, 3);
  Time now = kStart;
  std::size_t given = 0;
  for (int round = 0; round < 60; ++round) {
    const auto offers = seed.offers.take_offers(now);
    for (const auto& offer : offers) {
      seed.serve(offer, now);
      seed.offers.on_have(offer.peer, {{offer.chunk->value, 1}}, now);
      if (offer.peer == node(1)) {
        ++given;
        continue;  // it passes nothing on
      }
      const NodeId second = offer.peer == node(2) ? node(3) : node(2);
      seed.offers.on_have(second, {{offer.chunk->value, 1}}, now + milliseconds(10));
    }
    now = now + milliseconds(20);
  }
  CHECK(given > 0);
  CHECK(given < 20);  // of about 400
}

TEST_CASE("A chunk that one peer alone has for long is offered to somebody else",
          "[core][transfer]") {
  Seed seed(3, 2);
  const auto first = seed.offers.take_offers(kStart);
  REQUIRE(first.size() == 3);
  for (const auto& offer : first) seed.serve(offer, kStart);
  seed.offers.on_have(first[0].peer, {{first[0].chunk->value, 1}}, kStart);
  CHECK(seed.offers.take_offers(kStart + milliseconds(999)).empty());
  const auto again = seed.offers.take_offers(kStart + seconds(1));
  REQUIRE(again.size() == 1);
  CHECK(again[0].chunk == first[0].chunk);
  CHECK(again[0].peer != first[0].peer);
}

TEST_CASE("Two seeds begin with different chunks, and each ends with those of the other",
          "[core][transfer]") {
  Seed one(100, 1);
  Seed other(100, 1);
  one.offers.set_seeds(node(101), {node(101), node(102)});
  other.offers.set_seeds(node(102), {node(101), node(102)});
  std::set<std::uint32_t> first;
  for (int i = 0; i < 10; ++i) first.merge(serve_all(one, kStart));
  CHECK(first.size() == 40);
  for (int i = 0; i < 10; ++i) {
    for (const std::uint32_t chunk : serve_all(other, kStart)) CHECK_FALSE(first.contains(chunk));
  }
  for (int i = 0; i < 20; ++i) (void)serve_all(one, kStart);
  CHECK(one.offers.all_out());
}

TEST_CASE("To another rack a chunk goes through the entry node that is responsible for it",
          "[core][transfer]") {
  SeedOffers offers(200, {}, Rng(7));
  offers.stands_in("here", 5);
  std::vector<NodeId> rack;
  for (std::uint8_t i = 1; i <= 20; ++i) {
    rack.push_back(node(i));
    offers.on_peer_joined(node(i), "there");
  }
  const auto entries = entry_nodes(rack, 5, 4);
  for (int i = 0; i < 20; ++i) {
    for (const auto& offer : offers.take_offers(kStart)) {
      CHECK(offer.peer == entry_for(entries, *offer.chunk));
      offers.on_served(offer.peer, *offer.chunk, 1, 1, kStart);
    }
  }
}

// Offers by rack, of a seed that stands in rack "a" with 20 neighbours in each of `racks`.
std::map<char, int> offers_by_rack(const std::string& racks) {
  SeedOffers offers(400, {}, Rng(7));
  offers.stands_in("a", 5);
  std::map<NodeId, char> rack_of;
  for (std::uint8_t i = 0; i < 20 * racks.size(); ++i) {
    const char rack = racks[i % racks.size()];
    rack_of[node(i)] = rack;
    offers.on_peer_joined(node(i), std::string(1, rack));
  }
  std::map<char, int> given;
  for (const auto& offer : offers.take_offers(kStart)) ++given[rack_of[offer.peer]];
  return given;
}

TEST_CASE("Racks have turns at a seed, its own among them while there are few",
          "[core][transfer]") {
  // An entry node that has an open offer cannot take the next chunk: the next rack does.
  const auto few = offers_by_rack("abc");
  for (const char rack : {'a', 'b', 'c'}) CHECK(few.at(rack) >= 3);
  const auto many = offers_by_rack("abcd");
  CHECK_FALSE(many.contains('a'));  // it gets its chunks from the others
  for (const char rack : {'b', 'c', 'd'}) CHECK(many.at(rack) >= 3);
}

TEST_CASE("News waits for a few chunk-times, never longer than the limit, and leaves as runs",
          "[core][transfer]") {
  HaveBatch news{HaveSettings{}};
  CHECK(news.next_deadline() == Time::max());
  news.on_chunk_ready(ChunkIndex{5}, kStart);
  const Time due = news.next_deadline();
  CHECK(due > kStart);
  CHECK(due <= kStart + HaveSettings{}.soonest);  // of the first chunks
  news.on_chunk_ready(ChunkIndex{9}, kStart + milliseconds(1));
  news.on_chunk_ready(ChunkIndex{6}, kStart + milliseconds(2));
  CHECK(news.next_deadline() == due);
  CHECK(news.take() == std::vector<ChunkRun>{{5, 2}, {9, 1}});
  CHECK(news.next_deadline() == Time::max());
}

TEST_CASE("News of a rare chunk does not wait for others, and takes them along",
          "[core][transfer]") {
  HaveSettings settings;
  settings.first_chunks = 0;
  HaveBatch news{settings};
  news.on_chunk_ready(ChunkIndex{1}, kStart);
  CHECK(news.next_deadline() > kStart + 4 * settings.soonest);
  news.on_chunk_ready(ChunkIndex{2}, kStart + milliseconds(1), /*rare=*/true);
  CHECK(news.next_deadline() == kStart + milliseconds(1) + settings.soonest);
  CHECK(news.take() == std::vector<ChunkRun>{{1, 2}});
}

TEST_CASE("Before a seed has served anything each peer gets one offer", "[core][transfer]") {
  Seed seed(40, 1, OfferSettings());
  const auto first = seed.offers.take_offers(kStart);
  CHECK(first.size() == 1);
  seed.serve(first.front(), kStart);
  CHECK(seed.offers.take_offers(kStart + milliseconds(1)).size() == 4);
}

}  // namespace
}  // namespace p2p
