// What the policy does to a whole fleet. Every failure names the seed to replay.
#include "tests/sim/sim_swarm.h"

#include "tests/support/catch.h"

namespace p2p::sim {
namespace {

SwarmSettings small_fleet() {
  SwarmSettings settings;
  settings.receivers = 16;
  settings.file_bytes = 64ull << 20;
  return settings;
}

TEST_CASE("The same seed gives the same trace, another one another", "[sim]") {
  SwarmSettings settings = small_fleet();
  const SwarmResult first = SimSwarm(settings).run();
  const SwarmResult again = SimSwarm(settings).run();
  settings.seed = 2;
  const SwarmResult other = SimSwarm(settings).run();
  CHECK(first.trace == again.trace);
  CHECK(first.events == again.events);
  CHECK(first.trace != other.trace);
}

TEST_CASE("Everybody gets everything, and nobody faster than the floor", "[sim]") {
  SwarmSettings settings = small_fleet();
  for (settings.seed = 1; settings.seed <= 5; ++settings.seed) {
    const SwarmResult result = SimSwarm(settings).run();
    INFO(summary(settings, result));
    CHECK(result.everybody);
    CHECK(result.ratio >= 1.0);
  }
}

TEST_CASE("A dying receiver holds nobody up for good", "[sim]") {
  const SwarmSettings settings = small_fleet();
  SimSwarm swarm(settings);
  swarm.dies(swarm.receiver(3), std::chrono::seconds(2));
  const SwarmResult result = swarm.run();
  INFO(summary(settings, result));
  CHECK(result.everybody);
}

TEST_CASE("A receiver that joins late gets everything too", "[sim]") {
  const SwarmSettings settings = small_fleet();
  SimSwarm swarm(settings);
  swarm.joins_late(swarm.receiver(7), std::chrono::seconds(5));
  const SwarmResult result = swarm.run();
  INFO(summary(settings, result));
  CHECK(result.everybody);
}

TEST_CASE("In waves everybody gets everything, and no wave begins before the one before has ended",
          "[sim]") {
  SwarmSettings settings = small_fleet();
  const double at_once = SimSwarm(settings).run().last_seconds;
  RolloutTexts texts;
  texts.waves = "1,25%,100%";
  settings.rollout = *parse_rollout(texts);
  const SwarmResult result = SimSwarm(settings).run();
  INFO(summary(settings, result));
  CHECK(result.everybody);
  // Each of the three takes at least what a file takes over one link.
  CHECK(result.last_seconds >= 3 * result.floor_seconds);
  CHECK(result.last_seconds > at_once);
  SimSwarm unlucky(settings);
  unlucky.dies(unlucky.receiver(0), std::chrono::seconds(1));
  CHECK(unlucky.run().everybody);
}

TEST_CASE("With offers a seed sends each chunk about once, and the swarm is near the floor",
          "[sim]") {
  SwarmSettings settings = small_fleet();
  settings.file_bytes = 256ull << 20;
  for (settings.seed = 1; settings.seed <= 2; ++settings.seed) {
    const SwarmResult result = SimSwarm(settings).run();
    INFO(summary(settings, result));
    CHECK(result.everybody);
    CHECK(result.ratio <= 1.05);
    CHECK(result.seed_copies <= 1.03);
  }
}

TEST_CASE("When the seed dies after one copy is out the receivers finish among themselves",
          "[sim]") {
  const SwarmSettings settings = small_fleet();
  SimSwarm swarm(settings);
  swarm.dies(swarm.seed(0), std::chrono::milliseconds(6500));  // 64 MiB at 12.5 MB/s, and a bit
  const SwarmResult result = swarm.run();
  INFO(summary(settings, result));
  CHECK(result.everybody);
}

// Two racks of eight behind uplinks that are no wider than one node's link.
SwarmSettings two_racks() {
  SwarmSettings settings;
  settings.receivers = 15;
  settings.racks = 2;
  settings.rack_rates = {12.5e6, 12.5e6};
  return settings;
}

TEST_CASE("Each chunk enters a rack once, and the narrow uplink is kept busy", "[sim]") {
  SwarmSettings settings = two_racks();
  settings.file_bytes = 256ull << 20;
  const SwarmResult result = SimSwarm(settings).run();
  INFO(summary(settings, result));
  CHECK(result.everybody);
  CHECK(result.rack_in <= 1.05);
  CHECK(result.ratio <= 1.15);
}

TEST_CASE("Without the rule for racks chunks cross an uplink many times", "[sim]") {
  SwarmSettings settings = two_racks();
  settings.file_bytes = 64ull << 20;
  settings.rack_rule = false;
  const SwarmResult result = SimSwarm(settings).run();
  CHECK(result.everybody);
  CHECK(result.rack_in > 1.5);
}

TEST_CASE("An entry node that dies does not starve its rack", "[sim]") {
  SwarmSettings settings = two_racks();
  settings.file_bytes = 64ull << 20;
  for (std::uint32_t dead = 8; dead < 15; ++dead) {
    SimSwarm swarm(settings);
    swarm.dies(swarm.receiver(dead), std::chrono::seconds(2));
    const SwarmResult result = swarm.run();
    INFO(dead << ": " << summary(settings, result));
    CHECK(result.everybody);
    CHECK(result.rack_in <= 1.1);
  }
}

TEST_CASE("Receivers that restart, with or without what they had, become whole", "[sim]") {
  for (const bool keeps : {true, false}) {
    const SwarmSettings settings = small_fleet();
    SimSwarm swarm(settings);
    swarm.restarts(swarm.receiver(5), std::chrono::seconds(2), std::chrono::seconds(1), keeps);
    const SwarmResult result = swarm.run();
    INFO(summary(settings, result));
    CHECK(result.everybody);
  }
}

TEST_CASE("A receiver that stops reading for a while becomes whole", "[sim]") {
  const SwarmSettings settings = small_fleet();
  SimSwarm swarm(settings);
  swarm.stalls(swarm.receiver(5), std::chrono::seconds(2), std::chrono::seconds(2));
  const SwarmResult result = swarm.run();
  INFO(summary(settings, result));
  CHECK(result.everybody);
}

TEST_CASE("A receiver that never uploads holds nobody up for good", "[sim]") {
  const SwarmSettings settings = small_fleet();
  SimSwarm swarm(settings);
  swarm.never_uploads(swarm.receiver(5));
  const SwarmResult result = swarm.run();
  INFO(summary(settings, result));
  CHECK(result.everybody);
}

TEST_CASE("Everybody gets everything although a tenth of the connections is cut each second",
          "[sim]") {
  SwarmSettings settings = small_fleet();
  settings.cut_share = 0.1;
  const SwarmResult result = SimSwarm(settings).run();
  INFO(summary(settings, result));
  CHECK(result.everybody);
  CHECK(result.trace == SimSwarm(settings).run().trace);
}

TEST_CASE("Two seeds divide the file", "[sim]") {
  SwarmSettings settings = small_fleet();
  settings.seeds = 2;
  settings.offers = true;
  const SwarmResult result = SimSwarm(settings).run();
  INFO(summary(settings, result));
  CHECK(result.everybody);
  CHECK(result.ratio >= 1.0);
}

}  // namespace
}  // namespace p2p::sim
