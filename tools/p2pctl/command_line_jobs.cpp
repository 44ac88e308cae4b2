// The command line of job.
#include "tools/p2pctl/command_line_parser.h"

namespace p2p {

void add_job(Parser& parser) {
  CLI::App* job = parser.group("job", "What was asked for, and how far it is");
  parser.command(job->add_subcommand("list", "All jobs, newest first"),
                 []() -> Result<Command> { return Command(JobListCommand{}); });
  add_one<JobShowCommand>(parser, job->add_subcommand("show", "A job and its tasks"), "JOB",
                          parse_job);
  add_one<JobWatchCommand>(
      parser, job->add_subcommand("watch", "Follow a job to its end; exits with its exit code"),
      "JOB", parse_job);
  add_one<JobCancelCommand>(parser, job->add_subcommand("cancel", "Stop a job"), "JOB", parse_job);
}

}  // namespace p2p
