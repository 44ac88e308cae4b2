#include "tests/sim/network.h"

#include <algorithm>

namespace p2p::sim {
namespace {

std::uint64_t pair_key(NodeIndex a, NodeIndex b) {
  return std::uint64_t{std::min(a, b)} << 32 | std::max(a, b);
}

}  // namespace

NodeIndex Network::add(const LinkRates& rates, const Place& place) {
  Node node;
  node.rates = rates;
  node.place = place;
  nodes_.push_back(std::move(node));
  while (racks_.size() <= place.rack) racks_.emplace_back();
  while (dcs_.size() <= place.dc) dcs_.emplace_back();
  return static_cast<NodeIndex>(nodes_.size() - 1);
}

void Network::set_rack_rates(std::uint32_t rack, const LinkRates& rates) {
  racks_[rack].up.rate = rates.up;
  racks_[rack].down.rate = rates.down;
}

void Network::set_dc_rates(std::uint32_t dc, const LinkRates& rates) {
  dcs_[dc].up.rate = rates.up;
  dcs_[dc].down.rate = rates.down;
}

void Network::set_alive(NodeIndex index, bool alive) {
  Node& node = nodes_[index];
  node.alive = alive;
  ++node.lives;
  node.streams.clear();
  node.turns.clear();
  node.busy = false;
}

void Network::cut(NodeIndex a, NodeIndex b) {
  ++cuts_[pair_key(a, b)];
  nodes_[a].streams.erase(b);
  nodes_[b].streams.erase(a);
}

void Network::stall(NodeIndex node, Time until) {
  nodes_[node].reads_again = until;
  world_.at(until, [this, node] {
    for (const Stream& stream : std::exchange(nodes_[node].waiting, {})) resume(stream);
  });
}

std::uint64_t Network::life(NodeIndex a, NodeIndex b) const {
  std::uint64_t lives = nodes_[a].lives + nodes_[b].lives;
  if (cuts_.empty()) return lives;
  const auto found = cuts_.find(pair_key(a, b));
  return found == cuts_.end() ? lives : lives + found->second;
}

void Network::charge(NodeIndex from, NodeIndex to) {
  ++messages_;
  if (nodes_[from].busy) nodes_[from].up_debt += settings_.message_bytes;
  if (nodes_[to].down_free > world_.now()) nodes_[to].down_debt += settings_.message_bytes;
}

void Network::send(NodeIndex from, NodeIndex to, const ChunkRange& piece) {
  Node& node = nodes_[from];
  if (!node.alive) return;
  auto& stream = node.streams[to];
  stream.push_back(piece);
  // A stream that had something is in the turns, or waits for a link.
  if (stream.size() > 1) return;
  node.turns.push_back(to);
  if (!node.busy) send_next(from);
}

std::vector<Network::SharedLink*> Network::way(NodeIndex from, NodeIndex to) {
  std::vector<SharedLink*> links;
  const Place& a = nodes_[from].place;
  const Place& b = nodes_[to].place;
  if (a.rack == b.rack) return links;
  links.push_back(&racks_[a.rack].up);
  if (a.dc != b.dc) {
    links.push_back(&dcs_[a.dc].up);
    links.push_back(&dcs_[b.dc].down);
  }
  links.push_back(&racks_[b.rack].down);
  return links;
}

Network::SharedLink* Network::full_link(const std::vector<SharedLink*>& links) const {
  for (SharedLink* link : links) {
    if (link->rate > 0 && link->free > world_.now() + one_way() + settings_.shared_queue) {
      return link;
    }
  }
  return nullptr;
}

void Network::wait_for(SharedLink& link, Stream stream) {
  link.waiting.push_back(stream);
  if (link.woken) return;
  link.woken = true;
  world_.at(has_room_at(link), [this, &link] { wake(link); });
}

// Lets as many streams go on as have room in the queue now; with one piece each.
void Network::wake(SharedLink& link) {
  link.woken = false;
  const Duration queued = std::max(link.free - (world_.now() + one_way()), Duration{0});
  double room = link.rate * seconds(settings_.shared_queue - queued);
  std::vector<Stream> going;
  while (room >= 0 && !link.waiting.empty()) {
    const Stream stream = link.waiting.front();
    link.waiting.pop_front();
    const auto& streams = nodes_[stream.first].streams;
    const auto found = streams.find(stream.second);
    if (found == streams.end() || found->second.empty()) continue;  // dead or cut
    room -= found->second.front().length;
    going.push_back(stream);
  }
  for (const Stream& stream : going) resume(stream);
  if (!link.waiting.empty() && !link.woken) {
    link.woken = true;
    const Time next = std::max(has_room_at(link), world_.now() + std::chrono::microseconds(100));
    world_.at(next, [this, &link] { wake(link); });
  }
}

void Network::resume(Stream stream) {
  Node& node = nodes_[stream.first];
  const auto found = node.streams.find(stream.second);
  if (!node.alive || found == node.streams.end() || found->second.empty()) return;
  node.turns.push_front(stream.second);
  if (!node.busy) send_next(stream.first);
}

void Network::send_next(NodeIndex from) {
  Node& node = nodes_[from];
  node.busy = false;
  while (!node.turns.empty()) {
    const NodeIndex to = node.turns.front();
    node.turns.pop_front();
    const auto found = node.streams.find(to);
    if (found == node.streams.end() || found->second.empty()) continue;
    if (!nodes_[to].alive) {
      node.streams.erase(found);
      continue;
    }
    if (stalled(to)) {
      nodes_[to].waiting.push_back({from, to});
      continue;
    }
    const std::vector<SharedLink*> links = way(from, to);
    if (SharedLink* full = full_link(links)) {
      wait_for(*full, {from, to});
      continue;
    }
    const ChunkRange piece = found->second.front();
    found->second.pop_front();
    if (!found->second.empty()) node.turns.push_back(to);
    return transmit(from, to, piece, links);
  }
}

void Network::transmit(NodeIndex from, NodeIndex to, const ChunkRange& piece,
                       const std::vector<SharedLink*>& links) {
  Node& sender = nodes_[from];
  Node& receiver = nodes_[to];
  sender.busy = true;
  const double bytes = piece.length;
  const Time begins = world_.now();
  const Time leaves =
      begins + from_seconds((bytes + std::exchange(sender.up_debt, 0)) / sender.rates.up);
  // Of each link: when the first byte can go, and when the last one has gone.
  Time first = begins + one_way();
  Time last = leaves + one_way();
  for (SharedLink* link : links) {
    link->bytes += piece.length;
    if (link->rate <= 0) continue;
    first = std::max(first, link->free);
    last = std::max(first + from_seconds(bytes / link->rate), last);
    link->free = last;
  }
  first = std::max(first, receiver.down_free);
  const double with_messages = bytes + std::exchange(receiver.down_debt, 0);
  const Duration takes = from_seconds(with_messages / receiver.rates.down);
  const Time arrives = std::max(first + takes, last);
  receiver.down_free = arrives;
  const std::uint64_t at = life(from, to);
  const std::uint32_t own = sender.lives;
  world_.at(leaves, [this, from, to, piece, at, own] {
    if (own != nodes_[from].lives) return;
    nodes_[from].bytes_sent += piece.length;
    // Of a connection that was cut nobody hears any more.
    if (at == life(from, to)) listener_.on_left(from, to, piece);
    send_next(from);
  });
  world_.at(arrives, [this, from, to, piece, at, takes] {
    nodes_[to].received_for += takes;
    if (at == life(from, to)) listener_.on_arrived(from, to, piece);
  });
}

}  // namespace p2p::sim
