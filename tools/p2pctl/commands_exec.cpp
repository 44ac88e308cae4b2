// exec and script run, and following their jobs.
#include <unistd.h>

#include <algorithm>

#include "core/base/text.h"
#include "tools/p2pctl/attachments.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/exec_follow.h"
#include "tools/p2pctl/exec_show.h"
#include "tools/p2pctl/exec_text.h"
#include "tools/p2pctl/input_file.h"
#include "tools/p2pctl/pause_question.h"
#include "tools/p2pctl/terminal.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxStandardInputBytes = 512 * 1024;

std::size_t runs_of(const proto::Job& job) {
  std::size_t runs = 0;
  for (const auto& [state, count] : job.run_counts()) runs += count;
  return std::max(runs, static_cast<std::size_t>(job.runs_size()));
}

void tell_detached(ExecShow& show, const std::string& id) {
  std::vector<std::string> waiting;
  for (const RunEntry& entry : show.record().runs()) {
    if (entry.told() && !entry.ended()) waiting.push_back(entry.run.node());
  }
  if (!waiting.empty()) show.say("not ended yet: " + nodes_text(waiting));
  show.say(detached_text(id));
}

}  // namespace

int follow_runs(Session& session, const proto::Job& job, const OutputView& view, bool ask,
                const std::atomic<bool>& stop) {
  const std::string id = job.id();
  ExecShow show(session.output, view, runs_of(job));
  PauseQuestion question([&](const std::string& text) {
    show.end_live();
    return ask_terminal(text);
  });
  const auto ask_if_paused = [&] {
    const auto& record = show.record();
    const auto act = question.on_state(record.job(), record.under_way());
    if (auto failure = carry_out(session.api, id, act)) show.say(failure->error.detail);
  };
  FollowWorld world;
  world.open = [&](const std::string& target, const FollowWorld::OnLine& on_line) {
    return session.api.stream(target, on_line, stop);
  };
  world.on_output = [&](std::size_t run, bool err, std::uint64_t skipped, std::string_view bytes) {
    show.on_output(run, err, skipped, bytes);
  };
  world.on_event = [&](const proto::JobEvent& event, std::string_view line) {
    show.on_event(event, line);
    if (ask) ask_if_paused();
    // Nobody reads any more.
    return std::ferror(stdout) == 0;
  };
  WatchWorld watch;
  watch.say = [&](const std::string& line) { show.say(line); };
  watch.wait = [&](Duration duration) { sleep_unless(stop, duration); };
  watch.interrupted = [&] { return stop.load() || std::ferror(stdout) != 0; };
  watch.now = monotonic_now;
  const WatchEnd end = follow_exec(id, show.record(), world, std::move(watch));
  show.end_live();
  switch (end.kind) {
    case WatchEnd::Kind::failed:
      return session.output.fail(*end.failure);
    case WatchEnd::Kind::detached:
      tell_detached(show, id);
      if (session.output.format() == OutputFormat::json) {
        show.show_results();
      }
      return 0;
    case WatchEnd::Kind::finished:
      break;
  }
  show.show_results();
  return show.tell_end();
}

int run(Session& session, const ExecCommand& command) {
  proto::CreateJobRequest request;
  proto::ExecSpec& spec = *request.mutable_exec();
  spec = command.spec;
  if (!command.input_file.empty()) {
    auto input = read_input(command.input_file, "--stdin", kMaxStandardInputBytes);
    if (!input) {
      return session.output.fail({ExitCode::usage_or_internal, input.error(), false});
    }
    spec.set_input(*std::move(input));
  }
  const bool ask = command.ask && !command.detach && can_ask();
  if (command.ask && !ask) spec.mutable_rollout()->set_on_max_fail("stop");
  request.set_dry_run(command.dry_run);
  const bool waits = !command.detach && !command.dry_run;
  // From here on Ctrl-C waits for the job's name, so that the operator learns it.
  const bool attaches = !command.attachments.empty() && !command.dry_run;
  const std::atomic<bool>* stop = waits || attaches ? &watch_for_interrupt() : nullptr;
  if (attaches) {
    if (auto code = bring_attachments(session, command.attachments, request, *stop)) return *code;
  }
  proto::Job job;
  if (auto failure = session.api.post("/v1/jobs", &request, job)) {
    return session.output.fail(*failure);
  }
  if (command.dry_run) return tell_dry_run(session.output, job);
  if (command.detach) return tell_created(session.output, job);
  return follow_runs(session, job, command.view, ask, *stop);
}

}  // namespace p2p
