#include "core/transfer/seed_offers.h"

#include <algorithm>
#include <tuple>

#include "core/transfer/rack_entry.h"
#include "core/transfer/rendezvous.h"

namespace p2p {
namespace {

// Chunks that are looked at for one offer: not everybody may take each of them.
constexpr std::size_t kLooks = 32;

}  // namespace

SeedOffers::SeedOffers(std::uint32_t chunk_count, const OfferSettings& settings, Rng rng)
    : settings_(settings), out_(chunk_count), spread_(chunk_count) {
  order_.reserve(chunk_count);
  for (std::uint32_t i = 0; i < chunk_count; ++i) order_.push_back(ChunkIndex{i});
  rng.shuffle(order_);
}

void SeedOffers::stands_in(std::string rack, std::uint64_t key) {
  rack_ = std::move(rack);
  key_ = key;
}

void SeedOffers::set_seeds(NodeId self, const std::vector<NodeId>& seeds) {
  if (seeds.empty()) return;
  // An owner goes through its share in rising order of weight, a helper in falling order: they
  // meet once, at the end.
  std::vector<std::pair<std::pair<bool, std::uint64_t>, ChunkIndex>> ranked;
  ranked.reserve(order_.size());
  for (const ChunkIndex chunk : order_) {
    const NodeId& owner = entry_for(seeds, chunk);
    const std::uint64_t weight = rendezvous_weight(owner, chunk.value);
    const bool own = owner == self;
    ranked.push_back({{!own, own ? weight : ~weight}, chunk});
  }
  std::sort(ranked.begin(), ranked.end());
  for (std::size_t i = 0; i < ranked.size(); ++i) order_[i] = ranked[i].second;
  next_ = 0;
}

void SeedOffers::on_peer_joined(NodeId id, const std::string& rack) {
  Peer& peer = peers_[id];
  if (peer.have.size() == 0) peer.have = Bitfield(out_.size());
  peer.rack = rack;
  if (std::find(untold_.begin(), untold_.end(), id) == untold_.end()) untold_.push_back(id);
  rack_changed(rack);
}

void SeedOffers::rack_changed(const std::string& rack) {
  if (rack_.empty() || rack.empty() || rack == rack_) return;
  std::vector<NodeId> members;
  for (const auto& [id, peer] : peers_) {
    if (peer.rack == rack) members.push_back(id);
  }
  if (members.empty()) {
    entries_.erase(rack);
  } else {
    entries_[rack] = entry_nodes(std::move(members), key_, settings_.entries);
  }
}

void SeedOffers::on_peer_left(NodeId id) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  for (auto it = given_.begin(); it != given_.end();) {
    const ChunkIndex chunk = it->first.first;
    if (it->first.second != id) {
      ++it;
      continue;
    }
    // Whoever had it alone has taken it away.
    if (it->second.phase == Phase::alone) out_.reset(chunk.value);
    again_.push_back(chunk);
    it = forget(it);
  }
  const std::string rack = found->second.rack;
  peers_.erase(found);
  std::erase(untold_, id);
  rack_changed(rack);
  if (!peers_.empty()) return;
  // The swarm is over; what the next one has is for it to say.
  out_ = Bitfield(out_.size());
  spread_ = Bitfield(out_.size());
  next_ = 0;
  again_.clear();
  lonely_.clear();
  wake_ = Time::max();
}

SeedOffers::GivenMap::iterator SeedOffers::forget(GivenMap::iterator it) {
  Peer& peer = peers_.at(it->first.second);
  if (it->second.phase == Phase::offered) {
    --peer.open;
    --open_;
  } else {
    --peer.alone;
  }
  return given_.erase(it);
}

void SeedOffers::note_spread(Peer& peer, Duration took) {
  peer.spread = peer.spread == Duration{0} ? took : (3 * peer.spread + took) / 4;
  usual_spread_ = usual_spread_ == Duration{0} ? took : (15 * usual_spread_ + took) / 16;
}

void SeedOffers::on_have(NodeId id, const std::vector<ChunkRun>& runs, Time now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  for (const ChunkRun& run : runs) {
    if (run.first > out_.size() || run.count > out_.size() - run.first) return;
    for (std::uint32_t i = run.first; i < run.first + run.count; ++i) {
      if (!found->second.have.set(i)) continue;
      const bool first = out_.set(i);
      if (!first) spread_.set(i);
      const ChunkIndex chunk{i};
      for (auto it = given_.lower_bound({chunk, NodeId{}});
           it != given_.end() && it->first.first == chunk;) {
        Given& given = it->second;
        const bool own = it->first.second == id;
        if (given.phase == Phase::offered) {
          it = own ? forget(it) : std::next(it);
        } else if (own && first) {
          given.phase = Phase::alone;
          given.until =
              now + std::max(settings_.lonely_at_least, settings_.lonely_times * usual_spread_);
          wake_ = std::min(wake_, given.until);
          ++it;
        } else {
          if (given.phase == Phase::alone) {
            note_spread(peers_.at(it->first.second), now - given.since);
          }
          it = forget(it);
        }
      }
    }
  }
}

Duration SeedOffers::patience() const {
  return std::max(settings_.silence, settings_.silence_chunk_times * gap_);
}

void SeedOffers::on_requested(NodeId id, ChunkIndex chunk, Time now) {
  const auto found = given_.find({chunk, id});
  if (found == given_.end() || found->second.phase != Phase::offered) return;
  // From now on it waits in our own queue.
  found->second.until = now + patience();
}

void SeedOffers::on_served(NodeId id, ChunkIndex chunk, std::uint32_t bytes, std::uint32_t of,
                           Time now) {
  const auto found = given_.find({chunk, id});
  if (found == given_.end() || found->second.phase != Phase::offered) return;
  found->second.bytes += bytes;
  if (found->second.bytes < of) return;
  given_whole(id, found->second, now);
}

void SeedOffers::on_part_served(NodeId id, ChunkIndex chunk, Time now) {
  const auto found = given_.find({chunk, id});
  if (found == given_.end()) return;
  if (found->second.phase == Phase::offered) given_whole(id, found->second, now);
  if (found->second.phase == Phase::served) found->second.until = now + patience();
}

void SeedOffers::given_whole(NodeId id, Given& given, Time now) {
  if (last_served_ != Time{}) gap_ = (7 * gap_ + (now - last_served_)) / 8;
  last_served_ = now;
  Peer& peer = peers_.at(id);
  --peer.open;
  --open_;
  ++peer.alone;
  given.phase = Phase::served;
  given.since = now;
  given.until = now + patience();
  wake_ = std::min(wake_, given.until);
}

void SeedOffers::on_declined(NodeId id, ChunkIndex chunk, Time now) {
  const auto found = given_.find({chunk, id});
  if (found == given_.end() || found->second.phase != Phase::offered) return;
  Peer& peer = peers_.at(id);
  peer.rests_until = now + settings_.rest_after_decline;
  wake_ = std::min(wake_, peer.rests_until);
  forget(found);
  if (!out_.test(chunk.value)) again_.push_back(chunk);
}

void SeedOffers::expire(Time now) {
  if (now < wake_) return;
  wake_ = Time::max();
  for (auto it = given_.begin(); it != given_.end();) {
    if (it->second.until > now) {
      wake_ = std::min(wake_, it->second.until);
      ++it;
      continue;
    }
    const auto& [chunk, id] = it->first;
    Peer& peer = peers_.at(id);
    if (it->second.phase == Phase::offered) {
      peer.rests_until = now + settings_.expires_after;
    } else {
      note_spread(peer, now - it->second.since);
    }
    (it->second.phase == Phase::alone ? lonely_ : again_).push_back(chunk);
    it = forget(it);
  }
  for (auto& [id, peer] : peers_) {
    if (peer.rests_until > now) wake_ = std::min(wake_, peer.rests_until);
  }
}

// The smaller, the sooner a chunk that the peer gets now will be with a second node.
std::int64_t SeedOffers::score(const Peer& peer, Time now) const {
  Duration spread = std::max(usual_spread_, Duration{1});
  if (peer.spread > settings_.slow_times * spread &&
      now - peer.last_offer < settings_.forgive_after) {
    spread = peer.spread;
  }
  return (spread * (peer.alone + peer.open + 1)).count();
}

bool SeedOffers::may_take(NodeId id, const Peer& peer, ChunkIndex chunk) const {
  if (entries_.size() >= settings_.racks_that_relieve && peer.rack == rack_) return false;
  const auto entries = entries_.find(peer.rack);
  return entries == entries_.end() || entry_for(entries->second, chunk) == id;
}

std::optional<NodeId> SeedOffers::best_peer(ChunkIndex chunk, std::uint32_t each, Time now) const {
  std::optional<NodeId> best;
  std::tuple<std::uint64_t, std::int64_t, std::uint64_t> best_rank;
  const std::uint32_t most_alone = 2 * fewest_alone_ + settings_.alone_allowed;
  for (const auto& [id, peer] : peers_) {
    if (peer.open >= each || peer.rests_until > now || peer.have.test(chunk.value)) continue;
    if (peer.alone > most_alone) continue;
    const auto rack_turn = rack_turns_.find(peer.rack);
    const std::tuple rank{rack_turn == rack_turns_.end() ? 0 : rack_turn->second, score(peer, now),
                          peer.turn};
    if (best && rank >= best_rank) continue;
    if (!may_take(id, peer, chunk) || given_.contains({chunk, id})) continue;
    best = id;
    best_rank = rank;
  }
  return best;
}

std::optional<SeedOffers::Offer> SeedOffers::from(std::vector<ChunkIndex>& list,
                                                  const Bitfield& done, std::uint32_t each,
                                                  Time now) {
  std::erase_if(list, [&](ChunkIndex chunk) { return done.test(chunk.value); });
  for (std::size_t i = 0; i < std::min(list.size(), kLooks); ++i) {
    const ChunkIndex chunk = list[i];
    if (const auto peer = best_peer(chunk, each, now)) {
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
      return Offer{*peer, chunk};
    }
  }
  return std::nullopt;
}

bool SeedOffers::is_open(ChunkIndex chunk) const {
  const auto first = given_.lower_bound({chunk, NodeId{}});
  return first != given_.end() && first->first.first == chunk;
}

std::optional<SeedOffers::Offer> SeedOffers::next_offer(std::uint32_t each, Time now) {
  if (auto offer = from(again_, out_, each, now)) return offer;
  if (auto offer = from(lonely_, spread_, each, now)) return offer;
  const auto offered = [&](ChunkIndex chunk) { return out_.test(chunk.value) || is_open(chunk); };
  while (next_ < order_.size() && offered(order_[next_])) ++next_;
  std::size_t looks = kLooks;
  for (std::size_t i = next_; i < order_.size() && looks > 0; ++i) {
    const ChunkIndex chunk = order_[i];
    if (offered(chunk)) continue;
    --looks;
    const auto peer = best_peer(chunk, each, now);
    if (!peer) continue;
    // Keeps the order dense: what is offered now leaves the front.
    std::rotate(order_.begin() + static_cast<std::ptrdiff_t>(next_),
                order_.begin() + static_cast<std::ptrdiff_t>(i),
                order_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    ++next_;
    return Offer{*peer, chunk};
  }
  return std::nullopt;
}

std::vector<SeedOffers::Offer> SeedOffers::take_offers(Time now) {
  std::vector<Offer> offers;
  expire(now);
  if (all_out()) {
    for (const NodeId& id : untold_) offers.push_back({id, std::nullopt});
    untold_.clear();
    return offers;
  }
  if (peers_.empty() || open_ >= settings_.open_offers) return offers;
  const auto count = static_cast<std::uint32_t>(peers_.size());
  const std::uint32_t most = last_served_ == Time{} ? settings_.open_offers_of_one_peer_at_first
                                                    : settings_.open_offers_of_one_peer_max;
  const std::uint32_t each = std::clamp((settings_.open_offers + count - 1) / count, 1u, most);
  fewest_alone_ = peers_.begin()->second.alone;
  for (const auto& [id, peer] : peers_) fewest_alone_ = std::min(fewest_alone_, peer.alone);
  while (open_ < settings_.open_offers) {
    const auto offer = next_offer(each, now);
    if (!offer) break;
    Peer& peer = peers_.at(offer->peer);
    Given& given = given_[{*offer->chunk, offer->peer}];
    given.until = now + settings_.expires_after;
    wake_ = std::min(wake_, given.until);
    ++peer.open;
    ++open_;
    peer.turn = ++turn_;
    if (!rack_.empty()) rack_turns_[peer.rack] = turn_;
    peer.last_offer = now;
    offers.push_back(*offer);
  }
  return offers;
}

}  // namespace p2p
