// What goes when there is too much of it: memory of jobs that are over, old jobs, blobs of nobody.
#include <boost/asio/post.hpp>
#include <utility>

#include "io/log/log.h"
#include "tracker/run_board.h"

namespace p2p {
namespace {

constexpr std::size_t kRemovedInTick = 4;
constexpr Duration kBlobsCheck = std::chrono::hours(1);

}  // namespace

void RunBoard::keep(const proto::ExecRecord& record) {
  const auto [kept, fresh] = kept_.try_emplace(record.number());
  if (!fresh) return;
  kept->second = {record.target_count(), record.script_sha256(), record.input_sha256()};
  kept_runs_ += record.target_count();
}

// What only a running job needs is given back.
void RunBoard::release(BoardExec& entry) {
  if (entry.known_told.empty()) return;
  for (const RunStatus& run : entry.job->runs()) places_.erase(run.id);
  entry.known_told = {};
  entry.log.streams = {};
  entry.log.file.reset();
  entry.offer.Clear();
}

void RunBoard::forget_old_jobs() {
  std::size_t jobs = 0;
  std::size_t runs = 0;
  std::vector<JobId> old;
  for (auto it = jobs_.rbegin(); it != jobs_.rend(); ++it) {
    BoardExec& entry = it->second;
    if (!entry.settled()) continue;
    release(entry);
    runs += entry.job->runs().size();
    if (++jobs > limits_.finished_jobs || runs > limits_.finished_runs) old.push_back(it->first);
  }
  for (const JobId id : old) jobs_.erase(id);
}

void RunBoard::remove_old_jobs() {
  std::size_t left = kRemovedInTick;
  for (auto it = kept_.begin(); it != kept_.end() && kept_.size() > 1 && left > 0;) {
    if (kept_.size() <= limits_.kept_jobs && kept_runs_ <= limits_.kept_runs) return;
    const auto [number, kept] = *it;
    BoardExec* entry = in_memory(number);
    if (repeated_.contains(number) || (entry != nullptr && !entry->settled())) {
      ++it;
      continue;
    }
    it = kept_.erase(it);
    kept_runs_ -= kept.runs;
    if (entry != nullptr) {
      release(*entry);
      jobs_.erase(JobId{number});
    }
    remove_job(number, kept.runs);
    --left;
  }
}

// The head last: when the tracker ends in between, the next one goes on.
void RunBoard::remove_job(std::uint64_t number, std::size_t runs) {
  if (recalled_ && recalled_->first.number == number) recalled_.reset();
  if (const auto log = logs_.find(number); log != logs_.end()) {
    logs_bytes_ -= log->second;
    logs_.erase(log);
  }
  log_info("runs", "an old job is not kept any more", {{"job", JobId{number}.str()}});
  disk_.post([this, number, runs] {
    const Status removed = files_.remove(number);
    boost::asio::post(loop_, [this, number, runs, removed] {
      if (!removed) {
        // The head stays, and the next start tries again.
        return log_warn("runs", "files of an old job cannot be removed",
                        {{"why", removed.error().detail}});
      }
      for (StateBatch& batch : erased_exec(number, runs)) {
        journal_.commit_or_stop(std::move(batch), nullptr);
      }
    });
  });
}

// Inputs of jobs that are not kept any more.
void RunBoard::remove_old_blobs() {
  const Time now = monotonic_now();
  if (blobs_checked_ && now - *blobs_checked_ < kBlobsCheck) return;
  blobs_checked_ = now;
  std::set<std::string> wanted;
  for (const proto::ScriptRecord* script : scripts_.list()) wanted.insert(script->sha256());
  for (const auto& [number, kept] : kept_) {
    wanted.insert(kept.script_sha256);
    wanted.insert(kept.input_sha256);
  }
  for (const auto& [id, entry] : jobs_) {
    wanted.insert(entry.record.script_sha256());
    wanted.insert(entry.record.input_sha256());
  }
  disk_.post([this, wanted = std::move(wanted)] {
    const auto removed = blobs_.remove_others(wanted, limits_.blob_age);
    if (!removed) {
      log_warn("runs", "old inputs cannot be removed", {{"why", removed.error().detail}});
    } else if (*removed > 0) {
      log_info("runs", "inputs that no job needs are removed", {{"count", *removed}});
    }
  });
}

}  // namespace p2p
