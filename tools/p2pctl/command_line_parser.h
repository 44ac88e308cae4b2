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
  std::vector<std::pair<CLI::App*, Check>> checks;

  CLI::App* group(const std::string& name, const std::string& help) {
    return app.add_subcommand(name, help)->require_subcommand(1);
  }
  void command(CLI::App* sub, Check check) { checks.emplace_back(sub, std::move(check)); }
};

inline constexpr const char* kTargetsHelp =
    "Which nodes: names, web[01-20], label=value, '*', joined by | & -";

// Wrong use of the command line.
Error usage(std::string detail);
// Whole seconds, rounded up: the API counts in them.
Result<std::uint64_t> parse_seconds(const char* option, const std::string& text);
Result<std::string> parse_job(const std::string& text);
// "files/domain/name[@version]" or "contents/HEX".
Result<std::string> parse_file(const std::string& text);
Result<HostPort> parse_api(const std::string& text);

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

}  // namespace p2p
