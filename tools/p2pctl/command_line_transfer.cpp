// The command line of publish, push, plan and file.
#include <array>

#include "core/base/text.h"
#include "core/base/units.h"
#include "core/model/destination.h"
#include "core/model/file_name.h"
#include "core/model/target_expression.h"
#include "tools/p2pctl/command_line_parser.h"

namespace p2p {
namespace {

// Roots are known to the tracker only; "/" admits whatever is well-formed.
Status check_destination(const char* option, const std::string& text) {
  const std::array<std::string, 1> any_root{"/"};
  auto resolved = resolve_destination(text, any_root, "node", "file");
  if (!resolved) return resolved.error().within(option);
  return {};
}

// What a push and its plan have in common.
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

}  // namespace

Result<proto::PushSpec> parse_push(const std::string& source, const char* option,
                                   const std::string& path) {
  if (auto parsed = parse_source(source); !parsed) return parsed.error();
  if (Status fits = check_destination(option, path); !fits) return fits.error();
  proto::PushSpec spec;
  spec.set_source(source);
  spec.set_path(path);
  return spec;
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

void add_push(Parser& parser) {
  struct Raw {
    std::string source, targets, path, limit, ttl, basis;
    std::string reflink = "auto";
    bool detach = false;
    bool allocate = false;
    bool no_delta = false;
    bool dry_run = false;
    RolloutOptions rollout;
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
  add_rollout_options(sub, raw->rollout, WithTtl::no);
  CLI::Option* detach =
      sub->add_flag("--detach", raw->detach, "Print the job's id and do not wait for it");
  sub->add_flag("--dry-run", raw->dry_run, "Say who would get it and do nothing")->excludes(detach);
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
    auto rollout = parse_rollout_options(raw->rollout);
    if (!rollout) return rollout.error();
    *command.spec.mutable_rollout() = *rollout;
    command.spec.set_allocate(raw->allocate);
    command.detach = raw->detach;
    command.dry_run = raw->dry_run;
    command.ask = raw->rollout.asks();
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

void add_file(Parser& parser) {
  CLI::App* file = parser.group("file", "What has been published");
  parser.command(file->add_subcommand("list", "All files"),
                 []() -> Result<Command> { return Command(FileListCommand{}); });
  add_one<FileShowCommand>(parser, file->add_subcommand("show", "Everything about one version"),
                           "FILE", parse_file);
  add_one<FileLocateCommand>(parser, file->add_subcommand("locate", "Which nodes hold it"), "FILE",
                             parse_file);
}

}  // namespace p2p
