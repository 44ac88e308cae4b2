// The command line of job.
#include <algorithm>
#include <array>

#include "core/base/text.h"
#include "core/model/node_set.h"
#include "tools/p2pctl/command_line_parser.h"

namespace p2p {
namespace {

// "failed,lost": what the tracker understands (RetryRequest).
Result<proto::RetryRequest> parse_retry(const std::string& only) {
  constexpr std::array<std::string_view, 9> kKnown{"failed",        "lost",      "rejected",
                                                   "expired",       "timed_out", "cancelled",
                                                   "undeliverable", "skipped",   "exited"};
  proto::RetryRequest request;
  std::string_view rest = only;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    const std::string_view state = rest.substr(0, end);
    if (std::find(kKnown.begin(), kKnown.end(), state) == kKnown.end()) {
      std::string text = "--only: there is no state " + p2p::quoted(state) + "; one of:";
      for (const std::string_view known : kKnown) text += " " + std::string(known);
      return usage(text);
    }
    request.add_only(std::string(state));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return request;
}

void add_retry(Parser& parser, CLI::App* job) {
  struct Raw {
    std::string job, only;
    ViewOptions view;
    bool detach = false;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* sub = job->add_subcommand(
      "retry", "A new job of the same order, for those targets that did not end well");
  sub->add_option("JOB", raw->job)->required();
  sub->add_option("--only", raw->only,
                  "Those in these states only, as in failed,lost; failed: also a return code "
                  "other than 0");
  add_view_options(sub, raw->view);
  sub->add_flag("--detach", raw->detach, "Print the new job's id and do not wait for it");
  parser.command(sub, [raw]() -> Result<Command> {
    auto id = parse_job(raw->job);
    if (!id) return id.error();
    auto request = parse_retry(raw->only);
    if (!request) return request.error();
    return Command(JobRetryCommand{*id, *request, view_of(raw->view), raw->detach});
  });
}

void add_output(Parser& parser, CLI::App* job) {
  struct Raw {
    std::string job, node, folder;
    std::string stream = "both";
    bool no_group = false;
    bool diff = false;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* sub = job->add_subcommand("output", "What the commands of a job have written so far");
  sub->add_option("JOB", raw->job)->required();
  sub->add_option("--node", raw->node, "Of this node only, as it is");
  sub->add_option("--stream", raw->stream, "out, err or both")
      ->check(CLI::IsMember({"out", "err", "both"}));
  CLI::Option* lines = sub->add_flag("--no-group", raw->no_group,
                                     "Each line behind its node's name, instead of equal outputs "
                                     "once");
  CLI::Option* diff =
      sub->add_flag("--diff", raw->diff, "One output, and how the others differ from it")
          ->excludes(lines);
  sub->add_option("--dir", raw->folder,
                  "Write NODE.out and NODE.err into this folder, which is made, instead")
      ->excludes(lines)
      ->excludes(diff);
  parser.command(sub, [raw]() -> Result<Command> {
    JobOutputCommand command;
    auto id = parse_job(raw->job);
    if (!id) return id.error();
    command.job = *id;
    if (!raw->node.empty()) {
      if (Status fits = check_node_name(raw->node); !fits) return fits.error();
    }
    command.node = raw->node;
    command.folder = raw->folder;
    command.view = view_of({raw->no_group, raw->diff, false, {}});
    if (raw->stream != "both") {
      command.view.streams = raw->stream == "out" ? Streams::out : Streams::err;
    }
    return Command(command);
  });
}

}  // namespace

void add_job(Parser& parser) {
  CLI::App* job = parser.group("job", "What was asked for, and how far it is");
  parser.command(job->add_subcommand("list", "All jobs, newest first"),
                 []() -> Result<Command> { return Command(JobListCommand{}); });
  add_one<JobShowCommand>(parser, job->add_subcommand("show", "A job and its tasks or runs"), "JOB",
                          parse_job);
  add_one<JobWatchCommand>(
      parser, job->add_subcommand("watch", "Follow a job to its end; exits with its exit code"),
      "JOB", parse_job);
  add_output(parser, job);
  add_one<JobCancelCommand>(parser, job->add_subcommand("cancel", "Stop a job"), "JOB", parse_job);
  add_one<JobPauseCommand>(
      parser, job->add_subcommand("pause", "Let no further target begin; what has begun goes on"),
      "JOB", parse_job);
  add_one<JobResumeCommand>(
      parser, job->add_subcommand("resume", "Go on after a pause; failures so far are forgiven"),
      "JOB", parse_job);
  add_retry(parser, job);
}

}  // namespace p2p
