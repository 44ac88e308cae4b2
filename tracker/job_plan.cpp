// Making a job: everything that can be wrong with a request is said before anything is stored.
#include <algorithm>

#include "core/model/destination.h"
#include "core/model/target_expression.h"
#include "io/content/merkle.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "tracker/job_board.h"
#include "tracker/job_plan.h"

namespace p2p {
namespace {

constexpr std::uint64_t kDefaultOfflineTtl = 600;
constexpr std::uint64_t kMaxOfflineTtl = 30ull * 24 * 3600;
// What is known of a job when it is made: half a record; what becomes of it needs room as well.
constexpr std::size_t kMaxJobTextBytes = kMaxRecordBytes / 2;

}  // namespace

Status JobBoard::plan_publish(const std::string& node_name, const std::string& path,
                              const std::string& name, Plan& plan, WallTime now) {
  const NodeEntry* node = registry_.find(node_name);
  if (node == nullptr) return Registry::unknown_node(node_name);
  if (!node->online) {
    return Error{Errc::unavailable, "node " + node_name +
                                        " is offline: start p2pd run there, or "
                                        "publish from a node that is online"};
  }
  if (Status readable = check_readable(path, node->shares, node->roots, node_name); !readable) {
    return readable;
  }
  if (!name.empty()) {
    auto parsed = parse_file_name(name);
    if (!parsed) return parsed.error();
    auto reserved = catalogue_.reserve(*parsed);
    if (!reserved) return reserved.error();
    plan.job.reserved = *reserved;
    plan.job.record.set_name(reserved->str());
    plan.job.record.set_file_name(reserved->str());
  }
  plan.job.record.set_publish_node(node->id.str());
  plan.job.record.set_source(node_name + ":" + path);
  plan.job.record.set_state(kPreparing);
  TaskStatus task;
  task.node = node->id;
  plan.job.source.emplace(std::vector{task}, JobRules{}, now);
  return {};
}

// The version that a recipe is made from has to exist; whether the node holds it shows there.
Status JobBoard::plan_base(const proto::PublishSpec& spec, Plan& plan) const {
  plan.job.record.set_no_delta(spec.no_delta());
  if (spec.base().empty()) return {};
  if (spec.no_delta()) {
    return Error{Errc::invalid_argument,
                 "a base, and no recipe to be made: leave out one of the two"};
  }
  auto name = parse_file_name(spec.base());
  if (!name) return name.error();
  const proto::FileRecord* file = catalogue_.find(*name);
  if (file == nullptr) return Catalogue::unknown_file(name->str());
  plan.job.record.set_base(file->domain() + "/" + file->name() + "@" + file->version());
  if (!file->withdrawn().empty()) {
    return Error{Errc::unavailable, plan.job.record.base() + " was " + file->withdrawn()};
  }
  return {};
}

Status JobBoard::plan_push(const proto::PushSpec& spec, Plan& plan, WallTime now) {
  auto source = parse_source(spec.source());
  if (!source) return source.error();
  const auto* path = std::get_if<NodePath>(&*source);
  if (path == nullptr) return plan_known(spec, *source, plan, now);
  if (Status fits = plan_targets(spec, base_name_of(path->path), plan, now); !fits) return fits;
  return plan_publish(path->node, path->path, "", plan, now);
}

// A push of what has been published.
Status JobBoard::plan_known(const proto::PushSpec& spec, const Source& source, Plan& plan,
                            WallTime now) const {
  auto& record = plan.job.record;
  const proto::ContentRecord* content = nullptr;
  if (const auto* name = std::get_if<FileName>(&source)) {
    const proto::FileRecord* file = catalogue_.find(*name);
    if (file == nullptr) return Catalogue::unknown_file(name->str());
    record.set_file_name(file->domain() + "/" + file->name() + "@" + file->version());
    if (!file->withdrawn().empty()) {
      return Error{Errc::unavailable, record.file_name() + " was " + file->withdrawn()};
    }
    content = catalogue_.content(*ContentId::from_raw(file->content_id()));
  } else {
    content = catalogue_.content(std::get<ContentId>(source));
  }
  if (content == nullptr) return Catalogue::unknown_file(spec.source());
  record.set_content_id(content->content_id());
  const ContentId id = content_of(plan.job);
  if (!content->withdrawn().empty()) {
    return Error{Errc::unavailable, shown_name(id) + " was " + content->withdrawn()};
  }
  if (const std::string why = why_lost(id); !why.empty()) {
    return Error{Errc::unavailable,
                 shown_name(id) + " can be had from nobody: " + why + "; publish it again"};
  }
  return plan_targets(spec, content->original_name(), plan, now);
}

Status JobBoard::plan_targets(const proto::PushSpec& spec, const std::string& base_name, Plan& plan,
                              WallTime now) const {
  auto& record = plan.job.record;
  auto targets = plan.targets ? Result(*plan.targets) : registry_.resolve(spec.targets());
  if (!targets) return targets.error();

  record.set_source(spec.source());
  record.set_targets(spec.targets());
  record.set_path(spec.path());
  record.set_limit_bytes_per_second(spec.limit_bytes_per_second());
  record.set_allocate(spec.allocate());
  record.set_basis(spec.basis());
  record.set_no_delta(spec.no_delta());
  record.set_no_reflink(spec.no_reflink());
  if (spec.no_delta() && !spec.basis().empty()) {
    return Error{Errc::invalid_argument,
                 "a basis, and old files not to be looked at: leave out one of the two"};
  }
  record.set_target_count(static_cast<std::uint32_t>(targets->size()));
  const std::uint64_t asked = std::max(spec.offline_ttl_seconds(), spec.rollout().ttl_seconds());
  const std::uint64_t ttl = asked == 0 ? kDefaultOfflineTtl : asked;
  if (ttl > kMaxOfflineTtl) {
    return Error{Errc::invalid_argument, "a ttl of more than 30 days: choose a shorter one"};
  }
  record.set_offline_ttl_seconds(ttl);
  record.set_state(kRunning);
  if (Status turns = plan_turns(spec, plan, *targets); !turns) return turns;

  // Nodes that have connected once have said what their roots are: a destination outside of them is
  // refused here, before anything starts. The node checks again.
  std::vector<TaskStatus> tasks;
  for (const NodeId id : *targets) {
    const NodeEntry* node = registry_.find(id);
    const bool is_anywhere = plan.only_looks && spec.path().empty();
    if (node->last_seen != WallTime{} && !is_anywhere) {
      auto resolved = resolve_destination(spec.path(), node->roots, node->record.name(), base_name);
      if (!resolved) return resolved.error();
    }
    if (node->last_seen != WallTime{} && !spec.basis().empty()) {
      auto basis =
          resolve_basis(spec.basis(), node->shares, node->roots, node->record.name(), base_name);
      if (!basis) return basis.error().within("the basis");
    }
    TaskStatus task;
    task.node = id;
    task.detail = node->online ? "" : "offline";
    if (const auto* content = catalogue_.content(content_of(plan.job))) {
      task.bytes_total = content->data_bytes();
    }
    tasks.push_back(std::move(task));
  }
  plan.job.targets.emplace(std::move(tasks), rules_for(record), now);
  plan.job.targets->hold();
  return {};
}

Result<JobBoard::Plan> JobBoard::plan(const proto::CreateJobRequest& request, WallTime now) {
  Plan plan;
  plan.seed = rng_.next();
  auto& record = plan.job.record;
  if (request.has_publish() == request.has_push()) {
    return Error{Errc::invalid_argument, "a job is either a publish or a push: give exactly one"};
  }
  if (request.has_publish()) {
    record.set_kind("publish");
    if (request.publish().name().empty()) {
      return Error{Errc::invalid_argument,
                   "publish: a name is missing: give one such as images/base (--name)"};
    }
    const auto& spec = request.publish();
    if (Status planned = plan_base(spec, plan); !planned) return planned.error();
    if (Status planned = plan_publish(spec.node(), spec.path(), spec.name(), plan, now); !planned) {
      return planned.error();
    }
  } else {
    record.set_kind("push");
    if (Status planned = plan_push(request.push(), plan, now); !planned) return planned.error();
  }
  record.set_created_unix_ms(unix_millis(now));
  return plan;
}

void JobBoard::create(const proto::CreateJobRequest& request, const std::string& created_by,
                      WallTime now, std::function<void(Result<JobId>)> done) {
  auto planned = plan(request, now);
  if (!planned) return done(planned.error());
  make(*std::move(planned), created_by, std::move(done));
}

void JobBoard::make(Plan plan, const std::string& created_by,
                    std::function<void(Result<JobId>)> done) {
  BoardJob job = std::move(plan.job);
  if (job.record.ByteSizeLong() > kMaxJobTextBytes) {
    if (job.reserved) catalogue_.release(*job.reserved);
    return done(Error{Errc::invalid_argument,
                      "source, targets and path are longer than 16 KiB "
                      "together: select nodes by ranges or labels"});
  }
  const JobId id{numbers_->next()};
  job.record.set_number(id.number);
  job.record.set_created_by(created_by);

  // Pages first, the head last: a crash in between leaves no job, rather than one without targets.
  const auto& tasks = job.shown().tasks();
  for (const TaskStatus& task : tasks) job.stored_states.push_back(task.state);
  for (StateBatch& pages : all_task_pages(id.number, tasks)) journal_.commit(std::move(pages));
  StateBatch head;
  put_job(job.record, head);
  const auto noted = add_audit(job, head);
  jobs_.emplace(id, std::move(job));
  journal_.commit(std::move(head), [this, id, noted, done = std::move(done)](const Status& stored) {
    if (!stored) {
      if (noted) audit_->take_back(*noted);
      if (const auto& name = jobs_.at(id).reserved) catalogue_.release(*name);
      jobs_.erase(id);
      return done(stored.error());
    }
    BoardJob& durable = jobs_.at(id);
    log_info("jobs", "job begins",
             {{"job", id.str()},
              {"kind", durable.record.kind()},
              {"source", durable.record.source()},
              {"targets", durable.record.target_count()},
              {"by", durable.record.created_by()}});
    begin(durable, wall_now());
    done(id);
  });
}

std::optional<std::uint64_t> JobBoard::add_audit(const BoardJob& job, StateBatch& batch) const {
  if (audit_ == nullptr) return std::nullopt;
  std::vector<std::string> names;
  for (const TaskStatus& task : job.shown().tasks()) names.push_back(registry_.name_of(task.node));
  const auto& record = job.record;
  const Digest order = sha256(record.SerializeAsString());
  return audit_->add(audit_of_job(JobId{record.number()}.str(), record.created_by(), record.kind(),
                                  std::move(names), std::string(order.view())),
                     from_unix_millis(record.created_unix_ms()), batch);
}

}  // namespace p2p
