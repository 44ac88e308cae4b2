// Chunks of which an old file has the most: only a run of what is missing is asked for.
#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using test::DrawnSwarm;
using Arrival = Download::Arrival;

// One chunk, of which 5000 bytes are missing, and a peer that has it.
struct Shortened : DrawnSwarm {
  explicit Shortened(std::vector<std::uint32_t> requests = {5000}) : DrawnSwarm({"chunks  0"}) {
    shortens(0, std::move(requests));
    joins('a', "x");
  }
};

TEST_CASE("Of a shortened chunk only the missing bytes are asked for", "[core][download]") {
  Shortened swarm;
  CHECK(swarm.owed_by('a') == std::vector<ChunkRange>{{ChunkIndex{0}, 0, 5000, /*of_run=*/true}});
  swarm.gives('a', 0);
  CHECK(swarm.download().complete());
  CHECK(swarm.download().bytes_received() == 5000);
  CHECK(swarm.download().bytes_have() == kMinChunkBytes);
}

TEST_CASE("A long run is asked for in several requests", "[core][download]") {
  Shortened swarm({3000, 2000, 1});
  CHECK(swarm.owed_by('a') == std::vector<ChunkRange>{{ChunkIndex{0}, 0, 3000, true},
                                                      {ChunkIndex{0}, 3000, 2000, true},
                                                      {ChunkIndex{0}, 5000, 1, true}});
  swarm.gives('a', 0);
  CHECK(swarm.download().complete());
}

TEST_CASE("An answer may come in pieces of any length", "[core][download]") {
  Shortened swarm;
  CHECK(swarm.arrives('a', {ChunkIndex{0}, 0, 1, true}) == Arrival::store);
  CHECK(swarm.arrives('a', {ChunkIndex{0}, 1, 4998, true}) == Arrival::store);
  CHECK(swarm.arrives('a', {ChunkIndex{0}, 4999, 1, true}) == Arrival::store_and_last);
}

TEST_CASE("One byte more than the run is nothing that anybody asked for", "[core][download]") {
  for (const ChunkRange more :
       {ChunkRange{ChunkIndex{0}, 0, 5001, true}, ChunkRange{ChunkIndex{0}, 5000, 1, true},
        ChunkRange{ChunkIndex{0}, 1, 4999, true}}) {
    Shortened swarm;
    CHECK(swarm.arrives('a', more) == Arrival::unsolicited);
    CHECK(swarm.dropped() == "a");
  }
}

TEST_CASE("Bytes of the chunk are no answer to a request for a run, nor the other way round",
          "[core][download]") {
  Shortened run;
  CHECK(run.arrives('a', {ChunkIndex{0}, 0, 5000, false}) == Arrival::unsolicited);
  DrawnSwarm whole({"chunks  0",  //
                    "peer a  x"});
  CHECK(whole.arrives('a', {ChunkIndex{0}, 0, kBlockBytes, true}) == Arrival::unsolicited);
}

TEST_CASE("A run goes on with another peer when the first one leaves", "[core][download]") {
  Shortened swarm;
  swarm.arrives('a', {ChunkIndex{0}, 0, 1000, true});
  swarm.joins('b', "x");
  swarm.leaves('a');
  CHECK(swarm.owed_by('b').front().of_run);
  swarm.gives('b', 0);
  CHECK(swarm.download().complete());
}

TEST_CASE("A cancelled run that is still on its way is tolerated", "[core][download]") {
  Shortened swarm;
  swarm.joins('b', "x");
  swarm.refuses('a', 0);  // and sends nevertheless
  CHECK(swarm.owed() == "b0");
  CHECK(swarm.arrives('a', {ChunkIndex{0}, 0, 5000, true}) == Arrival::duplicate);
  CHECK(swarm.dropped().empty());
}

TEST_CASE("A wrong run is nobody's fault yet, and waits for the caller", "[core][download]") {
  Shortened swarm;
  REQUIRE(swarm.sends('a', 0) == Arrival::store_and_last);
  swarm.asked();
  CHECK(swarm.download().on_run_wrong(ChunkIndex{0}, swarm.now()) ==
        std::vector<NodeId>{test::node('a')});
  CHECK(swarm.dropped().empty());
  CHECK(swarm.owed().empty());
  SECTION("the wrong blocks are fetched as another run") {
    swarm.shortens(0, {kBlockBytes});
    swarm.releases(0);
    CHECK(swarm.owed_by('a') == std::vector<ChunkRange>{{ChunkIndex{0}, 0, kBlockBytes, true}});
    swarm.gives('a', 0);
  }
  SECTION("or the chunk whole, from one peer: then the blame is certain") {
    swarm.download().fetch_alone(ChunkIndex{0});
    swarm.releases(0);
    CHECK_FALSE(swarm.owed_by('a').front().of_run);
    REQUIRE(swarm.sends('a', 0) == Arrival::store_and_last);
    swarm.corrupt(0);
    CHECK(swarm.dropped() == "a");
    swarm.joins('b', "x");
    swarm.gives('b', 0);
  }
  CHECK(swarm.download().complete());
}

TEST_CASE("A seed that offers is asked at once for a run that was wrong", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1"});
  swarm.shortens(0, {5000});
  swarm.download().on_peer_joined(test::node('a'), swarm.now(), /*offers=*/true);
  swarm.has('a', {{0, 2}});
  REQUIRE(swarm.asked().empty());
  swarm.download().on_offer(test::node('a'), ChunkIndex{0}, swarm.now());
  swarm.has('a', {{0, 2}});
  REQUIRE(swarm.asked() == "a0");
  REQUIRE(swarm.sends('a', 0) == Arrival::store_and_last);
  swarm.download().on_run_wrong(ChunkIndex{0}, swarm.now());
  CHECK(swarm.owed().empty());
  swarm.shortens(0, {kBlockBytes});
  swarm.releases(0);
  // And for nothing else.
  CHECK(swarm.asked() == "a0");
}

TEST_CASE("A chunk is asked for whole again when the old file turns out to be of no use",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0"});
  swarm.shortens(0, {10});
  swarm.shortens(0, {});
  swarm.joins('a', "x");
  CHECK_FALSE(swarm.owed_by('a').front().of_run);
}

TEST_CASE("What is under way or here cannot be shortened any more", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2",  //
                    "we      x . .",  //
                    "peer a  . x ."});
  CHECK_FALSE(swarm.download().may_be_shortened(ChunkIndex{0}));
  CHECK_FALSE(swarm.download().may_be_shortened(ChunkIndex{1}));
  CHECK(swarm.download().may_be_shortened(ChunkIndex{2}));
}

}  // namespace
}  // namespace p2p
