// The socketpair between the network process of a node and its helper: one datagram a message, with
// at most one open file behind it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/result.h"
#include "io/disk/fd.h"

namespace p2p {

// Two paths and what is said about them fit.
inline constexpr std::size_t kMaxHelperMessageBytes = 16 * 1024;

struct HelperMessage {
  std::string bytes;
  Fd file;
  bool file_lost = false;  // one came, but this process may have no more descriptors
};

// Two ends, each closed on exec.
Result<std::pair<Fd, Fd>> make_helper_channel();

// `file` is a descriptor that the other side gets a duplicate of, or -1. Blocks while the other
// side is far behind. unavailable: it is gone; exhausted: too many descriptors are on their way.
Status send_to_helper_channel(int socket, std::string_view message, int file = -1);

// The next message; nothing when the other side is gone. corrupt: longer than a message may be, or
// a descriptor where none is expected.
Result<std::optional<HelperMessage>> receive_from_helper_channel(int socket, bool files_expected);

// The other side is gone, though messages of it may still lie here.
bool is_helper_channel_closed(int socket);

}  // namespace p2p
