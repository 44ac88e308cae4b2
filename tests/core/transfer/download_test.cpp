// What a download asks of whom while everybody behaves. Trouble: download_trouble_test.cpp.
#include "core/transfer/download.h"

#include <set>

#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::bits_of;
using test::DrawnSwarm;
using test::node;
using test::space_of;

constexpr std::uint32_t kRequest = 64 * 1024;
constexpr std::uint64_t kNanos = 1'000'000'000;

TEST_CASE("Requests are whole chunks or parts of them, between 64 KiB and 1 MiB",
          "[core][download]") {
  CHECK(request_bytes_for(256 * 1024, 1) == 256 * 1024);
  CHECK(request_bytes_for(256 * 1024, 4) == 64 * 1024);
  CHECK(request_bytes_for(128 * 1024, 4) == 64 * 1024);
  CHECK(request_bytes_for(4 * 1024 * 1024, 4) == 1024 * 1024);
  CHECK(request_bytes_for(8 * 1024 * 1024, 1) == 1024 * 1024);
}

TEST_CASE("A chunk takes one request, and four when a cap has to be paid", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x x"},
                   DownloadSettings{});
  CHECK(swarm.owed_by('a') == std::vector<ChunkRange>{{{0}, 0, 4 * kRequest}});
  DrawnSwarm capped({"chunks  0 1",  //
                     "we      . x",  //
                     "peer a  . ."},
                    DownloadSettings{});
  capped.set_rate(1'000'000'000);
  capped.has('a', {{0, 1}});
  CHECK(capped.owed_by('a').size() == 4);
}

TEST_CASE("A node that has little asks for little", "[core][download]") {
  DownloadSettings settings;
  settings.chunks_in_flight_at_first = 1;
  settings.chunks_for_a_slot = 2;
  DrawnSwarm swarm({"chunks  0 1 2 3 4 5",  //
                    "we      . . . . . .",  //
                    "peer a  x x x x x .",  //
                    "peer b  x x x x x ."},
                   settings);
  for (const std::size_t under_way : {1, 1, 2, 2}) {
    CHECK(swarm.owed_by('a').size() + swarm.owed_by('b').size() == under_way);
    const char giver = swarm.owed_by('a').empty() ? 'b' : 'a';
    swarm.gives(giver, swarm.owed_by(giver).front().chunk.value);
  }
}

TEST_CASE("What a busy peer has sent away is not cancelled", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x x"},
                   DownloadSettings{});
  swarm.download().on_busy(node('a'), {{0}, 0, 4 * kRequest}, swarm.now());
  CHECK(swarm.download().take_effects().empty());
  swarm.download().check_invariants();
}

TEST_CASE("A chunk is asked for whole, in rising requests", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      x .",  //
                    "peer a  x x"});
  CHECK(swarm.owed_by('a') == std::vector<ChunkRange>{{{1}, 0, kRequest},
                                                      {{1}, kRequest, kRequest},
                                                      {{1}, 2 * kRequest, kRequest},
                                                      {{1}, 3 * kRequest, kRequest}});
}

TEST_CASE("A download completes when every chunk is verified, not before", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . .",  //
                    "peer a  x x"});
  CHECK(swarm.asked() == "a0 a1");
  swarm.gives('a', 0);
  CHECK(swarm.download().bytes_have() == kMinChunkBytes);
  CHECK(swarm.sends('a', 1) == Download::Arrival::store_and_last);
  CHECK_FALSE(swarm.download().complete());
  swarm.verified(1);
  CHECK(swarm.download().complete());
  CHECK(swarm.download().bytes_have() == 2 * kMinChunkBytes);
  CHECK(swarm.download().bytes_received() == 2 * kMinChunkBytes);
  CHECK(swarm.download().bytes_duplicate() == 0);
  CHECK(swarm.download().next_deadline() == Time::max());
}

TEST_CASE("An empty file is complete from the start", "[core][download]") {
  Download download(ChunkSpace(HashTree{}), {}, Rng(1));
  CHECK(download.complete());
  CHECK(download.next_deadline() == Time::max());
}

TEST_CASE("What was here before is never asked for", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3 4 5",  //
                    "we      x . x x . x",  //
                    "peer a  x x x x x x"});
  CHECK(swarm.download().bytes_have() == 4 * kMinChunkBytes);
  swarm.all_give_all();
  CHECK(swarm.asked() == "a1 a4");
  CHECK(swarm.download().complete());
}

TEST_CASE("Restoring a chunk twice counts it once", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1"});
  swarm.download().on_restored(ChunkIndex{0});
  swarm.download().on_restored(ChunkIndex{0});
  CHECK(swarm.download().bytes_have() == kMinChunkBytes);
}

TEST_CASE("Only data is asked for, holes are not", "[core][download]") {
  HashTree tree;
  tree.size = 3 * kMinChunkBytes;
  tree.layer.resize(3);
  // Chunk 0: 16 KiB and the last 32 KiB; chunk 1: all hole; chunk 2: all data.
  const std::uint64_t block = kBlockBytes;
  DrawnSwarm swarm(ChunkSpace(
      tree,
      {{0, block}, {kMinChunkBytes - 2 * block, 2 * block}, {2 * kMinChunkBytes, kMinChunkBytes}}));
  swarm.download().on_restored(ChunkIndex{1});
  CHECK(swarm.download().bytes_have() == 0);
  swarm.joins('a', "xxx");
  CHECK(swarm.bytes_asked() == 3 * block + kMinChunkBytes);
  REQUIRE(swarm.owed_by('a').size() == 6);
  swarm.all_give_all();
  CHECK(swarm.asked() == "a0 a2");
  CHECK(swarm.download().complete());
  CHECK(swarm.download().bytes_have() == 3 * block + kMinChunkBytes);
}

TEST_CASE("A file of nothing but holes is complete when they are restored", "[core][download]") {
  HashTree tree;
  tree.size = kMinChunkBytes;
  Download download(ChunkSpace(tree, {}), {}, Rng(1));
  download.on_restored(ChunkIndex{0});
  CHECK(download.complete());
}

TEST_CASE("The rarest chunks that a peer has are asked for first", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3 4",  //
                    "we      . . . . .",  //
                    "peer a  x x x x .",  //
                    "peer b  . x x . x",  //
                    "peer c  . x x . x"});
  CHECK(swarm.owed().substr(0, 5) == "a0 a3");
}

TEST_CASE("A peer is asked for two chunks at a time", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3 4 5",  //
                    "we      . . . . . .",  //
                    "peer a  . x x x x x"});
  CHECK(swarm.owed_by('a').size() == 2 * 4);
  const std::uint32_t first = swarm.owed_by('a').front().chunk.value;
  swarm.gives('a', first);
  CHECK(swarm.owed_by('a').size() == 2 * 4);
}

TEST_CASE("A peer that has sent a chunk is asked for the next one before that is verified",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3",  //
                    "we      . . . x",  //
                    "peer a  x x x ."});
  const std::uint32_t first = swarm.owed_by('a').front().chunk.value;
  REQUIRE(swarm.sends('a', first) == Download::Arrival::store_and_last);
  CHECK(swarm.owed_by('a').size() == 2 * 4);
}

TEST_CASE("Overall 16 small chunks are under way, and one more from a seed", "[core][download]") {
  DrawnSwarm swarm(space_of(200));
  swarm.set_accepting(false);
  Bitfield nearly(200, true);
  nearly.reset(0);
  for (char peer = 'a'; peer < 'p'; ++peer) swarm.joins(peer, nearly);
  swarm.set_accepting(true);
  std::size_t requests = 0;
  for (char peer = 'a'; peer < 'p'; ++peer) requests += swarm.owed_by(peer).size();
  CHECK(requests == 16 * 4);
  swarm.joins('s', Bitfield(200, true));
  CHECK(swarm.owed_by('s') == std::vector<ChunkRange>{{{0}, 0, kRequest},
                                                      {{0}, kRequest, kRequest},
                                                      {{0}, 2 * kRequest, kRequest},
                                                      {{0}, 3 * kRequest, kRequest}});
}

TEST_CASE("Of the largest chunks four are under way", "[core][download]") {
  HashTree tree;
  tree.size = 16ull << 30;
  const ChunkSpace shape = [&] {
    tree.layer.resize(chunk_count_for(tree.size));
    return ChunkSpace(tree);
  }();
  REQUIRE(shape.chunk_bytes() == kMaxChunkBytes);
  DrawnSwarm swarm(shape);
  swarm.set_accepting(false);
  for (const char peer : {'a', 'b', 'c', 'd', 'e'}) {
    Bitfield nearly(shape.count(), true);
    nearly.reset(0);
    swarm.joins(peer, nearly);
  }
  swarm.set_accepting(true);
  std::set<std::uint32_t> chunks;
  for (const char peer : {'a', 'b', 'c', 'd', 'e'}) {
    for (const ChunkRange& range : swarm.owed_by(peer)) {
      chunks.insert(range.chunk.value);
      CHECK(range.length == 1024 * 1024);
    }
  }
  CHECK(chunks.size() == 4);
}

TEST_CASE("No chunk is asked of two peers while others are left", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3 4 5",  //
                    "we      . . . . . .",  //
                    "peer a  x x x x x .",  //
                    "peer b  x x x x x .",  //
                    "peer c  x x x x x ."});
  std::set<std::uint32_t> chunks;
  std::size_t requests = 0;
  for (const char peer : {'a', 'b', 'c'}) {
    for (const ChunkRange& range : swarm.owed_by(peer)) chunks.insert(range.chunk.value);
    requests += swarm.owed_by(peer).size();
  }
  CHECK(chunks.size() == 5);
  CHECK(requests == 5 * 4);
}

TEST_CASE("Slots are spread over the neighbours before any gets a second one", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3 4 5",  //
                    "we      x . . . x .",  //
                    "peer a  . x x x . x",  //
                    "peer b  . x x x . x",  //
                    "peer c  . x x x . x",  //
                    "peer d  . x x x . x"});
  for (const char peer : {'a', 'b', 'c', 'd'}) CHECK(swarm.owed_by(peer).size() == 4);
}

TEST_CASE("With few neighbours a seed is asked for two chunks", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3",  //
                    "we      . . . .",  //
                    "peer s  x x x x",  //
                    "peer a  . . . .",  //
                    "peer b  . . . ."});
  CHECK(swarm.owed_by('s').size() == 2 * 4);
}

TEST_CASE("With four neighbours a seed is asked for one chunk at a time", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3",  //
                    "we      . . . .",  //
                    "peer s  x x x x",  //
                    "peer a  . . . .",  //
                    "peer b  . . . .",  //
                    "peer c  . . . ."});
  CHECK(swarm.owed_by('s').size() == 4);
}

TEST_CASE("What relays have is fetched from them, what only the seed has from the seed",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3",  //
                    "we      . . . .",  //
                    "peer s  x x x x",  //
                    "peer a  x . . .",  //
                    "peer b  . x . .",  //
                    "peer c  . . x ."});
  CHECK(swarm.asked() == "a0 b1 c2 s3");
}

TEST_CASE("A seed is left alone when relays have everything", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3 4 5",  //
                    "we      x x . . . .",  //
                    "peer s  x x x x x x",  //
                    "peer a  . . x x . .",  //
                    "peer b  . . . . x .",  //
                    "peer c  . . . . . x"});
  // One chunk to begin with: nobody was under way then.
  CHECK(swarm.owed_by('s').size() <= 4);
  swarm.gives('s', swarm.owed_by('s').front().chunk.value);
  CHECK(swarm.owed_by('s').empty());
}

TEST_CASE("Seeds share the work when there are no relays", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3 4 5 6 7",  //
                    "we      . . . . . . . .",  //
                    "peer a  x x x x x x x x",  //
                    "peer b  x x x x x x x x",  //
                    "peer c  x x x x x x x x",  //
                    "peer d  x x x x x x x x"});
  for (const char peer : {'a', 'b', 'c', 'd'}) {
    INFO(peer);
    CHECK(swarm.owed_by(peer).size() == 4);
  }
}

TEST_CASE("A seed is asked for what only a relay that was passed over has, too",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3",  //
                    "we      . . . .",  //
                    "peer s  x x x x",  //
                    "peer t  x x x x",  //
                    "peer a  x x x .",  //
                    "peer b  . . . ."});
  CHECK(swarm.owed_by('a').size() == 2 * 4);
  for (int i = 0; i < 6; ++i) {  // the seeds send a little, the relay nothing
    swarm.passes(milliseconds(850));
    for (const char seed : {'s', 't'}) {
      if (swarm.owed_by(seed).empty()) continue;
      ChunkRange data = swarm.owed_by(seed).front();
      data.length = std::min(data.length, kBlockBytes);
      REQUIRE(swarm.arrives(seed, data) == Download::Arrival::store);
    }
  }
  CHECK(swarm.owed_by('a').empty());
  CHECK(swarm.owed_by('s').size() > 0);
  CHECK(swarm.owed_by('t').size() > 0);
}

TEST_CASE("A relay that completed is no seed", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3",  //
                    "we      . . . .",  //
                    "peer a  x . . .",  //
                    "peer b  . . . .",  //
                    "peer c  . . . .",  //
                    "peer d  . . . ."});
  swarm.has('a', {{1, 3}});
  CHECK(swarm.owed_by('a').size() == 2 * 4);  // a seed would be asked for one
}

TEST_CASE("A chunk is rare that few neighbours have, seeds apart; among seeds alone none is",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "peer s  x x"});
  CHECK_FALSE(swarm.download().is_rare(ChunkIndex{0}, 2));
  swarm.joins('a', ". .");
  CHECK(swarm.download().is_rare(ChunkIndex{0}, 2));
  swarm.has('a', {{0, 1}});
  swarm.joins('b', "x .");
  CHECK_FALSE(swarm.download().is_rare(ChunkIndex{0}, 2));
  CHECK(swarm.download().is_rare(ChunkIndex{1}, 2));
}

TEST_CASE("A free slot takes the rarest chunk of one of the least busy relays",
          "[core][download]") {
  DownloadSettings one_slot = test::in_quarters();
  one_slot.chunks_in_flight_min = one_slot.chunks_in_flight_max = 1;
  std::set<std::string> seen;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    DrawnSwarm swarm({"chunks  0 1 2",  //
                      "we      . . .",  //
                      "peer a  . x x",  //
                      "peer b  x x .",  //
                      "peer c  x x ."},
                     one_slot, seed);
    seen.insert(swarm.owed());
  }
  CHECK(seen == std::set<std::string>{"a2", "b0", "c0"});
}

TEST_CASE("News of a chunk is acted on at once", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3",  //
                    "we      . . . .",  //
                    "peer a  . . . ."});
  CHECK(swarm.asked().empty());
  swarm.has('a', {{2, 2}});
  CHECK(swarm.asked() == "a2 a3");
  swarm.has('a', {{2, 2}});  // old news
  CHECK(swarm.asked().empty());
}

TEST_CASE("While the disk is behind nothing new is asked for, what is under way goes on",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3",  //
                    "we      . . . x",  //
                    "peer a  x x x ."});
  swarm.set_accepting(false);
  (void)swarm.asked();
  while (!swarm.owed_by('a').empty()) swarm.gives('a', swarm.owed_by('a').front().chunk.value);
  CHECK(swarm.asked().empty());
  swarm.passes(seconds(60));
  CHECK(swarm.asked().empty());
  CHECK(swarm.download().bytes_have() == 3 * kMinChunkBytes);
  swarm.set_accepting(true);
  CHECK_FALSE(swarm.asked().empty());
}

// The rate is in wire bytes, 1.05 of the payload.
std::uint64_t on_wire(std::uint64_t payload) {
  return payload * 105 / 100;
}

ChunkSpace space_with(std::uint64_t bytes) {
  HashTree tree;
  tree.size = bytes;
  const std::uint32_t count = chunk_count_for(bytes);
  tree.layer.resize(count > 1 ? count : 0);
  return ChunkSpace(tree);
}

TEST_CASE("A rate cap is exact over seconds, for any rate and size of request",
          "[core][download]") {
  struct Case {
    std::uint64_t rate;
    std::uint64_t file_bytes;
    int steps;
    Duration step;
  };
  const std::uint64_t mib = 1024 * 1024;
  for (const Case& one :
       {Case{1, 500 * mib, 3, std::chrono::hours(24)}, Case{1'000, 500 * mib, 100, seconds(60)},
        Case{123'457, 500 * mib, 50, seconds(10)}, Case{1'000'003, 500 * mib, 20, seconds(5)},
        Case{50'000'000, 500 * mib, 80, milliseconds(100)},
        Case{200'000, 20'000 * mib, 50, seconds(20)},
        Case{125'000'000, 20'000 * mib, 50, seconds(1)}}) {
    INFO("rate " << one.rate << ", file of " << one.file_bytes);
    DrawnSwarm swarm(space_with(one.file_bytes));
    const std::uint64_t payload = request_bytes_for(swarm.space().chunk_bytes(), 4);
    const std::uint64_t request = on_wire(payload);
    const std::uint64_t burst = std::max(one.rate / 20, request);
    swarm.set_rate(one.rate);
    for (const char peer : {'a', 'b', 'c'}) {
      swarm.joins(peer, Bitfield(swarm.space().count(), true));
    }
    const Time start = swarm.now();
    for (int i = 1; i <= one.steps; ++i) {
      const Time end = start + i * one.step;
      swarm.all_give_all();
      while (swarm.download().next_deadline() <= end) {
        swarm.passes(swarm.download().next_deadline() - swarm.now());
        swarm.all_give_all();
      }
      swarm.passes(end - swarm.now());
      const auto due = static_cast<std::uint64_t>(static_cast<__uint128_t>(one.rate) *
                                                  std::uint64_t((end - start).count()) / kNanos);
      const std::uint64_t asked = swarm.bytes_asked() / payload * request;
      REQUIRE(asked <= burst + due);
      REQUIRE(asked + request >= burst + due);
    }
  }
}

TEST_CASE("A new rate applies at once, and no rate means no cap", "[core][download]") {
  DrawnSwarm swarm(space_of(100));
  swarm.set_rate(100'000);
  swarm.joins('a', Bitfield(100, true));
  CHECK(swarm.bytes_asked() == kRequest);
  // 68,812 on the wire for each request: the next one after 688 ms at this rate, 69 ms at ten
  // times.
  CHECK(swarm.download().next_deadline() == swarm.now() + Duration(688'120'000));
  swarm.set_rate(1'000'000);
  CHECK(swarm.download().next_deadline() == swarm.now() + Duration(68'812'000));
  swarm.set_rate(std::nullopt);
  CHECK(swarm.owed_by('a').size() == 2 * 4);
}

TEST_CASE("The same inputs and the same seed give the same effects, another seed others",
          "[core][download]") {
  const auto order_of = [](std::uint64_t seed) {
    DrawnSwarm swarm(space_of(40), {}, seed);
    for (const char peer : {'a', 'b', 'c'}) swarm.joins(peer, Bitfield(40, true));
    std::string order;
    while (!swarm.download().complete()) {
      order += swarm.owed() + "; ";
      const char peer = swarm.owed().front();
      swarm.gives(peer, swarm.owed_by(peer).front().chunk.value);
    }
    return order;
  };
  CHECK(order_of(1) == order_of(1));
  CHECK(order_of(1) != order_of(2));
}

}  // namespace
}  // namespace p2p
