#include "core/base/units.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <variant>

#include "core/base/text.h"

namespace p2p {
namespace {

constexpr std::uint64_t kLargestValue = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kMaxDecimals = 9;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::uint64_t kThousand = 1000;
constexpr std::array<Unit, 10> kByteUnits{{
    {"B", 1},
    {"kB", kThousand},
    {"KB", kThousand},
    {"MB", kThousand* kThousand},
    {"GB", kThousand* kThousand* kThousand},
    {"TB", kThousand* kThousand* kThousand* kThousand},
    {"KiB", 1ull << 10},
    {"MiB", 1ull << 20},
    {"GiB", 1ull << 30},
    {"TiB", 1ull << 40},
}};
constexpr std::array<Unit, 5> kTimeUnits{{
    {"ms", 1'000'000},
    {"s", 1'000'000'000},
    {"m", 60'000'000'000},
    {"h", 3'600'000'000'000},
    {"d", 86'400'000'000'000},
}};

// A decimal number as whole + fraction / scale, and what follows it.
struct Number {
  std::uint64_t whole = 0;
  std::uint64_t fraction = 0;
  std::uint64_t scale = 1;
  std::string_view unit;
};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string_view leading_digits(std::string_view text) {
  std::size_t count = 0;
  while (count < text.size() && is_digit(text[count])) ++count;
  return text.substr(0, count);
}

// Why a text is refused; the caller adds the text and the example.
struct Refusal {
  std::string why;
};

using Scanned = std::variant<Number, Refusal>;

Scanned scan_number(std::string_view text) {
  if (text.empty()) return Refusal{"empty"};
  if (text.front() == '-') return Refusal{"negative"};
  const std::string_view whole = leading_digits(text);
  if (whole.empty()) return Refusal{"does not begin with a number"};
  Number number;
  const auto [end, problem] =
      std::from_chars(whole.data(), whole.data() + whole.size(), number.whole);
  if (problem != std::errc{}) return Refusal{"too large"};
  text.remove_prefix(whole.size());
  if (!text.empty() && text.front() == '.') {
    const std::string_view decimals = leading_digits(text.substr(1));
    if (decimals.empty()) return Refusal{"no digit after the point"};
    if (decimals.size() > kMaxDecimals) return Refusal{"more than nine decimals"};
    for (const char digit : decimals) {
      number.fraction = number.fraction * 10 + static_cast<std::uint64_t>(digit - '0');
      number.scale *= 10;
    }
    text.remove_prefix(1 + decimals.size());
  }
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  number.unit = text;
  return number;
}

// number × factor without what is left of one; nothing when it does not fit. Splitting the factor
// by the scale keeps every product below 10^18 without wider integers.
std::optional<std::uint64_t> scaled(const Number& number, std::uint64_t factor) {
  if (number.whole > kLargestValue / factor) return std::nullopt;
  const std::uint64_t part = number.fraction * (factor / number.scale) +
                             number.fraction * (factor % number.scale) / number.scale;
  const std::uint64_t value = number.whole * factor + part;
  if (value > kLargestValue) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> factor_of(std::string_view name, std::span<const Unit> units) {
  for (const Unit& unit : units) {
    if (unit.name == name) return unit.factor;
  }
  return std::nullopt;
}

struct Kind {
  std::string_view noun;
  std::string_view examples;
};
constexpr Kind kRate{"rate", "\"50MB/s\" or \"200KiB/s\""};
constexpr Kind kSize{"size", "\"100MB\" or \"1GiB\""};
constexpr Kind kDuration{"duration", "\"90s\", \"10m\" or \"2h\""};

Error refused(const Kind& kind, std::string_view text, std::string_view why) {
  return Error{Errc::invalid_argument, std::string(kind.noun) + " " + quoted(text, 60) + ": " +
                                           std::string(why) + "; write for example " +
                                           std::string(kind.examples)};
}

std::string no_byte_unit(std::string_view name) {
  if (name.empty()) return "no unit";
  std::string why = quoted(name, 20) + " is no unit of bytes";
  if (name.ends_with('b') || name.ends_with("bit") || name.ends_with("bps")) {
    why += " (bytes have a capital B; bits are not accepted)";
  }
  return why;
}

Result<std::uint64_t> value_of(const Kind& kind, std::string_view text, const Number& number,
                               std::uint64_t factor) {
  const std::optional<std::uint64_t> value = scaled(number, factor);
  if (!value) return refused(kind, text, "too large");
  return *value;
}

std::string with_decimals(double value, int decimals) {
  std::array<char, 400> buffer;  // a double has at most 309 digits before the point
  const auto [end, problem] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                            std::chars_format::fixed, decimals);
  return std::string(buffer.data(), end);
}

// The largest unit in which the value does not round to `base` or more, with three digits.
std::string in_unit(double value, double base, std::span<const std::string_view> units) {
  std::size_t unit = 0;
  while (unit + 1 < units.size() && value >= base - 0.5) {
    value /= base;
    ++unit;
  }
  int decimals = 0;
  if (unit > 0) decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return with_decimals(value, decimals) + " " + std::string(units[unit]);
}

// Whole units, half a unit up. std::chrono::round overflows near Duration::max().
std::int64_t rounded(Duration duration, Duration unit) {
  return duration / unit + (duration % unit >= unit / 2 ? 1 : 0);
}

std::string two_digits(std::int64_t value) {
  return (value < 10 ? "0" : "") + std::to_string(value);
}

}  // namespace

Result<std::uint64_t> parse_rate(std::string_view text) {
  const Scanned scanned = scan_number(text);
  if (const auto* refusal = std::get_if<Refusal>(&scanned)) {
    return refused(kRate, text, refusal->why);
  }
  const Number& number = std::get<Number>(scanned);
  std::string_view unit = number.unit;
  if (!unit.ends_with("/s")) return refused(kRate, text, "a rate ends with \"/s\"");
  unit.remove_suffix(2);
  const std::optional<std::uint64_t> factor = factor_of(unit, kByteUnits);
  if (!factor) return refused(kRate, text, no_byte_unit(unit));
  Result<std::uint64_t> rate = value_of(kRate, text, number, *factor);
  if (rate && *rate == 0) return refused(kRate, text, "less than one byte a second");
  return rate;
}

Result<std::uint64_t> parse_size(std::string_view text) {
  const Scanned scanned = scan_number(text);
  if (const auto* refusal = std::get_if<Refusal>(&scanned)) {
    return refused(kSize, text, refusal->why);
  }
  const Number& number = std::get<Number>(scanned);
  const bool plain = number.unit.empty() && is_digit(text.back()) && number.scale == 1;
  const std::optional<std::uint64_t> factor =
      plain ? std::optional<std::uint64_t>(1) : factor_of(number.unit, kByteUnits);
  if (!factor) return refused(kSize, text, no_byte_unit(number.unit));
  return value_of(kSize, text, number, *factor);
}

Result<Duration> parse_duration(std::string_view text) {
  const Scanned scanned = scan_number(text);
  if (const auto* refusal = std::get_if<Refusal>(&scanned)) {
    return refused(kDuration, text, refusal->why);
  }
  const Number& number = std::get<Number>(scanned);
  if (number.unit.empty()) return refused(kDuration, text, "no unit (ms, s, m, h or d)");
  const std::optional<std::uint64_t> factor = factor_of(number.unit, kTimeUnits);
  if (!factor) {
    return refused(kDuration, text,
                   quoted(number.unit, 20) + " is no unit of time (ms, s, m, h or d)");
  }
  const Result<std::uint64_t> value = value_of(kDuration, text, number, *factor);
  if (!value) return value.error();
  if (*value == 0) return refused(kDuration, text, "no time at all");
  return Duration(static_cast<Duration::rep>(*value));
}

std::string format_bytes(std::uint64_t bytes) {
  static constexpr std::array<std::string_view, 7> kUnits{"B",   "KiB", "MiB", "GiB",
                                                          "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  return in_unit(static_cast<double>(bytes), 1024, kUnits);
}

std::string format_rate(double bytes_per_second) {
  static constexpr std::array<std::string_view, 7> kUnits{"B/s",  "kB/s", "MB/s", "GB/s",
                                                          "TB/s", "PB/s", "EB/s"};
  if (!(bytes_per_second > 0) || !std::isfinite(bytes_per_second)) return "0 B/s";
  return in_unit(bytes_per_second, 1000, kUnits);
}

std::string format_duration(Duration duration) {
  if (duration < Duration::zero()) {
    return "-" + format_duration(duration == Duration::min() ? Duration::max() : -duration);
  }
  if (duration == Duration::zero()) return "0s";
  if (duration < std::chrono::milliseconds(1)) return "<1ms";
  // Each step rounds to what it would show; what rounds up to the next unit falls through to it.
  const std::int64_t ms = rounded(duration, std::chrono::milliseconds(1));
  if (ms < 1000) return std::to_string(ms) + "ms";
  const std::int64_t tenths = rounded(duration, std::chrono::milliseconds(100));
  if (tenths < 600) return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + "s";
  const std::int64_t whole = rounded(duration, std::chrono::seconds(1));
  if (whole < 3600) return std::to_string(whole / 60) + "m " + two_digits(whole % 60) + "s";
  const std::int64_t minutes = rounded(duration, std::chrono::minutes(1));
  if (minutes < 1440) return std::to_string(minutes / 60) + "h " + two_digits(minutes % 60) + "m";
  const std::int64_t hours = rounded(duration, std::chrono::hours(1));
  return std::to_string(hours / 24) + "d " + std::to_string(hours % 24) + "h";
}

}  // namespace p2p
