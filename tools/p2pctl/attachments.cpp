#include "tools/p2pctl/attachments.h"

#include "core/model/node_set.h"
#include "tools/p2pctl/job_text.h"

namespace p2p {
namespace {

// Whom the command is for now, as an expression that selects the same nodes whatever changes.
std::optional<Failure> freeze(ApiClient& api, proto::CreateJobRequest& request) {
  proto::CreateJobRequest trial = request;
  trial.set_dry_run(true);
  proto::Job job;
  if (auto failure = api.post("/v1/jobs", &trial, job)) return failure;
  std::vector<std::string> names;
  for (const proto::Run& run : job.runs()) names.push_back(run.node());
  request.mutable_exec()->set_targets(fold_names(std::move(names)).text);
  return std::nullopt;
}

Failure did_not_arrive(const proto::Job& job) {
  const auto code = static_cast<ExitCode>(job.exit_code());
  return Failure{code,
                 Error{Errc::io_failed,
                       job.id() + ": " + job.push().source() + " did not arrive everywhere (" +
                           std::string(meaning_of(code)) +
                           "), so nothing was started; p2pctl job show " + job.id() + " says why"},
                 false};
}

}  // namespace

std::optional<int> bring_attachments(Session& session,
                                     const std::vector<proto::PushSpec>& attachments,
                                     proto::CreateJobRequest& request,
                                     const std::atomic<bool>& stop) {
  if (attachments.empty()) return std::nullopt;
  if (auto failure = freeze(session.api, request)) return session.output.fail(*failure);
  for (const proto::PushSpec& attachment : attachments) {
    proto::CreateJobRequest push;
    *push.mutable_push() = attachment;
    push.mutable_push()->set_targets(request.exec().targets());
    const proto::Rollout& rollout = request.exec().rollout();
    push.mutable_push()->mutable_rollout()->set_offline(
        rollout.offline().empty() ? "fail" : rollout.offline());
    push.mutable_push()->mutable_rollout()->set_ttl_seconds(rollout.ttl_seconds());
    proto::Job job;
    if (auto failure = session.api.post("/v1/jobs", &push, job)) {
      return session.output.fail(*failure);
    }
    const WatchEnd end = watch_tasks(session, job, /*ask=*/false, stop);
    switch (end.kind) {
      case WatchEnd::Kind::failed:
        return session.output.fail(*end.failure);
      case WatchEnd::Kind::detached:
        session.output.say(detached_text(job.id()));
        session.output.say("the command was not started");
        return static_cast<int>(ExitCode::stopped);
      case WatchEnd::Kind::finished:
        break;
    }
    if (end.job.exit_code() != 0) return session.output.fail(did_not_arrive(end.job));
    session.output.say(job.id() + ": " + attachment.source() + " is on " +
                       std::to_string(end.job.tasks_size()) + " nodes");
  }
  return std::nullopt;
}

}  // namespace p2p
