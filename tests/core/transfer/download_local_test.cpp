// What a download does about chunks that this node may have already, or has no more.
#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using test::DrawnSwarm;

// Two chunks, of which chunk 0 is held back before a peer that has both comes.
struct HeldBack : DrawnSwarm {
  HeldBack() : DrawnSwarm({"chunks  0 1"}) {
    download().hold_back(ChunkIndex{0});
    joins('a', "x x");
  }
};

TEST_CASE("A chunk that is held back is not asked for", "[core][download]") {
  HeldBack swarm;
  CHECK(swarm.asked() == "a1");
  swarm.gives('a', 1);
  CHECK(swarm.asked().empty());
  CHECK_FALSE(swarm.download().complete());
}

TEST_CASE("A chunk that is held back and found to be here completes the file", "[core][download]") {
  HeldBack swarm;
  swarm.gives('a', 1);
  swarm.download().on_restored(ChunkIndex{0});
  CHECK(swarm.download().complete());
  CHECK(swarm.download().bytes_received() == kMinChunkBytes);
}

TEST_CASE("A chunk that is held back and found not to be here is fetched", "[core][download]") {
  HeldBack swarm;
  swarm.gives('a', 1);
  swarm.asked();
  swarm.releases(0);
  CHECK(swarm.asked() == "a0");
  swarm.gives('a', 0);
  CHECK(swarm.download().complete());
}

TEST_CASE("Releasing a chunk that is not held back changes nothing", "[core][download]") {
  HeldBack swarm;
  swarm.gives('a', 1);
  swarm.asked();
  swarm.releases(1);
  CHECK(swarm.asked().empty());
  CHECK(swarm.download().have().test(1));
}

TEST_CASE("A seed's offer of a chunk that is held back is declined", "[core][download]") {
  HeldBack swarm;
  swarm.download().on_offer(test::node('a'), ChunkIndex{0}, swarm.now());
  const auto effects = swarm.download().take_effects();
  REQUIRE(effects.size() == 1);
  CHECK(std::get<Download::SendDecline>(effects.front()).chunk == ChunkIndex{0});
}

TEST_CASE("A chunk that the disk has lost is fetched again", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      x .",  //
                    "peer a  x x"});
  swarm.gives('a', 1);
  REQUIRE(swarm.download().complete());
  swarm.asked();
  swarm.loses(0);
  CHECK_FALSE(swarm.download().complete());
  CHECK(swarm.download().bytes_have() == kMinChunkBytes);
  CHECK(swarm.asked() == "a0");
  swarm.gives('a', 0);
  CHECK(swarm.download().complete());
}

TEST_CASE("Missing chunks that nobody holds are counted, those under way or held back are not",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2 3"});
  swarm.download().on_restored(ChunkIndex{0});
  swarm.download().hold_back(ChunkIndex{1});
  CHECK(swarm.download().chunks_without_holder() == 2);
  swarm.joins('a', ". . x .");
  CHECK(swarm.asked() == "a2");
  CHECK(swarm.download().chunks_without_holder() == 1);
  swarm.leaves('a');
  CHECK(swarm.download().chunks_without_holder() == 2);
}

}  // namespace
}  // namespace p2p
