#include "core/model/ip_range.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;

bool holds(std::string_view range, std::string_view address) {
  return parse_ip_range(range)->contains(parse_ip(address).value());
}

TEST_CASE("A range holds the addresses that share its first bits", "[core][ip_range]") {
  CHECK(holds("10.2.0.0/16", "10.2.255.1"));
  CHECK_FALSE(holds("10.2.0.0/16", "10.3.0.0"));
  CHECK(holds("10.2.4.0/23", "10.2.5.255"));
  CHECK_FALSE(holds("10.2.4.0/23", "10.2.6.0"));
  CHECK(holds("0.0.0.0/0", "255.255.255.255"));
  CHECK(holds("10.2.0.7", "10.2.0.7"));
  CHECK_FALSE(holds("10.2.0.7", "10.2.0.8"));
  CHECK(holds("fd00:12::/32", "fd00:12:ffff::1"));
  CHECK_FALSE(holds("fd00:12::/32", "fd00:13::1"));
  CHECK(holds("::/0", "2001:db8::1"));
}

TEST_CASE("The two families do not meet, and a mapped address is the one that it maps",
          "[core][ip_range]") {
  CHECK_FALSE(holds("0.0.0.0/0", "::1"));
  CHECK_FALSE(holds("::/0", "10.0.0.1"));
  CHECK(holds("10.0.0.0/8", "::ffff:10.0.0.1"));
  CHECK(holds("64:ff9b::/96", "64:ff9b::10.0.0.1"));
}

TEST_CASE("Addresses are read as RFC 4291 writes them", "[core][ip_range]") {
  CHECK(parse_ip("2001:DB8:0:0:8:800:200C:417A") == parse_ip("2001:db8::8:800:200c:417a"));
  CHECK(parse_ip("1:2:3:4:5:6:7::") == parse_ip("1:2:3:4:5:6:7:0"));
  CHECK(parse_ip("::").has_value());
  for (const char* bad :
       {"", "10.2.0", "10.2.0.256", "10.2.0.01", "10.2.0.1.5", "10.2.0.+1", "1:2:3:4:5:6:7",
        ":1::2", "1:2:3:4:5:6:7:8:9", "1::2::3", "1:2:3:4:5:6:7:8::", "12345::", "::1%eth0", "::g",
        ":", "10.0.0.1::", "::1.2.3.4:5"}) {
    INFO(bad);
    CHECK_FALSE(parse_ip(bad));
  }
}

TEST_CASE("A range that is none says how to write it", "[core][ip_range]") {
  const auto why_not = [](std::string_view text) { return parse_ip_range(text).error().detail; };
  CHECK_THAT(why_not("10.2/16"), Contains("\"10.2/16\": write 10.2.0.0/16"));
  CHECK_THAT(why_not("10.2.0.0/33"), Contains("from 0 to 32"));
  CHECK_THAT(why_not("fd00::/129"), Contains("from 0 to 128"));
  CHECK_THAT(why_not("10.2.0.0/"), Contains("from 0 to 32"));
  CHECK_THAT(why_not("10.2.3.4/16"), Contains("behind the first 16: write 10.2.0.0/16"));
  CHECK_THAT(why_not("fd00:12::1/32"), Contains("write fd00:12:0:0:0:0:0:0/32"));
}

}  // namespace
}  // namespace p2p
