// publish, push and job watch: the commands that follow a job to its end.
#include "core/base/text.h"
#include "core/base/units.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/job_display.h"
#include "tools/p2pctl/summary.h"
#include "tools/p2pctl/terminal.h"
#include "tools/p2pctl/watch.h"

namespace p2p {
namespace {

// The last words about a job in table form.
int tell_finished(const Output& output, const proto::Job& job) {
  const int exit_code = static_cast<int>(job.exit_code());
  if (job.kind() == "push") {
    output.print(push_summary(job));
    return exit_code;
  }
  if (exit_code != 0) {
    std::string why = job.detail();
    if (why.empty() && job.tasks_size() == 1) why = job.tasks(0).detail();
    const Error error{Errc::io_failed, job.id() + ": publishing " + job.publish().node() + ":" +
                                           job.publish().path() + " " + job.state() +
                                           (why.empty() ? "" : ": " + why)};
    return output.fail({static_cast<ExitCode>(exit_code), error, false});
  }
  output.say(job.id() + ": " + content_name(job) + ", " + format_bytes(job.total_bytes()) +
             ", in " + format_duration(from_seconds(job.seconds())));
  output.print(job.content_id() + "\n");
  return exit_code;
}

int tell_end(const Output& output, const std::string& id, const WatchEnd& end) {
  switch (end.kind) {
    case WatchEnd::Kind::failed:
      return output.fail(*end.failure);
    case WatchEnd::Kind::detached:
      output.say(detached_text(id));
      if (output.format() == OutputFormat::json && !end.job.id().empty()) output.print(end.job);
      return 0;
    case WatchEnd::Kind::finished:
      break;
  }
  if (output.format() == OutputFormat::table) return tell_finished(output, end.job);
  if (output.format() == OutputFormat::json) output.print(end.job);
  return static_cast<int>(end.job.exit_code());
}

// Exits with the job's exit code, or with 0 after Ctrl-C, because the job goes on. `known` is the
// job's state from its creation, when this command created it.
int follow(Session& session, const std::string& id, const std::optional<proto::Job>& known,
           const std::atomic<bool>& stop) {
  JobDisplay display(session.output);
  WatchWorld world;
  world.stream = [&](const WatchWorld::OnJob& go_on) -> std::optional<Failure> {
    std::optional<Failure> unreadable;
    auto failure = session.api.stream(
        "/v1/jobs/" + id + "/watch",
        [&](std::string_view line) {
          proto::Job job;
          if (Status read = read_answer(line, job); !read) {
            unreadable = Failure{ExitCode::usage_or_internal, read.error(), false};
            return false;
          }
          return go_on(job);
        },
        stop);
    return unreadable ? unreadable : failure;
  };
  world.show = [&](const proto::Job& job) { display.show(job); };
  world.say = [&](const std::string& line) { display.say(line); };
  world.wait = [&](Duration duration) { sleep_unless(stop, duration); };
  world.interrupted = [&] { return stop.load(); };
  world.now = monotonic_now;
  WatchEnd end = watch_job(id, known ? WatchedJob::known : WatchedJob::asked_for, world);
  display.end();
  if (end.job.id().empty() && known) end.job = *known;
  return tell_end(session.output, id, end);
}

int create_and_follow(Session& session, const proto::CreateJobRequest& request, bool detach) {
  proto::Job job;
  if (detach) {
    if (auto failure = session.api.post("/v1/jobs", &request, job)) {
      return session.output.fail(*failure);
    }
    if (session.output.format() != OutputFormat::table) {
      session.output.print(job);
      return 0;
    }
    session.output.print(job.id() + "\n");
    session.output.say("watch it with: p2pctl job watch " + job.id());
    return 0;
  }
  // From here on Ctrl-C waits for the job's name, so that the operator learns it.
  const std::atomic<bool>& stop = watch_for_interrupt();
  if (auto failure = session.api.post("/v1/jobs", &request, job)) {
    return session.output.fail(*failure);
  }
  return follow(session, job.id(), job, stop);
}

}  // namespace

int run(Session& session, const PublishCommand& command) {
  proto::CreateJobRequest request;
  *request.mutable_publish() = command.spec;
  return create_and_follow(session, request, command.detach);
}

int run(Session& session, const PushCommand& command) {
  proto::CreateJobRequest request;
  *request.mutable_push() = command.spec;
  return create_and_follow(session, request, command.detach);
}

int run(Session& session, const JobWatchCommand& command) {
  return follow(session, command.job, std::nullopt, watch_for_interrupt());
}

}  // namespace p2p
