#include "tracker/run_views.h"

#include <algorithm>
#include <array>

#include "core/base/text.h"
#include "io/runtime/wall_clock.h"
#include "tracker/job_plan.h"
#include "tracker/run_plan.h"

namespace p2p {
namespace {

double seconds_between(WallTime from, WallTime to) {
  return from == WallTime{} ? 0 : std::max(0.0, seconds(to - from));
}

std::string hex_of(const std::string& raw) {
  return to_hex(reinterpret_cast<const std::uint8_t*>(raw.data()), raw.size());
}

std::string waits_for(const BoardExec& job, std::size_t index, bool online) {
  const RunStatus& run = job.job->runs()[index];
  if (run.state != job.told_state(index)) return online ? "" : "offline";
  if (job.job->is_cancelling(index)) {
    return online ? "is being cancelled" : "is to be cancelled; offline";
  }
  if (run.state == RunState::queued && run.turn == WallTime{}) return "waits for its turn";
  if (!online) return "offline";
  return run.facts.text;
}

void set_spec(const BoardExec& job, proto::ExecSpec& spec) {
  const proto::ExecRecord& record = job.record;
  spec.set_targets(record.targets());
  spec.set_account(record.account());
  *spec.mutable_command() = record.command();
  spec.set_script(record.script_name());
  spec.set_timeout_ms(record.timeout_ms());
  if (record.retry_of() != 0) spec.set_retry_of(JobId{record.retry_of()}.str());
  const proto::RolloutRecord& rollout = record.rollout();
  spec.mutable_rollout()->set_waves(rollout.waves());
  spec.mutable_rollout()->set_window(rollout.window());
  spec.mutable_rollout()->set_pause_between_ms(rollout.pause_between_ms());
  spec.mutable_rollout()->set_max_fail(rollout.max_fail());
  spec.mutable_rollout()->set_on_max_fail(rollout.on_max_fail());
  spec.mutable_rollout()->set_order(rollout.order());
  spec.mutable_rollout()->set_offline(rollout.offline());
  spec.mutable_rollout()->set_ttl_seconds(rollout.ttl_seconds());
}

}  // namespace

const std::string& folded_targets(const BoardExec& job, const Registry& registry) {
  if (job.folded.empty()) job.folded = fold_targets(job.job->runs(), registry);
  return job.folded;
}

proto::Run run_view(const BoardExec& job, std::size_t index, const Registry& registry,
                    WallTime now) {
  const RunStatus& run = job.job->runs()[index];
  const RunFacts& facts = run.facts;
  const NodeEntry* node = registry.find(run.node);
  proto::Run view;
  view.set_index(static_cast<std::uint32_t>(index));
  view.set_id(run.id.hex());
  view.set_node(registry.name_of(run.node));
  const RunState state = job.told_state(index);
  view.set_state(std::string(to_string(state)));
  view.set_online(node != nullptr && node->online);
  view.set_detail(is_final(state) ? facts.text : waits_for(job, index, view.online()));
  view.set_has_code(facts.code.has_value());
  view.set_code(facts.code.value_or(0));
  view.set_signal(facts.signal);
  view.set_seconds(seconds_between(facts.begun, is_final(state) ? facts.ended : now));
  const Rollout& rollout = job.job->rollout();
  if (rollout.waves() > 1) view.set_wave(static_cast<std::uint32_t>(rollout.wave_of(index) + 1));
  view.set_out_bytes(facts.out_bytes);
  view.set_err_bytes(facts.err_bytes);
  view.set_out_truncated(facts.out_truncated);
  view.set_err_truncated(facts.err_truncated);
  view.set_account(facts.account);
  view.set_cpu_us(facts.cpu_us);
  view.set_peak_bytes(facts.peak_bytes);
  view.set_left_running(facts.left_running);
  return view;
}

proto::Job exec_view(const BoardExec& job, const Registry& registry, WithRuns with_runs) {
  const WallTime now = wall_now();
  const proto::ExecRecord& record = job.record;
  proto::Job view;
  if (record.number() != 0) view.set_id(JobId{record.number()}.str());
  view.set_kind("exec");
  view.set_state(job.over() ? exec_state(job) : kRunning);
  view.set_detail(record.detail());
  set_spec(job, *view.mutable_exec());
  view.set_script_name(record.script_name());
  view.set_script_sha256(hex_of(record.script_sha256()));
  view.set_order_sha256(hex_of(record.order_sha256()));
  if (with_runs != WithRuns::in_list) view.set_targets_folded(folded_targets(job, registry));
  std::array<std::size_t, kRunStates> counts;
  for (std::size_t i = 0; i < kRunStates; ++i) counts[i] = job.job->count(RunState(i));
  for (const auto& [run, one] : job.untold) {
    --counts[static_cast<std::size_t>(job.job->runs()[run].state)];
    ++counts[static_cast<std::size_t>(one.before)];
  }
  for (const auto& [state, name] : kRunStateNames) {
    const std::size_t count = counts[static_cast<std::size_t>(state)];
    if (count > 0) {
      (*view.mutable_run_counts())[std::string(name)] = static_cast<std::uint32_t>(count);
    }
  }
  const Rollout& rollout = job.job->rollout();
  view.set_rollout_state(rollout.text(now));
  view.set_paused(rollout.paused());
  if (rollout.waves() > 1) {
    view.set_wave(static_cast<std::uint32_t>(rollout.memory().wave + 1));
    view.set_waves(static_cast<std::uint32_t>(rollout.waves()));
  }
  const WallTime created = from_unix_millis(record.created_unix_ms());
  const WallTime finished = from_unix_millis(job.over() ? record.finished_unix_ms() : 0);
  view.set_created_at(rfc3339(created));
  view.set_created_by(record.created_by());
  view.set_finished(job.over());
  view.set_finished_at(rfc3339(finished));
  view.set_seconds(seconds_between(created, job.over() ? finished : now));
  if (job.over()) view.set_exit_code(static_cast<std::uint32_t>(job.job->exit_code()));
  if (with_runs == WithRuns::yes) {
    for (std::size_t i = 0; i < job.job->runs().size(); ++i) {
      *view.add_runs() = run_view(job, i, registry, now);
    }
  }
  return view;
}

void hide_what_it_runs(proto::Job& view, const Error& why) {
  const proto::ExecSpec all = view.exec();
  view.mutable_exec()->Clear();
  view.mutable_exec()->set_targets(all.targets());
  *view.mutable_exec()->mutable_rollout() = all.rollout();
  view.set_detail(why.detail);
  view.clear_runs();
  view.clear_script_name();
  view.clear_script_sha256();
  view.clear_order_sha256();
}

void add_pieces(OutputChunk chunk, google::protobuf::RepeatedPtrField<proto::OutputPiece>* out) {
  for (OutputChunk::Piece& piece : chunk.pieces) {
    proto::OutputPiece& view = *out->Add();
    view.set_run(piece.at.run);
    view.set_err(piece.at.err);
    view.set_offset(piece.at.offset);
    view.set_data(std::move(piece.bytes));
  }
}

}  // namespace p2p
