// What came out of a simulated push.
#pragma once

#include <cstdint>
#include <string>

namespace p2p::sim {

struct SwarmSettings;

// Seconds in which a receiver's downlink carried nothing, by what it waited for.
struct LostTime {
  double start = 0;    // until its first chunk was whole
  double news = 0;     // no neighbour had what it wanted
  double holders = 0;  // neighbours had it, and were busy
  double answers = 0;  // as much was asked for as may be
  double tail = 0;     // everything missing was asked for
  double away = 0;     // it did not run
  double sum() const { return start + news + holders + answers + tail + away; }
};

// Control messages, on average of all nodes.
struct MessageCounts {
  double news = 0;
  double requests = 0;
  double busy = 0;  // answers, and the cancels that follow
  double offers = 0;
  double sum() const { return news + requests + busy + offers; }
};

struct SwarmResult {
  bool everybody = false;         // every receiver that lives has all of it
  double last_seconds = 0;        // until the last receiver was whole
  double last_sound_seconds = 0;  // until the last one was that is neither slow nor late
  double median_seconds = 0;
  // The largest of: file over the seeds' uplinks, over the slowest downlink, all copies over all
  // uplinks; and of every rack and datacentre, one copy over its downlink, the copies of those
  // inside over their uplinks and its downlink, and over the uplinks of those that have the file.
  double floor_seconds = 0;
  double ratio = 0;             // last over floor
  double sound_ratio = 0;       // last sound one over floor
  double seed_copies = 0;       // bytes that the seeds sent, in files
  double all_out_seconds = 0;   // until every chunk was with a receiver
  double seed_copies_then = 0;  // what the seeds had sent by then, in files
  double rack_in = 0;     // payload into the rack that took most, in files; without seeds in it
  double rack_out = 0;    // out of the rack that gave most
  double duplicates = 0;  // share of the received bytes that were thrown away
  MessageCounts messages;
  LostTime lost;       // of all receivers, on average
  LostTime lost_last;  // of the last one
  std::uint64_t events = 0;
  std::uint64_t trace = 0;  // hash over (time, receiver, chunk) of every chunk that became whole
};

// For people: one line, and with several racks or lost time one more for each.
std::string summary(const SwarmSettings& settings, const SwarmResult& result);

}  // namespace p2p::sim
