// The API's calls about jobs.
#include "io/runtime/wall_clock.h"
#include "tracker/api.h"
#include "tracker/views.h"

namespace p2p {

void Api::plan_push(const Exchange& exchange, const std::vector<std::string>&) {
  proto::PushSpec spec;
  if (!read_body(exchange, spec)) return;
  const auto plan = board_.push_plan(spec, wall_now());
  if (!plan) return reply(exchange, plan.error());
  reply(exchange, *plan);
}

void Api::create_job(const Exchange& exchange, const std::vector<std::string>&) {
  proto::CreateJobRequest request;
  if (!read_body(exchange, request)) return;
  if (request.dry_run()) {
    const auto job = board_.dry_run(request, wall_now());
    if (!job) return reply(exchange, job.error());
    return reply(exchange, job_view(*job, board_, registry_, catalogue_, WithTasks::yes));
  }
  board_.create(request, name_of(exchange), wall_now(),
                [this, exchange](const Result<JobId>& id) { answer_job(exchange, id); });
}

void Api::answer_job(const Exchange& exchange, const Result<JobId>& id) {
  if (!id) return reply(exchange, id.error());
  reply(exchange, job_view(*board_.find(*id), board_, registry_, catalogue_, WithTasks::yes));
}

void Api::list_jobs(const Exchange& exchange, const std::vector<std::string>&) {
  proto::JobList list;
  for (const BoardJob* job : board_.newest_first()) {
    *list.add_jobs() = job_view(*job, board_, registry_, catalogue_, WithTasks::no);
    if (list.jobs_size() == 1000) break;
  }
  reply(exchange, list);
}

// Answers the exchange itself when there is no such job.
const BoardJob* Api::job_of(const Exchange& exchange, const std::string& text) {
  const auto id = JobId::parse(text);
  const BoardJob* job = id ? board_.find(*id) : nullptr;
  if (job == nullptr) {
    reply(exchange, Error{Errc::not_found, "no job '" + text + "': p2pctl job list shows them"});
  }
  return job;
}

void Api::show_job(const Exchange& exchange, const std::vector<std::string>& parts) {
  if (const BoardJob* job = job_of(exchange, parts[2])) {
    reply(exchange, job_view(*job, board_, registry_, catalogue_, WithTasks::yes));
  }
}

void Api::watch_job(const Exchange& exchange, const std::vector<std::string>& parts) {
  const BoardJob* job = job_of(exchange, parts[2]);
  if (job == nullptr) return;
  exchange->start_stream("application/jsonl");
  // A slow reader misses intermediate states, but never the last one.
  const auto handle = std::make_shared<std::uint64_t>(0);
  const auto over = std::make_shared<bool>(false);
  const auto tell = [this, exchange, handle, over](const BoardJob& now) {
    if (*over) return true;
    const bool taken = exchange->stream(
        to_json(job_view(now, board_, registry_, catalogue_, WithTasks::yes)) + "\n");
    if (taken && now.finished()) {
      *over = true;
      exchange->finish();
      board_.unwatch(*handle);
    }
    return taken;
  };
  if (tell(*job) && job->finished()) return;
  const JobId id{job->record.number()};
  *handle = board_.watch(id, [tell](const BoardJob& now) { tell(now); });
  exchange->on_drained([this, id, tell] {
    const BoardJob* now = board_.find(id);
    if (now != nullptr && now->finished()) tell(*now);
  });
  exchange->on_closed([this, handle] { board_.unwatch(*handle); });
}

void Api::cancel_job(const Exchange& exchange, const std::vector<std::string>& parts) {
  const BoardJob* job = job_of(exchange, parts[2]);
  if (job == nullptr) return;
  const Status cancelled = board_.cancel(JobId{job->record.number()}, wall_now());
  if (!cancelled) return reply(exchange, cancelled.error());
  reply(exchange, job_view(*job, board_, registry_, catalogue_, WithTasks::yes));
}

void Api::pause_job(const ApiCall& call) {
  const BoardJob* job = job_of(call.exchange, call.parts[2]);
  if (job == nullptr) return;
  const JobId id{job->record.number()};
  board_.pause(id, call.caller.name, wall_now(),
               [this, id, exchange = call.exchange](const Status& paused) {
                 answer_job(exchange, paused ? Result<JobId>(id) : paused.error());
               });
}

void Api::resume_job(const ApiCall& call) {
  const BoardJob* job = job_of(call.exchange, call.parts[2]);
  if (job == nullptr) return;
  const JobId id{job->record.number()};
  board_.resume(id, wall_now(), [this, id, exchange = call.exchange](const Status& resumed) {
    answer_job(exchange, resumed ? Result<JobId>(id) : resumed.error());
  });
}

void Api::retry_job(const ApiCall& call) {
  proto::RetryRequest request;
  const BoardJob* job = job_of(call.exchange, call.parts[2]);
  if (job == nullptr || !read_body(call.exchange, request)) return;
  board_.retry(
      JobId{job->record.number()}, request, call.caller.name, wall_now(),
      [this, exchange = call.exchange](const Result<JobId>& id) { answer_job(exchange, id); });
}

}  // namespace p2p
