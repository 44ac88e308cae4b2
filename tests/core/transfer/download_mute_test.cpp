// A download among peers that answer nothing, or only a part of what can be used.
#include "core/transfer/download.h"
#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using Arrival = Download::Arrival;
using std::chrono::seconds;
using test::DrawnSwarm;
using test::node;

constexpr Duration kTick{1};

ChunkRange piece(std::uint32_t chunk, std::uint32_t offset, std::uint32_t length = 64 * 1024) {
  return {ChunkIndex{chunk}, offset, length};
}

TEST_CASE("A peer that stalls again without a word in between is dropped", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x ."});
  swarm.passes(seconds(30) - kTick);
  CHECK(swarm.dropped().empty());
  swarm.passes(kTick);
  CHECK(swarm.dropped() == "a");
  CHECK(swarm.drop_reason() == "sent nothing of what it was asked for, and nothing else");
  CHECK(swarm.owed().empty());
}

TEST_CASE("A peer that stalls again is kept when it has said anything in between",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1 2",  //
                    "we      . x x",  //
                    "peer a  x . ."});
  const ChunkRange first = piece(0, 0);
  const auto word = GENERATE(0, 1, 2, 3, 4);
  INFO(word);
  swarm.passes(seconds(6));
  Download& download = swarm.download();
  if (word == 0) swarm.has('a', {{1, 1}});
  if (word == 1) download.on_busy(node('a'), first, swarm.now());
  if (word == 2) download.on_refused(node('a'), first, swarm.now());
  if (word == 3) download.on_offer(node('a'), ChunkIndex{1}, swarm.now());
  if (word == 4) swarm.arrives('a', first);
  swarm.passes(seconds(25));
  CHECK(swarm.dropped().empty());
}

TEST_CASE("Opening the space again does not make a peer less late", "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x ."});
  swarm.passes(seconds(3));
  swarm.joins('a', "..");
  swarm.passes(seconds(2));
  CHECK(swarm.cancelled() == "a0");
}

TEST_CASE("Who sends a part of a block is dropped: the rest could be asked of nobody else",
          "[core][download]") {
  DrawnSwarm swarm({"chunks  0 1",  //
                    "we      . x",  //
                    "peer a  x ."});
  const std::uint32_t bytes = GENERATE(1u, kBlockBytes - 1, kBlockBytes + 1);
  CHECK(swarm.arrives('a', piece(0, 0, bytes)) == Arrival::unsolicited);
  CHECK(swarm.dropped() == "a");
  CHECK(swarm.drop_reason() == "sent a part of a block");
}

TEST_CASE("The last block of a file is whole at its real length", "[core][download]") {
  HashTree tree;
  tree.size = kBlockBytes + 1000;
  DrawnSwarm swarm{ChunkSpace(tree)};
  swarm.joins('a', "x");
  CHECK(swarm.arrives('a', piece(0, 0, kBlockBytes + 1000)) == Arrival::store_and_last);
  CHECK(swarm.dropped().empty());
}

}  // namespace
}  // namespace p2p
