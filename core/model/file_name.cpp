#include "core/model/file_name.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/base/text.h"
#include "core/model/destination.h"
#include "core/model/node_set.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxDomainBytes = 63;
constexpr std::size_t kMaxNameBytes = 128;
constexpr std::size_t kContentIdDigits = 64;

bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool is_domain(std::string_view text) {
  if (text.empty() || text.size() > kMaxDomainBytes) return false;
  if (!is_lower(text.front()) && !is_digit(text.front())) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_lower(c) || is_digit(c) || c == '.' || c == '-'; });
}

// A name or a version. "." and ".." are none: both become parts of URLs and paths.
bool is_plain_word(std::string_view text, std::size_t bytes_max) {
  if (text.empty() || text.size() > bytes_max || text == "." || text == "..") return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return is_lower(c) || is_upper(c) || is_digit(c) || c == '.' || c == '_' || c == '-';
  });
}

Error bad(std::string_view text, std::string_view why) {
  return Error{Errc::invalid_argument, "file name " + quoted(text) + ": " + std::string(why)};
}

std::string_view without_leading_zeros(std::string_view digits) {
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  return digits;
}

// One more than a number of any length; "" is 0.
std::string incremented(std::string_view digits) {
  std::string number(digits);
  for (auto digit = number.rbegin(); digit != number.rend(); ++digit) {
    if (*digit != '9') {
      ++*digit;
      return number;
    }
    *digit = '0';
  }
  return "1" + number;
}

Result<Source> parse_node_path(std::string_view text, std::size_t colon) {
  NodePath source{std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
  const std::string context = "source " + quoted(text);
  if (Status status = check_node_name(source.node); !status) return status.error().within(context);
  if (Status status = check_source_path(source.path); !status) {
    return status.error().within(context);
  }
  return Source(std::move(source));
}

}  // namespace

std::string FileName::str() const {
  return domain + "/" + name + (version ? "@" + *version : "");
}

Result<FileName> parse_file_name(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return bad(text, "no domain; write domain/name or domain/name@version");
  }
  const std::string_view domain = text.substr(0, slash);
  if (!is_domain(domain)) {
    return bad(text,
               "the domain before '/' has 1 to 63 lower-case letters, digits, '.' and '-', "
               "and begins with a letter or a digit");
  }
  const std::string_view rest = text.substr(slash + 1);
  const std::size_t at = rest.find('@');
  const std::string_view name = rest.substr(0, at);
  if (!is_plain_word(name, kMaxNameBytes)) {
    return bad(text,
               "the name after '/' has 1 to 128 letters, digits, '.', '_' and '-' (no "
               "further '/')");
  }
  FileName parsed{std::string(domain), std::string(name), std::nullopt};
  if (at == std::string_view::npos) return parsed;
  const std::string_view version = rest.substr(at + 1);
  if (!is_plain_word(version, kMaxVersionBytes)) {
    return bad(text,
               "the version after '@' has 1 to 64 letters, digits, '.', '_' and '-'; leave "
               "\"@\" out for none");
  }
  parsed.version = std::string(version);
  return parsed;
}

Status check_publishable(const FileName& name) {
  if (name.version != kLatestVersion) return {};
  return bad(name.str(),
             "\"latest\" always is the last version published; choose another version, or leave "
             "it out to get the next number");
}

Result<std::string> next_version(std::span<const std::string> existing) {
  std::string_view largest;
  for (const std::string& version : existing) {
    if (!std::all_of(version.begin(), version.end(), is_digit)) continue;
    const std::string_view number = without_leading_zeros(version);
    const bool larger =
        number.size() != largest.size() ? number.size() > largest.size() : number > largest;
    if (larger) largest = number;
  }
  std::string next = incremented(largest);
  if (next.size() > kMaxVersionBytes) {
    return Error{Errc::exhausted, "no number follows version " + std::string(largest) +
                                      ": publish with a version of your own, domain/name@version"};
  }
  return next;
}

Result<Source> parse_source(std::string_view text) {
  if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    return parse_node_path(text, colon);
  }
  const bool all_hex = !text.empty() && std::all_of(text.begin(), text.end(), is_hex);
  if (all_hex && text.size() == kContentIdDigits) {
    const std::optional<ContentId> id = ContentId::from_hex(text);
    P2P_CHECK(id.has_value());
    return Source(*id);
  }
  if (text.starts_with('/')) {
    return Error{Errc::invalid_argument,
                 "source " + quoted(text) + ": on which node? Write NODE:" + printable(text)};
  }
  if (text.find('/') == std::string_view::npos) {
    std::string why = "write NODE:/path, domain/name[@version] or a content id";
    if (all_hex) why += " (all 64 digits; this has " + std::to_string(text.size()) + ")";
    return Error{Errc::invalid_argument, "source " + quoted(text) + ": " + why};
  }
  Result<FileName> name = parse_file_name(text);
  if (!name) return name.error();
  return Source(std::move(*name));
}

}  // namespace p2p
