// What each command does. All return the exit code and have said what there was to say.
#pragma once

#include "tools/p2pctl/api_client.h"
#include "tools/p2pctl/command_line.h"
#include "tools/p2pctl/output.h"

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
// commands_plan.cpp
int run(Session& session, const PlanCommand& command);
// commands_job.cpp
int run(Session& session, const JobListCommand& command);
int run(Session& session, const JobShowCommand& command);
int run(Session& session, const JobCancelCommand& command);

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
