#include "io/net/http_message.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/base/ids.h"
#include "core/base/text.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxDetailBytes = 4000;

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

// In a query, unlike in a path, '+' stands for a space.
Result<std::string> decode_query_text(std::string_view text) {
  std::string spaced(text);
  std::replace(spaced.begin(), spaced.end(), '+', ' ');
  return percent_decode(spaced);
}

Status add_parameter(HttpRequest& request, std::string_view parameter) {
  const std::size_t equals = std::min(parameter.find('='), parameter.size());
  Result<std::string> name = decode_query_text(parameter.substr(0, equals));
  if (!name) return name.error();
  Result<std::string> value =
      decode_query_text(parameter.substr(std::min(equals + 1, parameter.size())));
  if (!value) return value.error();
  const auto [at, is_new] = request.query.try_emplace(std::move(*name), std::move(*value));
  if (is_new) return {};
  return Error{Errc::invalid_argument,
               "query parameter " + quoted(at->first) + " is given twice: give it once"};
}

}  // namespace

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c)) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return out;
}

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::uint8_t byte = static_cast<std::uint8_t>(text[i]);
    if (text[i] == '%' && !from_hex(text.substr(i + 1, 2), &byte, 1)) {
      return Error{Errc::invalid_argument,
                   quoted(text) + " holds a '%' without two hexadecimal digits: write it as %25"};
    }
    if (byte == 0) return Error{Errc::invalid_argument, quoted(text) + " holds a NUL (%00)"};
    if (text[i] == '%') i += 2;
    out += static_cast<char>(byte);
  }
  return out;
}

Status parse_target(HttpRequest& request) {
  const std::string_view target = request.target;
  if (!target.starts_with('/')) {
    return Error{Errc::invalid_argument,
                 "request target " + quoted(target) + " does not begin with '/'"};
  }
  const std::size_t question = std::min(target.find('?'), target.size());
  Result<std::string> path = percent_decode(target.substr(0, question));
  if (!path) return path.error();
  request.path = std::move(*path);
  request.query.clear();
  for (std::size_t begin = question + 1; begin < target.size();) {
    const std::size_t end = std::min(target.find('&', begin), target.size());
    if (end > begin) {
      if (Status ok = add_parameter(request, target.substr(begin, end - begin)); !ok) return ok;
    }
    begin = end + 1;
  }
  return {};
}

std::string error_body(const Error& error) {
  std::string escaped;
  for (const char c : printable(error.detail, kMaxDetailBytes)) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return R"({"error":{"code":")" + std::string(to_string(error.code)) + R"(","detail":")" +
         escaped + R"("}})";
}

}  // namespace p2p
