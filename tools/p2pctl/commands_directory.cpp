// Groups and accounts.
#include <array>
#include <cstdio>

#include "core/base/units.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/exec_text.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

constexpr std::uint32_t kUsualUmask = 022;

int print_group(const Output& output, const proto::Group& group) {
  if (output.format() != OutputFormat::table) {
    output.print(group);
    return 0;
  }
  Facts facts;
  facts.add("group", "@" + group.name()).add("expression", group.expression());
  if (group.problem().empty()) {
    facts.add("nodes now", nodes_text({group.nodes().begin(), group.nodes().end()}));
  } else {
    facts.add("selects nobody", group.problem());
  }
  facts.add("changed", group.changed_at() + " by " + group.changed_by());
  output.print(facts.str());
  return 0;
}

std::string joined(const google::protobuf::RepeatedPtrField<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

std::string octal(std::uint32_t umask) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "%03o", umask == 0 ? kUsualUmask : umask);
  return text.data();
}

std::string limits_text(const proto::Account& account) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (account.cpu_seconds() > 0) {
    add(format_duration(std::chrono::seconds(account.cpu_seconds())) + " CPU");
  }
  if (account.memory_bytes() > 0) add(format_bytes(account.memory_bytes()) + " memory");
  if (account.processes() > 0) add(std::to_string(account.processes()) + " processes");
  if (account.open_files() > 0) add(std::to_string(account.open_files()) + " files");
  if (account.file_bytes() > 0) add("files of " + format_bytes(account.file_bytes()));
  if (account.wall_ms() > 0) {
    add(format_duration(std::chrono::milliseconds(account.wall_ms())) + " wall time");
  }
  return text;
}

int print_account(const Output& output, const proto::Account& account) {
  if (output.format() != OutputFormat::table) {
    output.print(account);
    return 0;
  }
  Facts facts;
  facts.add("account", account.name())
      .add("user on the nodes", account.user())
      .add("roles", account.roles().empty() ? "administrators only" : joined(account.roles()))
      .add("nodes", account.nodes().empty() ? "everywhere" : account.nodes())
      .add("limits", limits_text(account))
      .add("environment", joined(account.environment()))
      .add("umask", octal(account.umask()))
      .add("folder", account.folder().empty() ? "its home" : account.folder())
      .add("changed", account.changed_at() + " by " + account.changed_by());
  output.print(facts.str());
  return 0;
}

}  // namespace

int run(Session& session, const GroupSetCommand& command) {
  proto::Group group;
  if (auto failure = session.api.put("/v1/groups/" + command.group.name(), command.group, group)) {
    return session.output.fail(*failure);
  }
  return print_group(session.output, group);
}

int run(Session& session, const GroupListCommand&) {
  proto::GroupList list;
  if (auto failure = session.api.get("/v1/groups", list)) return session.output.fail(*failure);
  print_list(session.output, list, list.groups(), [&] {
    Table table({{"GROUP"}, {"EXPRESSION"}, {"CHANGED"}, {"BY"}});
    for (const proto::Group& group : list.groups()) {
      table.add_row({group.name(), group.expression(), group.changed_at(), group.changed_by()});
    }
    return table.str();
  });
  return 0;
}

int run(Session& session, const GroupShowCommand& command) {
  proto::Group group;
  if (auto failure = session.api.get("/v1/groups/" + command.name, group)) {
    return session.output.fail(*failure);
  }
  return print_group(session.output, group);
}

int run(Session& session, const GroupRemoveCommand& command) {
  proto::Group group;
  if (auto failure = session.api.erase("/v1/groups/" + command.name, group)) {
    return session.output.fail(*failure);
  }
  if (session.output.format() != OutputFormat::table) {
    session.output.print(group);
  } else {
    session.output.print("group " + command.name + " removed\n");
  }
  return 0;
}

int run(Session& session, const AccountSetCommand& command) {
  proto::Account account;
  if (auto failure =
          session.api.put("/v1/accounts/" + command.account.name(), command.account, account)) {
    return session.output.fail(*failure);
  }
  return print_account(session.output, account);
}

int run(Session& session, const AccountListCommand&) {
  proto::AccountList list;
  if (auto failure = session.api.get("/v1/accounts", list)) return session.output.fail(*failure);
  print_list(session.output, list, list.accounts(), [&] {
    Table table({{"ACCOUNT"}, {"USER"}, {"ROLES"}, {"NODES"}, {"LIMITS"}, {"CHANGED"}});
    for (const proto::Account& account : list.accounts()) {
      table.add_row({account.name(), account.user(), joined(account.roles()),
                     account.nodes().empty() ? "*" : account.nodes(), limits_text(account),
                     account.changed_at()});
    }
    return table.str();
  });
  return 0;
}

int run(Session& session, const AccountRemoveCommand& command) {
  proto::Account account;
  if (auto failure = session.api.erase("/v1/accounts/" + command.name, account)) {
    return session.output.fail(*failure);
  }
  if (session.output.format() != OutputFormat::table) {
    session.output.print(account);
  } else {
    session.output.print("account " + command.name + " removed\n");
  }
  return 0;
}

}  // namespace p2p
