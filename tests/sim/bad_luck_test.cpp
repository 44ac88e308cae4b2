// What one unlucky node, or the loss of the seed, costs all others. Seed numbers are fixed.
#include <functional>

#include "tests/sim/sim_swarm.h"
#include "tests/support/catch.h"

namespace p2p::sim {
namespace {

constexpr std::chrono::milliseconds kFloor{5369};  // 64 MiB at 12.5 MB/s

SwarmResult run_with(const std::function<void(SwarmSettings&)>& change,
                     const std::function<void(SimSwarm&)>& trouble) {
  SwarmSettings settings;
  settings.receivers = 16;
  settings.file_bytes = 64ull << 20;
  change(settings);
  SimSwarm swarm(settings);
  trouble(swarm);
  const SwarmResult result = swarm.run();
  UNSCOPED_INFO(summary(settings, result));
  CHECK(result.everybody);
  return result;
}
SwarmResult run_with(const std::function<void(SimSwarm&)>& trouble) {
  return run_with([](SwarmSettings&) {}, trouble);
}

TEST_CASE("One slow node of 16 does not slow the others", "[sim]") {
  const SwarmResult result =
      run_with([](SwarmSettings& settings) { settings.file_bytes = 256ull << 20; },
               [](SimSwarm& swarm) { swarm.slow(swarm.receiver(5), 10); });
  CHECK(result.sound_ratio <= 1.12);
}

TEST_CASE("A node that stops reading for five seconds does not stop the others", "[sim]") {
  const SwarmResult result = run_with([](SimSwarm& swarm) {
    swarm.stalls(swarm.receiver(5), kFloor / 4, std::chrono::seconds(5));
  });
  CHECK(result.sound_ratio <= 1.15);
}

TEST_CASE("A node that never uploads does not stop the others", "[sim]") {
  CHECK(run_with([](SimSwarm& swarm) { swarm.never_uploads(swarm.receiver(5)); }).ratio <= 1.20);
}

TEST_CASE("A seed that dies after one copy is out is not missed", "[sim]") {
  CHECK(run_with([](SimSwarm& swarm) { swarm.dies(swarm.seed(0), kFloor * 103 / 100); }).ratio <=
        1.15);
}

TEST_CASE("When the only seed dies half way not everybody becomes whole", "[sim]") {
  SwarmSettings settings;
  settings.file_bytes = 64ull << 20;
  settings.give_up = std::chrono::seconds(60);
  SimSwarm swarm(settings);
  swarm.dies(swarm.seed(0), kFloor / 2);
  CHECK_FALSE(swarm.run().everybody);
}

TEST_CASE("A slow second seed does not slow the first one", "[sim]") {
  const SwarmResult result = run_with([](SwarmSettings& settings) { settings.seeds = 2; },
                                      [](SimSwarm& swarm) { swarm.slow(swarm.seed(1), 10); });
  CHECK(result.ratio <= 1.12);
}

TEST_CASE("Who joins at 90 % costs the others nothing, and needs one floor more", "[sim]") {
  const SwarmResult result =
      run_with([](SimSwarm& swarm) { swarm.joins_late(swarm.receiver(7), kFloor * 9 / 10); });
  CHECK(result.sound_ratio <= 1.12);
  CHECK(result.ratio <= 2.0);
}

TEST_CASE("A tenth of the connections cut in each second costs little", "[sim]") {
  const SwarmResult result =
      run_with([](SwarmSettings& settings) { settings.cut_share = 0.1; }, [](SimSwarm&) {});
  CHECK(result.ratio <= 1.15);
}

}  // namespace
}  // namespace p2p::sim
