// publish, push, job watch and job retry: the commands that follow a job to its end.
#include "core/base/text.h"
#include "core/base/units.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/job_display.h"
#include "tools/p2pctl/job_text.h"
#include "tools/p2pctl/pause_question.h"
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

// Targets that have begun and not ended.
std::size_t under_way(const proto::Job& job) {
  const proto::TaskCounts& counts = job.counts();
  return counts.offered() + counts.accepted() + counts.running();
}

// Exits with the job's exit code, or with 0 after Ctrl-C, because the job goes on. `known`: the
// newest state that was seen.
int follow_tasks(Session& session, const proto::Job& known, bool ask,
                 const std::atomic<bool>& stop) {
  return tell_end(session.output, known.id(), watch_tasks(session, known, ask, stop));
}

int follow(Session& session, const proto::Job& known, const OutputView& view, bool ask,
           const std::atomic<bool>& stop) {
  if (known.kind() == "exec") return follow_runs(session, known, view, ask, stop);
  return follow_tasks(session, known, ask, stop);
}

// Makes a job by posting `request` to `target`.
int create_and_follow(Session& session, const std::string& target,
                      const google::protobuf::Message& request, const OutputView& view, bool detach,
                      bool ask) {
  // From here on Ctrl-C waits for the job's name, so that the operator learns it.
  const std::atomic<bool>* stop = detach ? nullptr : &watch_for_interrupt();
  proto::Job job;
  if (auto failure = session.api.post(target, &request, job)) {
    return session.output.fail(*failure);
  }
  if (detach) return tell_created(session.output, job);
  return follow(session, job, view, ask, *stop);
}

}  // namespace

WatchEnd watch_tasks(Session& session, const proto::Job& known, bool ask,
                     const std::atomic<bool>& stop) {
  const std::string& id = known.id();
  JobDisplay display(session.output);
  PauseQuestion question([&](const std::string& text) {
    display.end();
    return ask_terminal(text);
  });
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
  world.show = [&](const proto::Job& job) {
    display.show(job);
    if (!ask) return;
    const auto act = question.on_state(job, under_way(job));
    if (auto failure = carry_out(session.api, id, act)) display.say(failure->error.detail);
  };
  world.say = [&](const std::string& line) { display.say(line); };
  world.wait = [&](Duration duration) { sleep_unless(stop, duration); };
  world.interrupted = [&] { return stop.load(); };
  world.now = monotonic_now;
  WatchEnd end = watch_job(id, WatchedJob::known, world);
  display.end();
  if (end.job.id().empty()) end.job = known;
  return end;
}

int tell_created(const Output& output, const proto::Job& job) {
  if (output.format() != OutputFormat::table) {
    output.print(job);
    return 0;
  }
  output.print(job.id() + "\n");
  output.say("watch it with: p2pctl job watch " + job.id());
  return 0;
}

int tell_dry_run(const Output& output, const proto::Job& job) {
  if (output.format() != OutputFormat::table) {
    output.print(job);
  } else {
    output.print(dry_run_text(job));
  }
  return 0;
}

int run(Session& session, const PublishCommand& command) {
  proto::CreateJobRequest request;
  *request.mutable_publish() = command.spec;
  return create_and_follow(session, "/v1/jobs", request, {}, command.detach, /*ask=*/false);
}

int run(Session& session, const PushCommand& command) {
  proto::CreateJobRequest request;
  *request.mutable_push() = command.spec;
  const bool ask = command.ask && !command.detach && can_ask();
  if (command.ask && !ask) request.mutable_push()->mutable_rollout()->set_on_max_fail("stop");
  if (!command.dry_run) {
    return create_and_follow(session, "/v1/jobs", request, {}, command.detach, ask);
  }
  request.set_dry_run(true);
  proto::Job job;
  if (auto failure = session.api.post("/v1/jobs", &request, job)) {
    return session.output.fail(*failure);
  }
  return tell_dry_run(session.output, job);
}

int run(Session& session, const JobRetryCommand& command) {
  return create_and_follow(session, "/v1/jobs/" + command.job + "/retry", command.request,
                           command.view, command.detach, /*ask=*/false);
}

int run(Session& session, const JobWatchCommand& command) {
  const std::atomic<bool>& stop = watch_for_interrupt();
  proto::Job job;
  if (auto failure = session.api.get("/v1/jobs/" + command.job, job)) {
    return session.output.fail(*failure);
  }
  return follow(session, job, {}, /*ask=*/false, stop);
}

}  // namespace p2p
