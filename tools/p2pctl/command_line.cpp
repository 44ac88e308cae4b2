#include "tools/p2pctl/command_line.h"

#include <algorithm>
#include "core/base/ids.h"

#include "core/base/text.h"
#include "core/base/units.h"
#include "core/model/file_name.h"
#include "core/model/node_set.h"
#include "tools/p2pctl/command_line_parser.h"

namespace p2p {

Error usage(std::string detail) {
  return Error{Errc::invalid_argument, std::move(detail)};
}

Result<std::uint64_t> parse_seconds(const char* option, const std::string& text) {
  auto duration = parse_duration(text);
  if (!duration) return duration.error().within(option);
  return static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::seconds>(*duration).count());
}

Result<std::uint64_t> parse_milliseconds(const char* option, const std::string& text) {
  auto duration = parse_duration(text);
  if (!duration) return duration.error().within(option);
  return static_cast<std::uint64_t>(
      std::chrono::ceil<std::chrono::milliseconds>(*duration).count());
}

Result<std::string> parse_plain_name(const char* kind, const std::string& text) {
  // The same letters as in names of nodes.
  if (check_node_name(text)) return text;
  return usage(std::string(kind) + " " + p2p::quoted(text) +
               ": 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit");
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

namespace {

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
  add_exec(parser);
  add_script(parser);
  add_file(parser);
  add_job(parser);
  add_group(parser);
  add_account(parser);
  add_user(parser);
  add_audit(parser);
  add_status(parser);
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
  if (commands.empty()) {
    const bool has_words = at->get_name() == "exec" || at->get_name() == "run";
    const bool extra = dynamic_cast<const CLI::ExtrasError*>(&problem) != nullptr;
    return problem.what() +
           std::string(has_words && extra ? "; what nodes are to run stands behind --" : "");
  }
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

// "--" and what stands behind it are not for the parser of options: it would read some words, as
// "[a]" and "{}", in ways of its own.
std::optional<std::vector<std::string>> take_words(std::vector<std::string>& arguments) {
  const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
  if (dashes == arguments.end()) return std::nullopt;
  std::vector<std::string> commands;
  for (auto word = arguments.begin(); word != dashes && commands.size() < 2; ++word) {
    if (*word == "-o" || *word == "--output" || *word == "--api") {
      if (++word == dashes) break;
    } else if (!word->starts_with("-")) {
      commands.push_back(*word);
    }
  }
  const bool takes_words =
      !commands.empty() &&
      (commands[0] == "exec" ||
       (commands.size() == 2 && commands[0] == "script" && commands[1] == "run"));
  if (!takes_words) return std::nullopt;
  std::vector<std::string> words(dashes + 1, arguments.end());
  arguments.erase(dashes, arguments.end());
  return words;
}

}  // namespace

ParsedLine parse_command_line(std::vector<std::string> arguments) {
  Parser parser;
  add_everything(parser);
  parser.words = take_words(arguments);
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
