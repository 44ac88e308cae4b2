// The command line of group, account, user and audit.
#include <limits>

#include "core/base/text.h"
#include "core/base/units.h"
#include "core/model/target_expression.h"
#include "tools/p2pctl/command_line_parser.h"

namespace p2p {
namespace {

Result<std::string> parse_group(const std::string& text) {
  // As it is written in target expressions.
  return parse_plain_name("group", text.starts_with("@") ? text.substr(1) : text);
}

Result<std::string> parse_account(const std::string& text) {
  return parse_plain_name("account", text);
}

Result<std::string> parse_user(const std::string& text) {
  return parse_plain_name("user", text);
}

Result<std::vector<std::string>> parse_roles(const std::vector<std::string>& roles) {
  for (const std::string& role : roles) {
    if (auto name = parse_plain_name("--role", role); !name) return name.error();
  }
  return roles;
}

struct AccountOptions {
  std::string name, user, nodes, cpu, memory, file_size, wall, umask, folder;
  std::vector<std::string> roles, environment;
  std::int64_t processes = 0;
  std::int64_t files = 0;
};

Result<std::uint64_t> parse_count(const char* option, std::int64_t count) {
  if (count >= 0) return static_cast<std::uint64_t>(count);
  return usage(std::string(option) + " " + std::to_string(count) + ": a number from 1");
}

Status set_limits(const AccountOptions& raw, proto::Account& account) {
  if (!raw.cpu.empty()) {
    auto cpu = parse_seconds("--cpu", raw.cpu);
    if (!cpu) return cpu.error();
    account.set_cpu_seconds(*cpu);
  }
  if (!raw.wall.empty()) {
    auto wall = parse_milliseconds("--wall", raw.wall);
    if (!wall) return wall.error();
    account.set_wall_ms(*wall);
  }
  if (!raw.memory.empty()) {
    auto memory = parse_size(raw.memory);
    if (!memory) return memory.error().within("--memory");
    account.set_memory_bytes(*memory);
  }
  if (!raw.file_size.empty()) {
    auto size = parse_size(raw.file_size);
    if (!size) return size.error().within("--file-size");
    account.set_file_bytes(*size);
  }
  auto processes = parse_count("--processes", raw.processes);
  if (!processes) return processes.error();
  account.set_processes(*processes);
  auto files = parse_count("--files", raw.files);
  if (!files) return files.error();
  account.set_open_files(*files);
  return {};
}

Status set_umask(const std::string& text, proto::Account& account) {
  if (text.empty()) return {};
  const bool octal = text.size() <= 4 && text.find_first_not_of("01234567") == std::string::npos;
  const unsigned long umask = octal ? std::stoul(text, nullptr, 8) : 0;
  if (umask == 0 || umask > 0777) {
    return usage("--umask " + p2p::quoted(text) +
                 ": octal, from 001 to 777, as in --umask 022: what new files may not allow");
  }
  account.set_umask(static_cast<std::uint32_t>(umask));
  return {};
}

Result<proto::Account> account_of(const AccountOptions& raw) {
  proto::Account account;
  auto name = parse_account(raw.name);
  if (!name) return name.error();
  account.set_name(*name);
  account.set_user(raw.user);
  auto roles = parse_roles(raw.roles);
  if (!roles) return roles.error();
  account.mutable_roles()->Add(roles->begin(), roles->end());
  if (!raw.nodes.empty()) {
    if (auto nodes = parse_targets(raw.nodes); !nodes) return nodes.error().within("--nodes");
    account.set_nodes(raw.nodes);
  }
  if (Status limits = set_limits(raw, account); !limits) return limits.error();
  auto environment = parse_environment(raw.environment);
  if (!environment) return environment.error();
  account.mutable_environment()->Add(environment->begin(), environment->end());
  if (Status umask = set_umask(raw.umask, account); !umask) return umask.error();
  if (!raw.folder.empty() && raw.folder.front() != '/') {
    return usage("--folder " + p2p::quoted(raw.folder) + ": write an absolute path");
  }
  account.set_folder(raw.folder);
  return account;
}

}  // namespace

void add_group(Parser& parser) {
  CLI::App* group = parser.group("group", "Names for sets of nodes: @NAME in target expressions");
  struct Raw {
    std::string name, expression;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* set = group->add_subcommand("set", "Make a group, or change it");
  set->add_option("NAME", raw->name)->required();
  set->add_option("EXPRESSION", raw->expression, kTargetsHelp)->required();
  parser.command(set, [raw]() -> Result<Command> {
    auto name = parse_group(raw->name);
    if (!name) return name.error();
    if (auto targets = parse_targets(raw->expression); !targets) return targets.error();
    GroupSetCommand command;
    command.group.set_name(*name);
    command.group.set_expression(raw->expression);
    return Command(command);
  });
  parser.command(group->add_subcommand("list", "All groups"),
                 []() -> Result<Command> { return Command(GroupListCommand{}); });
  add_one<GroupShowCommand>(parser,
                            group->add_subcommand("show", "A group and whom it selects now"),
                            "NAME", parse_group);
  add_one<GroupRemoveCommand>(parser, group->add_subcommand("rm", "Forget a group"), "NAME",
                              parse_group);
}

void add_account(Parser& parser) {
  CLI::App* group = parser.group("account", "Whom commands run as, and who may use that");
  const auto raw = std::make_shared<AccountOptions>();
  CLI::App* set = group->add_subcommand("set", "Make an account, or change it as a whole");
  set->add_option("NAME", raw->name, "What --as of exec calls it")->required();
  set->add_option("--user", raw->user, "The system's account on the nodes")->required();
  set->add_option("--role", raw->roles,
                  "Users with this role may use it, too, repeatable; administrators always may")
      ->allow_extra_args(false);
  set->add_option("--nodes", raw->nodes,
                  "Where it may be used: a target expression; everywhere "
                  "by default");
  set->add_option("--cpu", raw->cpu, "Limit of a run: processor time, as in 60s");
  set->add_option("--memory", raw->memory, "Limit: address space of each process, as in 1GiB");
  set->add_option("--processes", raw->processes, "Limit: processes of that account on a node");
  set->add_option("--files", raw->files, "Limit: open files of each process");
  set->add_option("--file-size", raw->file_size, "Limit: largest file written, as in 10GiB");
  set->add_option("--wall", raw->wall, "The longest --timeout that may be asked for, as in 1h");
  set->add_option("--env", raw->environment, "NAME=VALUE beside the clean environment, repeatable")
      ->allow_extra_args(false);
  set->add_option("--umask", raw->umask, "What new files may not allow, 022 by default");
  set->add_option("--folder", raw->folder, "Folder to work in, by default its home");
  parser.command(set, [raw]() -> Result<Command> {
    auto account = account_of(*raw);
    if (!account) return account.error();
    return Command(AccountSetCommand{*account});
  });
  parser.command(group->add_subcommand("list", "All accounts"),
                 []() -> Result<Command> { return Command(AccountListCommand{}); });
  add_one<AccountRemoveCommand>(parser, group->add_subcommand("rm", "Forget an account"), "NAME",
                                parse_account);
}

void add_user(Parser& parser) {
  CLI::App* group = parser.group("user", "People beside the administrators, with their roles");
  const auto raw = std::make_shared<UserAddCommand>();
  CLI::App* add = group->add_subcommand("add", "Make a user and the credential for them");
  add->add_option("NAME", raw->name)->required();
  add->add_option("--role", raw->roles, "What accounts name in their --role, repeatable")
      ->required()
      ->allow_extra_args(false);
  add->add_option("--home", raw->home,
                  "Folder for the credential, made by this: with P2PCTL_HOME=DIR it is theirs")
      ->required();
  parser.command(add, [raw]() -> Result<Command> {
    if (auto name = parse_user(raw->name); !name) return name.error();
    if (auto roles = parse_roles(raw->roles); !roles) return roles.error();
    return Command(*raw);
  });
  parser.command(group->add_subcommand("list", "All users"),
                 []() -> Result<Command> { return Command(UserListCommand{}); });
  add_one<UserRemoveCommand>(
      parser,
      group->add_subcommand("rm", "Remove a user: their credential is refused from then on"),
      "NAME", parse_user);
}

void add_audit(Parser& parser) {
  CLI::App* group = parser.group("audit", "Who has changed what");
  const auto from = std::make_shared<std::int64_t>(1);
  CLI::App* list = group->add_subcommand("list", "The records, oldest first");
  list->add_option("--from", *from, "Number of the first record, 1 by default");
  parser.command(list, [from]() -> Result<Command> {
    if (*from < 1) return usage("--from " + std::to_string(*from) + ": a number from 1");
    return Command(AuditListCommand{static_cast<std::uint64_t>(*from)});
  });
  parser.command(
      group->add_subcommand("verify", "Check here that no record was changed, removed or added"),
      []() -> Result<Command> { return Command(AuditVerifyCommand{}); });
}

}  // namespace p2p
