// Simulates one push and prints what the shipped policy makes of it.
//   swarm_sim --receivers 64 --size 512MiB --rate 12.5MB/s --seed 7
#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/base/units.h"
#include "tests/sim/sim_swarm.h"

int main(int argc, char** argv) {
  CLI::App app{"swarm_sim: the core's policy on a simulated fleet, in virtual time"};
  p2p::sim::SwarmSettings settings;
  std::string size = "256MiB";
  std::string rate = "12.5MB/s";
  std::string queueing = "10ms";
  std::string round_trip = "1ms";
  std::uint32_t slow = 0;
  double slow_factor = 10;
  double slow_share = 0;
  double dying_share = 0;
  double slow_seed = 1;
  std::uint32_t silent = 0;
  std::string rack_rate;
  std::string seed_dies;
  p2p::RolloutTexts turns;
  std::string pause;
  int runs = 1;
  app.add_option("--receivers", settings.receivers)->capture_default_str();
  app.add_option("--seeds", settings.seeds)->capture_default_str();
  app.add_option("--size", size)->capture_default_str();
  app.add_option("--rate", rate, "of every uplink and downlink")->capture_default_str();
  app.add_option("--rtt", round_trip, "of empty links")->capture_default_str();
  app.add_option("--queueing", queueing, "in full links, each way")->capture_default_str();
  app.add_option("--mesh", settings.handout.full_mesh, "everybody knows everybody up to this many")
      ->capture_default_str();
  app.add_option("--neighbours", settings.handout.sample, "random ones, in larger swarms")
      ->capture_default_str();
  app.add_option("--piece", settings.piece_bytes, "bytes that move at a time")
      ->capture_default_str();
  app.add_option("--racks", settings.racks)->capture_default_str();
  app.add_option("--dcs", settings.dcs)->capture_default_str();
  app.add_option("--rack-rate", rack_rate, "of each rack's uplink, both ways; none: no limit");
  app.add_flag("!--no-rack-rule", settings.rack_rule, "everybody fetches from everywhere");
  app.add_option("--cuts", settings.cut_share, "share of the connections cut in each second");
  app.add_option("--slow-share", slow_share, "of the receivers, spread over the racks");
  app.add_option("--dying-share", dying_share, "of the receivers, at random times");
  app.add_option("--silent", silent, "receivers that never upload");
  app.add_option("--slow-seed", slow_seed, "the last seed's uplink is this many times slower");
  app.add_option("--slow", slow, "receivers with a slow uplink")->capture_default_str();
  app.add_option("--slow-factor", slow_factor)->capture_default_str();
  app.add_option("--seed-dies", seed_dies, "after this long");
  app.add_option("--in-flight", settings.download.bytes_in_flight, "bytes under way at a receiver")
      ->capture_default_str();
  app.add_option("--in-flight-chunks", settings.download.chunks_in_flight_max, "at most")
      ->capture_default_str();
  app.add_option("--slots", settings.upload.slots, "upload slots")->capture_default_str();
  app.add_option("--times-sent", settings.upload.times_sent_matter, "that matter")
      ->capture_default_str();
  app.add_option("--busy-chunks", settings.upload.busy_chunks)->capture_default_str();
  app.add_option("--have-times", settings.have.chunk_times)->capture_default_str();
  app.add_flag("!--no-offers", settings.offers, "seeds serve what they are asked for");
  app.add_option("--open-offers", settings.offer.open_offers)->capture_default_str();
  app.add_option("--wave", turns.waves, "sizes of waves, as of p2pctl push: 1,10%,100%");
  app.add_option("--window", turns.window, "at most so many receivers under way");
  app.add_option("--pause-between", pause, "from the end of a wave to the next");
  app.add_option("--seed", settings.seed, "number of the run")->capture_default_str();
  app.add_option("--runs", runs, "with consecutive seed numbers")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  const auto bytes = p2p::parse_size(size);
  const auto bytes_per_second = p2p::parse_rate(rate);
  const auto queue = p2p::parse_duration(queueing);
  const auto trip = p2p::parse_duration(round_trip);
  for (const auto* error :
       {bytes ? nullptr : &bytes.error(), bytes_per_second ? nullptr : &bytes_per_second.error(),
        queue ? nullptr : &queue.error(), trip ? nullptr : &trip.error()}) {
    if (error != nullptr) {
      std::fprintf(stderr, "swarm_sim: %s\n", error->detail.c_str());
      return 1;
    }
  }
  if (!pause.empty()) {
    const auto time = p2p::parse_duration(pause);
    if (!time) {
      std::fprintf(stderr, "swarm_sim: %s\n", time.error().detail.c_str());
      return 1;
    }
    turns.pause_between = *time;
  }
  const auto rollout = p2p::parse_rollout(turns);
  if (!rollout) {
    std::fprintf(stderr, "swarm_sim: %s\n", rollout.error().detail.c_str());
    return 1;
  }
  settings.rollout = *rollout;
  settings.file_bytes = *bytes;
  settings.rates = {static_cast<double>(*bytes_per_second), static_cast<double>(*bytes_per_second)};
  settings.network.round_trip = *trip;
  settings.network.queueing = *queue;
  if (!rack_rate.empty()) {
    const auto shared = p2p::parse_rate(rack_rate);
    if (!shared) {
      std::fprintf(stderr, "swarm_sim: %s\n", shared.error().detail.c_str());
      return 1;
    }
    settings.rack_rates = {static_cast<double>(*shared), static_cast<double>(*shared)};
  }
  bool all = true;
  for (int run = 0; run < runs; ++run, ++settings.seed) {
    p2p::sim::SimSwarm swarm(settings);
    for (std::uint32_t i = 0; i < slow && i < settings.receivers; ++i) {
      swarm.slow(swarm.receiver(i), slow_factor);
    }
    p2p::Rng rng(settings.seed);
    const double floor = static_cast<double>(settings.file_bytes) / settings.rates.up;
    for (std::uint32_t i = 0; i < settings.receivers; ++i) {
      const auto drawn = static_cast<double>(rng.below(1000000)) / 1e6;
      const double when = floor * static_cast<double>(rng.below(1000)) / 1000;
      if (drawn < slow_share) {
        swarm.slow(swarm.receiver(i), slow_factor);
      } else if (drawn < slow_share + dying_share) {
        swarm.dies(swarm.receiver(i), p2p::from_seconds(when));
      } else if (i < silent) {
        swarm.never_uploads(swarm.receiver(i));
      }
    }
    if (slow_seed > 1) swarm.slow(swarm.seed(settings.seeds - 1), slow_seed);
    if (!seed_dies.empty()) {
      const auto after = p2p::parse_duration(seed_dies);
      if (after) swarm.dies(swarm.seed(0), *after);
    }
    const p2p::sim::SwarmResult result = swarm.run();
    all = all && result.everybody;
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(settings.seed),
                p2p::sim::summary(settings, result).c_str());
  }
  return all ? 0 : 2;
}
