#include "tracker/users.h"

#include <algorithm>
#include <optional>

#include "core/base/text.h"
#include "tracker/directory_names.h"

namespace p2p {
namespace {

constexpr std::string_view kPrefix = "user/";
constexpr int kMaxRoles = 32;

std::string key_of(const std::string& name) {
  return std::string(kPrefix) + name;
}

}  // namespace

Result<Users> Users::load(StateStore& store) {
  Users users;
  std::optional<Error> bad;
  const Status scanned = store.scan(kPrefix, [&](std::string_view key, const auto& entry) {
    proto::UserRecord record;
    if (!record.ParseFromString(entry.value) || key_of(record.name()) != key) {
      bad = bad_directory_record(key);
      return false;
    }
    users.names_[record.id()] = record.name();
    users.users_[record.name()] = std::move(record);
    return true;
  });
  if (!scanned) return scanned.error();
  if (bad) return *bad;
  return users;
}

Status Users::check(const proto::UserRecord& user) const {
  if (Status valid = check_directory_name(user.name(), "user"); !valid) return valid;
  if (user.roles_size() > kMaxRoles) {
    return Error{Errc::invalid_argument,
                 "user " + user.name() + ": more than " + std::to_string(kMaxRoles) + " roles"};
  }
  for (const std::string& role : user.roles()) {
    if (const Status valid = check_directory_name(role, "role"); !valid) {
      return valid.error().within("user " + user.name());
    }
  }
  const auto found = users_.find(user.name());
  if (found == users_.end() || found->second.removed()) {
    return check_directory_room(list().size(), "users");
  }
  return Error{Errc::already_exists, "there is a user named '" + user.name() +
                                         "' already: remove it first, or choose another name"};
}

void Users::add(proto::UserRecord user, StateBatch& batch) {
  if (const auto before = users_.find(user.name()); before != users_.end()) {
    names_.erase(before->second.id());
  } else if (users_.size() >= kMaxDirectoryEntries) {
    const auto removed = std::find_if(users_.begin(), users_.end(),
                                      [](const auto& named) { return named.second.removed(); });
    P2P_CHECK(removed != users_.end());
    batch.erase(key_of(removed->first));
    names_.erase(removed->second.id());
    users_.erase(removed);
  }
  batch.put(key_of(user.name()), user.SerializeAsString());
  names_[user.id()] = user.name();
  users_[user.name()] = std::move(user);
}

Result<proto::UserRecord> Users::remove(const std::string& name, StateBatch& batch) {
  const auto found = users_.find(name);
  if (found == users_.end() || found->second.removed()) {
    return Error{Errc::not_found,
                 "no user named " + quoted(name, 80) + ": p2pctl user list shows them"};
  }
  proto::UserRecord& user = found->second;
  user.set_removed(true);
  batch.put(key_of(name), user.SerializeAsString());
  return user;
}

std::vector<const proto::UserRecord*> Users::list() const {
  std::vector<const proto::UserRecord*> list;
  for (const auto& [name, user] : users_) {
    if (!user.removed()) list.push_back(&user);
  }
  return list;
}

Result<Caller> Users::caller(const std::string& id) const {
  const auto found = names_.find(id);
  if (found == names_.end() || users_.at(found->second).removed()) {
    const std::string who = found == names_.end() ? "the user of this certificate (" + id + ")"
                                                  : "user " + found->second;
    return Error{Errc::denied,
                 who + " was removed: ask an administrator to be added again (p2pctl user add)"};
  }
  const proto::UserRecord& user = users_.at(found->second);
  return Caller{user.name(), id, /*admin=*/false, {user.roles().begin(), user.roles().end()}};
}

}  // namespace p2p
