#include "io/wire/hello.h"

#include <string>

#include "tests/support/catch.h"

namespace p2p {
namespace {

Result<proto::Hello> read(const std::string& bytes) {
  return read_hello({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

Result<proto::Hello> read_versions(std::uint32_t least, std::uint32_t most) {
  proto::Hello hello;
  hello.set_version_min(least);
  hello.set_version_max(most);
  return read(hello.SerializeAsString());
}

}  // namespace

TEST_CASE("A Hello that this release makes is one that it reads", "[io][wire]") {
  const auto hello = read(make_hello(7402).SerializeAsString());
  REQUIRE(hello);
  CHECK(hello->listen_port() == 7402);
  CHECK(hello->version_max() == kProtocolVersion);
  CHECK(hello->version_min() <= hello->version_max());
  CHECK(hello->software() == std::string("p2pd ") + kSoftwareVersion);
}

TEST_CASE("A newer program is welcome as long as it speaks a version of ours", "[io][wire]") {
  CHECK(read_versions(1, 1));
  CHECK(read_versions(1, 9));
  CHECK(read_versions(0, 1));
}

TEST_CASE("A Hello may hold fields and features of later releases", "[io][wire]") {
  proto::Hello hello = make_hello(1);
  hello.set_features(~0ull);
  CHECK(read(hello.SerializeAsString() + "\xfa\x01\x03new"));
}

TEST_CASE("Without a version in common both ranges are said", "[io][wire]") {
  const auto newer = read_versions(kProtocolVersion + 1, kProtocolVersion + 3);
  REQUIRE_FALSE(newer);
  CHECK(newer.error().code == Errc::invalid_argument);
  CHECK_THAT(newer.error().detail, Catch::Contains("versions 2 to 4") &&
                                       Catch::Contains("1 to 1") && Catch::Contains("update"));
  CHECK_FALSE(read_versions(0, 0));
  CHECK_FALSE(read(""));
}

TEST_CASE("Bytes that are no Hello are refused as such", "[io][wire]") {
  const std::string good = make_hello(7402).SerializeAsString();
  CHECK(read(std::string("\xff\xff\xff", 3)).error().code == Errc::corrupt);
  CHECK(read("GET / HTTP/1.1\r\n").error().code == Errc::corrupt);
  CHECK(read(good.substr(0, good.size() - 1)).error().code == Errc::corrupt);
}

}  // namespace p2p
