// The part of runs that looks at them, and sends what it sees.
#include <utility>

#include "core/runs/output_segments.h"
#include "io/log/log.h"
#include "p2pd/offload.h"
#include "p2pd/runs.h"

namespace p2p {
namespace {

// A command that writes line by line costs one look for so many lines.
constexpr Duration kOutputPause = std::chrono::milliseconds(20);

}  // namespace

bool Runs::is_reading(const Run& run) const {
  return connected_ && run.wanted_from && !run.enough && !run.drained;
}

bool Runs::may_say_end(const Run& run) const {
  return run.drained || run.enough || !run.recorded || run.state == RunState::rejected;
}

// Looks once more, as soon as the look that is under way has ended.
void Runs::step(Entry entry) {
  const RunId id = entry->first;
  Run& run = entry->second;
  if (run.phase != Phase::known) return;
  if (run.looking) {
    run.look_again = true;
    return;
  }
  if (run.tracker_done && is_final(run.state)) return finish(id);
  if (!run.recorded) return tell(entry);
  const std::size_t room = is_reading(run) && run.more ? window_.ask(id) : 0;
  // All is seen, and what is left to send waits for its turn.
  if (is_final(run.state) && run.looked && room == 0) return tell(entry);
  run.looking = true;
  if (room > 0) run.more = false;
  const GlanceOrder order{
      .id = id, .from = run.next, .bytes_max = room, .err_first = run.err_first};
  run.err_first = !run.err_first;
  offload(
      pool_, lane_of(id), control_, alive_,
      [this, order] { return glance_at(ledger_, folders_, order); },
      [this, id, connection = connection_](Result<Glance> glance) {
        on_glance(id, connection, std::move(glance));
      });
}

void Runs::on_glance(const RunId& id, std::uint64_t connection, Result<Glance> glance) {
  const Entry entry = runs_.find(id);
  if (entry == runs_.end()) {
    window_.forget(id);
    return give_turns();
  }
  Run& run = entry->second;
  run.looking = false;
  bool again = std::exchange(run.look_again, false);
  if (!glance) {
    window_.end_turn(id);
    if (!std::exchange(run.complained, true)) {
      log_error("runs", "cannot be looked at", {{"run", id.hex()}, {"why", glance.error().detail}});
    }
    run.more = true;
    run.looked = false;
    return give_turns();  // the next look is a second away
  }
  run.state = glance->state;
  run.report = std::move(glance->report);
  run.keep_bytes = glance->keep_bytes;
  if (connection == connection_) {
    run.looked = true;
    run.silent = glance->drained && glance->pieces.empty() && run.next == decltype(run.next){};
    send_output(entry, *glance);
    run.more |= glance->more;
    run.drained = glance->drained;
  } else {
    again = true;  // what was read was for another one
  }
  window_.end_turn(id);
  tell(entry);
  if (again || (run.more && is_reading(run)) || (run.tracker_done && is_final(run.state))) {
    step(entry);
  }
  give_turns();
}

void Runs::send_output(Entry entry, const Glance& glance) {
  Run& run = entry->second;
  if (!is_reading(run)) return;
  for (const Glance::Piece& piece : glance.pieces) {
    const std::uint64_t end = piece.output.offset + piece.output.bytes.size();
    proto::AgentMessage message;
    auto& output = *message.mutable_output();
    output.set_id(entry->first.raw());
    output.set_err(piece.err);
    output.set_offset(piece.output.offset);
    output.set_bytes(piece.output.bytes);
    owner_.send_to_tracker(message);
    window_.sent(entry->first, piece.err, end, piece.output.bytes.size());
    run.next[piece.err ? 1 : 0] = end;
  }
}

// An end is kept back until all output is on its way.
proto::RunReport Runs::to_tell(const Run& run) const {
  if (!is_final(run.state) || may_say_end(run)) return run.report;
  proto::RunReport report;
  report.set_id(run.report.id());
  report.set_job(run.report.job());
  const bool begun = run.report.begun_unix_ms() != 0;
  report.set_state(std::string(to_string(begun ? RunState::running : RunState::accepted)));
  report.set_begun_unix_ms(run.report.begun_unix_ms());
  report.set_account(run.report.account());
  return report;
}

void Runs::tell(Entry entry) {
  Run& run = entry->second;
  if (!connected_ || run.tracker_done) return;
  const proto::RunReport report = to_tell(run);
  const auto state = run_state_from(report.state());
  if (run.told == state) return;
  run.told = state;
  proto::AgentMessage message;
  *message.mutable_runs()->add_runs() = report;
  owner_.send_to_tracker(message);
  if (!run.recorded) runs_.erase(entry);
}

// Runs that wait for room, as long as there is some.
void Runs::give_turns() {
  while (const auto id = window_.next()) {
    const Entry run = runs_.find(*id);
    if (run == runs_.end() || !is_reading(run->second)) {
      window_.forget(*id);
      continue;
    }
    run->second.more = true;
    step(run);
    // It is being looked at, and asks behind that.
    if (window_.next() == id) return;
  }
}

void Runs::on_change(int watch, RunChange change) {
  const auto found = watched_.find(watch);
  if (found == watched_.end()) return;
  const Entry run = runs_.find(found->second);
  if (run == runs_.end()) return;
  run->second.more = true;
  if (change == RunChange::state) return step(run);
  const std::uint64_t next = run->second.next[change == RunChange::err ? 1 : 0];
  // Of a stream that has said so much already, the rest is read behind the end.
  if (next < head_of_output(run->second.keep_bytes)) look_soon(run->first);
}

void Runs::look_soon(const RunId& id) {
  const bool first = soon_.empty();
  soon_.insert(id);
  if (!first) return;
  soon_timer_.expires_after(kOutputPause);
  soon_timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (error || !*alive) return;
    for (const RunId& waiting : std::exchange(soon_, {})) {
      if (const Entry run = runs_.find(waiting); run != runs_.end()) step(run);
    }
  });
}

}  // namespace p2p
