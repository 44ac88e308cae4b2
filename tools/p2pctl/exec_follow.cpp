#include "tools/p2pctl/exec_follow.h"

#include <utility>

#include "tools/p2pctl/api_client.h"

namespace p2p {

WatchEnd follow_exec(const std::string& id, ExecRecord& record, const FollowWorld& world,
                     WatchWorld watch) {
  watch.show = [](const proto::Job&) {};
  watch.stream = [&](const WatchWorld::OnJob& go_on) -> std::optional<Failure> {
    std::optional<Failure> unreadable;
    bool wanted = true;
    std::string target = "/v1/jobs/" + id + "/events";
    if (record.next() > 0) target += "?from=" + std::to_string(record.next());
    auto failure = world.open(target, [&](std::string_view line) {
      proto::JobEvent event;
      if (Status read = read_answer(line, event); !read) {
        unreadable = Failure{ExitCode::usage_or_internal, read.error(), false};
        return wanted = false;
      }
      record.add(event, world.on_output);
      wanted = world.on_event(event, line);
      // The job may have ended while some of its output is still to come.
      proto::Job job = record.job();
      job.set_finished(false);
      wanted = go_on(job) && wanted;
      return wanted;
    });
    if (unreadable) return unreadable;
    if (!failure && wanted && record.job().finished()) go_on(record.job());
    return failure;
  };
  WatchEnd end = watch_job(id, WatchedJob::known, watch);
  record.finish();
  if (end.kind == WatchEnd::Kind::finished) end.job = record.job();
  return end;
}

}  // namespace p2p
