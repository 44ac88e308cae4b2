#include "tracker/scripts.h"

#include <charconv>
#include <cstdio>

#include "core/base/text.h"
#include "tracker/directory_names.h"

namespace p2p {
namespace {

constexpr std::string_view kPrefix = "script/";
// With six digits in the key.
constexpr std::uint32_t kMaxVersion = 999'999;

// The version in two parts: a level of the store has at most 1,000 children.
std::string key_of(const proto::ScriptRecord& script) {
  char number[32];
  std::snprintf(number, sizeof number, "/%03u/%03u", script.version() / 1000,
                script.version() % 1000);
  return std::string(kPrefix) + script.name() + number;
}

}  // namespace

Status check_script_name(std::string_view name) {
  return check_directory_name(name, "script");
}

Result<ScriptRef> parse_script_ref(std::string_view text) {
  ScriptRef ref;
  const std::size_t at = text.find('@');
  ref.name = text.substr(0, at);
  if (const Status valid = check_script_name(ref.name); !valid) return valid.error();
  if (at == std::string_view::npos) return ref;
  const std::string_view version = text.substr(at + 1);
  if (version == "latest") return ref;
  std::uint32_t number = 0;
  const auto [end, failed] =
      std::from_chars(version.data(), version.data() + version.size(), number);
  if (failed != std::errc{} || end != version.data() + version.size() || number == 0 ||
      version[0] == '0') {
    return Error{Errc::invalid_argument, quoted(version, 40) +
                                             " is no version of a script: write " + ref.name +
                                             "@3, or " + ref.name + " for the newest one"};
  }
  ref.version = number;
  return ref;
}

Result<Scripts> Scripts::load(StateStore& store) {
  Scripts scripts;
  std::optional<Error> bad;
  const Status scanned = store.scan(kPrefix, [&](std::string_view key, const auto& entry) {
    proto::ScriptRecord record;
    if (!record.ParseFromString(entry.value) || key_of(record) != key) {
      bad = bad_directory_record(key);
      return false;
    }
    auto& versions = scripts.scripts_[record.name()];
    versions[record.version()] = std::move(record);
    return true;
  });
  if (!scanned) return scanned.error();
  if (bad) return *bad;
  return scripts;
}

Status Scripts::check_room(const std::string& name) const {
  const auto found = scripts_.find(name);
  if (found == scripts_.end()) return check_directory_room(scripts_.size(), "scripts");
  if (found->second.rbegin()->first < kMaxVersion) return {};
  return Error{Errc::exhausted, "script " + name + " has " + std::to_string(kMaxVersion) +
                                    " versions, and no more are kept: choose another name"};
}

proto::ScriptRecord Scripts::put(proto::ScriptRecord script, StateBatch& batch) {
  auto& versions = scripts_[script.name()];
  std::uint32_t newest = 0;
  if (!versions.empty()) {
    const auto& [number, record] = *versions.rbegin();
    if (record.sha256() == script.sha256()) return record;
    newest = number;
  }
  script.set_version(newest + 1);
  batch.put(key_of(script), script.SerializeAsString());
  versions[script.version()] = script;
  return script;
}

Result<proto::ScriptRecord> Scripts::find(const std::string& name_and_version) const {
  const auto ref = parse_script_ref(name_and_version);
  if (!ref) return ref.error();
  const auto found = scripts_.find(ref->name);
  if (found == scripts_.end()) {
    return Error{Errc::not_found,
                 "no script named '" + ref->name + "': p2pctl script list shows them"};
  }
  const auto& versions = found->second;
  if (!ref->version) return versions.rbegin()->second;
  if (const auto version = versions.find(*ref->version); version != versions.end()) {
    return version->second;
  }
  const std::uint32_t newest = versions.rbegin()->first;
  return Error{
      Errc::not_found,
      "script " + ref->name + " has no version " + std::to_string(*ref->version) +
          (newest == 1 ? ": there is 1 only" : ": there are 1 to " + std::to_string(newest))};
}

std::vector<const proto::ScriptRecord*> Scripts::list() const {
  std::vector<const proto::ScriptRecord*> list;
  for (const auto& [name, versions] : scripts_) {
    for (const auto& [number, record] : versions) list.push_back(&record);
  }
  return list;
}

}  // namespace p2p
