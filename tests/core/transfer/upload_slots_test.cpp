#include "core/transfer/upload_slots.h"

#include <set>

#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using std::chrono::milliseconds;
using test::name_of;
using test::node;

constexpr std::uint32_t kKiB = 1024;
constexpr std::uint32_t kRequest = 64 * kKiB;
constexpr Duration kTick{1};

// Peers named by letters ask for chunks of one file, 256 KiB each in four requests.
class UploadTest {
 public:
  explicit UploadTest(const UploadSettings& settings = {}) : slots(settings) {}

  static UploadSettings with_slots(std::uint32_t count) {
    UploadSettings settings;
    settings.slots = count;
    return settings;
  }
  static SpaceKey space(bool body = false) { return {ContentId{}, body}; }

  // A peer that has something already, as nearly all have nearly always.
  void ask(char peer, std::uint32_t chunk, bool body = false) {
    slots.on_have(node(peer), space(body));
    ask_with_nothing(peer, chunk, body);
  }
  void ask_with_nothing(char peer, std::uint32_t chunk, bool body = false) {
    for (std::uint32_t i = 0; i < 4; ++i) {
      REQUIRE(slots.on_request(node(peer), space(body), range(chunk, i)));
    }
  }
  static ChunkRange range(std::uint32_t chunk, std::uint32_t request) {
    return {ChunkIndex{chunk}, request * kRequest, kRequest};
  }
  // What is granted now, as "a0 b3": peers and chunks.
  std::string granted() {
    std::set<std::string> items;
    for (const UploadSlots::Grant& grant : slots.take_grants(now)) {
      items.insert(name_of(grant.peer) + std::to_string(grant.range.chunk.value));
      unsent[name_of(grant.peer)] += grant.range.length;
    }
    std::string text;
    for (const std::string& item : items) text += (text.empty() ? "" : " ") + item;
    return text;
  }
  void sends(char peer, std::uint32_t bytes) {
    REQUIRE(unsent[peer] >= bytes);
    unsent[peer] -= bytes;
    slots.on_sent(node(peer), bytes, now);
  }
  void sends_all(char peer) { sends(peer, unsent[peer]); }

  UploadSlots slots;
  Time now{std::chrono::seconds(100)};
  std::map<char, std::uint32_t> unsent;
};

TEST_CASE("What a denied peer has asked for is returned, and nothing of another content or peer",
          "[core][transfer]") {
  UploadTest test;
  test.ask('a', 0);
  test.ask('a', 1, /*body=*/true);
  test.ask('b', 0);
  const SpaceKey other{ContentId{{std::array<std::uint8_t, 32>{1}}}, false};
  REQUIRE(test.slots.on_request(node('a'), other, UploadTest::range(5, 0)));
  CHECK(test.slots.on_peer_denied(node('a'), ContentId{}).size() == 8);
  CHECK(test.granted() == "a5 b0");
  CHECK(test.slots.queued() == 0);
  CHECK(test.slots.on_peer_denied(node('c'), ContentId{}).empty());
}

TEST_CASE("A request is granted at once while slots are free", "[core][upload_slots]") {
  UploadTest test;
  test.ask('a', 7);
  CHECK(test.slots.queued() == 4);
  CHECK(test.granted() == "a7");
  CHECK(test.slots.queued() == 0);
  CHECK(test.unsent['a'] == 4 * kRequest);
}

TEST_CASE("No more peers are served at a time than there are slots", "[core][upload_slots]") {
  UploadTest test;
  for (const char peer : {'a', 'b', 'c', 'd', 'e', 'f'}) test.ask(peer, 0);
  CHECK(test.granted() == "a0 b0 c0 d0");
  CHECK(test.granted().empty());
  test.sends_all('c');
  CHECK(test.granted() == "e0");
}

TEST_CASE("A chunk is granted whole before the slot goes to another peer", "[core][upload_slots]") {
  UploadSettings settings = UploadTest::with_slots(1);
  settings.granted_bytes = 2 * kRequest;
  settings.low_bytes = 0;
  UploadTest test(settings);
  test.ask('a', 0);
  test.ask('b', 1);
  CHECK(test.granted() == "a0");
  test.sends_all('a');
  CHECK(test.granted() == "a0");  // b waits, although a has nothing unsent
  CHECK(test.unsent['a'] == 2 * kRequest);
  test.sends_all('a');
  CHECK(test.granted() == "b1");
}

TEST_CASE("A slot moves on when little of its chunk is unsent", "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  test.ask('a', 0);
  test.ask('b', 1);
  CHECK(test.granted() == "a0");
  test.sends('a', 128 * kKiB - 1);
  CHECK(test.granted().empty());
  test.sends('a', 1);  // 128 KiB are left
  CHECK(test.granted() == "b1");
}

TEST_CASE("The chunk that was sent least often goes first", "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  test.ask('a', 0);
  CHECK(test.granted() == "a0");
  test.ask('b', 0);
  test.ask('c', 1);
  test.sends_all('a');
  CHECK(test.granted() == "c1");  // although b has asked before
  test.sends_all('c');
  CHECK(test.granted() == "b0");
}

TEST_CASE("A peer that wants what was sent twice waits for nobody who wants what was sent thrice",
          "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  const auto serve = [&](char peer, std::uint32_t chunk) {
    test.ask(peer, chunk);
    REQUIRE(test.granted() == peer + std::to_string(chunk));
    test.sends_all(peer);
  };
  for (const char peer : {'a', 'b', 'c'}) serve(peer, 0);
  for (const char peer : {'a', 'b'}) serve(peer, 1);
  serve('x', 7);
  test.ask('b', 9);
  CHECK(test.granted() == "b9");
  test.ask('a', 1);  // sent twice, but a was served after c
  test.ask('c', 0);  // sent three times
  test.sends_all('b');
  CHECK(test.granted() == "c0");
}

TEST_CASE("Among chunks sent equally often the peer served longest ago goes first",
          "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  std::string order;
  for (std::uint32_t chunk = 0; chunk < 9; ++chunk) test.ask("cab"[chunk % 3], chunk);
  for (int i = 0; i < 9; ++i) {
    const std::string turn = test.granted();
    order += turn.front();
    test.sends_all(turn.front());
  }
  CHECK(order == "cabcabcab");
}

TEST_CASE("The manifest comes before data", "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  for (const char peer : {'a', 'b'}) test.ask(peer, 0, /*body=*/true);
  CHECK(test.granted() == "a0");
  test.ask('c', 9);  // never sent yet, while the body was sent once
  test.sends_all('a');
  CHECK(test.granted() == "b0");
}

TEST_CASE("A peer has no more granted than a connection needs, and at most one request beyond",
          "[core][upload_slots]") {
  UploadTest test;
  for (std::uint32_t i = 0; i < 16; ++i) {
    REQUIRE(test.slots.on_request(node('a'), UploadTest::space(), UploadTest::range(0, i)));
  }
  (void)test.granted();
  CHECK(test.unsent['a'] == 512 * kKiB);
  test.sends('a', 1000);
  (void)test.granted();
  CHECK(test.unsent['a'] == 512 * kKiB - 1000 + kRequest);
}

TEST_CASE("A peer that takes nothing for 500 ms loses its slot until it reads again",
          "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  test.ask('a', 0);
  test.ask('a', 1);
  test.ask('b', 2);
  CHECK(test.granted() == "a0");
  test.now = test.now + milliseconds(400);
  test.sends('a', 1000);
  CHECK(test.slots.next_deadline() == test.now + milliseconds(500));
  test.now = test.now + milliseconds(500) - kTick;
  CHECK(test.granted().empty());
  test.now = test.now + kTick;
  CHECK(test.granted() == "b2");
  test.sends_all('b');
  CHECK(test.granted().empty());  // nobody else is there, yet a gets nothing more
  CHECK(test.slots.next_deadline() == Time::max());
  test.sends('a', 1000);
  CHECK(test.granted().empty());  // one gulp is not reading
  test.sends_all('a');
  CHECK(test.granted() == "a1");
}

TEST_CASE("A stuck peer goes on with the rest of its chunk", "[core][upload_slots]") {
  UploadSettings settings = UploadTest::with_slots(1);
  settings.granted_bytes = kRequest;
  UploadTest test(settings);
  test.ask('a', 0);
  CHECK(test.granted() == "a0");
  test.now = test.now + milliseconds(500);
  CHECK(test.granted().empty());
  test.sends_all('a');
  CHECK(test.granted() == "a0");
}

TEST_CASE("Cancelled requests are forgotten, granted ones are not taken back",
          "[core][upload_slots]") {
  UploadSettings settings;
  settings.granted_bytes = kRequest;
  UploadTest test(settings);
  test.ask('a', 0);
  test.ask('a', 1);
  CHECK(test.granted() == "a0");
  CHECK(test.slots.queued() == 7);
  test.slots.on_cancel(node('a'), UploadTest::space(), {ChunkIndex{0}, 0, 3 * kRequest});
  CHECK(test.slots.queued() == 5);  // one of the three was on its way
  test.slots.on_cancel(node('a'), UploadTest::space(/*body=*/true), UploadTest::range(1, 0));
  test.slots.on_cancel(node('b'), UploadTest::space(), UploadTest::range(1, 0));
  CHECK(test.slots.queued() == 5);
  CHECK(test.unsent['a'] == kRequest);
}

TEST_CASE("A cancelled rest frees the slot", "[core][upload_slots]") {
  UploadSettings settings = UploadTest::with_slots(1);
  settings.granted_bytes = kRequest;
  UploadTest test(settings);
  test.ask('a', 0);
  test.ask('b', 1);
  CHECK(test.granted() == "a0");
  test.slots.on_cancel(node('a'), UploadTest::space(), {ChunkIndex{0}, 0, 4 * kRequest});
  test.sends_all('a');
  CHECK(test.granted() == "b1");
}

TEST_CASE("A peer that leaves frees its slot and its queue", "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  test.ask('a', 0);
  test.ask('a', 1);
  test.ask('b', 2);
  CHECK(test.granted() == "a0");
  test.slots.on_peer_left(node('a'));
  CHECK(test.slots.queued() == 4);
  CHECK(test.granted() == "b2");
  test.slots.on_sent(node('a'), kRequest, test.now);  // news of the dead changes nothing
  CHECK(test.granted().empty());
}

TEST_CASE("A peer may queue 512 requests and no more", "[core][upload_slots]") {
  UploadTest test;
  for (std::uint32_t i = 0; i < 512; ++i) {
    REQUIRE(test.slots.on_request(node('a'), UploadTest::space(), {ChunkIndex{i}, 0, 1}));
  }
  CHECK_FALSE(test.slots.on_request(node('a'), UploadTest::space(), {ChunkIndex{999}, 0, 1}));
  CHECK(test.slots.on_request(node('b'), UploadTest::space(), {ChunkIndex{0}, 0, 1}));
}

TEST_CASE("A peer may queue 64 MiB and no more, and again when they are granted or cancelled",
          "[core][upload_slots]") {
  constexpr std::uint32_t kMiB = 1024 * kKiB;
  UploadTest test;
  for (std::uint32_t i = 0; i < 64; ++i) {
    REQUIRE(test.slots.on_request(node('a'), UploadTest::space(), {ChunkIndex{i}, 0, kMiB}));
  }
  const ChunkRange more{ChunkIndex{99}, 0, 1};
  CHECK_FALSE(test.slots.on_request(node('a'), UploadTest::space(), more));
  CHECK(test.granted() == "a0");
  CHECK(test.slots.on_request(node('a'), UploadTest::space(), more));
  const ChunkRange large{ChunkIndex{99}, kRequest, kMiB};
  CHECK_FALSE(test.slots.on_request(node('a'), UploadTest::space(), large));
  test.slots.on_cancel(node('a'), UploadTest::space(), {ChunkIndex{5}, 0, kMiB});
  CHECK(test.slots.on_request(node('a'), UploadTest::space(), large));
}

TEST_CASE("The pieces of a run come with its grant, and are forgotten with its request",
          "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  const std::vector<ByteRange> pieces = {{100, 3}, {200, 5}};
  const ChunkRange run{ChunkIndex{3}, 70, 8, /*of_run=*/true};
  const SpaceKey space = UploadTest::space();
  REQUIRE(test.slots.on_request(node('a'), space, run, /*offered=*/false, pieces));
  CHECK_FALSE(test.slots.all_granted(node('a'), space, run.chunk));
  SECTION("granted") {
    const auto grants = test.slots.take_grants(test.now);
    REQUIRE(grants.size() == 1);
    CHECK(grants[0].range == run);
    CHECK(grants[0].pieces == pieces);
  }
  SECTION("cancelled") {
    test.slots.on_cancel(node('a'), space, run);
  }
  SECTION("refused as the space is closed") {
    const auto refused = test.slots.on_space_closed(space);
    REQUIRE(refused.size() == 1);
    CHECK(refused[0].range == run);
  }
  SECTION("left") {
    test.slots.on_peer_left(node('a'));
  }
  CHECK(test.slots.all_granted(node('a'), space, run.chunk));
  CHECK(test.slots.queued() == 0);
}

TEST_CASE("A cancel is about ranges of the chunk or of a run, never both", "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  test.ask('b', 9);
  test.ask('b', 8);
  test.granted();
  const ChunkRange plain{ChunkIndex{3}, 0, kRequest};
  const ChunkRange run{ChunkIndex{3}, 0, kRequest, /*of_run=*/true};
  const SpaceKey space = UploadTest::space();
  REQUIRE(test.slots.on_request(node('a'), space, plain));
  REQUIRE(test.slots.on_request(node('a'), space, run, false, {{0, kRequest}}));
  const std::size_t before = test.slots.queued();
  test.slots.on_cancel(node('a'), space, run);
  CHECK(test.slots.queued() == before - 1);
  test.slots.on_cancel(node('a'), space, run);
  CHECK(test.slots.queued() == before - 1);
  test.slots.on_cancel(node('a'), space, plain);
  CHECK(test.slots.queued() == before - 2);
}

TEST_CASE("A peer may queue 128 Ki pieces and no more, and again when they are gone",
          "[core][upload_slots]") {
  UploadTest test;
  const SpaceKey space = UploadTest::space();
  const std::vector<ByteRange> pieces(1024, ByteRange{0, 1});
  const auto ask = [&](std::uint32_t chunk) {
    return test.slots.on_request(node('a'), space, {ChunkIndex{chunk}, 0, 1024, true}, false,
                                 pieces);
  };
  for (std::uint32_t chunk = 0; chunk < 128; ++chunk) REQUIRE(ask(chunk));
  CHECK_FALSE(ask(128));
  test.ask('a', 128);  // plain ones have none
  SECTION("granted") {
    CHECK_FALSE(test.slots.take_grants(test.now).empty());
  }
  SECTION("cancelled") {
    test.slots.on_cancel(node('a'), space, {ChunkIndex{7}, 0, 1024, true});
  }
  SECTION("denied") {
    CHECK(test.slots.on_peer_denied(node('a'), ContentId{}).size() == 132);
  }
  CHECK(ask(128));
}

TEST_CASE("When a space is closed its requests come back to be refused", "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  test.ask('a', 0);
  test.ask('a', 1);
  test.ask('b', 0, /*body=*/true);
  CHECK(test.granted() == "b0");
  const auto refused = test.slots.on_space_closed(UploadTest::space());
  REQUIRE(refused.size() == 8);
  CHECK(refused.front().peer == node('a'));
  CHECK(refused.front().range == UploadTest::range(0, 0));
  CHECK(refused.back().range == UploadTest::range(1, 3));
  CHECK(test.slots.queued() == 0);
  CHECK(test.slots.on_space_closed(UploadTest::space()).empty());
}

TEST_CASE("A peer that has nothing goes first, and two such peers share the uplink with nobody",
          "[core][upload_slots]") {
  UploadTest test;
  test.ask('a', 0);
  test.ask_with_nothing('n', 1);
  test.ask_with_nothing('m', 2);
  CHECK(test.granted() == "m2 n1");
  test.slots.on_have(node('n'), UploadTest::space());
  test.slots.on_have(node('m'), UploadTest::space());
  CHECK(test.granted() == "a0");
}

TEST_CASE("A peer that has nothing is sent away later than others", "[core][upload_slots]") {
  UploadTest test;
  test.slots.on_have(node('b'), UploadTest::space());
  for (std::uint32_t chunk = 0; chunk < 3; ++chunk) test.ask('a', chunk);
  CHECK(test.slots.busy_for(node('b'), UploadTest::space(), ChunkIndex{9}));
  CHECK_FALSE(test.slots.busy_for(node('n'), UploadTest::space(), ChunkIndex{9}));
  for (std::uint32_t chunk = 3; chunk < 12; ++chunk) test.ask('a', chunk);
  CHECK(test.slots.busy_for(node('n'), UploadTest::space(), ChunkIndex{9}));
}

TEST_CASE("A closed space gives its place in the queue back", "[core][upload_slots]") {
  UploadTest test;
  const ChunkRange all{ChunkIndex{0}, 0, 64 * 1024 * kKiB};
  REQUIRE(test.slots.on_request(node('a'), UploadTest::space(), all));
  (void)test.slots.on_space_closed(UploadTest::space());
  CHECK(test.slots.on_request(node('a'), UploadTest::space(), all));
}

TEST_CASE("A peer in another rack goes first, unless this node has chosen it itself",
          "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  test.slots.set_far(node('f'));
  test.ask('a', 0);
  CHECK(test.granted() == "a0");
  test.ask('b', 1);
  test.ask('f', 0);  // sent before, and still ahead of what was not
  test.sends_all('a');
  CHECK(test.granted() == "f0");
  for (std::uint32_t i = 0; i < 4; ++i) {
    REQUIRE(test.slots.on_request(node('f'), UploadTest::space(), UploadTest::range(2, i), true));
  }
  test.sends_all('f');
  CHECK(test.granted() == "b1");
}

TEST_CASE("Peers in other racks find a node busy by their own requests only",
          "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  test.slots.set_far(node('f'));
  for (std::uint32_t chunk = 0; chunk < 16; ++chunk) test.ask('a', chunk);
  CHECK(test.slots.busy_for(node('b'), UploadTest::space(), ChunkIndex{99}));
  CHECK_FALSE(test.slots.busy_for(node('f'), UploadTest::space(), ChunkIndex{99}));
  for (std::uint32_t chunk = 0; chunk < 8; ++chunk) test.ask('f', chunk);
  CHECK(test.slots.busy_for(node('f'), UploadTest::space(), ChunkIndex{99}));
  CHECK_FALSE(test.slots.busy_for(node('f'), UploadTest::space(), ChunkIndex{7}));
}

TEST_CASE("A peer in another rack that takes nothing loses its slot sooner while others wait",
          "[core][upload_slots]") {
  UploadTest test(UploadTest::with_slots(1));
  test.slots.set_far(node('f'));
  test.ask('f', 0);
  CHECK(test.granted() == "f0");
  test.ask('a', 1);
  test.now = test.now + milliseconds(100) - kTick;
  CHECK(test.granted().empty());
  test.now = test.now + kTick;
  CHECK(test.granted() == "a1");
}

TEST_CASE("Every request is granted once or cancelled, however peers behave",
          "[core][upload_slots]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    Rng rng(seed);
    UploadTest test;
    std::map<char, std::uint64_t> wanted;  // bytes asked for and not granted yet
    const auto take = [&] {
      for (const UploadSlots::Grant& grant : test.slots.take_grants(test.now)) {
        const char peer = name_of(grant.peer);
        REQUIRE(wanted[peer] >= grant.range.length);
        wanted[peer] -= grant.range.length;
        test.unsent[peer] += grant.range.length;
        REQUIRE(test.unsent[peer] < 512 * kKiB + kRequest);
      }
      REQUIRE(test.slots.next_deadline() > test.now);
    };
    for (int step = 0; step < 2000; ++step) {
      const char peer = "abcdefgh"[rng.below(8)];
      const std::uint64_t what = rng.below(20);
      if (what < 6 && wanted[peer] < 10 * 4 * kRequest) {
        test.ask(peer, static_cast<std::uint32_t>(rng.below(30)));
        wanted[peer] += 4 * kRequest;
      } else if (what < 18 && test.unsent[peer] > 0) {
        test.sends(peer, static_cast<std::uint32_t>(1 + rng.below(test.unsent[peer])));
      } else if (what == 18 && rng.chance(1, 10)) {
        test.slots.on_peer_left(node(peer));
        wanted[peer] = test.unsent[peer] = 0;
      } else {
        test.now = test.now + milliseconds(rng.below(300));
      }
      take();
    }
    // Everybody reads on: everything is granted.
    for (int round = 0; round < 1000 && test.slots.queued() > 0; ++round) {
      for (auto& [peer, bytes] : test.unsent) {
        if (bytes > 0) test.sends_all(peer);
      }
      take();
    }
    CHECK(test.slots.queued() == 0);
    for (const auto& [peer, bytes] : wanted) CHECK(bytes == 0);
  }
}

}  // namespace
}  // namespace p2p
