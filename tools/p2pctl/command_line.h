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
#include "tools/p2pctl/exec_text.h"
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
  bool dry_run = false;
  bool ask = false;  // whether to go on when too many have failed
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
struct JobPauseCommand {
  std::string job;
};
struct JobResumeCommand {
  std::string job;
};
struct StatusCommand {};

// How outputs of runs are shown.
struct OutputView {
  enum class Form { groups, lines, diff };
  Form form = Form::groups;
  Streams streams = Streams::both;
  bool live = true;     // while the job goes on, too
  bool rc_max = false;  // exit with the largest return code
};
struct ExecCommand {
  proto::ExecSpec spec;                      // without its input
  std::vector<proto::PushSpec> attachments;  // brought to the nodes before; without targets
  std::string input_file;                    // "-": standard input; empty: none
  OutputView view;
  bool detach = false;
  bool dry_run = false;
  bool ask = false;  // whether to go on when too many have failed
};
struct JobRetryCommand {
  std::string job;
  proto::RetryRequest request;
  OutputView view;
  bool detach = false;
};
struct JobOutputCommand {
  std::string job;
  std::string node;  // empty: all
  OutputView view;
  std::string folder;  // for a file of each stream of each node; empty: to stdout
};

struct ScriptPutCommand {
  std::string file;
  std::string name;
};
struct ScriptListCommand {};
struct ScriptShowCommand {
  std::string script;  // name[@version]
  bool body = false;
};
struct GroupSetCommand {
  proto::Group group;
};
struct GroupListCommand {};
struct GroupShowCommand {
  std::string name;
};
struct GroupRemoveCommand {
  std::string name;
};
struct AccountSetCommand {
  proto::Account account;
};
struct AccountListCommand {};
struct AccountRemoveCommand {
  std::string name;
};
struct UserAddCommand {
  std::string name;
  std::vector<std::string> roles;
  std::string home;
};
struct UserListCommand {};
struct UserRemoveCommand {
  std::string name;
};
struct AuditListCommand {
  std::uint64_t from = 1;
};
struct AuditVerifyCommand {};

using Command =
    std::variant<InitCommand, TokenCreateCommand, NodeListCommand, NodeShowCommand,
                 NodeLabelCommand, NodeRemoveCommand, PublishCommand, PushCommand, PlanCommand,
                 FileListCommand, FileShowCommand, FileLocateCommand, JobListCommand,
                 JobShowCommand, JobWatchCommand, JobCancelCommand, JobPauseCommand,
                 JobResumeCommand, JobRetryCommand, JobOutputCommand, StatusCommand, ExecCommand,
                 ScriptPutCommand, ScriptListCommand, ScriptShowCommand, GroupSetCommand,
                 GroupListCommand, GroupShowCommand, GroupRemoveCommand, AccountSetCommand,
                 AccountListCommand, AccountRemoveCommand, UserAddCommand, UserListCommand,
                 UserRemoveCommand, AuditListCommand, AuditVerifyCommand>;

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

// `arguments` without the program's name. What stands behind "--" of exec and script run is taken
// word by word, whatever it looks like.
ParsedLine parse_command_line(std::vector<std::string> arguments);

}  // namespace p2p
