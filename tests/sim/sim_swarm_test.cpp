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

TEST_CASE("With offers a seed sends each chunk about once, and the swarm is near the floor", "[sim]") {
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

}  // namespace
}  // namespace p2p::sim
