// The file behind a daemon's --config: flat YAML, "key: value" or "key: [value, ...]".
//
// Whatever is wrong with it is one line, "FILE:LINE: unknown key 'lisen' (did you mean 'listen'?)".
// Limits: 1 MiB, one document, no anchors and aliases, no nesting.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace p2p {

enum class ConfigKind {
  text,  // one value, as written: 7400 is "7400" and off is "off"
  list,  // a sequence, or one value
  flag,  // true or false (also yes, no, on, off), kept as "true" or "false"
};

struct ConfigKey {
  std::string name;
  ConfigKind kind = ConfigKind::text;
};

// By key, only those that the file sets. One value for text and flag.
using ConfigValues = std::map<std::string, std::vector<std::string>, std::less<>>;

Result<ConfigValues> load_config(const std::string& path, const std::vector<ConfigKey>& known_keys);

// The command line wins: these set `target` from the file only when `on_command_line` is false.
void take_text(const ConfigValues& values, std::string_view key, bool on_command_line,
               std::string& target);
void take_list(const ConfigValues& values, std::string_view key, bool on_command_line,
               std::vector<std::string>& target);
void take_flag(const ConfigValues& values, std::string_view key, bool on_command_line,
               bool& target);

// Where to listen or what to dial. `host` is a name or an address, IPv6 without its brackets.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;

  std::string str() const;  // with the brackets
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

// "0.0.0.0:7400", "[::1]:7402", "name:7400". Port 0 is allowed: a listener then picks one.
Result<HostPort> parse_host_port(std::string_view text);

}  // namespace p2p
