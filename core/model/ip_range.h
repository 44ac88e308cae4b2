// Addresses as text, and ranges of them: "10.2.0.0/16", "fd00:12::/32".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};  // of IPv4: the first four
  bool v6 = false;
  friend bool operator==(const IpAddress&, const IpAddress&) = default;
};
// IPv4 in four decimal numbers, or IPv6 (RFC 4291, section 2.2) without a zone. One that maps IPv4
// ("::ffff:10.2.0.1") is that IPv4 address. Nothing when it is none.
std::optional<IpAddress> parse_ip(std::string_view text);

struct IpRange {
  IpAddress first;
  int bits = 0;  // that all addresses of the range share with the first

  bool contains(const IpAddress& address) const;
  friend bool operator==(const IpRange&, const IpRange&) = default;
};
// "ADDRESS/BITS", or one address. Bits of the address behind the first BITS have to be 0.
Result<IpRange> parse_ip_range(std::string_view text);

}  // namespace p2p
