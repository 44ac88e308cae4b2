// The first frame of each side: which protocol versions it speaks.
#pragma once

#include <span>

#include "core/base/result.h"
#include "proto/peer.pb.h"

namespace p2p {

inline constexpr std::uint32_t kProtocolVersion = 1;
inline constexpr const char* kSoftwareVersion = P2P_VERSION;
// The name agreed on during the TLS handshake, so that other programs' clients fail early.
inline constexpr const char* kAlpn = "p2pd/1";

proto::Hello make_hello(std::uint16_t listen_port);
// corrupt: no Hello; invalid_argument: no version in common, said with both ranges.
Result<proto::Hello> read_hello(std::span<const std::uint8_t> body);

}  // namespace p2p
