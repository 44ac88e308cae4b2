#include "core/base/ids.h"

#include <unordered_set>

#include "tests/support/catch.h"

namespace p2p {
namespace {

constexpr std::string_view kUuid = "00112233-4455-6677-8899-aabbccddeeff";

TEST_CASE("Hexadecimal is written in lower case and read in either", "[core][ids]") {
  const std::array<std::uint8_t, 3> bytes{0x00, 0xaf, 0x10};
  CHECK(to_hex(bytes.data(), bytes.size()) == "00af10");
  std::array<std::uint8_t, 3> read{};
  REQUIRE(from_hex("00aF10", read.data(), read.size()));
  CHECK(read == bytes);
}

TEST_CASE("Hexadecimal of another length or with other letters is refused", "[core][ids]") {
  std::array<std::uint8_t, 2> bytes{};
  for (const std::string_view text : {"", "00", "000", "00000", "000g", "0x00", " 000", "00-0"}) {
    INFO(text);
    CHECK_FALSE(from_hex(text, bytes.data(), bytes.size()));
  }
}

TEST_CASE("A content id survives both of its forms", "[core][ids]") {
  ContentId id;
  for (std::size_t i = 0; i < 32; ++i) id.digest.bytes[i] = static_cast<std::uint8_t>(200 + i);
  CHECK(id.hex().size() == 64);
  CHECK(ContentId::from_hex(id.hex()) == id);
  CHECK(ContentId::from_raw(id.digest.view()) == id);
  CHECK(id.short_hex() == id.hex().substr(0, 12));
}

TEST_CASE("A content id has exactly 32 bytes", "[core][ids]") {
  CHECK_FALSE(ContentId::from_raw(""));
  CHECK_FALSE(ContentId::from_raw(std::string(31, 'x')));
  CHECK_FALSE(ContentId::from_raw(std::string(33, 'x')));
  CHECK_FALSE(ContentId::from_hex(std::string(63, '0')));
  CHECK_FALSE(ContentId::from_hex(std::string(65, '0')));
  CHECK_FALSE(ContentId::from_hex(std::string(64, 'z')));
}

TEST_CASE("A node id is a UUID in its usual form", "[core][ids]") {
  const auto id = NodeId::parse(kUuid);
  REQUIRE(id);
  CHECK(id->str() == kUuid);
  CHECK(id->bytes[0] == 0x00);
  CHECK(id->bytes[15] == 0xff);
  CHECK(NodeId::parse("00112233-4455-6677-8899-AABBCCDDEEFF") == id);
  CHECK(NodeId{}.str() == "00000000-0000-0000-0000-000000000000");
}

TEST_CASE("What is not quite a UUID is no node id", "[core][ids]") {
  for (const std::string_view text :
       {"", "00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeefff", "001122334455-6677-8899-aabb-ccddeeff",
        "00112233-4455-6677-8899-aabbccddeefg", "00112233-4455-6677-8899-aabbccddee-f",
        "{0112233-4455-6677-8899-aabbccddeef}", "-0112233-4455-6677-8899-aabbccddeeff"}) {
    INFO(text);
    CHECK_FALSE(NodeId::parse(text));
  }
}

TEST_CASE("A job id is the letter j and a number", "[core][ids]") {
  CHECK(JobId{17}.str() == "j17");
  CHECK(JobId::parse("j17") == JobId{17});
  CHECK(JobId::parse("j18446744073709551615") == JobId{18446744073709551615u});
  for (const std::string_view text :
       {"", "j", "17", "J17", "j-1", "j+1", "j 1", "j1 ", "j1x", "jj1", "j18446744073709551616"}) {
    INFO(text);
    CHECK_FALSE(JobId::parse(text));
  }
}

TEST_CASE("Ids order and hash by value", "[core][ids]") {
  const NodeId low = *NodeId::parse(kUuid);
  const NodeId high = *NodeId::parse("10112233-4455-6677-8899-aabbccddeeff");
  CHECK(low < high);
  CHECK(ChunkIndex{2} < ChunkIndex{10});
  CHECK(JobId{2} < JobId{10});
  const std::unordered_set<NodeId> nodes{low, high, low};
  CHECK(nodes.size() == 2);
  CHECK(nodes.contains(*NodeId::parse(kUuid)));
}

}  // namespace
}  // namespace p2p
