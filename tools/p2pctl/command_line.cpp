#include "tools/p2pctl/command_line.h"

#include <CLI/CLI.hpp>
#include <array>
#include <functional>
#include <limits>
#include <memory>

#include "core/base/text.h"
#include "core/base/units.h"
#include "core/model/destination.h"
#include "core/model/file_name.h"
#include "core/model/node_set.h"
#include "core/model/target_expression.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxLabels = 64;
constexpr const char* kDefaultApi = "127.0.0.1:7401";

using Check = std::function<Result<Command>()>;

// The tree of commands; what each of them becomes is decided by its check, after parsing.
struct Parser {
  CLI::App app{"Distributes very large files to fleets of servers.", "p2pctl"};
  std::string output = "table";
  std::string api;
  std::vector<std::pair<CLI::App*, Check>> checks;

  CLI::App* group(const std::string& name, const std::string& help) {
    return app.add_subcommand(name, help)->require_subcommand(1);
  }
  void command(CLI::App* sub, Check check) { checks.emplace_back(sub, std::move(check)); }
};

Error usage(std::string detail) {
  return Error{Errc::invalid_argument, std::move(detail)};
}

// "--label a=1 --label b=2". An empty value is for those commands where it means something.
enum class EmptyValue { refused, allowed };
Result<Labels> parse_labels(const std::vector<std::string>& texts, EmptyValue empty) {
  if (texts.size() > kMaxLabels) {
    return usage("too many labels: at most " + std::to_string(kMaxLabels) + " at once");
  }
  Labels labels;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) {
      return usage("label " + p2p::quoted(text) + ": no '=': write key=value, as in rack=r12");
    }
    const std::string key = text.substr(0, equals);
    const std::string value = text.substr(equals + 1);
    if (Status fits = check_label_key(key); !fits) return fits.error();
    if (Status fits = check_label_value(value); !fits) return fits.error();
    if (value.empty() && empty == EmptyValue::refused) {
      return usage("label " + p2p::quoted(text) + ": no value: write key=value, as in rack=r12");
    }
    if (!labels.emplace(key, value).second)
      return usage("label " + p2p::quoted(key) + " is given twice");
  }
  return labels;
}

// Whole seconds, rounded up: the API counts in them.
Result<std::uint64_t> parse_seconds(const char* option, const std::string& text) {
  auto duration = parse_duration(text);
  if (!duration) return duration.error().within(option);
  return static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::seconds>(*duration).count());
}

// A node as the API takes it in a path: its name or its id.
Result<std::string> parse_node(const std::string& text) {
  if (NodeId::parse(text)) return text;
  if (Status fits = check_node_name(text); !fits) return fits.error();
  return text;
}

Result<std::string> parse_job(const std::string& text) {
  if (auto id = JobId::parse(text)) return id->str();
  return usage("job " + p2p::quoted(text) +
               ": a job's name looks like j17: p2pctl job list shows them");
}

Result<std::string> parse_file(const std::string& text) {
  if (auto id = ContentId::from_hex(text)) return "contents/" + id->hex();
  auto name = parse_file_name(text);
  if (!name) return name.error();
  return "files/" + name->str();
}

Result<HostPort> parse_api(const std::string& text) {
  auto api = parse_host_port(text);
  if (!api) return api.error().within("--api");
  if (api->port == 0) return usage("--api " + p2p::quoted(text) + ": port 0 cannot be reached");
  return api;
}

void add_init(Parser& parser) {
  struct Raw {
    std::string data, name, api = kDefaultApi;
    std::vector<std::string> sans;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* sub = parser.app.add_subcommand(
      "init", "Make a cluster: CA, tracker certificate and your own credential");
  sub->add_option("--tracker-data", raw->data, "Data folder of the tracker")->required();
  sub->add_option("--name", raw->name, "Name of the cluster")->required();
  CLI::Option* api = sub->add_option("--api", raw->api,
                                     "HOST:PORT where you will reach the tracker's API, "
                                     "127.0.0.1:7401 by default");
  sub->add_option("--san", raw->sans, "A further host name or address of the tracker, repeatable")
      ->allow_extra_args(false);
  parser.command(sub, [raw, api, &parser]() -> Result<Command> {
    InitCommand command{raw->data, raw->name, {}, raw->sans};
    auto where = parse_api(api->count() == 0 && !parser.api.empty() ? parser.api : raw->api);
    if (!where) return where.error();
    command.api = *where;
    return Command(command);
  });
}

void add_token(Parser& parser) {
  struct Raw {
    std::int64_t uses = 1;
    std::string ttl = "2h";
    std::vector<std::string> labels;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* token = parser.group("token", "Tokens with which nodes join");
  CLI::App* create = token->add_subcommand("create", "Make a join token and print it, alone");
  create->add_option("--uses", raw->uses, "How many nodes may join with it, 1 by default");
  create->add_option("--ttl", raw->ttl, "How long it is valid, 2h by default");
  create->add_option("--label", raw->labels, "key=value for the nodes that use it, repeatable")
      ->allow_extra_args(false);
  parser.command(create, [raw]() -> Result<Command> {
    TokenCreateCommand command;
    if (raw->uses < 1 || raw->uses > std::numeric_limits<std::uint32_t>::max()) {
      return usage("--uses " + std::to_string(raw->uses) + ": at least 1, as in --uses 40");
    }
    command.uses = static_cast<std::uint32_t>(raw->uses);
    auto ttl = parse_seconds("--ttl", raw->ttl);
    if (!ttl) return ttl.error();
    command.ttl_seconds = *ttl;
    auto labels = parse_labels(raw->labels, EmptyValue::refused);
    if (!labels) return labels.error();
    command.labels = *std::move(labels);
    return Command(command);
  });
}

void add_node(Parser& parser) {
  struct Raw {
    std::string node;
    std::vector<std::string> labels;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* group = parser.group("node", "The servers of the fleet");
  parser.command(group->add_subcommand("list", "All nodes"),
                 []() -> Result<Command> { return Command(NodeListCommand{}); });
  CLI::App* show = group->add_subcommand("show", "Everything about one node");
  show->add_option("NODE", raw->node, "Name or id")->required();
  parser.command(show, [raw]() -> Result<Command> {
    auto node = parse_node(raw->node);
    if (!node) return node.error();
    return Command(NodeShowCommand{*node});
  });
  CLI::App* label = group->add_subcommand("label", "Set labels of a node; \"key=\" removes one");
  label->add_option("NODE", raw->node, "Name or id")->required();
  label->add_option("LABEL", raw->labels, "key=value")->required();
  parser.command(label, [raw]() -> Result<Command> {
    auto node = parse_node(raw->node);
    if (!node) return node.error();
    auto labels = parse_labels(raw->labels, EmptyValue::allowed);
    if (!labels) return labels.error();
    return Command(NodeLabelCommand{*node, *labels});
  });
  CLI::App* remove = group->add_subcommand(
      "remove", "Take a node out of the cluster: its tasks fail, no agent gives it anything more");
  remove->add_option("NODE", raw->node, "Name or id")->required();
  parser.command(remove, [raw]() -> Result<Command> {
    auto node = parse_node(raw->node);
    if (!node) return node.error();
    return Command(NodeRemoveCommand{*node});
  });
}

void add_publish(Parser& parser) {
  struct Raw {
    std::string source, name, base;
    bool no_delta = false;
    bool detach = false;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* sub = parser.app.add_subcommand("publish", "Hash a file on a node and give it a name");
  sub->add_option("SOURCE", raw->source, "NODE:/path")->required();
  sub->add_option("--name", raw->name, "domain/name[@version], by default the next version")
      ->required();
  CLI::Option* base = sub->add_option(
      "--base", raw->base,
      "domain/name[@version] that nodes will start from, if this node has it too; by default the "
      "versions before");
  sub->add_flag("--no-delta", raw->no_delta,
                "Nothing is made that spares nodes with an old version")
      ->excludes(base);
  sub->add_flag("--detach", raw->detach, "Print the job and do not wait for it");
  parser.command(sub, [raw]() -> Result<Command> {
    auto source = parse_source(raw->source);
    if (!source) return source.error();
    const auto* path = std::get_if<NodePath>(&*source);
    if (path == nullptr) {
      return usage("publish " + p2p::quoted(raw->source) +
                   ": publishing starts from a file on a node: write NODE:/path");
    }
    auto name = parse_file_name(raw->name);
    if (!name) return name.error().within("--name");
    if (Status fits = check_publishable(*name); !fits) return fits.error().within("--name");
    PublishCommand command;
    command.spec.set_node(path->node);
    command.spec.set_path(path->path);
    command.spec.set_name(name->str());
    if (!raw->base.empty()) {
      auto of = parse_file_name(raw->base);
      if (!of) return of.error().within("--base");
      command.spec.set_base(of->str());
    }
    command.spec.set_no_delta(raw->no_delta);
    command.detach = raw->detach;
    return Command(command);
  });
}

// Roots are known to the tracker only; "/" admits whatever is well-formed.
Status check_destination(const char* option, const std::string& text) {
  const std::array<std::string, 1> any_root{"/"};
  auto resolved = resolve_destination(text, any_root, "node", "file");
  if (!resolved) return resolved.error().within(option);
  return {};
}

// What a push and its plan have in common.
constexpr const char* kTargetsHelp =
    "Which nodes: names, web[01-20], label=value, '*', joined by | & -";
constexpr const char* kBasisHelp =
    "An old file on the nodes to start from, written as --path is; by default the file at --path, "
    "or "
    "another version";
constexpr const char* kNoDeltaHelp = "Fetch everything, whatever old files there are";

Status check_push(const proto::PushSpec& spec) {
  if (auto source = parse_source(spec.source()); !source) return source.error();
  if (auto targets = parse_targets(spec.targets()); !targets) return targets.error();
  if (spec.basis().empty()) return {};
  return check_destination("--basis", spec.basis());
}

void add_push(Parser& parser) {
  struct Raw {
    std::string source, targets, path, limit, ttl, basis;
    std::string reflink = "auto";
    bool detach = false;
    bool allocate = false;
    bool no_delta = false;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* sub = parser.app.add_subcommand("push", "Bring a file to nodes");
  sub->add_option("SOURCE", raw->source, "NODE:/path, domain/name[@version] or a content id")
      ->required();
  sub->add_option("--to", raw->targets, kTargetsHelp)->required();
  sub->add_option("--path", raw->path,
                  "Where it lands: absolute, or relative to the first root; {node} is the node's "
                  "name, a trailing / keeps the file's name")
      ->required();
  sub->add_option("--limit", raw->limit, "Cap of the whole job, as in 50MB/s");
  sub->add_option("--ttl", raw->ttl, "How long to wait for nodes that are away, 10m by default");
  sub->add_flag("--allocate", raw->allocate,
                "Copies without holes: every byte gets a place on the disk before the first one");
  CLI::Option* basis = sub->add_option("--basis", raw->basis, kBasisHelp);
  sub->add_flag("--no-delta", raw->no_delta, kNoDeltaHelp)->excludes(basis);
  sub->add_option("--reflink", raw->reflink,
                  "auto: what old and new file have in common shares its place on the disk where "
                  "the file system can do that (XFS, btrfs); never: it is copied")
      ->check(CLI::IsMember({"auto", "never"}));
  sub->add_flag("--detach", raw->detach, "Print the job's id and do not wait for it");
  parser.command(sub, [raw]() -> Result<Command> {
    PushCommand command;
    command.spec.set_source(raw->source);
    command.spec.set_targets(raw->targets);
    command.spec.set_path(raw->path);
    command.spec.set_basis(raw->basis);
    command.spec.set_no_delta(raw->no_delta);
    command.spec.set_no_reflink(raw->reflink == "never");
    if (Status fits = check_push(command.spec); !fits) return fits.error();
    if (Status fits = check_destination("--path", raw->path); !fits) return fits.error();
    if (!raw->limit.empty()) {
      auto rate = parse_rate(raw->limit);
      if (!rate) return rate.error().within("--limit");
      command.spec.set_limit_bytes_per_second(*rate);
    }
    if (!raw->ttl.empty()) {
      auto ttl = parse_seconds("--ttl", raw->ttl);
      if (!ttl) return ttl.error();
      command.spec.set_offline_ttl_seconds(*ttl);
    }
    command.spec.set_allocate(raw->allocate);
    command.detach = raw->detach;
    return Command(command);
  });
}

void add_plan(Parser& parser) {
  struct Raw {
    std::string file, targets, path, basis;
    bool no_delta = false;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* sub = parser.app.add_subcommand(
      "plan", "What each node would have to fetch of a file; nothing is sent");
  sub->add_option("FILE", raw->file, "domain/name[@version] or a content id")->required();
  sub->add_option("--to", raw->targets, kTargetsHelp)->required();
  sub->add_option("--path", raw->path, "Where it would land: what lies there counts, too");
  CLI::Option* basis = sub->add_option("--basis", raw->basis, kBasisHelp);
  sub->add_flag("--no-delta", raw->no_delta, kNoDeltaHelp)->excludes(basis);
  parser.command(sub, [raw]() -> Result<Command> {
    if (auto file = parse_file(raw->file); !file) return file.error();
    PlanCommand command;
    command.spec.set_source(raw->file);
    command.spec.set_targets(raw->targets);
    command.spec.set_path(raw->path);
    command.spec.set_basis(raw->basis);
    command.spec.set_no_delta(raw->no_delta);
    if (Status fits = check_push(command.spec); !fits) return fits.error();
    if (raw->path.empty()) return Command(command);
    if (Status fits = check_destination("--path", raw->path); !fits) return fits.error();
    return Command(command);
  });
}

// A command whose only argument is `title`, checked by `parse`, and put into a T.
template <class T>
void add_one(Parser& parser, CLI::App* sub, const char* title,
             Result<std::string> (*parse)(const std::string&)) {
  const auto raw = std::make_shared<std::string>();
  sub->add_option(title, *raw)->required();
  parser.command(sub, [raw, parse]() -> Result<Command> {
    auto value = parse(*raw);
    if (!value) return value.error();
    return Command(T{*value});
  });
}

void add_file_and_job(Parser& parser) {
  CLI::App* file = parser.group("file", "What has been published");
  parser.command(file->add_subcommand("list", "All files"),
                 []() -> Result<Command> { return Command(FileListCommand{}); });
  add_one<FileShowCommand>(parser, file->add_subcommand("show", "Everything about one version"),
                           "FILE", parse_file);
  add_one<FileLocateCommand>(parser, file->add_subcommand("locate", "Which nodes hold it"), "FILE",
                             parse_file);
  CLI::App* job = parser.group("job", "What was asked for, and how far it is");
  parser.command(job->add_subcommand("list", "All jobs, newest first"),
                 []() -> Result<Command> { return Command(JobListCommand{}); });
  add_one<JobShowCommand>(parser, job->add_subcommand("show", "A job and its tasks"), "JOB",
                          parse_job);
  add_one<JobWatchCommand>(
      parser, job->add_subcommand("watch", "Follow a job to its end; exits with its exit code"),
      "JOB", parse_job);
  add_one<JobCancelCommand>(parser, job->add_subcommand("cancel", "Stop a job"), "JOB", parse_job);
  parser.command(parser.app.add_subcommand("status", "The cluster at a glance"),
                 []() -> Result<Command> { return Command(StatusCommand{}); });
}

void add_everything(Parser& parser) {
  parser.app.require_subcommand(1)->fallthrough();
  parser.app.set_version_flag("--version", "p2pctl " P2P_VERSION);
  parser.app.add_option("-o,--output", parser.output, "Form of the output: table, json or jsonl")
      ->check(CLI::IsMember({"table", "json", "jsonl"}));
  parser.app.add_option("--api", parser.api,
                        "HOST:PORT of the tracker's API, instead of P2PCTL_API and the credential "
                        "folder's own");
  parser.app.footer(
      "Environment: P2PCTL_HOME is the credential folder (default ~/.p2pctl), P2PCTL_API the "
      "tracker's API.\n"
      "Exit codes: 0 all targets ok, 1 usage or internal, 2 some target failed, 3 some target not "
      "reached,\n4 timed out, 5 stopped or cancelled, 6 not authorised, 7 no tracker reachable.\n"
      "Ctrl-C leaves a job running and exits with 0.");
  add_init(parser);
  add_token(parser);
  add_node(parser);
  add_publish(parser);
  add_push(parser);
  add_plan(parser);
  add_file_and_job(parser);
}

OutputFormat format_from(const std::string& name) {
  if (name == "json") return OutputFormat::json;
  return name == "jsonl" ? OutputFormat::jsonl : OutputFormat::table;
}

const CLI::App* deepest(const CLI::App* app) {
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return app;
}

// CLI11 calls a misspelt command "a subcommand is required".
std::string problem_text(const CLI::App* at, const CLI::ParseError& problem) {
  const auto commands = at->get_subcommands([](const CLI::App*) { return true; });
  if (commands.empty()) return problem.what();
  // What a command does not know falls through to those above it.
  const CLI::App* top = at;
  while (top->get_parent() != nullptr) top = top->get_parent();
  const std::vector<std::string> rest = top->remaining(true);
  std::string text =
      rest.empty() ? "a command is missing" : "there is no command " + p2p::quoted(rest.front());
  text += "; one of:";
  for (const CLI::App* command : commands) text += " " + command->get_name();
  return text;
}

UsageError usage_error(OutputFormat output, const CLI::App* at, std::string detail) {
  std::string path = at->get_name();
  for (const CLI::App* up = at->get_parent(); up != nullptr; up = up->get_parent()) {
    path = up->get_name() + " " + path;
  }
  detail += "\nSee " + path + " --help";
  return UsageError{output, Failure{ExitCode::usage_or_internal, usage(std::move(detail))}};
}

}  // namespace

ParsedLine parse_command_line(std::vector<std::string> arguments) {
  Parser parser;
  add_everything(parser);
  try {
    // CLI11 takes them from the back.
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    parser.app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    return Information{parser.app.help()};
  } catch (const CLI::CallForVersion& version) {
    return Information{std::string(version.what()) + "\n"};
  } catch (const CLI::ParseError& problem) {
    // The option may have been read before whatever is wrong, without having been assigned.
    const auto asked = parser.app.get_option("--output")->results();
    const CLI::App* at = deepest(&parser.app);
    return usage_error(format_from(asked.empty() ? "" : asked.back()), at,
                       problem_text(at, problem));
  }
  Invocation invocation;
  invocation.output = format_from(parser.output);
  const CLI::App* at = deepest(&parser.app);
  if (!parser.api.empty()) {
    auto api = parse_api(parser.api);
    if (!api) return usage_error(invocation.output, at, api.error().detail);
    invocation.api = api->str();
  }
  for (const auto& [sub, check] : parser.checks) {
    if (!sub->parsed()) continue;
    auto command = check();
    if (!command) return usage_error(invocation.output, at, command.error().detail);
    invocation.command = *std::move(command);
    return invocation;
  }
  return usage_error(invocation.output, at, "a command is missing");
}

}  // namespace p2p
