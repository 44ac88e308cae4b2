// The channel numbers of one connection: which space the frames of each side are about.
//
// Each side chooses the numbers of what it sends, and tells them with Open. Pure; one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "core/transfer/upload_slots.h"

namespace p2p {

// Spaces that a peer may have open towards us at a time.
inline constexpr std::size_t kMaxChannels = 4096;

// The numbers that we chose.
//
// A connection may live for months, with two spaces for each push: spaces that nothing was sent
// about for longest are closed when more than kOpenMost are open. A number rests before it stands
// for another space, until nothing that was sent under it can still be on its way.
class OwnChannels {
 public:
  static constexpr std::size_t kOpenMost = 1024;
  static constexpr std::size_t kResting = 256;

  struct Opened {
    std::uint16_t number = 0;
    // Had to make room: the peer must be told that it is closed before it hears of the number.
    std::optional<SpaceKey> closed;
  };

  // The number of the space, a new one when it is not open.
  Opened open(const SpaceKey& space);
  // Nothing when the space is not open. Counts as sending.
  std::optional<std::uint16_t> use(const SpaceKey& space);
  void close(const SpaceKey& space);

 private:
  struct Open {
    std::uint16_t number = 0;
    std::uint64_t last_use = 0;
  };

  std::uint16_t free_number();

  std::map<SpaceKey, Open> open_;
  std::deque<std::uint16_t> resting_;  // the one that was closed first in front
  std::uint16_t next_ = 1;
  std::uint64_t uses_ = 0;
};

// The numbers that the peer chose.
class PeerChannels {
 public:
  // False: the number stands for another space, or kMaxChannels are open.
  bool open(std::uint16_t number, const SpaceKey& space);
  void close(const SpaceKey& space);
  // Nothing when the number is not open.
  std::optional<SpaceKey> find(std::uint16_t number) const;
  // Frames that were sent before the Close, or by a part of the peer that had not heard of it.
  bool was_closed(std::uint16_t number) const { return number < closed_.size() && closed_[number]; }

 private:
  void set_closed(std::uint16_t number, bool closed);

  std::map<std::uint16_t, SpaceKey> spaces_;
  std::map<SpaceKey, std::uint16_t> numbers_;
  std::vector<bool> closed_;
};

}  // namespace p2p
