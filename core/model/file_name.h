// Names of files, "domain/name[@version]", and what a command accepts as a source.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "core/base/ids.h"
#include "core/base/result.h"

namespace p2p {

// Stands for the last version that is published and not withdrawn: to look up, never to publish.
inline constexpr std::string_view kLatestVersion = "latest";
inline constexpr std::size_t kMaxVersionBytes = 64;

struct FileName {
  std::string domain;                  // [a-z0-9][a-z0-9.-]{0,62}
  std::string name;                    // [A-Za-z0-9._-]{1,128}; not "." or ".."
  std::optional<std::string> version;  // [A-Za-z0-9._-]{1,64}; not "." or ".."

  // "domain/name" or "domain/name@version".
  std::string str() const;
  friend bool operator==(const FileName&, const FileName&) = default;
};

Result<FileName> parse_file_name(std::string_view text);

// Refuses the version "latest".
Status check_publishable(const FileName& name);

// One more than the largest of the versions that consist of digits only, whatever their number of
// digits; "1" when there is none. An error when the result has more than kMaxVersionBytes digits.
Result<std::string> next_version(std::span<const std::string> existing);

// A path on a node, as it lies there now.
struct NodePath {
  std::string node;
  std::string path;  // passed check_source_path
  friend bool operator==(const NodePath&, const NodePath&) = default;
};

using Source = std::variant<NodePath, ContentId, FileName>;

// "NODE:/path", a content id (64 hexadecimal digits) or "domain/name[@version]".
Result<Source> parse_source(std::string_view text);

}  // namespace p2p
