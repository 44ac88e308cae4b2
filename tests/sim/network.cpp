#include "tests/sim/network.h"

#include <algorithm>
#include <memory>

namespace p2p::sim {

void Network::set_alive(NodeIndex node, bool alive) {
  Link& link = links_[node];
  link.alive = alive;
  link.streams.clear();
  link.turns.clear();
}

void Network::send(NodeIndex from, Piece piece) {
  Link& link = links_[from];
  if (!link.alive) return;
  auto& stream = link.streams[piece.to];
  if (stream.empty()) link.turns.push_back(piece.to);
  stream.push_back(std::move(piece));
  if (!link.busy) send_next(from);
}

void Network::send_next(NodeIndex from) {
  Link& link = links_[from];
  if (link.turns.empty()) {
    link.busy = false;
    return;
  }
  link.busy = true;
  const NodeIndex to = link.turns.front();
  link.turns.pop_front();
  auto& stream = link.streams[to];
  auto piece = std::make_shared<Piece>(std::move(stream.front()));
  stream.pop_front();
  if (!stream.empty()) link.turns.push_back(to);

  const Time begins = world_.now();
  const Time leaves = begins + from_seconds(piece->bytes / link.rates.up);
  Link& receiver = links_[to];
  const Time reaches = std::max(begins + one_way(), receiver.down_free);
  const Time arrives =
      std::max(reaches + from_seconds(piece->bytes / receiver.rates.down), leaves + one_way());
  receiver.down_free = arrives;
  world_.at(leaves, [this, from, piece] {
    if (!links_[from].alive) {
      links_[from].busy = false;
      return;
    }
    links_[from].bytes_sent += piece->bytes;
    piece->on_left();
    send_next(from);
  });
  world_.at(arrives, [this, from, to, piece] {
    if (links_[to].alive && links_[from].alive) piece->on_arrived();
  });
}

void Network::message(NodeIndex from, NodeIndex to, std::function<void()> deliver) {
  if (!links_[from].alive) return;
  ++messages_;
  world_.after(one_way(), [this, to, deliver = std::move(deliver)] {
    if (links_[to].alive) deliver();
  });
}

}  // namespace p2p::sim
