#include "tools/p2pctl/exec_record.h"

#include <signal.h>
#include <string.h>

#include <algorithm>

namespace p2p {
namespace {

// More targets than any job can have: an index beyond is not believed.
constexpr std::uint32_t kMaxRuns = 1'000'000;

}  // namespace

bool RunEntry::ended() const {
  const auto state = run_state_from(run.state());
  return state && is_final(*state);
}

int RunEntry::return_code() const {
  if (run.state() != "exited") return -1;
  return run.has_code() ? run.code() : 128 + run.signal();
}

std::string end_text(const proto::Run& run) {
  if (run.state() == "exited") {
    if (run.has_code()) return "exited with code " + std::to_string(run.code());
    const char* name = ::sigabbrev_np(run.signal());
    return "killed by signal " + std::to_string(run.signal()) +
           (name == nullptr ? "" : " (" + std::string(name) + ")");
  }
  return run.state() + (run.detail().empty() ? "" : ": " + run.detail());
}

RunEntry& ExecRecord::entry(std::uint32_t index) {
  if (index >= runs_.size()) runs_.resize(index + 1);
  return runs_[index];
}

void ExecRecord::add(const proto::JobEvent& event, const OnOutput& on_output) {
  if (event.has_job()) job_ = event.job();
  for (const proto::Run& run : event.runs()) {
    if (run.index() >= kMaxRuns) continue;
    RunEntry& known = entry(run.index());
    // A tracker that has just begun again may know less than was told already.
    if (!known.ended()) known.run = run;
  }
  for (const proto::OutputPiece& piece : event.output()) {
    if (piece.run() >= kMaxRuns) continue;
    RunEntry& of = entry(piece.run());
    OutputStream& stream = piece.err() ? of.err : of.out;
    const std::uint64_t before = stream.end();
    const std::string_view fresh = outputs_ == Outputs::keep
                                       ? stream.add(store_, piece.offset(), piece.data())
                                       : stream.pass(piece.offset(), piece.data());
    if (fresh.empty() || !on_output) continue;
    on_output(piece.run(), piece.err(), stream.end() - fresh.size() - before, fresh);
  }
  next_ = std::max(next_, event.next());
  all_ = all_ || event.all();
}

void ExecRecord::finish() {
  for (RunEntry& of : runs_) {
    of.out.finish(store_, of.run.out_bytes());
    of.err.finish(store_, of.run.err_bytes());
  }
}

std::size_t ExecRecord::expected_runs() const {
  if (all_) return runs_.size();
  std::size_t sum = 0;
  for (const auto& [state, runs] : job_.run_counts()) sum += runs;
  return sum;
}

std::size_t ExecRecord::count(RunState state) const {
  return static_cast<std::size_t>(
      std::count_if(runs_.begin(), runs_.end(),
                    [&](const RunEntry& of) { return of.run.state() == to_string(state); }));
}

std::size_t ExecRecord::good() const {
  return static_cast<std::size_t>(
      std::count_if(runs_.begin(), runs_.end(), [](const RunEntry& of) { return of.good(); }));
}

std::size_t ExecRecord::under_way() const {
  return count(RunState::offered) + count(RunState::accepted) + count(RunState::running);
}

}  // namespace p2p
