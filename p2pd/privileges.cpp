#include "p2pd/privileges.h"

#include <grp.h>
#include <pwd.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <system_error>
#include <type_traits>

#include "io/log/log.h"

namespace p2p {
namespace {

constexpr const char* kOwnAccount = "p2pd";
constexpr const char* kOtherAccount = "daemon";
constexpr const char* kMakeAccount = "useradd --system --no-create-home p2pd";

// Open and rename below folders of any owner, give files to their owners, set their modes.
constexpr std::array<cap_value_t, 4> kFileRights = {CAP_CHOWN, CAP_FOWNER, CAP_DAC_OVERRIDE,
                                                    CAP_DAC_READ_SEARCH};

struct FreeCapabilities {
  void operator()(void* set) const { ::cap_free(set); }
};
using Capabilities = std::unique_ptr<std::remove_pointer_t<cap_t>, FreeCapabilities>;

Error failed(const std::string& act) {
  return {Errc::denied, act + ": " + std::generic_category().message(errno)};
}

// Before the first thread, so the calls that are not thread-safe will do.
std::optional<Account> find_account(const std::string& name) {
  const struct passwd* record = ::getpwnam(name.c_str());
  if (record == nullptr) return std::nullopt;
  return Account{.name = name, .user = record->pw_uid, .group = record->pw_gid};
}

bool is_file_right(cap_value_t right) {
  for (const cap_value_t kept : kFileRights) {
    if (kept == right) return true;
  }
  return false;
}

// Drops rights from the set that programs started later could have.
Status limit_bounding_set(bool keep_file_rights) {
  for (cap_value_t right = 0; right < ::cap_max_bits(); ++right) {
    if (::cap_get_bound(right) <= 0 || (keep_file_rights && is_file_right(right))) continue;
    if (::cap_drop_bound(right) != 0) {
      return failed("give up a capability for good (this needs CAP_SETPCAP)");
    }
  }
  return {};
}

Status forbid_new_rights() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("set no_new_privs");
  // Nobody with the same user number reads this process's memory, in which its keys are.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return failed("forbid core dumps");
  return {};
}

Status check_given_up(const Account& account) {
  uid_t real_user = 0, user = 0, saved_user = 0;
  gid_t real_group = 0, group = 0, saved_group = 0;
  ::getresuid(&real_user, &user, &saved_user);
  ::getresgid(&real_group, &group, &saved_group);
  const bool is_account = real_user == account.user && user == account.user &&
                          saved_user == account.user && real_group == account.group &&
                          group == account.group && saved_group == account.group;
  bool has_rights = ::getgroups(0, nullptr) != 0;
  for (cap_value_t right = 0; right < ::cap_max_bits(); ++right) {
    has_rights |= ::cap_get_bound(right) > 0 || ::cap_get_ambient(right) > 0;
  }
  const Capabilities now(::cap_get_proc());
  const Capabilities none(::cap_init());
  has_rights |= !now || !none || ::cap_compare(now.get(), none.get()) != 0;
  const bool can_return = ::setresuid(0, 0, 0) == 0 || ::seteuid(0) == 0 ||
                          (account.group != 0 && ::setresgid(0, 0, 0) == 0);
  if (is_account && !has_rights && !can_return) return {};
  return Error{Errc::denied, "some of root's rights stay after they were given up"};
}

}  // namespace

Result<std::optional<Account>> choose_account(const std::string& user) {
  std::optional<Account> account;
  if (!user.empty()) {
    account = find_account(user);
    if (!account) {
      return Error{Errc::invalid_argument, "--user " + user +
                                               ": no such account; make it with: useradd --system "
                                               "--no-create-home " +
                                               user};
    }
  }
  if (::geteuid() != 0) {
    if (!account || account->user == ::geteuid()) return std::optional<Account>();
    return Error{Errc::invalid_argument,
                 "--user " + user +
                     ": only root can become another account; start p2pd as root, or leave --user "
                     "out"};
  }
  if (!account) account = find_account(kOwnAccount);
  if (!account) {
    account = find_account(kOtherAccount);
    if (!account) {
      return Error{Errc::invalid_argument,
                   std::string("no account to run as: make one with: ") + kMakeAccount};
    }
    log_warn("agent", "runs as an account that other services may share; make one of its own",
             {{"user", kOtherAccount}, {"with", kMakeAccount}});
  }
  if (account->user != 0) return account;
  log_warn("agent", "runs as root in one process, which is not recommended", {{"user", user}});
  return std::optional<Account>();
}

Status become(const Account& account) {
  if (Status limited = limit_bounding_set(/*keep_file_rights=*/false); !limited) return limited;
  ::cap_reset_ambient();
  if (::setgroups(0, nullptr) != 0) return failed("leave all groups");
  if (::setresgid(account.group, account.group, account.group) != 0) {
    return failed("become group " + std::to_string(account.group));
  }
  if (::setresuid(account.user, account.user, account.user) != 0) {
    return failed("become " + account.name);
  }
  const Capabilities none(::cap_init());
  if (!none || ::cap_set_proc(none.get()) != 0) return failed("give up all capabilities");
  if (Status forbidden = forbid_new_rights(); !forbidden) return forbidden;
  ::umask(077);
  return check_given_up(account);
}

Status keep_file_rights() {
  if (Status limited = limit_bounding_set(/*keep_file_rights=*/true); !limited) return limited;
  ::cap_reset_ambient();
  const Capabilities before(::cap_get_proc());
  const Capabilities kept(::cap_init());
  if (!before || !kept) return failed("read this process's capabilities");
  for (const cap_value_t right : kFileRights) {
    cap_flag_value_t has = CAP_CLEAR;
    ::cap_get_flag(before.get(), right, CAP_PERMITTED, &has);
    if (has == CAP_CLEAR) {
      const std::unique_ptr<char, FreeCapabilities> name(::cap_to_name(right));
      log_warn("helper", "lacks a right over files; some files may not be received",
               {{"right", name ? name.get() : "?"}});
      continue;
    }
    for (const cap_flag_t set : {CAP_PERMITTED, CAP_EFFECTIVE}) {
      ::cap_set_flag(kept.get(), set, 1, &right, CAP_SET);
    }
  }
  if (::cap_set_proc(kept.get()) != 0) return failed("give up capabilities");
  return forbid_new_rights();
}

}  // namespace p2p
