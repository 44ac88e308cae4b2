// What is fed with foreign bytes: every decoder of what other processes and machines send.
//
// A target takes any bytes, and ends the process (P2P_CHECK, a sanitizer) when what it stands for
// is broken. The same bodies run in two ways: under libFuzzer (tools/fuzz), and over their seeds
// and some thousand mutations of them in every test run, so that they stay alive.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace p2p::fuzz {

using Bytes = std::span<const std::uint8_t>;

struct Target {
  std::string_view name;  // [a-z_]+; tools/fuzz knows it by this
  void (*run)(Bytes input);
  // Valid inputs to begin with, and what was found once.
  std::vector<std::string> (*seeds)();
};

// In the order in which tools/fuzz runs them.
const std::vector<Target>& targets();

std::vector<Target> wire_targets();
std::vector<Target> neighbour_targets();
std::vector<Target> identity_targets();
std::vector<Target> content_targets();
std::vector<Target> helper_targets();
std::vector<Target> text_targets();

inline std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace p2p::fuzz
