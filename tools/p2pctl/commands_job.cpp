#include "core/base/units.h"
#include "core/runs/run_state.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/job_text.h"
#include "tools/p2pctl/summary.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

std::string done_text(std::uint64_t done, std::uint64_t total) {
  if (total == 0) return "";
  // Rounded down: 100% means all of it.
  const double share = static_cast<double>(done) / static_cast<double>(total);
  return std::to_string(done >= total ? 100 : static_cast<int>(share * 100)) + "%";
}

std::string what_text(const proto::Job& job) {
  if (job.kind() == "exec") return command_text(job);
  if (job.kind() == "publish") return job.publish().node() + ":" + job.publish().path();
  return job.push().source();
}

std::string targets_text(const proto::Job& job) {
  if (job.kind() == "exec") return job.exec().targets();
  return job.kind() == "push" ? job.push().targets() : "";
}

std::string rate_text(std::uint64_t bytes_per_second) {
  return bytes_per_second == 0 ? "" : format_rate(static_cast<double>(bytes_per_second));
}

std::string state_of(const proto::Job& job) {
  return job.state() + (job.paused() && !job.finished() ? " (paused)" : "");
}

std::string share_text(const proto::Job& job) {
  if (job.kind() != "exec") return done_text(job.bytes_done(), job.bytes_total());
  std::uint64_t ended = 0;
  std::uint64_t all = 0;
  for (const auto& [name, count] : job.run_counts()) {
    const auto state = run_state_from(name);
    all += count;
    if (state && is_final(*state)) ended += count;
  }
  return done_text(ended, all);
}

std::string job_facts(const proto::Job& job) {
  Facts facts;
  facts.add("job", job.id() + " (" + job.kind() + ")")
      .add("state", job.state() + (job.detail().empty() ? "" : ": " + job.detail()))
      .add("source", what_text(job));
  if (job.kind() == "push") {
    facts.add("to", job.push().targets()).add("path", job.push().path());
    if (const std::string turns = rollout_text(job.push().rollout()); !turns.empty()) {
      facts.add("turns", turns);
    }
    if (!job.rollout_state().empty()) facts.add("turns now", job.rollout_state());
    if (job.push().limit_bytes_per_second() > 0) {
      facts.add("limit", rate_text(job.push().limit_bytes_per_second()) +
                             (job.floor().empty() ? "" : ", at best " + job.floor()));
    }
  }
  facts.add("file", job.file_name())
      .add("content id", job.content_id())
      .add("size",
           format_bytes(job.total_bytes()) + ", of which data " + format_bytes(job.data_bytes()))
      .add("done",
           done_text(job.bytes_done(), job.bytes_total()) + " " + rate_text(job.bytes_per_second()))
      .add("created", job.created_at() + " by " + job.created_by())
      .add("took",
           format_duration(from_seconds(job.seconds())) + (job.finished() ? "" : " so far"));
  if (job.finished()) {
    const auto code = static_cast<ExitCode>(job.exit_code());
    facts.add("exit code",
              std::to_string(job.exit_code()) + " (" + std::string(meaning_of(code)) + ")");
  }
  return facts.str();
}

std::string bytes_text(std::uint64_t bytes) {
  return bytes == 0 ? "" : format_bytes(bytes);
}

std::string task_table(const proto::Job& job) {
  const bool is_push = job.kind() == "push";
  std::vector<Table::Column> columns{
      {"NODE"}, {"STATE"}, {"DONE", Table::Align::right}, {"RATE", Table::Align::right}};
  if (is_push) {
    for (const char* title : {"FETCHED", "COPIED", "ALREADY", "WRITTEN"}) {
      columns.push_back({title, Table::Align::right});
    }
  }
  columns.push_back({"DETAIL"});
  columns.push_back({"PATH"});
  Table table(std::move(columns));
  for (const proto::Task& task : job.tasks()) {
    std::vector<std::string> row{task.node(), task.state(),
                                 done_text(task.bytes_done(), task.bytes_total()),
                                 rate_text(task.bytes_per_second())};
    if (is_push) {
      for (const std::uint64_t bytes : {task.bytes_received(), task.bytes_copied(),
                                        task.bytes_already(), task.bytes_written()}) {
        row.push_back(bytes_text(bytes));
      }
    }
    row.push_back(task.detail());
    row.push_back(task.path());
    table.add_row(std::move(row));
  }
  return table.str();
}

}  // namespace

int run(Session& session, const JobListCommand&) {
  proto::JobList list;
  if (auto failure = session.api.get("/v1/jobs", list)) return session.output.fail(*failure);
  print_list(session.output, list, list.jobs(), [&] {
    Table table({{"JOB"},
                 {"KIND"},
                 {"STATE"},
                 {"DONE", Table::Align::right},
                 {"RATE", Table::Align::right},
                 {"WHAT"},
                 {"TO"},
                 {"CREATED"}});
    for (const proto::Job& job : list.jobs()) {
      table.add_row({job.id(), job.kind(), state_of(job), share_text(job),
                     rate_text(job.bytes_per_second()), what_text(job), targets_text(job),
                     job.created_at()});
    }
    return table.str();
  });
  return 0;
}

int run(Session& session, const JobShowCommand& command) {
  proto::Job job;
  if (auto failure = session.api.get("/v1/jobs/" + command.job, job)) {
    return session.output.fail(*failure);
  }
  if (session.output.format() != OutputFormat::table) {
    session.output.print(job);
    return 0;
  }
  if (job.kind() == "exec") {
    session.output.print(exec_job_text(job));
    return 0;
  }
  const std::string bases = basis_lines(job, BasisOf::every_node);
  session.output.print(job_facts(job) + (job.tasks().empty() ? "" : "\n" + task_table(job)) +
                       (bases.empty() ? "" : "\n" + bases));
  return 0;
}

namespace {

int change_job(Session& session, const std::string& id, const std::string& call) {
  proto::Job job;
  if (auto failure = session.api.post("/v1/jobs/" + id + "/" + call, nullptr, job)) {
    return session.output.fail(*failure);
  }
  if (session.output.format() != OutputFormat::table) {
    session.output.print(job);
  } else {
    session.output.print(job.id() + ": " + state_of(job) + "\n");
  }
  return 0;
}

}  // namespace

int run(Session& session, const JobCancelCommand& command) {
  return change_job(session, command.job, "cancel");
}

int run(Session& session, const JobPauseCommand& command) {
  return change_job(session, command.job, "pause");
}

int run(Session& session, const JobResumeCommand& command) {
  return change_job(session, command.job, "resume");
}

}  // namespace p2p
