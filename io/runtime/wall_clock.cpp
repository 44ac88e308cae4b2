#include "io/runtime/wall_clock.h"

#include <array>
#include <ctime>

namespace p2p {

std::string rfc3339(WallTime t) {
  if (t == WallTime{}) return {};
  const std::time_t time = unix_seconds(t);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return std::string(text.data(), length);
}

}  // namespace p2p
