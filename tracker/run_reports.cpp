// What agents say of runs, and what they are answered.
#include <boost/asio/post.hpp>
#include <utility>

#include "core/base/text.h"
#include "io/log/log.h"
#include "tracker/run_board.h"

namespace p2p {
namespace {

constexpr std::int64_t kLastMs = 7'258'118'400'000;  // 2200-01-01; no clock is that wrong

WallTime time_from(std::int64_t ms) {
  return ms <= 0 || ms > kLastMs ? WallTime{} : from_unix_millis(ms);
}

bool is_cut(const proto::RunResult::Stream& stream) {
  return stream.tail_begin() > stream.head() || stream.stored() < stream.bytes();
}

// Nothing in it is believed beyond that node's own run.
RunFacts facts_from(const proto::RunReport& report) {
  RunFacts facts;
  facts.text = printable(report.text(), kMaxRunTextBytes - 3);
  if (report.has_code()) facts.code = report.code();
  facts.signal = report.signal() < 0 || report.signal() > 128 ? 0 : report.signal();
  facts.begun = time_from(report.begun_unix_ms());
  facts.ended = time_from(report.ended_unix_ms());
  facts.out_bytes = report.out().bytes();
  facts.err_bytes = report.err().bytes();
  facts.out_truncated = is_cut(report.out());
  facts.err_truncated = is_cut(report.err());
  facts.cpu_us = report.cpu_us();
  facts.peak_bytes = report.peak_bytes();
  facts.left_running = report.left_running();
  facts.account = printable(report.account(), kMaxRunAccountBytes - 3);
  return facts;
}

}  // namespace

void RunBoard::on_agent_hello(NodeId node, bool knows_runs, WallTime now) {
  on_agent_offline(node, now);
  if (!knows_runs) {
    ready_.insert(node);
    unable_.insert(node);
  }
  for (auto& [id, entry] : jobs_) {
    if (entry.finished()) continue;
    if (knows_runs) {
      entry.job->on_node_coming(node, now);
    } else {
      entry.job->on_node_online(node, now);
      perform(entry, now);
    }
  }
}

void RunBoard::on_agent_offline(NodeId node, WallTime now) {
  ready_.erase(node);
  unable_.erase(node);
  blob_has_arrived(node);
  std::erase_if(blobs_wanted_, [&](const auto& wanted) { return wanted.first == node; });
  for (auto& [id, entry] : jobs_) {
    if (entry.known_told.empty()) continue;  // long over
    const auto run = entry.job->index_of(node);
    if (!run) continue;
    entry.known_told[*run] = false;
    if (entry.finished()) continue;
    entry.job->on_node_offline(node, now);
    notify(entry);
  }
}

void RunBoard::on_node_removed(NodeId node, WallTime now) {
  on_agent_offline(node, now);
  for (auto& [id, entry] : jobs_) {
    if (entry.finished() || !entry.job->index_of(node)) continue;
    entry.job->on_node_removed(node, now);
    perform(entry, now);
  }
}

void RunBoard::on_run_reports(NodeId node, const proto::RunReports& reports, WallTime now) {
  blob_has_arrived(node);
  for (const proto::RunReport& report : reports.runs()) on_report(node, report, now);
  if (!reports.last()) return;
  ready_.insert(node);
  for (auto& [id, entry] : jobs_) {
    if (entry.finished() || !entry.job->index_of(node)) continue;
    entry.job->on_node_online(node, now);
    perform(entry, now);
  }
}

void RunBoard::on_report(NodeId node, const proto::RunReport& report, WallTime now) {
  const auto id = RunId::from_raw(report.id());
  const auto state = run_state_from(report.state());
  if (!id || !state) return;
  BoardExec* entry = in_memory(report.job());
  const auto index = entry == nullptr ? std::nullopt : entry->job->index_of(node);
  if (!index || entry->job->runs()[*index].id != *id) return on_report_of_unknown(node, report);
  if (entry->known_told.empty()) return on_report_of_unknown(node, report);  // long over

  RunFacts facts = facts_from(report);
  if (is_final(*state)) {
    // It is said behind all output: what is not here now never comes.
    RunStreams& streams = entry->log.streams[*index];
    facts.out_truncated = facts.out_truncated || streams.out.bytes < facts.out_bytes;
    facts.err_truncated = facts.err_truncated || streams.err.bytes < facts.err_bytes;
  }
  entry->job->on_report(*index, *state, std::move(facts), now);
  const bool over_here = is_final(entry->job->runs()[*index].state);
  if (is_final(*state)) {
    entry->ends.push_back(*index);
  } else {
    if (!entry->known_told[*index]) send_known(*entry, *index, /*final=*/false);
    // It was away when its time ran out, and goes on although nobody wants it.
    if (over_here && entry->job->cancelled()) send_cancel(*entry, *index);
  }
  entry->known_told[*index] = true;
  perform(*entry, now);
}

// Of a job that is long over, or that nobody remembers: the node need not keep its end, nor its
// output.
void RunBoard::on_report_of_unknown(NodeId node, const proto::RunReport& report) {
  const auto state = run_state_from(report.state());
  proto::TrackerMessage message;
  if (state && is_final(*state)) {
    message.mutable_run_known()->set_id(report.id());
    message.mutable_run_known()->set_final(true);
    return agents_.send(node, message);
  }
  // Never of the store: a node may speak of any job, as often as it likes.
  const BoardExec* old = in_memory(report.job());
  if (old != nullptr && old->record.cancelled()) {
    message.mutable_cancel_run()->set_id(report.id());
    message.mutable_cancel_run()->set_job(report.job());
    return agents_.send(node, message);
  }
  message.mutable_output_taken()->set_id(report.id());
  message.mutable_output_taken()->set_enough(true);
  agents_.send(node, message);
}

void RunBoard::send_known(const BoardExec& entry, std::size_t run, bool final) {
  proto::TrackerMessage message;
  proto::RunKnown& known = *message.mutable_run_known();
  known.set_id(entry.job->runs()[run].id.raw());
  known.set_final(final);
  if (run < entry.log.streams.size()) {
    known.set_out_from(entry.log.streams[run].out.upto);
    known.set_err_from(entry.log.streams[run].err.upto);
  }
  agents_.send(entry.job->runs()[run].node, message);
}

// A node may forget an end once both the state and the output are on stable storage.
void RunBoard::acknowledge_ends(BoardExec& entry) {
  if (entry.storing_ends || entry.ends.empty()) return;
  entry.storing_ends = true;
  const std::uint64_t number = entry.record.number();
  auto ends = std::make_shared<std::vector<std::size_t>>(std::exchange(entry.ends, {}));
  const auto stored = [this, number, ends] {
    BoardExec* found = in_memory(number);
    if (found == nullptr) return;
    found->storing_ends = false;
    for (const std::size_t run : *ends) send_known(*found, run, /*final=*/true);
  };
  when_output_is_synced(entry, [this, number, stored] {
    if (BoardExec* found = in_memory(number)) store(*found, WithHead::no, stored);
  });
}

}  // namespace p2p
