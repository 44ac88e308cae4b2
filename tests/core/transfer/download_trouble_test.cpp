// A download among peers that refuse, stall, leave and lie.
#include "core/transfer/download.h"
#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using Arrival = Download::Arrival;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::bits_of;
using test::DrawnSwarm;
using test::node;
using test::space_of;

constexpr std::uint32_t kRequest = 64 * 1024;
constexpr Duration kTick{1};

ChunkRange piece(std::uint32_t chunk, std::uint32_t offset, std::uint32_t length = kRequest) {
  return {ChunkIndex{chunk}, offset, length};
}

TEST_CASE("A refused chunk is asked of somebody else and not of that peer again",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2",  //
                    "we      . . x",  //
                    "peer a  x . .",  //
                    "peer b  . x ."});
  REQUIRE(swarm.asked() == "a0 b1");
  swarm.refuses('a', 0);
  CHECK(swarm.cancelled() == "a0");  // its other requests of the chunk
  CHECK(swarm.asked().empty());
  swarm.passes(seconds(1));
  swarm.has('b', {{0, 1}});
  CHECK(swarm.asked() == "b0");
  CHECK(swarm.dropped().empty());
}

TEST_CASE("A peer that refuses one chunk is asked for others", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2",  //
                    "we      . . x",  //
                    "peer a  x . ."});
  swarm.refuses('a', 0);
  swarm.has('a', {{1, 1}});
  CHECK(swarm.owed() == "a1");
}

TEST_CASE("A refusal of what nobody asked for changes nothing", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2",  //
                    "we      . . x",  //
                    "peer a  x . .",  //
                    "peer b  x x ."});
  const std::string before = swarm.owed();
  swarm.download().on_refused(node('a'), piece(2, 0), swarm.now());
  swarm.download().on_refused(node('z'), piece(0, 0), swarm.now());
  swarm.download().on_refused(node('a'), piece(1, 0), swarm.now());
  CHECK(swarm.owed() == before);
  CHECK(swarm.cancelled().empty());
}

TEST_CASE("The chunks of a peer that leaves go to others, without a word to it",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2",  //
                    "we      . x x",  //
                    "peer a  x . ."});
  swarm.joins('b', "x..");
  REQUIRE(swarm.asked() == "a0");
  REQUIRE(swarm.arrives('a', piece(0, 0)) == Arrival::store);
  swarm.leaves('a');
  CHECK(swarm.asked() == "b0");
  CHECK(swarm.owed_by('b').size() == 4);  // all of it anew: one peer answers for a chunk
  CHECK(swarm.cancelled().empty());
}

TEST_CASE("What a peer had counts for nothing when it has left", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3",  //
                    "we      . . . .",  //
                    "peer a  x x x ."});
  swarm.leaves('a');
  swarm.joins('a', "....");
  CHECK(swarm.owed().empty());
  swarm.download().on_peer_left(node('z'), swarm.now());
  swarm.download().on_have(node('z'), {{0, 4}}, swarm.now());
  CHECK(swarm.download().peer_count() == 1);
  CHECK(swarm.owed().empty());
}

TEST_CASE("What a peer had that left makes nothing more common", "[core][download]") {
  DownloadSettings one_slot = test::in_quarters();
  one_slot.chunks_in_flight_min = one_slot.chunks_in_flight_max = 1;
  DrawnSwarm swarm({"chunks  0 1 2",  //
                    "we      . . x",  //
                    "peer a  . . .",  //
                    "peer b  . . .",  //
                    "peer c  . . .",  //
                    "peer d  . . ."},
                   one_slot);
  swarm.set_accepting(false);
  for (const char peer : {'a', 'b'}) swarm.has(peer, {{1, 1}});
  swarm.has('c', {{0, 1}});
  swarm.has('d', {{0, 2}});
  for (const char peer : {'a', 'b'}) swarm.leaves(peer);
  swarm.set_accepting(true);
  CHECK(swarm.owed() == "d1");  // one holder; chunk 0 has two
}

TEST_CASE(
    "A peer that owes bytes and sends none for five seconds is passed over, its chunks go "
    "to others",
    "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3",  //
                    "we      . . x x",  //
                    "peer a  x x . ."});
  swarm.passes(seconds(4));
  swarm.joins('b', "xx..");
  (void)swarm.asked();
  swarm.passes(seconds(1) - kTick);
  CHECK(swarm.cancelled().empty());
  swarm.passes(kTick);
  CHECK(swarm.cancelled().find("a0 a1") != std::string::npos);
  CHECK(swarm.owed() == "b0 b1");
}

TEST_CASE("A peer that sends a little is not passed over", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x ."});
  for (std::uint32_t i = 0; i < 16; ++i) {
    swarm.passes(seconds(4));
    REQUIRE(swarm.arrives('a', piece(0, i * kBlockBytes, kBlockBytes)) != Arrival::unsolicited);
  }
  swarm.verified(0);
  CHECK(swarm.cancelled().empty());
  CHECK(swarm.download().complete());
}

TEST_CASE("A peer that was passed over is forgiven after twenty seconds", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x ."});
  swarm.passes(seconds(5));
  CHECK(swarm.cancelled() == "a0");
  (void)swarm.asked();
  swarm.passes(seconds(20) - kTick);
  CHECK(swarm.asked().empty());
  swarm.passes(kTick);
  CHECK(swarm.asked() == "a0");
}

TEST_CASE("A peer that was passed over is asked again as soon as it sends", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x ."});
  swarm.passes(seconds(5));
  CHECK(swarm.cancelled() == "a0");
  (void)swarm.asked();
  CHECK(swarm.arrives('a', piece(0, 0)) == Arrival::duplicate);  // what was on its way
  CHECK(swarm.asked() == "a0");
  CHECK(swarm.dropped().empty());
}

TEST_CASE("Waiting for our own rate cap is no stall of the peer", "[core][download]") {
  // Each request takes 14 seconds to be paid for.
  DrawnSwarm capped(space_of(2));
  capped.set_rate(5'000);
  capped.joins('a', "xx");
  for (int i = 0; i < 100 && !capped.download().complete(); ++i) {
    capped.all_give_all();
    capped.passes(seconds(2));
  }
  CHECK(capped.cancelled().empty());
  CHECK(capped.download().complete());
  CHECK(capped.download().bytes_received() == 2 * kMinChunkBytes);
}

// All chunks but the last arrive within 10 ms each, then the last one is under way from `a`.
struct Tail {
  DrawnSwarm swarm{space_of(9)};
  Tail() {
    swarm.joins('a', Bitfield(9, true));
    swarm.joins('b', "xxxxxxxx.");
    for (std::uint32_t i = 0; i < 8; ++i) {
      swarm.passes(milliseconds(10));
      const char from = swarm.owed_by('b').empty() ? 'a' : 'b';
      std::uint32_t chunk = swarm.owed_by(from).front().chunk.value;
      if (chunk == 8) chunk = swarm.owed_by(from).back().chunk.value;
      if (chunk == 8) break;
      swarm.gives(from, chunk);
    }
    while (swarm.owed() != "a8") {
      const char from = swarm.owed_by('b').empty() ? 'a' : 'b';
      for (const ChunkRange& range : std::vector<ChunkRange>(swarm.owed_by(from))) {
        if (range.chunk.value == 8) continue;
        swarm.gives(from, range.chunk.value);
        break;
      }
    }
    swarm.has('b', {{8, 1}});
    (void)swarm.asked();
  }
};

TEST_CASE("The last chunk is asked of a second holder when it is late, not before",
          "[core][download]") {
  Tail tail;
  DrawnSwarm& swarm = tail.swarm;
  REQUIRE(swarm.owed() == "a8");
  swarm.passes(milliseconds(100));
  CHECK(swarm.asked().empty());
  swarm.passes(milliseconds(1000));
  CHECK(swarm.asked() == "b8");
  CHECK(swarm.owed() == "a8 b8");
  swarm.passes(milliseconds(1000));
  CHECK(swarm.asked().empty());  // a second one, no third request
}

TEST_CASE("Nothing is hedged while chunks are left to start", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2",  //
                    "we      . . x",  //
                    "peer a  x . .",  //
                    "peer b  . . ."});
  swarm.has('b', {{0, 1}});
  (void)swarm.asked();
  swarm.passes(seconds(4));  // chunk 1 is nowhere
  CHECK(swarm.asked().empty());
}

TEST_CASE("The slower one of a hedge is told to stop and its bytes count as duplicates",
          "[core][download]") {
  Tail tail;
  DrawnSwarm& swarm = tail.swarm;
  swarm.passes(seconds(1));
  REQUIRE(swarm.owed() == "a8 b8");
  REQUIRE(swarm.arrives('b', piece(8, 0)) == Arrival::store);
  CHECK(swarm.cancelled() == "a8");
  CHECK(swarm.owed_by('a').size() == 3);
  CHECK(swarm.arrives('a', piece(8, 0)) == Arrival::duplicate);  // was on its way
  CHECK(swarm.download().bytes_duplicate() == kRequest);
  CHECK(swarm.arrives('a', piece(8, kRequest)) == Arrival::store);
  CHECK(swarm.cancelled() == "b8");
  CHECK(swarm.arrives('b', piece(8, kRequest)) == Arrival::duplicate);
}

TEST_CASE("Both peers of a hedge may finish the chunk together", "[core][download]") {
  Tail tail;
  DrawnSwarm& swarm = tail.swarm;
  swarm.passes(seconds(1));
  REQUIRE(swarm.owed() == "a8 b8");
  CHECK(swarm.arrives('a', piece(8, 0)) == Arrival::store);
  CHECK(swarm.arrives('b', piece(8, kRequest)) == Arrival::store);
  CHECK(swarm.arrives('a', piece(8, 2 * kRequest)) == Arrival::store);
  CHECK(swarm.arrives('b', piece(8, 3 * kRequest)) == Arrival::store_and_last);
  CHECK(swarm.owed().empty());
  swarm.verified(8);
  CHECK(swarm.download().complete());
  CHECK(swarm.download().bytes_duplicate() == 0);
  CHECK(swarm.dropped().empty());
}

TEST_CASE("When the first holder of a hedge leaves the second one goes on", "[core][download]") {
  Tail tail;
  DrawnSwarm& swarm = tail.swarm;
  REQUIRE(swarm.arrives('a', piece(8, 0)) == Arrival::store);
  swarm.passes(seconds(1));
  REQUIRE(swarm.owed() == "a8 b8");
  CHECK(swarm.owed_by('b').size() == 3);
  swarm.leaves('a');
  CHECK(swarm.sends('b', 8) == Arrival::store_and_last);
  CHECK(swarm.download().bytes_duplicate() == 0);
}

TEST_CASE("Peers that cut their answers differently cannot leave a gap", "[core][download]") {
  Tail tail;
  DrawnSwarm& swarm = tail.swarm;
  swarm.passes(seconds(1));
  REQUIRE(swarm.owed() == "a8 b8");
  // What b sends begins before the end of what is here and goes beyond it.
  CHECK(swarm.arrives('a', piece(8, 0, kBlockBytes)) == Arrival::store);
  CHECK(swarm.arrives('b', piece(8, 0, kRequest)) == Arrival::duplicate);
  swarm.leaves('a');
  CHECK(swarm.sends('b', 8) == Arrival::store_and_last);
  CHECK(swarm.dropped().empty());
}

TEST_CASE("A late chunk without a second holder is no reason to wake up", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x ."});
  swarm.passes(seconds(4));  // passes() checks that each deadline lies ahead
  CHECK(swarm.download().next_deadline() == swarm.now() + seconds(1));  // the stall
}

TEST_CASE("A hedge waits for tokens like every request", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  . ."});
  swarm.set_rate(100'000);  // a request takes 688 ms
  swarm.has('a', {{0, 1}});
  swarm.joins('b', "x.");
  swarm.passes(milliseconds(2'100));  // the fourth request has been paid for; the chunk is late
  CHECK(swarm.owed_by('a').size() == 4);
  CHECK(swarm.owed_by('b').empty());
  swarm.passes(milliseconds(700));
  CHECK(swarm.owed_by('b').size() == 1);
}

TEST_CASE("Bytes that nobody asked for get the peer dropped", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2",  //
                    "we      . . .",  //
                    "peer a  x . .",  //
                    "peer b  . x ."});
  REQUIRE(swarm.owed() == "a0 b1");
  ChunkRange wrong = piece(2, 0);
  SECTION("of a chunk that was not asked for") {
    wrong = piece(2, 0);
  }
  SECTION("of a chunk that was asked of another") {
    wrong = piece(1, 0);
  }
  SECTION("out of order") {
    wrong = piece(0, kBlockBytes);
  }
  SECTION("longer than the request") {
    wrong = piece(0, 0, 2 * kRequest);
  }
  SECTION("outside of the chunk") {
    wrong = piece(0, 4 * kRequest);
  }
  SECTION("outside of the file") {
    wrong = piece(99, 0);
  }
  CHECK(swarm.arrives('a', wrong) == Arrival::unsolicited);
  CHECK(swarm.dropped() == "a");
  CHECK(swarm.drop_reason() == "sent bytes that nobody asked for");
  CHECK(swarm.download().peer_count() == 1);
  CHECK(swarm.owed() == "b1");
}

TEST_CASE("The same bytes twice get the peer dropped", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x ."});
  REQUIRE(swarm.arrives('a', piece(0, 0)) == Arrival::store);
  CHECK(swarm.arrives('a', piece(0, 0)) == Arrival::unsolicited);
  CHECK(swarm.dropped() == "a");
}

TEST_CASE("Bytes of a stranger are thrown away", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1"});
  CHECK(swarm.arrives('z', piece(0, 0)) == Arrival::unsolicited);
  CHECK(swarm.dropped().empty());
}

TEST_CASE("Bytes that were cancelled on their way are tolerated", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x ."});
  swarm.passes(seconds(5));
  REQUIRE(swarm.cancelled() == "a0");
  swarm.set_accepting(false);
  for (std::uint32_t i = 0; i < 4; ++i) {
    REQUIRE(swarm.arrives('a', piece(0, i * kRequest)) == Arrival::duplicate);
  }
  CHECK(swarm.download().bytes_duplicate() == kMinChunkBytes);
  CHECK(swarm.dropped().empty());
}

TEST_CASE("A sparse chunk of many requests is cancelled without losing count", "[core][download]") {
  // 8 MiB chunks with 16 KiB of data in every 80 KiB: more than a hundred requests each.
  HashTree tree;
  tree.size = 16ull << 30;
  tree.layer.resize(chunk_count_for(tree.size));
  const std::uint64_t every = kMinHoleBytes + kBlockBytes;
  std::vector<ByteRange> data;
  for (std::uint64_t at = 0; at + every <= 2 * std::uint64_t{kMaxChunkBytes}; at += every) {
    data.push_back({at, kBlockBytes});
  }
  const ChunkSpace space(tree, data);
  DrawnSwarm swarm(space);
  for (std::uint32_t i = 2; i < space.count(); ++i) swarm.download().on_restored(ChunkIndex{i});
  Bitfield two(space.count());
  two.set(0);
  two.set(1);
  swarm.joins('a', two);
  const std::vector<ChunkRange> on_their_way = swarm.owed_by('a');
  REQUIRE(on_their_way.size() > 150);
  swarm.passes(seconds(5));
  REQUIRE(swarm.cancelled() == "a0 a1");
  swarm.set_accepting(false);
  for (const ChunkRange& range : on_their_way) {
    REQUIRE(swarm.arrives('a', range) == Arrival::duplicate);
  }
  CHECK(swarm.dropped().empty());
}

TEST_CASE("A peer that sent a wrong chunk is dropped and the chunk fetched from another",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x ."});
  swarm.joins('b', "x.");
  REQUIRE(swarm.sends('a', 0) == Arrival::store_and_last);
  (void)swarm.asked();
  swarm.corrupt(0);
  CHECK(swarm.dropped() == "a");
  CHECK(swarm.drop_reason() == "sent a wrong chunk");
  CHECK(swarm.asked() == "b0");
  swarm.gives('b', 0);
  CHECK(swarm.download().complete());
  CHECK(swarm.download().bytes_received() == 2 * kMinChunkBytes);
}

TEST_CASE("When several peers sent a wrong chunk none is dropped, and it comes from one alone next",
          "[core][download]") {
  Tail tail;
  DrawnSwarm& swarm = tail.swarm;
  swarm.passes(seconds(1));
  REQUIRE(swarm.owed() == "a8 b8");
  REQUIRE(swarm.arrives('a', piece(8, 0)) == Arrival::store);
  REQUIRE(swarm.sends('b', 8) == Arrival::store_and_last);
  (void)swarm.asked();
  swarm.corrupt(8);
  CHECK(swarm.dropped().empty());
  const std::string again = swarm.asked();
  REQUIRE((again == "a8" || again == "b8"));
  swarm.passes(seconds(4));
  CHECK(swarm.asked().empty());  // late, but not hedged
  REQUIRE(swarm.sends(again.front(), 8) == Arrival::store_and_last);
  swarm.corrupt(8);
  CHECK(swarm.dropped() == again.substr(0, 1));  // now the blame is certain
  const std::string other = swarm.asked();
  CHECK(other == (again == "a8" ? "b8" : "a8"));
  swarm.gives(other.front(), 8);
  CHECK(swarm.download().complete());
}

TEST_CASE("A liar that has left is not blamed on whoever is there", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x .",  //
                    "peer b  . ."});
  REQUIRE(swarm.sends('a', 0) == Arrival::store_and_last);
  swarm.leaves('a');
  swarm.corrupt(0);
  CHECK(swarm.dropped().empty());
  swarm.has('b', {{0, 1}});
  CHECK(swarm.owed() == "b0");
}

TEST_CASE("A peer that announces chunks outside of the file is dropped", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2",  //
                    "we      . . .",  //
                    "peer a  x . .",  //
                    "peer b  . . ."});
  ChunkRun run;
  SECTION("beyond the end") {
    run = {3, 1};
  }
  SECTION("across the end") {
    run = {2, 2};
  }
  SECTION("far away") {
    run = {4'000'000'000, 1};
  }
  SECTION("so many that counting overflows") {
    run = {1, 0xffffffff};
  }
  swarm.has('a', {{1, 1}, run});
  CHECK(swarm.dropped() == "a");
  CHECK(swarm.drop_reason() == "announced chunks that the file does not have");
  CHECK(swarm.owed().empty());
  // Nothing of what it said before is remembered.
  swarm.has('b', {{0, 3}});
  CHECK(swarm.download().peer_count() == 1);
}

TEST_CASE("An announcement of no chunks is allowed up to the end", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . .",  //
                    "peer a  . ."});
  swarm.has('a', {{2, 0}});
  CHECK(swarm.dropped().empty());
}

}  // namespace
}  // namespace p2p
