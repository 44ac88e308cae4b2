// What each command does. All return the exit code and have said what there was to say.
#pragma once

#include <atomic>

#include "tools/p2pctl/api_client.h"
#include "tools/p2pctl/command_line.h"
#include "tools/p2pctl/output.h"
#include "tools/p2pctl/watch.h"

namespace p2p {

struct Session {
  explicit Session(const Invocation& line) : output(line.output), api(line.api) {}

  Output output;
  ApiClient api;
};

// commands_cluster.cpp
int run(Session& session, const InitCommand& command);
int run(Session& session, const TokenCreateCommand& command);
int run(Session& session, const StatusCommand& command);
// commands_node.cpp
int run(Session& session, const NodeListCommand& command);
int run(Session& session, const NodeShowCommand& command);
int run(Session& session, const NodeLabelCommand& command);
int run(Session& session, const NodeRemoveCommand& command);
// commands_file.cpp
int run(Session& session, const FileListCommand& command);
int run(Session& session, const FileShowCommand& command);
int run(Session& session, const FileLocateCommand& command);
// commands_transfer.cpp
int run(Session& session, const PublishCommand& command);
int run(Session& session, const PushCommand& command);
int run(Session& session, const JobWatchCommand& command);
int run(Session& session, const JobRetryCommand& command);
// commands_exec.cpp
int run(Session& session, const ExecCommand& command);
// commands_output.cpp
int run(Session& session, const JobOutputCommand& command);
// commands_script.cpp
int run(Session& session, const ScriptPutCommand& command);
int run(Session& session, const ScriptListCommand& command);
int run(Session& session, const ScriptShowCommand& command);
// commands_directory.cpp
int run(Session& session, const GroupSetCommand& command);
int run(Session& session, const GroupListCommand& command);
int run(Session& session, const GroupShowCommand& command);
int run(Session& session, const GroupRemoveCommand& command);
int run(Session& session, const AccountSetCommand& command);
int run(Session& session, const AccountListCommand& command);
int run(Session& session, const AccountRemoveCommand& command);
// commands_user.cpp
int run(Session& session, const UserAddCommand& command);
int run(Session& session, const UserListCommand& command);
int run(Session& session, const UserRemoveCommand& command);
// commands_audit.cpp
int run(Session& session, const AuditListCommand& command);
int run(Session& session, const AuditVerifyCommand& command);
// commands_plan.cpp
int run(Session& session, const PlanCommand& command);
// commands_job.cpp
int run(Session& session, const JobListCommand& command);
int run(Session& session, const JobShowCommand& command);
int run(Session& session, const JobCancelCommand& command);
int run(Session& session, const JobPauseCommand& command);
int run(Session& session, const JobResumeCommand& command);

// Follows an exec job to its end, or to Ctrl-C; see commands_exec.cpp. Returns the exit code.
int follow_runs(Session& session, const proto::Job& job, const OutputView& view, bool ask,
                const std::atomic<bool>& stop);
// Follows a push or a publish to its end, or to Ctrl-C, with progress on stderr and nothing on
// stdout; `known` is the newest state that was seen. See commands_transfer.cpp.
WatchEnd watch_tasks(Session& session, const proto::Job& known, bool ask,
                     const std::atomic<bool>& stop);
// What is said of a job that nobody waits for, and of one that was not made.
int tell_created(const Output& output, const proto::Job& job);
int tell_dry_run(const Output& output, const proto::Job& job);

// A list in the format that was asked for: one document, a line for each of `items`, or `table`.
template <class List, class Items, class MakeTable>
void print_list(const Output& output, const List& list, const Items& items, MakeTable make_table) {
  switch (output.format()) {
    case OutputFormat::table:
      output.print(make_table());
      return;
    case OutputFormat::json:
      output.print(list);
      return;
    case OutputFormat::jsonl:
      for (const auto& item : items) output.print(item);
      return;
  }
}

}  // namespace p2p
