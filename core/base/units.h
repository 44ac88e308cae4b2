// Sizes, rates and durations as people write and read them.
//
// Rates and sizes are bytes, never bits. Unit names are exact, case included: B, kB or KB, MB, GB,
// TB are powers of 1000; KiB, MiB, GiB, TiB are powers of 1024. A number may have up to nine
// decimals; what is left of a byte or a nanosecond is dropped. Every value fits a signed 64-bit
// integer. An error quotes the text and shows a right one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/time.h"

namespace p2p {

// Bytes per second, at least 1: "50MB/s", "200 KiB/s", "1.5GB/s". The "/s" is required.
Result<std::uint64_t> parse_rate(std::string_view text);
// Bytes: "1GiB", "100 MB"; a plain whole number is bytes; 0 is allowed.
Result<std::uint64_t> parse_size(std::string_view text);
// More than nothing: "250ms", "90s", "10m", "2h", "7d". The unit is required.
Result<Duration> parse_duration(std::string_view text);

// Three digits and a binary unit: "512 B", "1.00 GiB", "95.4 MiB".
std::string format_bytes(std::uint64_t bytes);
// Three digits and a decimal unit: "95.4 MB/s". What is not a positive number is "0 B/s".
std::string format_rate(double bytes_per_second);
// The two largest units that matter: "250ms", "12.5s", "3m 20s", "2h 05m", "7d 3h".
std::string format_duration(Duration duration);

}  // namespace p2p
