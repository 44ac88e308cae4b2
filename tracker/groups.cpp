#include "tracker/groups.h"

#include <algorithm>

#include "core/base/text.h"
#include "core/model/target_expression.h"
#include "tracker/directory_names.h"

namespace p2p {
namespace {

constexpr std::string_view kPrefix = "group/";

std::string key_of(const std::string& name) {
  return std::string(kPrefix) + name;
}

// The groups that an expression names; none when it cannot be read.
std::vector<std::string> groups_in(const std::string& expression) {
  std::vector<std::string> names;
  const auto parsed = parse_targets(expression);
  if (!parsed) return names;
  for (const TargetStep& step : parsed->steps) {
    if (const auto* group = std::get_if<GroupMembers>(&step)) names.push_back(group->name);
  }
  return names;
}

}  // namespace

Result<Groups> Groups::load(StateStore& store) {
  Groups groups;
  std::optional<Error> bad;
  const Status scanned = store.scan(kPrefix, [&](std::string_view key, const auto& entry) {
    proto::GroupRecord record;
    if (!record.ParseFromString(entry.value) || key_of(record.name()) != key) {
      bad = bad_directory_record(key);
      return false;
    }
    groups.groups_[record.name()] = std::move(record);
    return true;
  });
  if (!scanned) return scanned.error();
  if (bad) return *bad;
  return groups;
}

// Depth first.
Status Groups::check_names(const std::string& expression, Walk& walk) const {
  for (const std::string& name : groups_in(expression)) {
    if (name == walk.root) {
      std::string circle;
      for (const std::string& link : walk.chain) circle += "@" + link + " > ";
      return Error{Errc::invalid_argument,
                   "group " + name + " would contain itself: " + circle + "@" + name};
    }
    if (!walk.seen.insert(name).second) continue;
    // Only what is set now can name one that is missing: those in use are not removed.
    const auto found = groups_.find(name);
    if (found == groups_.end()) return unknown(name).within("group " + walk.root);
    if (walk.chain.size() >= kMaxGroupDepth) {
      return Error{Errc::invalid_argument, "group " + walk.root +
                                               " has groups inside groups, more " + "than " +
                                               std::to_string(kMaxGroupDepth) + " deep"};
    }
    walk.chain.push_back(name);
    if (Status below = check_names(found->second.expression(), walk); !below) return below;
    walk.chain.pop_back();
  }
  return {};
}

Status Groups::set(proto::GroupRecord group, StateBatch& batch) {
  const std::string& name = group.name();
  if (Status valid = check_directory_name(name, "group"); !valid) return valid;
  if (const auto parsed = parse_targets(group.expression()); !parsed) {
    return parsed.error().within("group " + name);
  }
  const std::string bytes = group.SerializeAsString();
  if (Status fits = check_record_size(bytes, "group " + name); !fits) return fits;
  if (!groups_.contains(name)) {
    if (Status room = check_directory_room(groups_.size(), "groups"); !room) return room;
  }
  Walk walk{name, {name}, {}};
  if (Status names = check_names(group.expression(), walk); !names) return names;
  batch.put(key_of(name), bytes);
  groups_[name] = std::move(group);
  return {};
}

Result<proto::GroupRecord> Groups::remove(const std::string& name, StateBatch& batch) {
  const auto found = groups_.find(name);
  if (found == groups_.end()) return unknown(name);
  for (const auto& [other, record] : groups_) {
    const auto names = groups_in(record.expression());
    if (std::find(names.begin(), names.end(), name) == names.end()) continue;
    return Error{Errc::invalid_argument, "group " + name + " is part of group " + other +
                                             ": change or remove that one first"};
  }
  proto::GroupRecord group = std::move(found->second);
  groups_.erase(found);
  batch.erase(key_of(name));
  return group;
}

const proto::GroupRecord* Groups::find(const std::string& name) const {
  const auto found = groups_.find(name);
  return found == groups_.end() ? nullptr : &found->second;
}

std::optional<std::string> Groups::expression_of(const std::string& name) const {
  const auto* group = find(name);
  if (group == nullptr) return std::nullopt;
  return group->expression();
}

std::vector<const proto::GroupRecord*> Groups::list() const {
  std::vector<const proto::GroupRecord*> list;
  for (const auto& [name, group] : groups_) list.push_back(&group);
  return list;
}

Error Groups::unknown(const std::string& name) {
  return Error{Errc::not_found,
               "no group named " + quoted(name, 80) + ": p2pctl group list shows them"};
}

}  // namespace p2p
