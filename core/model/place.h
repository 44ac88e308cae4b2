// Where a node stands, as far as the way of bytes is concerned.
#pragma once

#include <map>
#include <string>

namespace p2p {

// Longer texts come from nobody's labels (kMaxLabelBytes twice, and the stroke).
inline constexpr std::size_t kMaxRackBytes = 127;

// The labels dc and rack as one text: "dc1/r07". Without a rack the whole datacentre counts as one;
// empty: neither label is there, and nothing is known.
inline std::string rack_of(const std::map<std::string, std::string>& labels) {
  const auto value = [&](const char* key) {
    const auto found = labels.find(key);
    return found == labels.end() ? std::string() : found->second;
  };
  const std::string dc = value("dc");
  const std::string rack = value("rack");
  return dc.empty() && rack.empty() ? "" : dc + "/" + rack;
}

// Whether bytes between two nodes cross an uplink that others need too. Who says nothing of itself
// counts as near: no rule may keep a node from the only source.
inline bool stand_apart(const std::string& rack, const std::string& other) {
  return !rack.empty() && !other.empty() && rack != other;
}

}  // namespace p2p
