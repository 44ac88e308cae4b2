// The command line of exec and script, and the options that several commands share.
#include <limits>

#include "core/base/text.h"
#include "core/base/units.h"
#include "core/jobs/rollout.h"
#include "core/model/target_expression.h"
#include "io/run/run_order.h"
#include "tools/p2pctl/command_line_parser.h"

namespace p2p {
namespace {

struct ExecOptions {
  std::string targets, account, timeout, grace, input, folder, keep;
  std::vector<std::string> environment, attachments;
  RolloutOptions rollout;
  ViewOptions view;
  bool detach = false;
  bool dry_run = false;
};

void add_exec_options(CLI::App* sub, ExecOptions& options) {
  sub->add_option("--to", options.targets, kTargetsHelp)->required();
  sub->add_option("--as", options.account,
                  "Named account to run as (p2pctl account list); by default the one that each "
                  "node's owner has chosen");
  sub->add_option("--timeout", options.timeout,
                  "After which everything that it started is killed, as in 60s; 2h by default; "
                  "none: 30 days, the most there is");
  sub->add_option("--grace", options.grace, "Between TERM and KILL, 5s by default");
  sub->add_option("--stdin", options.input,
                  "File for its standard input, - for this command's own; at most 512 KiB, by "
                  "default /dev/null");
  sub->add_option("--env", options.environment,
                  "NAME=VALUE for its otherwise clean environment, repeatable")
      ->allow_extra_args(false);
  sub->add_option("--folder", options.folder, "Folder to work in, by default the account's home");
  sub->add_option("--attach", options.attachments,
                  "SOURCE=PATH: a file that is brought to all of the nodes first, as push does it, "
                  "from node to node; repeatable. Where one does not arrive, nothing is started")
      ->allow_extra_args(false);
  sub->add_option("--keep", options.keep,
                  "How much of stdout and of stderr each node keeps, beginning and end: 1MiB by "
                  "default, 64MiB at most");
  add_rollout_options(sub, options.rollout, WithTtl::yes);
  add_view_options(sub, options.view);
  CLI::Option* detach =
      sub->add_flag("--detach", options.detach, "Print the job's id and do not wait for it");
  sub->add_flag("--dry-run", options.dry_run, "Say who would run what as whom, and do nothing")
      ->excludes(detach);
}

Status set_times(const ExecOptions& options, proto::ExecSpec& spec) {
  if (options.timeout == "none") {
    spec.set_timeout_ms(kMaxTimeoutMs);
  } else if (!options.timeout.empty()) {
    auto timeout = parse_milliseconds("--timeout", options.timeout);
    if (!timeout) return timeout.error();
    if (*timeout > kMaxTimeoutMs) {
      return usage("--timeout " + p2p::quoted(options.timeout) + ": at most 30d");
    }
    spec.set_timeout_ms(*timeout);
  }
  if (options.grace.empty()) return {};
  auto grace = parse_milliseconds("--grace", options.grace);
  if (!grace) return grace.error();
  if (*grace > kMaxGraceMs) {
    return usage("--grace " + p2p::quoted(options.grace) + ": at most 10m");
  }
  spec.set_grace_ms(*grace);
  return {};
}

Status set_keep(const ExecOptions& options, proto::ExecSpec& spec) {
  if (options.keep.empty()) return {};
  auto keep = parse_size(options.keep);
  if (!keep) return keep.error().within("--keep");
  if (*keep < kMinKeepBytes || *keep > kMaxKeepBytes) {
    return usage("--keep " + p2p::quoted(options.keep) + ": from 8KiB to 64MiB, as in --keep 1MiB");
  }
  spec.set_keep_bytes(*keep);
  return {};
}

// "SOURCE=PATH"; a source has no '=' but in a path on a node, which is published first then.
Result<std::vector<proto::PushSpec>> parse_attachments(const std::vector<std::string>& texts) {
  std::vector<proto::PushSpec> attachments;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
      return usage("--attach " + p2p::quoted(text) +
                   ": write SOURCE=PATH, as in images/app@7=/srv/app.img");
    }
    auto push = parse_push(text.substr(0, equals), "--attach", text.substr(equals + 1));
    if (!push) return push.error();
    attachments.push_back(*std::move(push));
  }
  return attachments;
}

// Everything but what is run.
Result<ExecCommand> exec_command(const ExecOptions& options) {
  ExecCommand command;
  if (auto targets = parse_targets(options.targets); !targets) return targets.error();
  command.spec.set_targets(options.targets);
  if (!options.account.empty()) {
    auto account = parse_plain_name("--as", options.account);
    if (!account) return account.error();
    command.spec.set_account(*account);
  }
  if (Status times = set_times(options, command.spec); !times) return times.error();
  if (Status keep = set_keep(options, command.spec); !keep) return keep.error();
  auto environment = parse_environment(options.environment);
  if (!environment) return environment.error();
  command.spec.mutable_environment()->Add(environment->begin(), environment->end());
  if (!options.folder.empty() && options.folder.front() != '/') {
    return usage("--folder " + p2p::quoted(options.folder) + ": write an absolute path");
  }
  command.spec.set_folder(options.folder);
  auto rollout = parse_rollout_options(options.rollout);
  if (!rollout) return rollout.error();
  *command.spec.mutable_rollout() = *rollout;
  auto attachments = parse_attachments(options.attachments);
  if (!attachments) return attachments.error();
  command.attachments = *std::move(attachments);
  command.input_file = options.input;
  command.view = view_of(options.view);
  command.detach = options.detach;
  command.dry_run = options.dry_run;
  command.ask = options.rollout.asks();
  return command;
}

Status set_words(const std::vector<std::string>& words, proto::ExecSpec& spec) {
  std::size_t bytes = 0;
  for (const std::string& word : words) {
    bytes += word.size() + 1;
    if (word.size() > kMaxWordBytes) {
      return usage("a word of " + format_bytes(word.size()) +
                   ": at most 128 KiB; give large texts with --stdin or as a script");
    }
    // JSON, in which the order travels, is UTF-8.
    if (is_utf8(word)) continue;
    return usage("the word " + p2p::quoted(word) +
                 " is not UTF-8: give such bytes with --stdin, or in a script");
  }
  if (bytes > kMaxWordsBytes) {
    return usage("a command of " + format_bytes(bytes) +
                 ": at most 256 KiB; give large texts with --stdin or as a script");
  }
  spec.mutable_command()->Add(words.begin(), words.end());
  return {};
}

// name[@version]
Result<std::string> parse_script(const std::string& text) {
  const std::size_t at = std::min(text.find('@'), text.size());
  auto name = parse_plain_name("script", text.substr(0, at));
  if (!name) return name.error();
  if (at == text.size()) return text;
  const std::string version = text.substr(at + 1);
  const bool number = !version.empty() && version.size() <= 9 && version.front() != '0' &&
                      version.find_first_not_of("0123456789") == std::string::npos;
  if (number || version == "latest") return text;
  return usage("script " + p2p::quoted(text) +
               ": a version is a number from 1, or latest, as in deploy@3");
}

}  // namespace

void add_rollout_options(CLI::App* sub, RolloutOptions& options, WithTtl with_ttl) {
  sub->add_option("--wave", options.waves,
                  "How many begin in each wave, as in 1,10%,100%; the last number again until all "
                  "had their turn");
  sub->add_option("--window", options.window, "How many may be under way at a time");
  sub->add_option("--pause-between", options.pause_between, "Between two waves, as in 30s");
  sub->add_option("--max-fail", options.max_fail,
                  "When more fail than this, as in 3 or 5%, no more begin");
  sub->add_option("--on-max-fail", options.on_max_fail,
                  "What then: stop; pause, until p2pctl job resume; ask, at a terminal, and stop "
                  "elsewhere")
      ->check(CLI::IsMember({"stop", "pause", "ask"}));
  sub->add_option("--order", options.order,
                  "Whose turn comes first: by name; rack-spread, each rack in turn; random")
      ->check(CLI::IsMember({"name", "rack-spread", "random"}));
  sub->add_option("--offline", options.offline,
                  with_ttl == WithTtl::yes
                      ? "What becomes of nodes that are not online: fail; skip, which counts as "
                        "well; queue, until --ttl. fail by default"
                      : "What becomes of nodes that are not online: fail; skip, which counts as "
                        "well; queue, until --ttl. queue by default")
      ->check(CLI::IsMember({"fail", "skip", "queue"}));
  if (with_ttl == WithTtl::no) return;
  sub->add_option("--ttl", options.ttl, "How long to wait for nodes that are away, 10m by default");
}

Result<proto::Rollout> parse_rollout_options(const RolloutOptions& options) {
  RolloutTexts texts;
  texts.waves = options.waves;
  texts.max_fail = options.max_fail;
  texts.on_max_fail = options.asks() ? "pause" : options.on_max_fail;
  if (options.window < 0 || options.window > std::numeric_limits<std::uint32_t>::max()) {
    return usage("--window " + std::to_string(options.window) + ": at least 1, as in --window 50");
  }
  texts.window = static_cast<std::uint64_t>(options.window);
  proto::Rollout rollout;
  if (!options.pause_between.empty()) {
    auto pause = parse_duration(options.pause_between);
    if (!pause) return pause.error().within("--pause-between");
    texts.pause_between = *pause;
    rollout.set_pause_between_ms(
        static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::milliseconds>(*pause).count()));
  }
  if (auto rules = parse_rollout(texts); !rules) return rules.error();
  rollout.set_waves(options.waves);
  rollout.set_window(static_cast<std::uint32_t>(options.window));
  rollout.set_max_fail(options.max_fail);
  rollout.set_on_max_fail(texts.on_max_fail);
  rollout.set_order(options.order);
  rollout.set_offline(options.offline);
  if (options.ttl.empty()) return rollout;
  auto ttl = parse_seconds("--ttl", options.ttl);
  if (!ttl) return ttl.error();
  rollout.set_ttl_seconds(*ttl);
  return rollout;
}

void add_view_options(CLI::App* sub, ViewOptions& options) {
  CLI::Option* lines =
      sub->add_flag("--no-group", options.no_group,
                    "Each line as it is written, behind its node's name; otherwise equal outputs "
                    "are shown once, at the end");
  sub->add_flag("--diff", options.diff,
                "One output, and how the others differ from it; of those with the lowest return "
                "code the most frequent one")
      ->excludes(lines);
  sub->add_flag("--no-live", options.no_live, "Show nothing before the end");
  sub->add_option("--rc", options.rc,
                  "max: exit with the largest return code of the commands, 128+n for a signal")
      ->check(CLI::IsMember({"max"}));
}

OutputView view_of(const ViewOptions& options) {
  OutputView view;
  if (options.no_group) view.form = OutputView::Form::lines;
  if (options.diff) view.form = OutputView::Form::diff;
  view.live = !options.no_live;
  view.rc_max = options.rc == "max";
  return view;
}

Result<std::vector<std::string>> parse_environment(const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return usage("--env " + p2p::quoted(text) + ": write NAME=VALUE, as in LANG=C.UTF-8");
    }
  }
  return texts;
}

void add_exec(Parser& parser) {
  const auto raw = std::make_shared<ExecOptions>();
  CLI::App* sub = parser.app.add_subcommand(
      "exec", "Run a command on nodes: p2pctl exec --to TARGETS -- COMMAND [ARG...]");
  add_exec_options(sub, *raw);
  sub->footer(
      "Behind -- stands the command, without a shell: for one, write -- sh -c 'a | b'.\n"
      "It runs at most once on each node. Ctrl-C leaves it running: p2pctl job watch goes on.");
  parser.command(sub, [raw, &parser]() -> Result<Command> {
    if (!parser.words || parser.words->empty() || parser.words->front().empty()) {
      return usage(
          "the command is missing: write it behind --, as in p2pctl exec --to '*' -- "
          "uname -r");
    }
    auto command = exec_command(*raw);
    if (!command) return command.error();
    if (Status words = set_words(*parser.words, command->spec); !words) return words.error();
    return Command(*std::move(command));
  });
}

void add_script(Parser& parser) {
  CLI::App* group = parser.group("script", "Scripts that nodes can run, with their versions");
  const auto put = std::make_shared<ScriptPutCommand>();
  CLI::App* sub = group->add_subcommand("put", "Store a script; a new version if it has changed");
  sub->add_option("FILE", put->file, "With #! and its interpreter in the first line")->required();
  sub->add_option("--name", put->name, "What it is called")->required();
  parser.command(sub, [put]() -> Result<Command> {
    if (auto name = parse_plain_name("--name", put->name); !name) return name.error();
    return Command(*put);
  });
  parser.command(group->add_subcommand("list", "All scripts"),
                 []() -> Result<Command> { return Command(ScriptListCommand{}); });
  const auto show = std::make_shared<ScriptShowCommand>();
  sub = group->add_subcommand("show", "Everything about one version");
  sub->add_option("SCRIPT", show->script, "name[@version]")->required();
  sub->add_flag("--body", show->body, "The script itself, and nothing else");
  parser.command(sub, [show]() -> Result<Command> {
    if (auto script = parse_script(show->script); !script) return script.error();
    return Command(*show);
  });
  struct Raw {
    std::string script;
    ExecOptions exec;
  };
  const auto raw = std::make_shared<Raw>();
  sub = group->add_subcommand(
      "run", "Run a script on nodes: p2pctl script run NAME[@VERSION] --to TARGETS [-- ARG...]");
  sub->add_option("SCRIPT", raw->script, "name[@version], by default the newest")->required();
  add_exec_options(sub, raw->exec);
  parser.command(sub, [raw, &parser]() -> Result<Command> {
    auto script = parse_script(raw->script);
    if (!script) return script.error();
    auto command = exec_command(raw->exec);
    if (!command) return command.error();
    command->spec.set_script(*script);
    if (parser.words) {
      if (Status words = set_words(*parser.words, command->spec); !words) return words.error();
    }
    return Command(*std::move(command));
  });
}

}  // namespace p2p
