#include "p2pd/peer_book.h"

#include <algorithm>

namespace p2p {

void PeerBook::know(NodeId peer, const HostPort& address, bool seed, Time now) {
  if (peer == self_) return;
  const auto [entry, added] = known_.try_emplace(peer);
  Known& known = entry->second;
  if (added || known.address != address || !known.wanted) {
    known.failures = 0;
    known.not_before = now;
    if (!seed && peer < self_) known.not_before = now + settings_.yield_to_smaller_id;
    const auto banned = banned_until_.find(peer);
    if (banned != banned_until_.end()) {
      known.not_before = std::max(known.not_before, banned->second);
    }
  }
  known.address = address;
  known.seed = known.seed || seed;
  known.wanted = true;
}

void PeerBook::forget_all_but(const std::function<bool(NodeId)>& wanted) {
  for (auto& [peer, known] : known_) known.wanted = wanted(peer);
}

std::vector<PeerBook::Dial> PeerBook::take_due(Time now, const IsUp& is_up) {
  std::vector<Dial> due;
  for (const bool seeds : {true, false}) {
    for (auto& [peer, known] : known_) {
      if (known.seed != seeds || !known.wanted || known.dialling || is_up(peer)) continue;
      if (known.not_before > now) continue;
      known.dialling = true;
      due.push_back({peer, known.address});
    }
  }
  return due;
}

void PeerBook::on_connected(NodeId peer, Time now) {
  const auto known = known_.find(peer);
  if (known == known_.end()) return;
  known->second.failures = 0;
  end_dial(known->second, now);
}

void PeerBook::on_not_connected(NodeId peer, Time now) {
  const auto known = known_.find(peer);
  if (known == known_.end()) return;
  end_dial(known->second, now);
  known->second.failures = std::min(known->second.failures + 1, 5);
}

// Whatever came of it, the next dial is not before a pause.
void PeerBook::end_dial(Known& known, Time now) {
  known.dialling = false;
  const Duration pause =
      std::min(settings_.longest_retry, settings_.first_retry * (1 << known.failures));
  const auto jitter = rng_.below(static_cast<std::uint64_t>(pause.count()));
  const Time next = now + pause / 2 + Duration(static_cast<std::int64_t>(jitter));
  known.not_before = std::max(known.not_before, next);
}

Time PeerBook::next_deadline(const IsUp& is_up) const {
  Time next = Time::max();
  for (const auto& [peer, known] : known_) {
    if (known.wanted && !known.dialling && !is_up(peer)) next = std::min(next, known.not_before);
  }
  return next;
}

void PeerBook::ban(NodeId peer, Time now) {
  const Time until = now + settings_.ban;
  banned_until_[peer] = until;
  const auto known = known_.find(peer);
  if (known != known_.end()) known->second.not_before = std::max(known->second.not_before, until);
}

bool PeerBook::is_banned(NodeId peer, Time now) {
  const auto banned = banned_until_.find(peer);
  if (banned == banned_until_.end()) return false;
  if (now < banned->second) return true;
  banned_until_.erase(banned);
  return false;
}

}  // namespace p2p
