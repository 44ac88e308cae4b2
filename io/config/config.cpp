#include "io/config/config.h"

#include <arpa/inet.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <numeric>
#include <optional>
#include <sstream>
#include <utility>

#include "core/base/text.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxConfigBytes = 1024 * 1024;

// Fit for one line.
std::string shown(std::string_view text) {
  return printable(text, 60);
}

// Levenshtein's distance, by rows.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::optional<std::string> flag_from(std::string_view text) {
  for (const char* yes : {"true", "True", "yes", "on"}) {
    if (text == yes) return "true";
  }
  for (const char* no : {"false", "False", "no", "off"}) {
    if (text == no) return "false";
  }
  return std::nullopt;
}

// Takes the parser's events: no tree is built, so aliases and depth cost nothing.
class FlatReader final : public YAML::EventHandler {
 public:
  struct Problem {
    int line;
    std::string what;
  };

  explicit FlatReader(const std::vector<ConfigKey>& known_keys) : known_keys_(known_keys) {}

  ConfigValues take() { return std::move(values_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (std::exchange(has_document_, true)) fail(mark, "a second document; only one is read");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check_anchor(mark, anchor);
    if (place_ == Place::top) return;  // a file of comments only
    if (place_ == Place::keys) fail(mark, "a key is missing before ':'");
    // The parser's mark is where it saw that nothing comes.
    fail(key_mark_, "key '" + key_->name + "' has no value");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    fail(mark, "aliases ('*name') are not allowed");
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string& value) override {
    check_anchor(mark, anchor);
    switch (place_) {
      case Place::top:
        fail(mark, "expected lines of the form 'key: value'");
      case Place::keys:
        start_key(mark, value);
        place_ = Place::value;
        return;
      case Place::value:
        add(mark, value);
        place_ = Place::keys;
        return;
      case Place::list:
        add(mark, value);
        return;
    }
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    check_anchor(mark, anchor);
    if (place_ == Place::top || place_ == Place::keys) {
      fail(mark, "expected lines of the form 'key: value'");
    }
    if (place_ == Place::list) fail(mark, "key '" + key_->name + "' holds a list in a list");
    if (key_->kind != ConfigKind::list) fail(mark, "key '" + key_->name + "' takes one value");
    place_ = Place::list;
  }
  void OnSequenceEnd() override { place_ = Place::keys; }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    check_anchor(mark, anchor);
    if (place_ == Place::keys) fail(mark, "expected lines of the form 'key: value'");
    if (place_ != Place::top) {
      fail(mark, "key '" + key_->name + "' takes " +
                     (key_->kind == ConfigKind::list ? "a list of values" : "one value") +
                     ", not keys of its own");
    }
    place_ = Place::keys;
  }
  void OnMapEnd() override { place_ = Place::top; }

 private:
  enum class Place { top, keys, value, list };

  [[noreturn]] static void fail(const YAML::Mark& mark, std::string what) {
    throw Problem{mark.line + 1, std::move(what)};
  }
  static void check_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) fail(mark, "anchors ('&name') are not allowed");
  }

  void start_key(const YAML::Mark& mark, const std::string& name) {
    const auto found = std::find_if(known_keys_.begin(), known_keys_.end(),
                                    [&](const ConfigKey& key) { return key.name == name; });
    if (found == known_keys_.end()) {
      fail(mark, "unknown key '" + shown(name) + "'" + suggestion(name));
    }
    key_ = &*found;
    key_mark_ = mark;
    if (!values_.try_emplace(name).second) fail(mark, "key '" + name + "' is set twice");
  }

  std::string suggestion(const std::string& name) const {
    std::string all;
    const ConfigKey* best = nullptr;
    std::size_t best_distance = 3;  // two slips of the finger at most
    for (const ConfigKey& key : known_keys_) {
      all += (all.empty() ? "" : ", ") + key.name;
      if (name.size() > 2 * key.name.size() + 2) continue;
      const std::size_t d = distance(name, key.name);
      if (d < best_distance && d < key.name.size()) {
        best = &key;
        best_distance = d;
      }
    }
    return best != nullptr ? " (did you mean '" + best->name + "'?)" : " (known keys: " + all + ")";
  }

  void add(const YAML::Mark& mark, const std::string& value) {
    std::string kept = value;
    if (key_->kind == ConfigKind::flag) {
      const std::optional<std::string> flag = flag_from(value);
      if (!flag)
        fail(mark, "key '" + key_->name + "' is '" + shown(value) + "', not true or false");
      kept = *flag;
    }
    if (kept.find('\0') != std::string::npos) {
      fail(mark, "key '" + key_->name + "' holds a NUL byte");
    }
    values_[key_->name].push_back(std::move(kept));
  }

  const std::vector<ConfigKey>& known_keys_;
  ConfigValues values_;
  Place place_ = Place::top;
  const ConfigKey* key_ = nullptr;
  YAML::Mark key_mark_;
  bool has_document_ = false;
};

Result<std::string> read_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxConfigBytes + 1, '\0');
  if (file) file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad() || (file.fail() && !file.eof())) {
    const int why = errno;
    return Error{why == ENOENT ? Errc::not_found : Errc::io_failed,
                 path + ": configuration file cannot be read: " + std::strerror(why)};
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxConfigBytes) {
    return Error{Errc::invalid_argument, path + ": configuration file is over " +
                                             std::to_string(kMaxConfigBytes) +
                                             " bytes: this is not one of ours"};
  }
  return text;
}

const std::vector<std::string>* from_file(const ConfigValues& values, std::string_view key,
                                          bool on_command_line) {
  const auto found = values.find(key);
  return on_command_line || found == values.end() ? nullptr : &found->second;
}

bool is_ipv6(const std::string& host) {
  in6_addr address;
  return ::inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), &address) == 1;
}

bool is_name_or_ipv4(std::string_view host) {
  return host.size() <= 253 && std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '-' || c == '_';
         });
}

}  // namespace

Result<ConfigValues> load_config(const std::string& path,
                                 const std::vector<ConfigKey>& known_keys) {
  Result<std::string> text = read_config(path);
  if (!text) return text.error();
  const auto at = [&](int line, const std::string& what) {
    return Error{Errc::invalid_argument, path + ":" + std::to_string(line) + ": " + what};
  };
  std::istringstream stream(std::move(*text));
  FlatReader reader(known_keys);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(reader)) {
    }
  } catch (const FlatReader::Problem& problem) {
    return at(problem.line, problem.what);
  } catch (const YAML::Exception& problem) {
    return at(problem.mark.line + 1, "not YAML: " + problem.msg);
  }
  return reader.take();
}

void take_text(const ConfigValues& values, std::string_view key, bool on_command_line,
               std::string& target) {
  if (const auto* found = from_file(values, key, on_command_line)) target = found->front();
}

void take_list(const ConfigValues& values, std::string_view key, bool on_command_line,
               std::vector<std::string>& target) {
  if (const auto* found = from_file(values, key, on_command_line)) target = *found;
}

void take_flag(const ConfigValues& values, std::string_view key, bool on_command_line,
               bool& target) {
  if (const auto* found = from_file(values, key, on_command_line))
    target = found->front() == "true";
}

std::string HostPort::str() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? '[' + host + ']' : host) + ':' + std::to_string(port);
}

Result<HostPort> parse_host_port(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    return Error{Errc::invalid_argument,
                 "address '" + shown(text) + "' " + std::string(why) +
                     ": write it like 192.0.2.1:7400, [2001:db8::1]:7400 or name:7400"};
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return refuse("has no port");
  const std::string_view digits = text.substr(colon + 1);
  HostPort result{std::string(text.substr(0, colon)), 0};
  const auto [end, failed] =
      std::from_chars(digits.data(), digits.data() + digits.size(), result.port);
  if (failed != std::errc() || end != digits.data() + digits.size()) {
    return refuse("has a port that is not a number from 0 to 65535");
  }
  std::string& host = result.host;
  if (host.empty()) return refuse("has no host");
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (!is_ipv6(host)) return refuse("has no IPv6 address between its brackets");
    return result;
  }
  if (host.find(':') != std::string::npos) return refuse("has an IPv6 address without brackets");
  if (!is_name_or_ipv4(host)) return refuse("has a host that is neither a name nor an address");
  return result;
}

}  // namespace p2p
