#include "tracker/views.h"

#include <algorithm>

#include "core/base/units.h"
#include "core/jobs/outcome.h"
#include "core/model/node_set.h"
#include "io/runtime/wall_clock.h"
#include "tracker/job_plan.h"

namespace p2p {
namespace {

double seconds_between(WallTime from, WallTime to) {
  return from == WallTime{} ? 0 : std::max(0.0, seconds(to - from));
}

// "waits" says more of one whose turn has not come than that it is away.
std::string shown_detail(const TaskStatus& task, const BoardJob& job, bool online) {
  if (is_final(task.state)) return task.detail;
  const auto index = job.targets ? job.targets->index_of(task.node) : std::nullopt;
  const bool waits = index && job.targets->has_rollout() &&
                     job.targets->rollout().phase(*index) == Rollout::Phase::waiting;
  if (waits) return online ? "waits for its turn" : "waits for its turn; offline";
  return online ? task.detail : "offline";
}

proto::Task task_view(const TaskStatus& task, const BoardJob& job, const Registry& registry) {
  proto::Task view;
  const NodeEntry* node = registry.find(task.node);
  view.set_node(registry.name_of(task.node));
  view.set_state(std::string(to_string(task.state)));
  view.set_online(node != nullptr && node->online);
  view.set_detail(shown_detail(task, job, view.online()));
  view.set_bytes_done(task.bytes_done);
  view.set_bytes_total(task.bytes_total);
  if (task.state == TaskState::running) {
    const auto meter = job.meters.find(task.node);
    if (meter != job.meters.end()) {
      view.set_bytes_per_second(static_cast<std::uint64_t>(meter->second.rate));
    }
  }
  view.set_path(task.path);
  const WallTime end = is_final(task.state) ? task.finished : wall_now();
  view.set_seconds(seconds_between(task.started, end));
  view.set_durable(task.durable);
  view.set_bytes_sent(task.bytes_sent);
  view.set_bytes_received(task.bytes_received);
  view.set_bytes_copied(task.bytes_copied);
  view.set_bytes_already(task.bytes_already);
  view.set_bytes_written(task.bytes_written);
  view.set_basis(task.basis);
  return view;
}

void set_counts(const TaskCounts& counts, proto::TaskCounts& view) {
  view.set_queued(counts[TaskState::queued]);
  view.set_offered(counts[TaskState::offered]);
  view.set_accepted(counts[TaskState::accepted]);
  view.set_running(counts[TaskState::running]);
  view.set_succeeded(counts[TaskState::succeeded]);
  view.set_failed(counts[TaskState::failed]);
  view.set_cancelled(counts[TaskState::cancelled]);
  view.set_expired(counts[TaskState::expired]);
  view.set_skipped(counts[TaskState::skipped]);
}

void set_spec(const BoardJob& job, const Registry& registry, proto::Job& view) {
  const auto& record = job.record;
  if (record.kind() == "publish") {
    auto& publish = *view.mutable_publish();
    const auto node = NodeId::parse(record.publish_node());
    publish.set_node(node ? registry.name_of(*node) : record.publish_node());
    publish.set_path(record.source().substr(record.source().find(":/") + 1));
    publish.set_name(record.name());
    publish.set_base(record.base());
    publish.set_no_delta(record.no_delta());
    return;
  }
  *view.mutable_push() = push_spec_of(record);
}

void set_turns(const BoardJob& job, proto::Job& view) {
  if (!job.targets) return;
  const Rollout& rollout = job.targets->rollout();
  view.set_paused(rollout.paused() && !job.finished());
  view.set_rollout_state(job.finished() && !rollout.stopped() ? "" : rollout.text(wall_now()));
  if (rollout.waves() < 2) return;
  view.set_wave(static_cast<std::uint32_t>(rollout.memory().wave + 1));
  view.set_waves(static_cast<std::uint32_t>(rollout.waves()));
}

}  // namespace

proto::TargetList target_view(const std::vector<NodeId>& nodes, const Registry& registry) {
  proto::TargetList view;
  for (const NodeId id : nodes) view.add_nodes(registry.name_of(id));
  view.set_folded(fold_names({view.nodes().begin(), view.nodes().end()}).text);
  return view;
}

proto::Node node_view(const NodeEntry& node, std::uint32_t files_held) {
  proto::Node view;
  view.set_id(node.id.str());
  view.set_name(node.record.name());
  *view.mutable_labels() = node.record.labels();
  view.set_online(node.online);
  view.set_address(node.address);
  view.set_version(node.version);
  view.set_last_seen(rfc3339(node.online ? wall_now() : node.last_seen));
  view.set_enrolled_at(rfc3339(from_unix_seconds(node.record.enrolled_unix())));
  *view.mutable_roots() = {node.roots.begin(), node.roots.end()};
  *view.mutable_shares() = {node.shares.begin(), node.shares.end()};
  view.set_files_held(files_held);
  *view.mutable_facts() = node.facts.values();
  *view.mutable_addresses() = node.facts.addresses();
  view.set_exec(node.exec);
  view.set_certificate_expires_at(rfc3339(node.certificate_expires));
  return view;
}

proto::Job job_view(const BoardJob& job, const JobBoard& board, const Registry& registry,
                    const Catalogue& catalogue, WithTasks with_tasks) {
  proto::Job view;
  const auto& record = job.record;
  if (record.number() != 0) view.set_id(JobId{record.number()}.str());  // else a dry run
  view.set_kind(record.kind());
  view.set_state(record.state());
  view.set_detail(record.detail().empty() ? board.waits_for(job) : record.detail());
  set_spec(job, registry, view);
  view.set_file_name(record.file_name());
  if (const auto content = ContentId::from_raw(record.content_id())) {
    view.set_content_id(content->hex());
    if (const auto* known = catalogue.content(*content)) {
      view.set_total_bytes(known->total_bytes());
      view.set_data_bytes(known->data_bytes());
    }
  }
  // While the source of a push is being hashed, that is what moves.
  const bool preparing = job.source && record.state() == kPreparing;
  const TaskCounts counts = job.shown().counts();
  set_counts(counts, *view.mutable_counts());
  const Job& moving = preparing ? *job.source : job.shown();
  for (const TaskStatus& task : moving.tasks()) {
    view.set_bytes_done(view.bytes_done() + task.bytes_done);
    // What is done is known to be whole only in the end: a task that is ready counts in full.
    view.set_bytes_total(view.bytes_total() +
                         std::max(task.bytes_total,
                                  preparing || record.kind() == "publish" ? 0 : view.data_bytes()));
    if (task.state != TaskState::running) continue;
    if (const auto meter = job.meters.find(task.node); meter != job.meters.end()) {
      view.set_bytes_per_second(view.bytes_per_second() +
                                static_cast<std::uint64_t>(meter->second.rate));
    }
  }
  const std::size_t waves = job.targets ? job.targets->rollout().waves() : 0;
  set_turns(job, view);
  if (with_tasks == WithTasks::yes) {
    for (const TaskStatus& task : job.shown().tasks()) {
      *view.add_tasks() = task_view(task, job, registry);
    }
    for (int i = 0; waves > 1 && i < view.tasks_size(); ++i) {
      const std::size_t wave = job.targets->rollout().wave_of(static_cast<std::size_t>(i));
      view.mutable_tasks(i)->set_wave(static_cast<std::uint32_t>(wave + 1));
    }
    view.set_targets_folded(board.folded_targets(job));
  }
  const WallTime created = from_unix_millis(record.created_unix_ms());
  const WallTime finished = from_unix_millis(record.finished_unix_ms());
  view.set_created_at(rfc3339(created));
  view.set_created_by(record.created_by());
  view.set_finished_at(rfc3339(finished));
  view.set_finished(job.finished());
  view.set_seconds(seconds_between(created, job.finished() ? finished : wall_now()));
  if (job.finished()) {
    const bool stopped = job.targets && job.targets->rollout().stopped();
    view.set_exit_code(static_cast<std::uint32_t>(
        exit_code_of(counts, record.cancelled(), stopped, /*timed_out=*/false)));
  }
  view.set_source_bytes_sent(board.source_bytes_sent(job));
  if (record.limit_bytes_per_second() > 0 && view.data_bytes() > 0) {
    const double floor = static_cast<double>(view.data_bytes()) *
                         static_cast<double>(job.shown().tasks().size()) /
                         static_cast<double>(record.limit_bytes_per_second());
    view.set_floor(format_duration(from_seconds(floor)));
  }
  return view;
}

}  // namespace p2p
