#include "core/base/units.h"

#include <chrono>
#include <limits>

#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;
using namespace std::chrono_literals;

std::uint64_t rate(std::string_view text) {
  return parse_rate(text).value();
}
std::uint64_t size(std::string_view text) {
  return parse_size(text).value();
}
Duration duration(std::string_view text) {
  return parse_duration(text).value();
}

TEST_CASE("A rate is a number, a decimal or binary unit of bytes and /s", "[core][units]") {
  CHECK(rate("50MB/s") == 50'000'000);
  CHECK(rate("200KiB/s") == 204'800);
  CHECK(rate("1.5GB/s") == 1'500'000'000);
  CHECK(rate("12.5 MiB/s") == 13'107'200);
  CHECK(rate("1B/s") == 1);
  CHECK(rate("3kB/s") == rate("3KB/s"));
  CHECK(rate("0.000000001GB/s") == 1);
}

TEST_CASE("A rate of nothing, of less than a byte or below zero is refused", "[core][units]") {
  for (const auto* text : {"0MB/s", "0.0GB/s", "0.4B/s", "-5MB/s"}) {
    INFO(text);
    CHECK_FALSE(parse_rate(text));
  }
}

TEST_CASE("A rate without /s, in bits or in an unknown unit is refused", "[core][units]") {
  for (const auto* text : {"50MB", "50", "50/s", "50Mb/s", "50Mbit/s", "50mb/s", "50MB/s ",
                           " 50MB/s", "50MB/sec", "50MB /s", "MB/s", "", "1,5MB/s", "1.MB/s",
                           ".5MB/s", "1e3MB/s", "+1MB/s", "0x10MB/s", "1.0000000001MB/s"}) {
    INFO(text);
    CHECK_FALSE(parse_rate(text));
  }
}

TEST_CASE("An error about a quantity quotes the text and shows a right one", "[core][units]") {
  CHECK(parse_rate("50Mb/s").error().detail ==
        "rate \"50Mb/s\": \"Mb\" is no unit of bytes (bytes have a capital B; bits are not "
        "accepted); write for example \"50MB/s\" or \"200KiB/s\"");
  CHECK(parse_rate("50MB/s\x1b[2J").error().detail ==
        "rate \"50MB/s?[2J\": a rate ends with \"/s\"; write for example \"50MB/s\" or "
        "\"200KiB/s\"");
  CHECK_THAT(parse_size("ten").error().detail, Contains("\"ten\"") && Contains("\"1GiB\""));
  CHECK_THAT(parse_duration("90").error().detail, Contains("\"90\"") && Contains("\"90s\""));
  CHECK(parse_rate("1").error().code == Errc::invalid_argument);
}

TEST_CASE("A size may be a plain number of bytes or have a unit", "[core][units]") {
  CHECK(size("0") == 0);
  CHECK(size("4096") == 4096);
  CHECK(size("1GiB") == 1'073'741'824);
  CHECK(size("100 MB") == 100'000'000);
  CHECK(size("0.5KiB") == 512);
  CHECK(size("0.1KiB") == 102);  // 102.4
  CHECK(size("2.000000001TB") == 2'000'000'001'000);
  for (const auto* text : {"1.5", "-1", "1 ", "1G", "1Gb", "1gib", "MB", "1MB/s"}) {
    INFO(text);
    CHECK_FALSE(parse_size(text));
  }
}

TEST_CASE("What does not fit a signed 64-bit integer is refused", "[core][units]") {
  CHECK(size("9223372036854775807") == std::uint64_t{std::numeric_limits<std::int64_t>::max()});
  CHECK_FALSE(parse_size("9223372036854775808"));
  CHECK_FALSE(parse_size("99999999999999999999999999"));
  CHECK(size("8388607.999999999TiB") == 9'223'372'036'854'774'708);
  CHECK_FALSE(parse_size("8388608TiB"));
  CHECK_FALSE(parse_rate("9223373TB/s"));
  CHECK(duration("106751d") == 24h * 106751);
  CHECK_FALSE(parse_duration("106752d"));
}

TEST_CASE("A duration has a unit and is longer than nothing", "[core][units]") {
  CHECK(duration("250ms") == 250ms);
  CHECK(duration("90s") == 90s);
  CHECK(duration("10m") == 10min);
  CHECK(duration("2h") == 2h);
  CHECK(duration("7d") == 24h * 7);
  CHECK(duration("1.5h") == 90min);
  for (const auto* text : {"90", "0s", "0ms", "-1s", "2H", "1h30m", "1 week", "s", ""}) {
    INFO(text);
    CHECK_FALSE(parse_duration(text));
  }
}

TEST_CASE("Bytes are shown with three digits and a binary unit", "[core][units]") {
  CHECK(format_bytes(0) == "0 B");
  CHECK(format_bytes(1023) == "1023 B");
  CHECK(format_bytes(1024) == "1.00 KiB");
  CHECK(format_bytes(10'229) == "9.99 KiB");
  CHECK(format_bytes(10'239) == "10.0 KiB");
  CHECK(format_bytes(102'348) == "99.9 KiB");
  CHECK(format_bytes(102'399) == "100 KiB");
  CHECK(format_bytes(1'048'000) == "1023 KiB");
  CHECK(format_bytes(1'048'575) == "1.00 MiB");
  CHECK(format_bytes(1ull << 30) == "1.00 GiB");
  CHECK(format_bytes(std::numeric_limits<std::uint64_t>::max()) == "16.0 EiB");
}

TEST_CASE("Rates are shown with three digits and a decimal unit", "[core][units]") {
  CHECK(format_rate(95.4e6) == "95.4 MB/s");
  CHECK(format_rate(999.4) == "999 B/s");
  CHECK(format_rate(999.6) == "1.00 kB/s");
  CHECK(format_rate(1.25e9) == "1.25 GB/s");
  CHECK(format_rate(0) == "0 B/s");
  CHECK(format_rate(-3) == "0 B/s");
  CHECK(format_rate(std::numeric_limits<double>::quiet_NaN()) == "0 B/s");
  CHECK(format_rate(std::numeric_limits<double>::infinity()) == "0 B/s");
}

TEST_CASE("Durations are shown in the two largest units that matter", "[core][units]") {
  CHECK(format_duration(0s) == "0s");
  CHECK(format_duration(300us) == "<1ms");
  CHECK(format_duration(250ms) == "250ms");
  CHECK(format_duration(12500ms) == "12.5s");
  CHECK(format_duration(200s) == "3m 20s");
  CHECK(format_duration(125min) == "2h 05m");
  CHECK(format_duration(24h * 7 + 3h) == "7d 3h");
  CHECK(format_duration(-90s) == "-1m 30s");
  CHECK(format_duration(Duration::max()) == "106752d 0h");
  CHECK(format_duration(Duration::min()) == "-106752d 0h");
}

TEST_CASE("A duration that rounds up to the next unit is shown in it", "[core][units]") {
  CHECK(format_duration(999600us) == "1.0s");
  CHECK(format_duration(59960ms) == "1m 00s");
  CHECK(format_duration(3599600ms) == "1h 00m");
  CHECK(format_duration(24h - 20s) == "1d 0h");
}

}  // namespace
}  // namespace p2p
