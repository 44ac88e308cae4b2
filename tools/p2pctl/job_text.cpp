#include "tools/p2pctl/job_text.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "core/base/text.h"
#include "core/base/units.h"
#include "core/jobs/outcome.h"
#include "core/model/node_set.h"
#include "tools/p2pctl/exec_record.h"
#include "tools/p2pctl/exec_text.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

constexpr std::size_t kCommandBytesMax = 500;

std::string milliseconds_text(std::uint64_t milliseconds) {
  return format_duration(std::chrono::milliseconds(milliseconds));
}

std::string account_text(const proto::Job& job) {
  return job.exec().account().empty() ? "(as each node's owner has chosen)" : job.exec().account();
}

void add_order(const proto::Job& job, Facts& facts) {
  const proto::ExecSpec& spec = job.exec();
  const std::string command = command_text(job);
  if (command.empty()) {  // what it runs is not for this user
    facts.add("to", spec.targets());
    return;
  }
  facts.add("command", command);
  if (!job.script_sha256().empty()) facts.add("script sha256", job.script_sha256());
  facts.add("to", spec.targets()).add("as", account_text(job));
  if (spec.timeout_ms() > 0) facts.add("timeout", milliseconds_text(spec.timeout_ms()));
  if (!spec.folder().empty()) facts.add("folder", spec.folder());
  if (const std::string turns = rollout_text(spec.rollout()); !turns.empty()) {
    facts.add("turns", turns);
  }
  if (!spec.retry_of().empty()) facts.add("again of", spec.retry_of());
  if (!job.order_sha256().empty()) facts.add("order sha256", job.order_sha256());
}

std::string bytes_text(std::uint64_t bytes, bool truncated) {
  if (bytes == 0) return "";
  return format_bytes(bytes) + (truncated ? " (cut)" : "");
}

std::string code_text(const proto::Run& run) {
  if (run.state() != "exited") return "";
  return run.has_code() ? std::to_string(run.code()) : "signal " + std::to_string(run.signal());
}

std::string run_table(const proto::Job& job) {
  Table table({{"NODE"},
               {"STATE"},
               {"CODE", Table::Align::right},
               {"TOOK", Table::Align::right},
               {"STDOUT", Table::Align::right},
               {"STDERR", Table::Align::right},
               {"AS"},
               {"DETAIL"}});
  for (const proto::Run& run : job.runs()) {
    table.add_row({run.node(), run.state(), code_text(run),
                   run.seconds() > 0 ? format_duration(from_seconds(run.seconds())) : "",
                   bytes_text(run.out_bytes(), run.out_truncated()),
                   bytes_text(run.err_bytes(), run.err_truncated()), run.account(), run.detail()});
  }
  return table.str();
}

// The names of a job's targets.
std::vector<std::string> targets_of(const proto::Job& job) {
  std::vector<std::string> nodes;
  for (const proto::Run& run : job.runs()) nodes.push_back(run.node());
  for (const proto::Task& task : job.tasks()) nodes.push_back(task.node());
  return nodes;
}

std::vector<std::string> offline_of(const proto::Job& job) {
  std::vector<std::string> nodes;
  for (const proto::Run& run : job.runs()) {
    if (!run.online()) nodes.push_back(run.node());
  }
  for (const proto::Task& task : job.tasks()) {
    if (!task.online()) nodes.push_back(task.node());
  }
  return nodes;
}

}  // namespace

std::string shell_word(const std::string& text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@=+,";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

std::string command_text(const proto::Job& job) {
  const proto::ExecSpec& spec = job.exec();
  std::string text;
  if (!job.script_name().empty() || !spec.script().empty()) {
    text = "script " + (job.script_name().empty() ? spec.script() : job.script_name());
  }
  for (const std::string& word : spec.command()) {
    text += (text.empty() ? "" : " ") + shell_word(word);
    if (text.size() > kCommandBytesMax) break;
  }
  return printable(text, kCommandBytesMax);
}

std::string rollout_text(const proto::Rollout& rollout) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  if (!rollout.waves().empty()) add("waves of " + rollout.waves());
  if (rollout.pause_between_ms() > 0) {
    add(milliseconds_text(rollout.pause_between_ms()) + " between them");
  }
  if (rollout.window() > 0) add("at most " + std::to_string(rollout.window()) + " at a time");
  if (!rollout.max_fail().empty()) {
    add((rollout.on_max_fail() == "pause" ? "pauses" : "stops") + std::string(" when more than ") +
        rollout.max_fail() + " fail");
  }
  if (!rollout.order().empty() && rollout.order() != "name") add("order " + rollout.order());
  if (!rollout.offline().empty()) add("offline nodes: " + rollout.offline());
  return text;
}

std::string run_counts_text(const proto::Job& job) {
  std::string text;
  for (const auto& [state, name] : kRunStateNames) {
    const auto count = job.run_counts().find(std::string(name));
    if (count == job.run_counts().end() || count->second == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(count->second) + " " + std::string(name);
  }
  return text;
}

std::string exec_job_text(const proto::Job& job) {
  Facts facts;
  std::string state = job.state();
  if (!job.detail().empty()) state += ": " + job.detail();
  facts.add("job", job.id() + " (" + job.kind() + ")").add("state", state);
  add_order(job, facts);
  if (!job.targets_folded().empty()) facts.add("targets", job.targets_folded());
  facts.add("runs", run_counts_text(job));
  if (!job.rollout_state().empty()) facts.add("turns now", job.rollout_state());
  facts.add("created", job.created_at() + " by " + job.created_by())
      .add("took",
           format_duration(from_seconds(job.seconds())) + (job.finished() ? "" : " so far"));
  if (job.finished()) {
    facts.add("exit code", std::to_string(job.exit_code()) + " (" +
                               std::string(meaning_of(static_cast<ExitCode>(job.exit_code()))) +
                               ")");
  }
  return facts.str() + (job.runs_size() == 0 ? "" : "\n" + run_table(job));
}

std::string dry_run_text(const proto::Job& job) {
  const std::vector<std::string> targets = targets_of(job);
  const std::vector<std::string> offline = offline_of(job);
  Facts facts;
  if (job.has_exec()) {
    add_order(job, facts);
  } else {
    facts.add("source", job.file_name().empty() ? job.push().source() : job.file_name())
        .add("to", job.push().targets())
        .add("path", job.push().path());
    if (const std::string turns = rollout_text(job.push().rollout()); !turns.empty()) {
      facts.add("turns", turns);
    }
  }
  facts.add("targets", job.targets_folded().empty()
                           ? nodes_text(targets)
                           : job.targets_folded() + " (" + std::to_string(targets.size()) + ")");
  if (!offline.empty()) facts.add("not online", nodes_text(offline));
  if (job.waves() > 1) facts.add("waves", std::to_string(job.waves()));
  return facts.str() + "Nothing was started.\n";
}

}  // namespace p2p
