#include "core/transfer/token_bucket.h"

#include <chrono>

#include "tests/support/catch.h"

namespace p2p {
namespace {

constexpr Time kStart{std::chrono::hours(30)};
constexpr Duration kTick{1};
using std::chrono::milliseconds;
using std::chrono::seconds;

// The first nanosecond by which `bytes` have flowed at `rate`.
Duration time_for(std::uint64_t bytes, std::uint64_t rate) {
  const auto nanos = static_cast<__uint128_t>(bytes) * 1'000'000'000;
  return Duration(static_cast<std::int64_t>((nanos + rate - 1) / rate));
}

TEST_CASE("A token bucket starts full", "[core][token_bucket]") {
  TokenBucket bucket(1000, 300);
  CHECK(bucket.ready_at(300, kStart) == kStart);
  CHECK(bucket.try_take(300, kStart));
  CHECK_FALSE(bucket.try_take(1, kStart));
}

TEST_CASE("A taking that fails takes nothing", "[core][token_bucket]") {
  TokenBucket bucket(1000, 300);
  REQUIRE(bucket.try_take(200, kStart));
  CHECK_FALSE(bucket.try_take(101, kStart));
  CHECK(bucket.try_take(100, kStart));
}

TEST_CASE("Over any number of takings the rate is exact to the nanosecond",
          "[core][token_bucket]") {
  for (const std::uint64_t rate : {1ull, 3ull, 7ull, 999ull, 10'007ull, 1'000'003ull, 12'345'677ull,
                                   125'000'000ull, 987'654'321ull}) {
    for (const std::uint64_t size : {1ull, 1447ull, 65'536ull, 68'812ull}) {
      INFO("rate " << rate << ", size " << size);
      TokenBucket bucket(rate, 2 * size);
      REQUIRE(bucket.try_take(2 * size, kStart));
      for (std::uint64_t taken = 1; taken <= 500; ++taken) {
        const Time exact = kStart + time_for(taken * size, rate);
        REQUIRE(bucket.ready_at(size, exact - kTick) == exact);
        REQUIRE_FALSE(bucket.try_take(size, exact - kTick));
        REQUIRE(bucket.try_take(size, exact));
      }
    }
  }
}

TEST_CASE("Looking often costs a slow rate nothing", "[core][token_bucket]") {
  TokenBucket bucket(1, 10);
  REQUIRE(bucket.try_take(10, kStart));
  // Each look falls between two bytes: rounding at each would lose them.
  Time now = kStart;
  for (int i = 1; i < 300; ++i) {
    now = kStart + milliseconds(10 * i);
    REQUIRE_FALSE(bucket.try_take(3, now));
  }
  CHECK(bucket.try_take(3, kStart + seconds(3)));
}

TEST_CASE("What is not used is saved up to the burst and no further", "[core][token_bucket]") {
  TokenBucket bucket(1000, 300);
  REQUIRE(bucket.try_take(300, kStart));
  const Time later = kStart + std::chrono::hours(24 * 365);
  CHECK(bucket.try_take(300, later));
  CHECK_FALSE(bucket.try_take(1, later));
}

TEST_CASE("A taking larger than the burst needs a full bucket and leaves a debt",
          "[core][token_bucket]") {
  TokenBucket bucket(1000, 100);
  REQUIRE(bucket.try_take(1, kStart));
  CHECK_FALSE(bucket.try_take(1000, kStart));
  const Time full = kStart + milliseconds(1);
  CHECK(bucket.ready_at(1000, kStart) == full);
  REQUIRE(bucket.try_take(1000, full));
  // 900 are owed: the next byte comes after 901 ms, so that the average is 1000 a second.
  CHECK(bucket.ready_at(1, full) == full + milliseconds(901));
  CHECK_FALSE(bucket.try_take(1, full + milliseconds(901) - kTick));
  CHECK(bucket.try_take(1, full + milliseconds(901)));
}

TEST_CASE("A debt beyond the end of time is never paid rather than forgotten",
          "[core][token_bucket]") {
  TokenBucket bucket(1, 1);
  REQUIRE(bucket.try_take(20'000'000'000, kStart));  // 634 years
  CHECK(bucket.ready_at(1, kStart) == Time::max());
}

TEST_CASE("A new rate counts from its own moment on", "[core][token_bucket]") {
  TokenBucket bucket(1000, 1000);
  REQUIRE(bucket.try_take(1000, kStart));
  const Time changed = kStart + milliseconds(500);  // 500 have gathered
  bucket.set_rate(100, 1000, changed);
  CHECK(bucket.ready_at(500, changed) == changed);
  CHECK(bucket.ready_at(600, changed) == changed + seconds(1));
  bucket.set_rate(1'000'000, 1000, changed);
  CHECK(bucket.ready_at(600, changed) == changed + Duration(100'000));
}

TEST_CASE("A smaller burst cuts what was saved, a larger one adds nothing",
          "[core][token_bucket]") {
  TokenBucket bucket(1000, 1000);
  bucket.set_rate(1000, 200, kStart);
  REQUIRE(bucket.try_take(1, kStart));  // 199 are left
  bucket.set_rate(1000, 5000, kStart);
  CHECK(bucket.ready_at(200, kStart) == kStart + milliseconds(1));
}

TEST_CASE("A debt outlives a change of the rate", "[core][token_bucket]") {
  TokenBucket bucket(1000, 100);
  REQUIRE(bucket.try_take(1100, kStart));
  bucket.set_rate(2000, 100, kStart);
  CHECK(bucket.ready_at(100, kStart) == kStart + milliseconds(550));
}

}  // namespace
}  // namespace p2p
