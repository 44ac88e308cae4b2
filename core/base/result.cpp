#include "core/base/result.h"

#include <array>

namespace p2p {
namespace {

constexpr std::array<std::pair<Errc, std::string_view>, 10> kNames{{
    {Errc::invalid_argument, "invalid_argument"},
    {Errc::not_found, "not_found"},
    {Errc::already_exists, "already_exists"},
    {Errc::corrupt, "corrupt"},
    {Errc::timed_out, "timed_out"},
    {Errc::unavailable, "unavailable"},
    {Errc::cancelled, "cancelled"},
    {Errc::exhausted, "exhausted"},
    {Errc::denied, "denied"},
    {Errc::io_failed, "io_failed"},
}};

}  // namespace

std::string_view to_string(Errc code) {
  for (const auto& [errc, name] : kNames) {
    if (errc == code) return name;
  }
  return "io_failed";
}

std::optional<Errc> errc_from(std::string_view name) {
  for (const auto& [errc, text] : kNames) {
    if (text == name) return errc;
  }
  return std::nullopt;
}

}  // namespace p2p
