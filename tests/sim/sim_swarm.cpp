#include "tests/sim/sim_swarm.h"

#include <algorithm>
#include <cstring>

#include "tests/sim/sim_node.h"

namespace p2p::sim {
namespace {

// Stands for the content id: the same for all nodes.
constexpr std::uint64_t kContentKey = 0x5eed;

HashTree tree_of(std::uint64_t bytes) {
  HashTree tree;
  tree.size = bytes;
  if (chunk_count_for(bytes) > 1) tree.layer.resize(chunk_count_for(bytes));
  return tree;
}

// Where the i-th of `count` stands, when they fill `groups` one after the other.
std::uint32_t group_of(std::uint32_t i, std::uint32_t count, std::uint32_t groups) {
  return static_cast<std::uint32_t>(std::uint64_t{i} * groups / std::max(count, 1u));
}

}  // namespace

NodeId id_of(NodeIndex index) {
  // Spread over the whole range: the order of ids must mean nothing.
  Rng rng(index + 1);
  NodeId id;
  const std::uint64_t words[2] = {rng.next(), rng.next()};
  std::memcpy(id.bytes.data(), words, sizeof words);
  std::memcpy(id.bytes.data() + 12, &index, sizeof index);
  return id;
}

NodeIndex index_of(const NodeId& id) {
  NodeIndex index = 0;
  std::memcpy(&index, id.bytes.data() + 12, sizeof index);
  return index;
}

SimSwarm::SimSwarm(const SwarmSettings& settings)
    : settings_(settings),
      space_(tree_of(settings.file_bytes)),
      network_(world_, settings.network, *this),
      rng_(settings.seed),
      rollout_(settings.rollout, settings.receivers),
      out_(space_.count()) {
  for (NodeIndex i = 0; i < settings.receivers + settings.seeds; ++i) {
    const bool is_seed = i >= settings.receivers;
    const std::uint32_t rack = is_seed ? (i - settings.receivers) % settings.racks
                                       : group_of(i, settings.receivers, settings.racks);
    network_.add(settings.rates, {rack, group_of(rack, settings.racks, settings.dcs)});
    nodes_.push_back(std::make_unique<Node>());
    nodes_.back()->seed = is_seed;
    begin(i);
  }
  for (std::uint32_t rack = 0; rack < network_.racks(); ++rack) {
    network_.set_rack_rates(rack, settings.rack_rates);
  }
  for (std::uint32_t dc = 0; dc < settings.dcs; ++dc) {
    network_.set_dc_rates(dc, settings.dc_rates);
  }
}

SimSwarm::~SimSwarm() = default;

bool SimSwarm::far(NodeIndex a, NodeIndex b) const {
  return settings_.racks > 1 && network_.place(a).rack != network_.place(b).rack;
}

std::string SimSwarm::rack_of(NodeIndex node) const {
  return settings_.racks > 1 ? "r" + std::to_string(network_.place(node).rack) : "";
}

// A process begins: nothing is known.
void SimSwarm::begin(NodeIndex index) {
  Node& node = *nodes_[index];
  Rng rng = rng_.split();
  node.uploads = std::make_unique<UploadSlots>(settings_.upload);
  node.news = HaveBatch(settings_.have);
  node.heard_of.clear();
  if (!node.seed) {
    node.download = std::make_unique<Download>(space_, settings_.download, rng);
    return;
  }
  node.offers = std::make_unique<SeedOffers>(space_.count(), settings_.offer, rng);
  if (settings_.rack_rule) node.offers->stands_in(rack_of(index), kContentKey);
  if (settings_.seeds > 1) {
    std::vector<NodeId> seeds;
    for (std::uint32_t i = 0; i < settings_.seeds; ++i) seeds.push_back(id_of(seed(i)));
    node.offers->set_seeds(id_of(index), seeds);
  }
}

// The tracker tells the node whom it should know, and it dials them.
void SimSwarm::start(NodeIndex index) {
  Node& node = *nodes_[index];
  node.started = true;
  node.left_at = Time::max();
  swarm_.on_rack(id_of(index), rack_of(index));
  swarm_.on_wants(id_of(index));
  const auto members = swarm_.handout(id_of(index), settings_.handout, rng_);
  if (settings_.racks > 1 && settings_.rack_rule) {
    std::vector<NodeId> mates;
    for (const auto& member : members) {
      if (member.rack_mate && !member.seed) mates.push_back(member.node);
    }
    node.download->stands_in_rack(id_of(index), kContentKey, mates, world_.now());
  }
  for (const auto& member : members) {
    const NodeIndex other = index_of(member.node);
    world_.after(settings_.handshake, [this, index, other] {
      if (nodes_[index]->started && nodes_[other]->started) connect(index, other);
    });
  }
}

// As the tracker does: all whose turn has come are entered before any is told.
void SimSwarm::give_turns() {
  if (!settings_.rollout.limits_anything()) return;
  const WallTime now{world_.now().since_start};
  const std::vector<std::size_t> turns = rollout_.take_turns(now);
  for (const std::size_t turn : turns) {
    swarm_.on_rack(id_of(static_cast<NodeIndex>(turn)), rack_of(static_cast<NodeIndex>(turn)));
    swarm_.on_wants(id_of(static_cast<NodeIndex>(turn)));
  }
  for (const std::size_t turn : turns) {
    world_.after(Duration{0}, [this, index = static_cast<NodeIndex>(turn)] {
      if (network_.alive(index)) start(index);
    });
  }
  const WallTime next = rollout_.next_deadline();
  if (next != WallTime::max() && next > now) world_.after(next - now, [this] { give_turns(); });
}

void SimSwarm::connect(NodeIndex a, NodeIndex b) {
  if (a == b || nodes_[a]->neighbours.contains(b)) return;
  nodes_[a]->neighbours.insert(b);
  nodes_[b]->neighbours.insert(a);
  network_.message(a, b, [this, a, b] { met(b, a); });
  network_.message(b, a, [this, a, b] { met(a, b); });
}

// What the other told about itself when the connection stood has arrived.
void SimSwarm::met(NodeIndex index, NodeIndex from) {
  Node& node = *nodes_[index];
  const Node& other = *nodes_[from];
  const Time now = world_.now();
  if (settings_.rack_rule && far(index, from)) node.uploads->set_far(id_of(from));
  const std::vector<ChunkRun> runs =
      other.seed ? std::vector<ChunkRun>{{0, space_.count()}} : runs_of(other.download->have());
  if (!runs.empty()) heard_of(index, from);
  if (node.seed) {
    if (other.seed) return;
    node.offers->on_peer_joined(id_of(from), rack_of(from));
    node.offers->on_have(id_of(from), runs, now);
    return offer(index);
  }
  if (other.seed || other.whole) node.complete.insert(from);
  const bool is_far = far(index, from) && settings_.rack_rule;
  node.download->on_peer_joined(id_of(from), now, other.seed && settings_.offers, is_far);
  if (!runs.empty()) node.download->on_have(id_of(from), runs, now);
  perform(index);
}

void SimSwarm::perform(NodeIndex index) {
  Node& node = *nodes_[index];
  if (node.seed) return offer(index);
  for (const Download::Effect& effect : node.download->take_effects()) {
    if (const auto* request = std::get_if<Download::SendRequest>(&effect)) {
      const NodeIndex to = index_of(request->peer);
      ++messages_.requests;
      network_.message(index, to,
                       [this, index, to, range = request->range] { requested(to, index, range); });
    } else if (const auto* cancel = std::get_if<Download::SendCancel>(&effect)) {
      const NodeIndex to = index_of(cancel->peer);
      ++messages_.busy;
      network_.message(index, to, [this, index, to, range = cancel->range] {
        nodes_[to]->uploads->on_cancel(id_of(index), SpaceKey{}, range);
        grant(to);
      });
    } else if (const auto* decline = std::get_if<Download::SendDecline>(&effect)) {
      const NodeIndex to = index_of(decline->peer);
      ++messages_.offers;
      network_.message(index, to, [this, index, to, chunk = decline->chunk] {
        nodes_[to]->offers->on_declined(id_of(index), chunk, world_.now());
        offer(to);
      });
    }
  }
  arm(index, std::min(node.download->next_deadline(), node.news.next_deadline()));
}

void SimSwarm::requested(NodeIndex index, NodeIndex from, const ChunkRange& range) {
  Node& node = *nodes_[index];
  if (node.silent) return;
  const bool offered = node.seed && !node.offers->all_out();
  const bool relieved =
      settings_.racks > 3 && !node.seed && far(index, from) && node.download->near_seed_offers();
  if (relieved || (!offered && node.uploads->busy_for(id_of(from), SpaceKey{}, range.chunk))) {
    ++messages_.busy;
    network_.message(index, from, [this, index, from, range] {
      nodes_[from]->download->on_busy(id_of(index), range, world_.now());
      perform(from);
    });
    return;
  }
  if (node.seed) node.offers->on_requested(id_of(from), range.chunk, world_.now());
  if (node.uploads->on_request(id_of(from), SpaceKey{}, range, offered)) return grant(index);
  network_.message(index, from, [this, index, from, range] {
    nodes_[from]->download->on_refused(id_of(index), range, world_.now());
    perform(from);
  });
}

void SimSwarm::arm(NodeIndex index, Time next) {
  Node& node = *nodes_[index];
  if (next >= node.armed) return;
  node.armed = next;
  world_.at(next, [this, index, next] {
    if (nodes_[index]->armed == next) tick(index);
  });
}

// A seed's offers go out, and it looks again when one of them is overdue.
void SimSwarm::offer(NodeIndex index) {
  Node& node = *nodes_[index];
  if (!node.seed || !settings_.offers) return;
  for (const SeedOffers::Offer& offer : node.offers->take_offers(world_.now())) {
    const NodeIndex to = index_of(offer.peer);
    ++messages_.offers;
    network_.message(index, to, [this, index, to, chunk = offer.chunk] {
      nodes_[to]->download->on_offer(id_of(index), chunk, world_.now());
      perform(to);
    });
  }
  arm(index, node.offers->next_deadline());
}

void SimSwarm::tick(NodeIndex index) {
  Node& node = *nodes_[index];
  node.armed = Time::max();
  if (!network_.alive(index)) return;
  if (network_.stalled(index)) return arm(index, world_.now() + std::chrono::milliseconds(50));
  if (node.seed) return offer(index);
  if (node.news.next_deadline() <= world_.now()) tell_news(index);
  node.download->on_tick(world_.now());
  perform(index);
}

void SimSwarm::tell_news(NodeIndex index) {
  Node& node = *nodes_[index];
  const auto runs = std::make_shared<const std::vector<ChunkRun>>(node.news.take());
  // Not always the same ones first.
  std::vector<NodeIndex> others(node.neighbours.begin(), node.neighbours.end());
  if (others.empty()) return;
  std::rotate(others.begin(),
              others.begin() + static_cast<std::ptrdiff_t>((index + node.told++) % others.size()),
              others.end());
  for (const NodeIndex other : others) {
    if (nodes_[other]->seed) {
      if (!settings_.offers) continue;
      ++messages_.news;
      network_.message(index, other, [this, index, other, runs] {
        nodes_[other]->offers->on_have(id_of(index), *runs, world_.now());
        heard_of(other, index);
        offer(other);
      });
      continue;
    }
    if (node.complete.contains(other)) continue;
    ++messages_.news;
    network_.message(index, other, [this, index, other, runs] {
      Node& neighbour = *nodes_[other];
      if (nodes_[index]->whole) neighbour.complete.insert(index);
      heard_of(other, index);
      neighbour.download->on_have(id_of(index), *runs, world_.now());
      perform(other);
    });
  }
}

// The other has something; the first time counts.
void SimSwarm::heard_of(NodeIndex index, NodeIndex other) {
  std::vector<bool>& heard = nodes_[index]->heard_of;
  heard.resize(nodes_.size());
  if (heard[other]) return;
  heard[other] = true;
  nodes_[index]->uploads->on_have(id_of(other), SpaceKey{});
}

void SimSwarm::grant(NodeIndex index) {
  Node& node = *nodes_[index];
  for (const UploadSlots::Grant& given : node.uploads->take_grants(world_.now())) {
    const NodeIndex to = index_of(given.peer);
    if (node.seed) {
      node.offers->on_served(given.peer, given.range.chunk, given.range.length,
                             space_.data_bytes_of(given.range.chunk), world_.now());
    }
    for (std::uint32_t done = 0; done < given.range.length;) {
      const std::uint32_t bytes = std::min(settings_.piece_bytes, given.range.length - done);
      network_.send(index, to, {given.range.chunk, given.range.offset + done, bytes});
      done += bytes;
    }
  }
  offer(index);
}

void SimSwarm::on_left(NodeIndex from, NodeIndex to, const ChunkRange& piece) {
  nodes_[from]->uploads->on_sent(id_of(to), piece.length, world_.now());
  grant(from);
}

void SimSwarm::on_arrived(NodeIndex from, NodeIndex index, const ChunkRange& range) {
  Node& node = *nodes_[index];
  if (node.seed) return;
  const auto arrival = node.download->on_data(id_of(from), range, world_.now());
  if (arrival == Download::Arrival::store_and_last) {
    node.download->on_chunk_verified(range.chunk, world_.now());
    node.news.on_chunk_ready(range.chunk, world_.now(),
                             node.download->is_rare(range.chunk, settings_.have.rare_holders));
    note_out(range.chunk);
    for (const std::uint64_t word : {static_cast<std::uint64_t>(world_.now().since_start.count()),
                                     static_cast<std::uint64_t>(index) << 32 | range.chunk.value}) {
      trace_ = (trace_ ^ word) * 1099511628211ull;  // FNV-1a, by words
    }
    if (node.download->complete() && !node.whole) {
      node.whole = true;
      node.whole_at = world_.now();
      ++whole_;
      tell_news(index);
      rollout_.set(index, Rollout::Phase::good, WallTime{world_.now().since_start});
      give_turns();
    }
  }
  perform(index);
}

void SimSwarm::note_out(ChunkIndex chunk) {
  if (!out_.set(chunk.value) || !out_.all()) return;
  all_out_at_ = world_.now();
  sent_when_out_ = seeds_sent();
}

std::uint64_t SimSwarm::seeds_sent() const {
  std::uint64_t sent = 0;
  for (std::uint32_t i = 0; i < settings_.seeds; ++i) sent += network_.bytes_sent(seed(i));
  return sent;
}

double SimSwarm::floor_seconds() const {
  const double file = static_cast<double>(settings_.file_bytes);
  const double up = settings_.rates.up;
  double floor =
      std::max({file / (up * settings_.seeds), file / settings_.rates.down,
                settings_.receivers * file / (up * (settings_.receivers + settings_.seeds))});
  // Groups without a seed get their copy through their own link, and from the links of others.
  const auto shared = [&](std::uint32_t groups, const LinkRates& rates) {
    const double with_seeds = std::min(groups, settings_.seeds);
    const double without = groups - with_seeds;
    if (without <= 0) return;
    const double members = static_cast<double>(settings_.receivers) / groups;
    if (rates.down > 0) {
      floor = std::max({floor, file / rates.down, members * file / (members * up + rates.down)});
    }
    if (rates.up > 0) {
      floor =
          std::max({floor, file / (rates.up * with_seeds), without * file / (rates.up * groups)});
    }
  };
  shared(settings_.racks, settings_.rack_rates);
  if (settings_.dcs > 1) shared(settings_.dcs, settings_.dc_rates);
  return floor;
}

SwarmResult SimSwarm::run() {
  const Time began = world_.now();
  for (std::uint32_t i = 0; i < settings_.seeds; ++i) {
    nodes_[seed(i)]->started = true;
    swarm_.on_rack(id_of(seed(i)), rack_of(seed(i)));
    swarm_.on_holder(id_of(seed(i)), {true, settings_.file_bytes, ""});
  }
  // All targets that are online are entered before any is told.
  const bool in_turns = settings_.rollout.limits_anything();
  expected_ = settings_.receivers;
  if (in_turns) give_turns();
  for (NodeIndex i = 0; i < settings_.receivers && !in_turns; ++i) {
    if (nodes_[i]->late > Duration{0}) continue;
    swarm_.on_rack(id_of(i), rack_of(i));
    swarm_.on_wants(id_of(i));
  }
  for (NodeIndex i = 0; i < settings_.receivers && !in_turns; ++i) {
    world_.after(nodes_[i]->late, [this, i] {
      if (network_.alive(i)) start(i);
    });
  }
  if (settings_.cut_share > 0) world_.after(std::chrono::seconds(1), [this] { cut_some(); });
  look_at_idle_links();
  while (whole_ < expected_ && world_.now() - began < settings_.give_up && world_.step()) {
  }

  SwarmResult result;
  std::vector<double> times;
  std::uint64_t received = 0;
  std::uint64_t duplicate = 0;
  for (NodeIndex i = 0; i < settings_.receivers; ++i) {
    const Node& node = *nodes_[i];
    received += node.download->bytes_received();
    duplicate += node.download->bytes_duplicate();
    for (double LostTime::*cause : {&LostTime::start, &LostTime::news, &LostTime::holders,
                                    &LostTime::answers, &LostTime::tail, &LostTime::away}) {
      result.lost.*cause += node.lost.*cause / settings_.receivers;
    }
    if (!node.whole || node.given_up) continue;
    const double took = seconds(node.whole_at - began);
    times.push_back(took);
    if (node.sound) result.last_sound_seconds = std::max(result.last_sound_seconds, took);
    if (took >= *std::max_element(times.begin(), times.end())) result.lost_last = node.lost;
  }
  std::sort(times.begin(), times.end());
  result.everybody = whole_ >= expected_;
  if (!times.empty()) {
    result.last_seconds = times.back();
    result.median_seconds = times[times.size() / 2];
  }
  result.floor_seconds = floor_seconds();
  result.ratio = result.last_seconds / result.floor_seconds;
  result.sound_ratio = result.last_sound_seconds / result.floor_seconds;
  const double file = static_cast<double>(settings_.file_bytes);
  result.seed_copies = static_cast<double>(seeds_sent()) / file;
  result.seed_copies_then = static_cast<double>(sent_when_out_) / file;
  result.all_out_seconds = seconds(all_out_at_ - began);
  for (std::uint32_t rack = 0; rack < network_.racks(); ++rack) {
    const double in = static_cast<double>(network_.rack_in(rack)) / file;
    const double out = static_cast<double>(network_.rack_out(rack)) / file;
    if (rack >= settings_.seeds) result.rack_in = std::max(result.rack_in, in);
    result.rack_out = std::max(result.rack_out, out);
  }
  result.duplicates =
      received == 0 ? 0 : static_cast<double>(duplicate) / static_cast<double>(received);
  for (double MessageCounts::*kind : {&MessageCounts::news, &MessageCounts::requests,
                                      &MessageCounts::busy, &MessageCounts::offers}) {
    result.messages.*kind = messages_.*kind / static_cast<double>(nodes_.size());
  }
  result.events = world_.steps();
  result.trace = trace_;
  return result;
}

}  // namespace p2p::sim
