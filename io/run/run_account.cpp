#include "io/run/run_account.h"

#include <grp.h>
#include <pwd.h>
#include <sys/capability.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>

#include "core/base/text.h"

namespace p2p {
namespace {

constexpr const char* kDefaultAccount = "nobody";
constexpr std::size_t kMaxRecordSize = 1024 * 1024;

struct FreeCapabilities {
  void operator()(void* set) const { ::cap_free(set); }
};
using Capabilities = std::unique_ptr<std::remove_pointer_t<cap_t>, FreeCapabilities>;

Error failed(const std::string& act) {
  return {Errc::denied, act + ": " + std::generic_category().message(errno)};
}

// By name, or by number when the name is empty.
std::optional<RunAccount> look_up(const std::string& name, uid_t number) {
  std::string buffer(4096, '\0');
  for (;;) {
    passwd record{};
    passwd* found = nullptr;
    const int error =
        name.empty() ? ::getpwuid_r(number, &record, buffer.data(), buffer.size(), &found)
                     : ::getpwnam_r(name.c_str(), &record, buffer.data(), buffer.size(), &found);
    if (error == ERANGE && buffer.size() < kMaxRecordSize) {
      buffer.resize(buffer.size() * 2);
      continue;
    }
    if (found == nullptr) return std::nullopt;
    return RunAccount{.name = record.pw_name,
                      .user = record.pw_uid,
                      .group = record.pw_gid,
                      .groups = {},
                      .home = record.pw_dir,
                      .shell = record.pw_shell};
  }
}

std::vector<gid_t> groups_of(const RunAccount& account) {
  int count = 64;
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  while (::getgrouplist(account.name.c_str(), account.group, groups.data(), &count) < 0) {
    groups.resize(
        static_cast<std::size_t>(std::max<int>(count, static_cast<int>(groups.size()) * 2)));
    count = static_cast<int>(groups.size());
  }
  groups.resize(static_cast<std::size_t>(count));
  return groups;
}

bool is_all_of(const RunAccount& account) {
  uid_t user[3] = {};
  gid_t group[3] = {};
  ::getresuid(&user[0], &user[1], &user[2]);
  ::getresgid(&group[0], &group[1], &group[2]);
  return std::all_of(user, user + 3, [&](uid_t id) { return id == account.user; }) &&
         std::all_of(group, group + 3, [&](gid_t id) { return id == account.group; });
}

bool has_groups(std::vector<gid_t> wanted) {
  std::vector<gid_t> now(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
  if (::getgroups(static_cast<int>(now.size()), now.data()) < 0) return false;
  std::sort(now.begin(), now.end());
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  now.erase(std::unique(now.begin(), now.end()), now.end());
  return now == wanted;
}

bool has_no_capability() {
  const Capabilities now(::cap_get_proc());
  const Capabilities none(::cap_init());
  return now && none && ::cap_compare(now.get(), none.get()) == 0;
}

}  // namespace

Result<RunAccount> find_run_account(const std::string& name) {
  const uid_t self = ::geteuid();
  std::optional<RunAccount> account;
  if (!name.empty()) {
    account = look_up(name, 0);
  } else if (self == 0) {
    account = look_up(kDefaultAccount, 0);
  } else {
    account = look_up("", self);
    // An account without a name can run as itself.
    if (!account) {
      account = RunAccount{std::to_string(self), self, ::getegid(), {}, "/", "/bin/sh"};
    }
  }
  if (!account) {
    return Error{Errc::not_found, "account " + quoted(name.empty() ? kDefaultAccount : name, 60) +
                                      " does not exist on this node"};
  }
  if (self == 0) {
    account->groups = groups_of(*account);
  } else if (account->user != self) {
    return Error{Errc::denied, "p2pd runs here as an ordinary user, so a run cannot have account " +
                                   quoted(account->name, 60) +
                                   "; start p2pd as root, or leave the "
                                   "account out"};
  }
  return *account;
}

Status permit_account(const AccountRule& rule, const RunAccount& account) {
  const auto refuse = [&](const std::string& why) {
    return Error{Errc::denied, "no run may have account " + quoted(account.name, 60) +
                                   " on this node (" + why +
                                   "); its owner can allow it with p2pd run --exec-accounts"};
  };
  if (!rule.allowed.empty()) {
    const auto& names = rule.allowed;
    if (std::find(names.begin(), names.end(), account.name) != names.end()) return {};
    return refuse("p2pd run --exec-accounts does not name it");
  }
  if (::geteuid() != 0) return {};
  if (rule.agent != 0 && account.user == rule.agent) return refuse("it is p2pd's own");
  return {};
}

Status become_run_account(const RunAccount& account) {
  if (::geteuid() != 0) {
    if (::geteuid() == account.user && has_no_capability()) return {};
    return Error{Errc::denied, "this process is not " + account.name + " and cannot become it"};
  }
  if (::setgroups(account.groups.size(), account.groups.data()) != 0) {
    return failed("join the groups of " + account.name);
  }
  if (::setresgid(account.group, account.group, account.group) != 0) {
    return failed("take the group of " + account.name);
  }
  if (::setresuid(account.user, account.user, account.user) != 0) {
    return failed("become " + account.name);
  }
  bool good = is_all_of(account) && has_groups(account.groups);
  if (account.user != 0) {
    ::cap_reset_ambient();
    const Capabilities none(::cap_init());
    good &= none && ::cap_set_proc(none.get()) == 0 && has_no_capability();
    good &= ::setresuid(0, 0, 0) != 0 && ::seteuid(0) != 0;
    if (account.group != 0) good &= ::setresgid(0, 0, 0) != 0;
    good &= is_all_of(account);
  }
  if (good) return {};
  return Error{Errc::denied, "some of root's rights stay after becoming " + account.name};
}

}  // namespace p2p
