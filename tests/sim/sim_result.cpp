#include "tests/sim/sim_result.h"

#include <cstdio>

#include "tests/sim/sim_swarm.h"

namespace p2p::sim {
namespace {

std::string lost_line(const char* of, const LostTime& lost, double floor) {
  char text[256];
  const double percent = 100 / floor;
  std::snprintf(text, sizeof text,
                "\n  %s idle %.2f %% of the floor: start %.2f, no news %.2f, holders busy %.2f, "
                "answers %.2f, tail %.2f, away %.2f",
                of, lost.sum() * percent, lost.start * percent, lost.news * percent,
                lost.holders * percent, lost.answers * percent, lost.tail * percent,
                lost.away * percent);
  return text;
}

}  // namespace

std::string summary(const SwarmSettings& settings, const SwarmResult& result) {
  char text[384];
  std::snprintf(text, sizeof text,
                "N=%u M=%u: %s%.3f x floor (%.2f s), sound %.3f, median %.3f, seeds sent %.3f x "
                "(all out at %.3f: %.3f x), duplicates %.2f %%, %llu events, trace %016llx",
                settings.receivers, chunk_count_for(settings.file_bytes),
                result.everybody ? "" : "NOT EVERYBODY: ", result.ratio, result.last_seconds,
                result.sound_ratio, result.median_seconds / result.floor_seconds,
                result.seed_copies, result.all_out_seconds / result.floor_seconds,
                result.seed_copies_then, 100 * result.duplicates,
                static_cast<unsigned long long>(result.events),
                static_cast<unsigned long long>(result.trace));
  std::string all = text;
  if (settings.racks > 1) {
    std::snprintf(text, sizeof text, "\n  uplinks: most into a rack %.3f x, most out of one %.3f x",
                  result.rack_in, result.rack_out);
    all += text;
  }
  std::snprintf(
      text, sizeof text,
      "\n  messages a node %.0f: news %.0f, requests %.0f, busy and cancels %.0f, offers %.0f",
      result.messages.sum(), result.messages.news, result.messages.requests, result.messages.busy,
      result.messages.offers);
  all += text;
  all += lost_line("all", result.lost, result.floor_seconds);
  return all + lost_line("the last", result.lost_last, result.floor_seconds);
}

}  // namespace p2p::sim
