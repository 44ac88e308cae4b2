// The command line as values. Names, paths, rates and target expressions are checked here, before
// anything is sent; the tracker checks them again.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/jobs/outcome.h"
#include "io/config/config.h"
#include "proto/api.pb.h"
#include "tools/p2pctl/output.h"

namespace p2p {

using Labels = std::map<std::string, std::string>;

struct InitCommand {
  std::string tracker_data;
  std::string name;
  HostPort api;
  std::vector<std::string> sans;
};
struct TokenCreateCommand {
  std::uint32_t uses = 1;
  std::uint64_t ttl_seconds = 0;
  Labels labels;
};
struct NodeListCommand {};
struct NodeShowCommand {
  std::string node;
};
struct NodeLabelCommand {
  std::string node;
  Labels labels;  // an empty value removes the label
};
struct NodeRemoveCommand {
  std::string node;
};
struct PublishCommand {
  proto::PublishSpec spec;
  bool detach = false;
};
struct PushCommand {
  proto::PushSpec spec;
  bool detach = false;
};
struct PlanCommand {
  proto::PushSpec spec;
};
struct FileListCommand {};
struct FileShowCommand {
  std::string resource;  // "files/domain/name[@version]" or "contents/HEX"
};
struct FileLocateCommand {
  std::string resource;
};
struct JobListCommand {};
struct JobShowCommand {
  std::string job;
};
struct JobWatchCommand {
  std::string job;
};
struct JobCancelCommand {
  std::string job;
};
struct StatusCommand {};

using Command =
    std::variant<InitCommand, TokenCreateCommand, NodeListCommand, NodeShowCommand,
                 NodeLabelCommand, NodeRemoveCommand, PublishCommand, PushCommand, PlanCommand,
                 FileListCommand, FileShowCommand, FileLocateCommand, JobListCommand,
                 JobShowCommand, JobWatchCommand, JobCancelCommand, StatusCommand>;

struct Invocation {
  OutputFormat output = OutputFormat::table;
  std::string api;  // --api, checked; empty when it was not given
  Command command;
};

// --help and --version: text for stdout, and nothing else to do.
struct Information {
  std::string text;
};

// A line that cannot be carried out, in the form of output that it asked for.
struct UsageError {
  OutputFormat output = OutputFormat::table;
  Failure failure;
};

using ParsedLine = std::variant<Invocation, Information, UsageError>;

// `arguments` without the program's name.
ParsedLine parse_command_line(std::vector<std::string> arguments);

}  // namespace p2p
