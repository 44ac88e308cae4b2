#include "tracker/accounts.h"

#include <algorithm>

#include "core/base/text.h"
#include "core/model/target_expression.h"
#include "io/run/run_order.h"
#include "tracker/directory_names.h"

namespace p2p {
namespace {

constexpr std::string_view kPrefix = "account/";
constexpr int kMaxRoles = 32;
constexpr std::size_t kMaxUserBytes = 32;  // of Linux
constexpr std::size_t kMaxFolderBytes = 4095;
constexpr std::uint32_t kMaxUmask = 0777;

std::string key_of(const std::string& name) {
  return std::string(kPrefix) + name;
}

Error bad(const proto::AccountRecord& account, const std::string& why) {
  return Error{Errc::invalid_argument, "account " + account.name() + ": " + why};
}

// What useradd takes, and what services are called: "www-data", "svc.deploy", "host$".
bool is_user_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxUserBytes) return false;
  if (name[0] == '-' || name[0] == '.') return false;
  if (name.ends_with('$')) name.remove_suffix(1);
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  });
}

Status check_environment(const proto::AccountRecord& account) {
  for (const std::string& variable : account.environment()) {
    const std::size_t equals = variable.find('=');
    if (equals == 0 || equals == std::string::npos || variable.find('\0') != std::string::npos) {
      return bad(account, "environment " + quoted(variable, 60) + ": write it as NAME=VALUE");
    }
  }
  return {};
}

Status check(const proto::AccountRecord& account) {
  if (Status valid = check_directory_name(account.name(), "account"); !valid) return valid;
  if (!is_user_name(account.user())) {
    return bad(account, quoted(account.user(), 60) +
                            " is no name of a user on a node: name one with --user, by its name "
                            "and not by its number");
  }
  if (account.roles_size() > kMaxRoles) {
    return bad(account, "more than " + std::to_string(kMaxRoles) + " roles");
  }
  for (const std::string& role : account.roles()) {
    if (const Status valid = check_directory_name(role, "role"); !valid) {
      return valid.error().within("account " + account.name());
    }
  }
  if (!account.nodes().empty()) {
    if (const auto parsed = parse_targets(account.nodes()); !parsed) {
      return parsed.error().within("account " + account.name() + ": nodes");
    }
  }
  if (account.wall_ms() > kMaxTimeoutMs) return bad(account, "a wall time above 30 days");
  if (account.umask() > kMaxUmask) return bad(account, "a umask above 0777");
  const std::string& folder = account.folder();
  if (!folder.empty() && (folder[0] != '/' || folder.size() > kMaxFolderBytes ||
                          folder.find('\0') != std::string::npos)) {
    return bad(account, "working folder " + quoted(folder, 60) + ": name an absolute path");
  }
  return check_environment(account);
}

}  // namespace

Result<Accounts> Accounts::load(StateStore& store) {
  Accounts accounts;
  std::optional<Error> bad_record;
  const Status scanned = store.scan(kPrefix, [&](std::string_view key, const auto& entry) {
    proto::AccountRecord record;
    if (!record.ParseFromString(entry.value) || key_of(record.name()) != key) {
      bad_record = bad_directory_record(key);
      return false;
    }
    accounts.accounts_[record.name()] = std::move(record);
    return true;
  });
  if (!scanned) return scanned.error();
  if (bad_record) return *bad_record;
  return accounts;
}

Status Accounts::set(proto::AccountRecord account, StateBatch& batch) {
  if (Status valid = check(account); !valid) return valid;
  const std::string bytes = account.SerializeAsString();
  if (Status fits = check_record_size(bytes, "account " + account.name()); !fits) return fits;
  if (!accounts_.contains(account.name())) {
    if (Status room = check_directory_room(accounts_.size(), "accounts"); !room) return room;
  }
  batch.put(key_of(account.name()), bytes);
  accounts_[account.name()] = std::move(account);
  return {};
}

Result<proto::AccountRecord> Accounts::remove(const std::string& name, StateBatch& batch) {
  const auto found = accounts_.find(name);
  if (found == accounts_.end()) return unknown(name);
  proto::AccountRecord account = std::move(found->second);
  accounts_.erase(found);
  batch.erase(key_of(name));
  return account;
}

std::vector<const proto::AccountRecord*> Accounts::list() const {
  std::vector<const proto::AccountRecord*> list;
  for (const auto& [name, account] : accounts_) list.push_back(&account);
  return list;
}

Error Accounts::unknown(const std::string& name) {
  return Error{Errc::not_found,
               "no account named " + quoted(name, 80) + ": p2pctl account list shows them"};
}

Result<proto::AccountRecord> Accounts::usable(const std::string& name, const Caller& caller) const {
  const auto found = accounts_.find(name);
  if (caller.admin) {
    if (found == accounts_.end()) return unknown(name);
    return found->second;
  }
  if (found != accounts_.end()) {
    const auto& roles = found->second.roles();
    if (std::any_of(roles.begin(), roles.end(),
                    [&](const std::string& role) { return caller.has_role(role); })) {
      return found->second;
    }
  }
  return Error{Errc::denied, "user '" + caller.name + "' may not use an account named " +
                                 quoted(name, 80) + ": ask an administrator for a role that may"};
}

}  // namespace p2p
