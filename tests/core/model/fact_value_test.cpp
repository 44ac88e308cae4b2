#include "core/model/fact_value.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

bool less(std::string_view a, std::string_view b) {
  const auto forth = compare_values(a, b);
  const auto back = compare_values(b, a);
  REQUIRE(forth.has_value() == back.has_value());
  return forth && *forth < 0 && *back > 0;
}

bool as_large(std::string_view a, std::string_view b) {
  return compare_values(a, b) == 0 && compare_values(b, a) == 0;
}

TEST_CASE("Versions compare by their dotted numbers", "[core][fact_value]") {
  CHECK(less("12", "12.5"));
  CHECK(less("9", "12"));
  CHECK(less("2.9", "2.10"));
  CHECK(less("6.1.0-9-amd64", "6.1.0-28-amd64"));
  CHECK(less("5.10", "6.1.0-28"));
  CHECK(less("1", "100000000000000000000000000000"));
  CHECK(as_large("12", "12.0"));
  CHECK(as_large("007", "7"));
  CHECK(as_large("6.1.0-28-amd64", "6.1.0-28-cloud"));
  CHECK(as_large("9.2p1", "9.2"));
  CHECK(as_large("0", "0.0.0"));
}

TEST_CASE("Sizes compare by their bytes, also with plain numbers", "[core][fact_value]") {
  CHECK(less("1GB", "1GiB"));
  CHECK(less("67200000000", "64GiB"));
  CHECK(less("64GB", "67200000000"));
  CHECK(as_large("1KiB", "1024"));
  CHECK(less("999", "1kB"));
}

TEST_CASE("Text has no order, and a version none among sizes", "[core][fact_value]") {
  CHECK_FALSE(compare_values("sid", "12"));
  CHECK_FALSE(compare_values("12", "r7"));
  CHECK_FALSE(compare_values("", "1"));
  CHECK_FALSE(compare_values("12.5", "64GB"));
  CHECK(is_ordered_value("12"));
  CHECK_FALSE(is_ordered_value("debian"));
  CHECK_FALSE(is_ordered_value(""));
}

TEST_CASE("Equal are the same text and the same number of bytes", "[core][fact_value]") {
  CHECK(equal_values("debian", "debian"));
  CHECK(equal_values("1GiB", "1073741824"));
  CHECK_FALSE(equal_values("Debian", "debian"));
  CHECK_FALSE(equal_values("12", "12.0"));
  CHECK_FALSE(equal_values("6.1.0-28-amd64", "6.1.0-28-cloud"));
}

}  // namespace
}  // namespace p2p
