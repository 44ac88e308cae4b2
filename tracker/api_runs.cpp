#include "tracker/api_runs.h"

#include <charconv>
#include <utility>

#include "core/base/text.h"
#include "io/runtime/wall_clock.h"
#include "tracker/run_events.h"
#include "tracker/views.h"

namespace p2p {
namespace {

constexpr std::size_t kPageBytes = 512 * 1024;
constexpr int kMaxListed = 1000;

// Who may not do it is told so with another status than who asks for what cannot be done.
void refuse(const Exchange& exchange, const Error& error) {
  if (error.code == Errc::denied) return reply_forbidden(exchange, error);
  reply(exchange, error);
}

// ?from=N; nothing when it has answered.
std::optional<std::uint64_t> cursor_of(const ApiCall& call) {
  const std::string text = call.query("from").value_or("0");
  std::uint64_t from = 0;
  const char* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, from);
  if (problem == std::errc{} && stop == end) return from;
  reply(call.exchange, Error{Errc::invalid_argument, "?from=" + printable(text, 40) +
                                                         " is no number: use `next` of the "
                                                         "answer before, or leave it out"});
  return std::nullopt;
}

JobId id_of(const ApiCall& call) {
  return JobId::parse(call.parts[2]).value_or(JobId{});
}

}  // namespace

void RunsApi::add_routes(Router& router) {
  const auto is_exec = [this](const ApiCall& call) {
    return parts_.runs.find(id_of(call)) != nullptr;
  };
  const auto makes_exec = [](const ApiCall& call) {
    proto::CreateJobRequest request;
    return from_json(call.exchange->request().body, request).has_value() && request.has_exec() &&
           !request.has_push() && !request.has_publish();
  };
  using Call = void (RunsApi::*)(const ApiCall&);
  const auto method = [this](Call call) {
    return [this, call](const ApiCall& made) { (this->*call)(made); };
  };
  const auto steers = [this](Steer how) {
    return [this, how](const ApiCall& made) { steer(made, how); };
  };
  router.add_first("POST", {"v1", "jobs"}, Who::users, makes_exec, method(&RunsApi::create));
  router.add_first("GET", {"v1", "jobs"}, Who::users, nullptr, method(&RunsApi::list));
  router.add_first("GET", {"v1", "jobs", "*"}, Who::users, is_exec, method(&RunsApi::show));
  router.add_first("GET", {"v1", "jobs", "*", "events"}, Who::users, is_exec,
                   method(&RunsApi::events));
  router.add_first("GET", {"v1", "jobs", "*", "watch"}, Who::users, is_exec,
                   method(&RunsApi::watch));
  router.add_first("GET", {"v1", "jobs", "*", "output"}, Who::users, is_exec,
                   method(&RunsApi::output));
  router.add_first("POST", {"v1", "jobs", "*", "cancel"}, Who::users, is_exec,
                   steers(&RunBoard::cancel));
  router.add_first("POST", {"v1", "jobs", "*", "pause"}, Who::users, is_exec,
                   steers(&RunBoard::pause));
  router.add_first("POST", {"v1", "jobs", "*", "resume"}, Who::users, is_exec,
                   steers(&RunBoard::resume));
  router.add_first("POST", {"v1", "jobs", "*", "retry"}, Who::users, is_exec,
                   method(&RunsApi::retry));
}

void RunsApi::answer(const Exchange& exchange, const Result<const BoardExec*>& job,
                     WithRuns with_runs) {
  if (!job) return refuse(exchange, job.error());
  reply(exchange, exec_view(**job, parts_.registry, with_runs));
}

proto::Job RunsApi::view_for(const Caller& caller, const BoardExec& job, WithRuns with_runs) const {
  const Status allowed = parts_.runs.may_look(job, caller);
  const bool runs_hidden = !allowed && with_runs == WithRuns::yes;
  proto::Job view = exec_view(job, parts_.registry, runs_hidden ? WithRuns::no : with_runs);
  if (!allowed) hide_what_it_runs(view, allowed.error());
  return view;
}

// False: it has answered.
bool RunsApi::may_look(const ApiCall& call) const {
  const Status allowed = parts_.runs.may_look(*parts_.runs.find(id_of(call)), call.caller);
  if (!allowed) reply_forbidden(call.exchange, allowed.error());
  return allowed.has_value();
}

void RunsApi::create(const ApiCall& call) {
  proto::CreateJobRequest request;
  if (!read_body(call.exchange, request)) return;
  const WithRuns with_runs = request.dry_run() ? WithRuns::yes : WithRuns::no;
  parts_.runs.create(
      request.exec(), call.caller, request.dry_run(), wall_now(),
      [this, exchange = call.exchange, with_runs](const Result<const BoardExec*>& job) {
        answer(exchange, job, with_runs);
      });
}

void RunsApi::list(const ApiCall& call) {
  const std::vector<const BoardJob*> jobs = parts_.jobs.newest_first();
  const std::vector<const BoardExec*> execs = parts_.runs.newest_first();
  proto::JobList list;
  for (std::size_t i = 0, j = 0; list.jobs_size() < kMaxListed;) {
    const bool job = i < jobs.size();
    const bool exec = j < execs.size();
    if (!job && !exec) break;
    if (exec && (!job || execs[j]->record.number() > jobs[i]->record.number())) {
      *list.add_jobs() = view_for(call.caller, *execs[j++], WithRuns::in_list);
    } else {
      *list.add_jobs() =
          job_view(*jobs[i++], parts_.jobs, parts_.registry, parts_.catalogue, WithTasks::no);
    }
  }
  reply(call.exchange, list);
}

void RunsApi::show(const ApiCall& call) {
  reply(call.exchange, view_for(call.caller, *parts_.runs.find(id_of(call)), WithRuns::yes));
}

void RunsApi::events(const ApiCall& call) {
  if (!may_look(call)) return;
  const auto from = cursor_of(call);
  if (!from) return;
  std::make_shared<RunEvents>(parts_.loop, parts_.runs, parts_.registry, call.exchange, id_of(call),
                              *from)
      ->start();
}

void RunsApi::watch(const ApiCall& call) {
  if (!may_look(call)) return;
  std::make_shared<RunWatch>(parts_.loop, parts_.runs, parts_.registry, call.exchange, id_of(call))
      ->start();
}

void RunsApi::output(const ApiCall& call) {
  if (!may_look(call)) return;
  const auto from = cursor_of(call);
  if (!from) return;
  const BoardExec& job = *parts_.runs.find(id_of(call));
  std::optional<std::uint32_t> run;
  if (const auto name = call.query("node")) {
    const std::vector<RunStatus>& runs = job.job->runs();
    for (std::size_t i = 0; i < runs.size() && !run; ++i) {
      if (parts_.registry.name_of(runs[i].node) == *name) run = static_cast<std::uint32_t>(i);
    }
    if (!run) {
      return reply(call.exchange,
                   Error{Errc::not_found, "node " + quoted(*name, 80) + " is no target of job " +
                                              id_of(call).str()});
    }
  }
  parts_.runs.read_output(id_of(call), *from, run, kPageBytes,
                          [exchange = call.exchange](Result<std::optional<OutputChunk>> chunk) {
                            if (!chunk) return reply(exchange, chunk.error());
                            proto::OutputPage page;
                            page.set_gone(!chunk->has_value());
                            if (*chunk) {
                              page.set_next((*chunk)->next);
                              page.set_more((*chunk)->more);
                              add_pieces(*std::move(*chunk), page.mutable_output());
                            }
                            reply(exchange, page);
                          });
}

void RunsApi::steer(const ApiCall& call, Steer how) {
  const JobId id = id_of(call);
  (parts_.runs.*how)(id, call.caller, wall_now(),
                     [this, id, exchange = call.exchange](const Status& done) {
                       if (!done) return refuse(exchange, done.error());
                       answer(exchange, parts_.runs.find(id), WithRuns::no);
                     });
}

void RunsApi::retry(const ApiCall& call) {
  proto::RetryRequest request;
  if (!read_body(call.exchange, request)) return;
  parts_.runs.retry(id_of(call), request, call.caller, wall_now(),
                    [this, exchange = call.exchange](const Result<const BoardExec*>& job) {
                      answer(exchange, job, WithRuns::no);
                    });
}

}  // namespace p2p
