#include "io/wire/hello.h"

namespace p2p {
namespace {

// The oldest version that this release still speaks.
constexpr std::uint32_t kOldestVersion = 1;

}  // namespace

proto::Hello make_hello(std::uint16_t listen_port) {
  proto::Hello hello;
  hello.set_version_min(kOldestVersion);
  hello.set_version_max(kProtocolVersion);
  hello.set_software(std::string("p2pd ") + kSoftwareVersion);
  hello.set_listen_port(listen_port);
  return hello;
}

Result<proto::Hello> read_hello(std::span<const std::uint8_t> body) {
  proto::Hello hello;
  if (!hello.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return Error{Errc::corrupt, "sent no readable Hello"};
  }
  if (hello.version_min() > kProtocolVersion || hello.version_max() < kOldestVersion) {
    return Error{Errc::invalid_argument,
                 "speaks protocol versions " + std::to_string(hello.version_min()) + " to " +
                     std::to_string(hello.version_max()) + ", this program " +
                     std::to_string(kOldestVersion) + " to " + std::to_string(kProtocolVersion) +
                     ": update the older one"};
  }
  return hello;
}

}  // namespace p2p
