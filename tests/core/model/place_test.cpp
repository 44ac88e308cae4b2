#include "core/model/place.h"

#include "tests/support/catch.h"

namespace p2p {

TEST_CASE("A rack is a rack of its datacentre", "[model]") {
  CHECK(rack_of({{"dc", "dc1"}, {"rack", "r07"}, {"role", "web"}}) == "dc1/r07");
  CHECK(rack_of({{"dc", "dc2"}, {"rack", "r07"}}) != rack_of({{"dc", "dc1"}, {"rack", "r07"}}));
  CHECK(rack_of({{"rack", "r07"}}) == "/r07");
  // Without racks the datacentre's uplink is the narrow one.
  CHECK(rack_of({{"dc", "dc1"}}) == "dc1/");
  CHECK(rack_of({{"role", "web"}}).empty());
}

TEST_CASE("Who says nothing of where it stands is near", "[model]") {
  CHECK(stand_apart("dc1/r01", "dc1/r02"));
  CHECK_FALSE(stand_apart("dc1/r01", "dc1/r01"));
  CHECK_FALSE(stand_apart("", "dc1/r01"));
  CHECK_FALSE(stand_apart("dc1/r01", ""));
  CHECK_FALSE(stand_apart("", ""));
}

}  // namespace p2p
