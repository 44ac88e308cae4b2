#include "core/swarm/source_loss.h"

#include "tests/support/catch.h"
#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using std::chrono::seconds;
using test::node;
using Receivers = std::vector<SourceLoss::Receiver>;

const Time kStart = Time{} + seconds(1000);
const Receivers kTwo{{node('a'), true, true}, {node('b'), true, true}};

// A source that was lost at kStart, and two receivers that say at once how much they lack.
SourceLoss lost(std::uint32_t a, std::uint32_t b) {
  SourceLoss loss{SourceLossRules{}};
  loss.on_source_lost(kStart);
  loss.on_report(node('a'), a, kStart);
  loss.on_report(node('b'), b, kStart);
  return loss;
}

TEST_CASE("A content is lost when its source is and every receiver lacks something for 5 s",
          "[core][swarm]") {
  const SourceLoss loss = lost(3, 1);
  CHECK_FALSE(loss.is_lost(kStart + seconds(4), false, kTwo));
  CHECK(loss.is_lost(kStart + seconds(5), false, kTwo));
}

TEST_CASE("A content whose chunks are all out is not lost with its source", "[core][swarm]") {
  CHECK_FALSE(lost(0, 0).is_lost(kStart + seconds(60), false, kTwo));
}

TEST_CASE("A receiver that lacks nothing may have what the others lack", "[core][swarm]") {
  CHECK_FALSE(lost(3, 0).is_lost(kStart + seconds(60), false, kTwo));
}

TEST_CASE("Lacking something for a moment is not lacking it", "[core][swarm]") {
  SourceLoss loss = lost(3, 1);
  loss.on_report(node('b'), 0, kStart + seconds(4));
  loss.on_report(node('b'), 2, kStart + seconds(5));
  CHECK_FALSE(loss.is_lost(kStart + seconds(9), false, kTwo));
  CHECK(loss.is_lost(kStart + seconds(10), false, kTwo));
}

TEST_CASE("A content that somebody holds whole is not lost", "[core][swarm]") {
  CHECK_FALSE(lost(3, 1).is_lost(kStart + seconds(60), true, kTwo));
}

TEST_CASE("A receiver that is away may hold what the others lack", "[core][swarm]") {
  CHECK_FALSE(lost(3, 1).is_lost(kStart + seconds(60), false,
                                 {{node('a'), true, true}, {node('b'), true, false}}));
}

TEST_CASE("A receiver that has not begun holds nothing", "[core][swarm]") {
  CHECK(lost(3, 1).is_lost(
      kStart + seconds(60), false,
      {{node('a'), true, true}, {node('b'), true, true}, {node('c'), false, false}}));
}

TEST_CASE("A receiver that was away must speak again before anything is lost", "[core][swarm]") {
  SourceLoss loss = lost(3, 1);
  loss.on_receiver_away(node('b'));
  CHECK_FALSE(loss.is_lost(kStart + seconds(60), false, kTwo));
  loss.on_report(node('b'), 1, kStart + seconds(60));
  CHECK_FALSE(loss.is_lost(kStart + seconds(64), false, kTwo));
  CHECK(loss.is_lost(kStart + seconds(65), false, kTwo));
}

TEST_CASE("What a receiver that was away says may be that it lacks nothing", "[core][swarm]") {
  SourceLoss loss = lost(3, 1);
  loss.on_receiver_away(node('b'));
  loss.on_report(node('b'), 0, kStart + seconds(60));
  CHECK_FALSE(loss.is_lost(kStart + seconds(90), false, kTwo));
}

TEST_CASE("What nobody has begun to receive is lost with its only source", "[core][swarm]") {
  SourceLoss loss{SourceLossRules{}};
  loss.on_source_lost(kStart);
  const Receivers waiting{{node('a'), false, true}, {node('b'), false, false}};
  CHECK_FALSE(loss.is_lost(kStart + seconds(4), false, waiting));
  CHECK(loss.is_lost(kStart + seconds(5), false, waiting));
  CHECK_FALSE(loss.is_lost(kStart + seconds(5), true, waiting));
}

TEST_CASE("While nobody receives, nothing is said to be lost", "[core][swarm]") {
  CHECK_FALSE(lost(3, 1).is_lost(kStart + seconds(60), false, {}));
}

TEST_CASE("A content whose source was never lost is not lost, whatever receivers lack",
          "[core][swarm]") {
  SourceLoss loss{SourceLossRules{}};
  loss.on_report(node('a'), 3, kStart);
  CHECK_FALSE(loss.is_lost(kStart + seconds(60), false, {{node('a'), true, true}}));
}

}  // namespace
}  // namespace p2p
