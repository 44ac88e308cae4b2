#include "p2pd/channels.h"

#include <algorithm>

namespace p2p {

OwnChannels::Opened OwnChannels::open(const SpaceKey& space) {
  if (const auto number = use(space)) return {*number, std::nullopt};
  Opened opened;
  if (open_.size() >= kOpenMost) {
    const auto idle = std::min_element(
        open_.begin(), open_.end(),
        [](const auto& a, const auto& b) { return a.second.last_use < b.second.last_use; });
    opened.closed = idle->first;
    close(*opened.closed);
  }
  opened.number = free_number();
  open_[space] = {opened.number, ++uses_};
  return opened;
}

std::optional<std::uint16_t> OwnChannels::use(const SpaceKey& space) {
  const auto found = open_.find(space);
  if (found == open_.end()) return std::nullopt;
  found->second.last_use = ++uses_;
  return found->second.number;
}

void OwnChannels::close(const SpaceKey& space) {
  const auto found = open_.find(space);
  if (found == open_.end()) return;
  resting_.push_back(found->second.number);
  open_.erase(found);
}

std::uint16_t OwnChannels::free_number() {
  // At most kOpenMost are open and kResting rest: next_ never gets far.
  if (resting_.size() <= kResting) return next_++;
  const std::uint16_t number = resting_.front();
  resting_.pop_front();
  return number;
}

bool PeerChannels::open(std::uint16_t number, const SpaceKey& space) {
  if (const auto taken = find(number)) return *taken == space;
  close(space);  // it moves to the new number
  if (spaces_.size() >= kMaxChannels) return false;
  spaces_[number] = space;
  numbers_[space] = number;
  set_closed(number, false);
  return true;
}

void PeerChannels::close(const SpaceKey& space) {
  const auto found = numbers_.find(space);
  if (found == numbers_.end()) return;
  set_closed(found->second, true);
  spaces_.erase(found->second);
  numbers_.erase(found);
}

std::optional<SpaceKey> PeerChannels::find(std::uint16_t number) const {
  const auto found = spaces_.find(number);
  if (found == spaces_.end()) return std::nullopt;
  return found->second;
}

void PeerChannels::set_closed(std::uint16_t number, bool closed) {
  if (!closed && !was_closed(number)) return;
  if (number >= closed_.size()) closed_.resize(number + 1u);
  closed_[number] = closed;
}

}  // namespace p2p
