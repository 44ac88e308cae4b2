// Rendezvous hashing: everybody who knows the same members agrees who is responsible for what,
// without a word, and a member that leaves moves only what was its own.
// (Thaler, Ravishankar: "Using name-based mappings to increase hit rates", 1998.)
#pragma once

#include <cstdint>
#include <cstring>

#include "core/base/ids.h"

namespace p2p {

// The member with the highest weight for a key is responsible for it.
inline std::uint64_t rendezvous_weight(const NodeId& member, std::uint64_t key) {
  std::uint64_t halves[2];
  std::memcpy(halves, member.bytes.data(), sizeof halves);
  std::uint64_t z = key * 0x9e3779b97f4a7c15u;
  for (const std::uint64_t half : halves) {
    z = (z ^ half) + 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
  }
  return z;
}

}  // namespace p2p
