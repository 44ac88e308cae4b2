#include "tests/sim/sim_swarm.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace p2p::sim {
namespace {

NodeId id_of(NodeIndex index) {
  // Spread over the whole range: the order of ids must mean nothing.
  Rng rng(index + 1);
  NodeId id;
  const std::uint64_t words[2] = {rng.next(), rng.next()};
  std::memcpy(id.bytes.data(), words, sizeof words);
  return id;
}

HashTree tree_of(std::uint64_t bytes) {
  HashTree tree;
  tree.size = bytes;
  if (chunk_count_for(bytes) > 1) tree.layer.resize(chunk_count_for(bytes));
  return tree;
}

}  // namespace

struct SimSwarm::Node {
  Node(NodeIndex i, const SwarmSettings& settings, const ChunkSpace& space, bool is_seed, Rng rng)
      : index(i),
        seed(is_seed),
        download(space, settings.download, rng),
        uploads(settings.upload),
        news(settings.have),
        offers(space.count(), settings.offer, rng.split()) {}

  NodeIndex index;
  bool seed;
  bool started = false;
  bool whole = false;
  Time begin{};
  Time whole_at{};
  Time late_until{};
  Download download;
  UploadSlots uploads;
  HaveBatch news;
  SeedOffers offers;  // of a seed
  std::set<NodeIndex> neighbours;
  std::map<NodeId, NodeIndex> by_id;
  Time armed = Time::max();
  std::set<NodeIndex> complete;  // neighbours that have everything
};

SimSwarm::SimSwarm(const SwarmSettings& settings)
    : settings_(settings),
      space_(tree_of(settings.file_bytes)),
      network_(world_, settings.network),
      rng_(settings.seed) {
  for (NodeIndex i = 0; i < settings.receivers + settings.seeds; ++i) {
    network_.add(settings.rates);
    nodes_.push_back(
        std::make_unique<Node>(i, settings_, space_, i >= settings.receivers, rng_.split()));
    nodes_.back()->begin = world_.now();
    nodes_.back()->late_until = world_.now();
  }
}

SimSwarm::~SimSwarm() = default;

void SimSwarm::slow(NodeIndex node, double factor) {
  network_.set_rates(node, {settings_.rates.up / factor, settings_.rates.down});
}

void SimSwarm::dies(NodeIndex node, Duration after) {
  world_.after(after, [this, node] {
    network_.set_alive(node, false);
    disconnect(node);
  });
}

void SimSwarm::joins_late(NodeIndex node, Duration after) {
  nodes_[node]->late_until = world_.now() + after;
}

void SimSwarm::connect(NodeIndex a, NodeIndex b) {
  if (a == b || nodes_[a]->neighbours.contains(b)) return;
  for (const auto& [x, y] : {std::pair(a, b), std::pair(b, a)}) {
    nodes_[x]->neighbours.insert(y);
    nodes_[x]->by_id[id_of(y)] = y;
  }
  // Each tells the other what it has: at the start, seeds everything and receivers nothing.
  for (const auto& [x, y] : {std::pair(a, b), std::pair(b, a)}) {
    if (nodes_[y]->seed) {
      if (nodes_[x]->seed) continue;
      network_.message(x, y, [this, x = x, y = y] {
        nodes_[y]->offers.on_peer_joined(id_of(x));
        offer(y);
      });
      continue;
    }
    network_.message(x, y, [this, x = x, y = y] {
      Node& node = *nodes_[y];
      if (!network_.alive(x)) return;
      const Node& other = *nodes_[x];
      node.download.on_peer_joined(id_of(x), world_.now(), other.seed && settings_.offers);
      auto runs =
          other.seed ? std::vector<ChunkRun>{{0, space_.count()}} : runs_of(other.download.have());
      if (other.seed) node.complete.insert(x);
      if (!runs.empty()) node.download.on_have(id_of(x), runs, world_.now());
      perform(y);
    });
  }
}

void SimSwarm::start(NodeIndex index) {
  Node& node = *nodes_[index];
  node.started = true;
  node.begin = world_.now();
  const std::uint32_t members = settings_.receivers + settings_.seeds;
  if (members <= settings_.full_mesh) {
    for (NodeIndex other = 0; other < members; ++other) {
      if (nodes_[other]->started || nodes_[other]->seed) connect(index, other);
    }
    return;
  }
  for (std::uint32_t i = 0; i < settings_.seeds; ++i) connect(index, seed(i));
  while (node.neighbours.size() < std::min(settings_.neighbours, members - 1)) {
    connect(index, static_cast<NodeIndex>(rng_.below(settings_.receivers)));
  }
}

void SimSwarm::disconnect(NodeIndex dead) {
  for (const NodeIndex other : nodes_[dead]->neighbours) {
    // A reset reaches the neighbour after a round trip, as a rule.
    world_.after(settings_.network.round_trip, [this, dead, other] {
      Node& node = *nodes_[other];
      node.uploads.on_peer_left(id_of(dead));
      node.offers.on_peer_left(id_of(dead));
      if (!node.seed) node.download.on_peer_left(id_of(dead), world_.now());
      node.neighbours.erase(dead);
      perform(other);
      grant(other);
    });
  }
}

void SimSwarm::perform(NodeIndex index) {
  Node& node = *nodes_[index];
  if (node.seed) return offer(index);
  for (const Download::Effect& effect : node.download.take_effects()) {
    if (const auto* request = std::get_if<Download::SendRequest>(&effect)) {
      const NodeIndex to = node.by_id.at(request->peer);
      network_.message(index, to, [this, index, to, range = request->range] {
        const SpaceKey space{};
        const bool offered = nodes_[to]->seed && !nodes_[to]->offers.all_out();
        if (!offered && nodes_[to]->uploads.busy_for(id_of(index), space, range.chunk)) {
          network_.message(to, index, [this, index, to, range] {
            nodes_[index]->download.on_busy(id_of(to), range, world_.now());
            perform(index);
          });
          return;
        }
        nodes_[to]->offers.on_requested(id_of(index), range.chunk, world_.now());
        if (nodes_[to]->uploads.on_request(id_of(index), space, range)) return grant(to);
        network_.message(to, index, [this, index, to, range] {
          nodes_[index]->download.on_refused(id_of(to), range, world_.now());
          perform(index);
        });
      });
    } else if (const auto* cancel = std::get_if<Download::SendCancel>(&effect)) {
      const NodeIndex to = node.by_id.at(cancel->peer);
      network_.message(index, to, [this, index, to, range = cancel->range] {
        nodes_[to]->uploads.on_cancel(id_of(index), SpaceKey{}, range);
        grant(to);
      });
    } else if (const auto* decline = std::get_if<Download::SendDecline>(&effect)) {
      const NodeIndex to = node.by_id.at(decline->peer);
      network_.message(index, to, [this, index, to, chunk = decline->chunk] {
        nodes_[to]->offers.on_declined(id_of(index), chunk, world_.now());
        offer(to);
      });
    }
  }
  const Time next = std::min(node.download.next_deadline(), node.news.next_deadline());
  if (next < node.armed) {
    node.armed = next;
    world_.at(next, [this, index] { tick(index); });
  }
}

// A seed's offers go out, and it looks again when one of them is overdue.
void SimSwarm::offer(NodeIndex index) {
  Node& node = *nodes_[index];
  if (!node.seed || !settings_.offers) return;
  for (const SeedOffers::Offer& offer : node.offers.take_offers(world_.now())) {
    const NodeIndex to = node.by_id.at(offer.peer);
    network_.message(index, to, [this, index, to, chunk = offer.chunk] {
      nodes_[to]->download.on_offer(id_of(index), chunk, world_.now());
      perform(to);
    });
  }
  const Time next = node.offers.next_deadline();
  if (next < node.armed) {
    node.armed = next;
    world_.at(next, [this, index] { tick(index); });
  }
}

void SimSwarm::tick(NodeIndex index) {
  Node& node = *nodes_[index];
  node.armed = Time::max();
  if (!network_.alive(index)) return;
  if (node.seed) return offer(index);
  if (node.news.next_deadline() <= world_.now()) tell_news(index);
  node.download.on_tick(world_.now());
  perform(index);
}

void SimSwarm::tell_news(NodeIndex index) {
  Node& node = *nodes_[index];
  const std::vector<ChunkRun> runs = node.news.take();
  for (const NodeIndex other : node.neighbours) {
    if (nodes_[other]->seed) {
      if (!settings_.offers) continue;
      network_.message(index, other, [this, index, other, runs] {
        nodes_[other]->offers.on_have(id_of(index), runs, world_.now());
        offer(other);
      });
      continue;
    }
    if (node.complete.contains(other)) continue;
    network_.message(index, other, [this, index, other, runs] {
      Node& neighbour = *nodes_[other];
      if (nodes_[index]->whole) neighbour.complete.insert(index);
      neighbour.download.on_have(id_of(index), runs, world_.now());
      perform(other);
    });
  }
}

void SimSwarm::grant(NodeIndex index) {
  Node& node = *nodes_[index];
  for (const UploadSlots::Grant& given : node.uploads.take_grants(world_.now())) {
    const auto to = static_cast<NodeIndex>(node.by_id.at(given.peer));
    if (node.seed) {
      node.offers.on_served(given.peer, given.range.chunk, given.range.length,
                            space_.data_bytes_of(given.range.chunk), world_.now());
    }
    for (std::uint32_t done = 0; done < given.range.length;) {
      const std::uint32_t bytes = std::min(settings_.piece_bytes, given.range.length - done);
      const ChunkRange piece{given.range.chunk, given.range.offset + done, bytes};
      network_.send(index, {to, bytes,
                            [this, index, to, bytes] {
                              nodes_[index]->uploads.on_sent(id_of(to), bytes, world_.now());
                              grant(index);
                            },
                            [this, index, to, piece] { arrived(to, index, piece); }});
      done += bytes;
    }
  }
  offer(index);
}

void SimSwarm::arrived(NodeIndex index, NodeIndex from, const ChunkRange& range) {
  Node& node = *nodes_[index];
  const auto arrival = node.download.on_data(id_of(from), range, world_.now());
  if (arrival == Download::Arrival::store_and_last) {
    node.download.on_chunk_verified(range.chunk, world_.now());
    node.news.on_chunk_ready(range.chunk, world_.now());
    for (const std::uint64_t word : {static_cast<std::uint64_t>(world_.now().since_start.count()),
                                     static_cast<std::uint64_t>(index) << 32 | range.chunk.value}) {
      trace_ = (trace_ ^ word) * 1099511628211ull;  // FNV-1a, by words
    }
    if (node.download.complete() && !node.whole) {
      node.whole = true;
      node.whole_at = world_.now();
      ++whole_;
      tell_news(index);
    }
  }
  perform(index);
}

double SimSwarm::floor_seconds() const {
  const double bytes = static_cast<double>(settings_.file_bytes);
  const double up = settings_.rates.up;
  const double members = settings_.receivers + settings_.seeds;
  return std::max({bytes / (up * settings_.seeds), bytes / settings_.rates.down,
                   settings_.receivers * bytes / (up * members)});
}

SwarmResult SimSwarm::run() {
  for (NodeIndex i = 0; i < nodes_.size(); ++i) nodes_[i]->started = nodes_[i]->seed;
  for (NodeIndex i = 0; i < settings_.receivers; ++i) {
    world_.at(nodes_[i]->late_until, [this, i] {
      if (network_.alive(i)) start(i);
    });
  }
  const Time begin = world_.now();
  const auto living = [&] {
    std::uint32_t count = 0;
    for (NodeIndex i = 0; i < settings_.receivers; ++i) count += network_.alive(i) ? 1 : 0;
    return count;
  };
  while (whole_ < living() && world_.now() - begin < settings_.give_up && world_.step()) {
  }

  SwarmResult result;
  std::vector<double> times;
  std::uint64_t received = 0;
  std::uint64_t duplicate = 0;
  for (NodeIndex i = 0; i < settings_.receivers; ++i) {
    const Node& node = *nodes_[i];
    received += node.download.bytes_received();
    duplicate += node.download.bytes_duplicate();
    if (node.whole) times.push_back(seconds(node.whole_at - begin));
  }
  std::sort(times.begin(), times.end());
  result.everybody = times.size() >= living();
  if (!times.empty()) {
    result.last_seconds = times.back();
    result.median_seconds = times[times.size() / 2];
  }
  result.floor_seconds = floor_seconds();
  result.ratio = result.last_seconds / result.floor_seconds;
  std::uint64_t seeded = 0;
  for (std::uint32_t i = 0; i < settings_.seeds; ++i) seeded += network_.bytes_sent(seed(i));
  result.seed_copies = static_cast<double>(seeded) / static_cast<double>(settings_.file_bytes);
  result.duplicates =
      received == 0 ? 0 : static_cast<double>(duplicate) / static_cast<double>(received);
  result.messages_per_node =
      static_cast<double>(network_.messages()) / static_cast<double>(nodes_.size());
  result.events = world_.steps();
  result.trace = trace_;
  return result;
}

std::string summary(const SwarmSettings& settings, const SwarmResult& result) {
  char text[256];
  std::snprintf(text, sizeof text,
                "N=%u M=%u: %s%.3f x floor (%.2f s), median %.3f, seeds sent %.3f x, duplicates "
                "%.2f %%, %.0f messages a node, %llu events, trace %016llx",
                settings.receivers, chunk_count_for(settings.file_bytes),
                result.everybody ? "" : "NOT EVERYBODY: ", result.ratio, result.last_seconds,
                result.median_seconds / result.floor_seconds, result.seed_copies,
                100 * result.duplicates, result.messages_per_node,
                static_cast<unsigned long long>(result.events),
                static_cast<unsigned long long>(result.trace));
  return text;
}

}  // namespace p2p::sim
