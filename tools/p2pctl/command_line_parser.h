// The tree of commands while it is built: command_line_*.cpp put their topics into it.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "tools/p2pctl/command_line.h"

namespace p2p {

// What a command becomes is decided by its check, after parsing.
struct Parser {
  using Check = std::function<Result<Command>()>;

  CLI::App app{"Distributes very large files to fleets of servers.", "p2pctl"};
  std::string output = "table";
  std::string api;
  // Behind "--"; nothing: there was none.
  std::optional<std::vector<std::string>> words;
  std::vector<std::pair<CLI::App*, Check>> checks;

  CLI::App* group(const std::string& name, const std::string& help) {
    return app.add_subcommand(name, help)->require_subcommand(1);
  }
  void command(CLI::App* sub, Check check) { checks.emplace_back(sub, std::move(check)); }
};

inline constexpr const char* kTargetsHelp =
    "Which nodes: names, web[01-20], label=value, @group, facts, '*', joined by | & -";

// Wrong use of the command line.
Error usage(std::string detail);
// Whole seconds, rounded up: the API counts in them.
Result<std::uint64_t> parse_seconds(const char* option, const std::string& text);
Result<std::string> parse_job(const std::string& text);
// "files/domain/name[@version]" or "contents/HEX".
Result<std::string> parse_file(const std::string& text);
Result<HostPort> parse_api(const std::string& text);
// A push of `source` to `path`, both checked; `option` names where the path was written.
Result<proto::PushSpec> parse_push(const std::string& source, const char* option,
                                   const std::string& path);

// How many targets at a time, in which waves, until when: of exec, script run and push.
struct RolloutOptions {
  std::string waves, pause_between, max_fail, on_max_fail, order, offline, ttl;
  std::int64_t window = 0;
  bool asks() const { return on_max_fail == "ask"; }
};
enum class WithTtl { yes, no };
void add_rollout_options(CLI::App* sub, RolloutOptions& options, WithTtl with_ttl);
// `ask` becomes pause: whoever asks has to be there, and decides then.
Result<proto::Rollout> parse_rollout_options(const RolloutOptions& options);

// How outputs are shown: of exec, script run and job retry.
struct ViewOptions {
  bool no_group = false, diff = false, no_live = false;
  std::string rc;
};
void add_view_options(CLI::App* sub, ViewOptions& options);
OutputView view_of(const ViewOptions& options);

// NAME=VALUE lists of exec and of accounts.
Result<std::vector<std::string>> parse_environment(const std::vector<std::string>& texts);
// The name of a `kind` as the API takes it in a path: [A-Za-z0-9][A-Za-z0-9._-]{0,63}.
Result<std::string> parse_plain_name(const char* kind, const std::string& text);
Result<std::uint64_t> parse_milliseconds(const char* option, const std::string& text);

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

// command_line_cluster.cpp
void add_init(Parser& parser);
void add_token(Parser& parser);
void add_node(Parser& parser);
void add_status(Parser& parser);
// command_line_transfer.cpp
void add_publish(Parser& parser);
void add_push(Parser& parser);
void add_plan(Parser& parser);
void add_file(Parser& parser);
// command_line_jobs.cpp
void add_job(Parser& parser);
// command_line_exec.cpp
void add_exec(Parser& parser);
void add_script(Parser& parser);
// command_line_directory.cpp
void add_group(Parser& parser);
void add_account(Parser& parser);
void add_user(Parser& parser);
void add_audit(Parser& parser);

}  // namespace p2p
