// What runs write, on its way from agents to the log of their job.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "io/log/log.h"
#include "io/run/run_order.h"
#include "tracker/run_board.h"

namespace p2p {
namespace {

constexpr std::uint64_t kMaxStreamOffset = std::uint64_t{1} << 62;
// An agent sends no more of a stream than it was told to keep, but for a piece at the seam. Small
// pieces are honest, too; that their headers double the whole is enough.
constexpr std::uint64_t kOverKeepBytes = 64 * 1024;
constexpr std::uint64_t kLoggedOverKept = 2;

bool has_room(const BoardExec& job, const RunStreams::Stream& stream, std::uint64_t fresh) {
  const std::uint64_t ordered = job.offer.run().order().keep_bytes();
  const std::uint64_t most = (ordered == 0 ? kDefaultKeepBytes : ordered) + kOverKeepBytes;
  return stream.bytes + fresh <= most &&
         stream.logged + kOutputHeaderBytes + fresh <= kLoggedOverKept * most;
}

}  // namespace

void RunBoard::send_taken(NodeId node, const RunId& run, bool err, std::uint64_t upto,
                          bool enough) {
  proto::TrackerMessage message;
  proto::RunOutputTaken& taken = *message.mutable_output_taken();
  taken.set_id(run.raw());
  taken.set_err(err);
  taken.set_upto(upto);
  taken.set_enough(enough);
  agents_.send(node, message);
}

void RunBoard::on_run_output(NodeId node, const proto::RunOutput& output, WallTime now) {
  const auto id = RunId::from_raw(output.id());
  const std::size_t size = output.bytes().size();
  if (!id || size == 0 || size > kMaxOutputPieceBytes || output.offset() > kMaxStreamOffset) return;
  const std::uint64_t upto = output.offset() + size;
  const auto place = places_.find(*id);
  BoardExec* entry = place == places_.end() ? nullptr : in_memory(place->second.job);
  if (entry == nullptr || entry->log.streams.empty()) {
    return send_taken(node, *id, output.err(), upto, /*enough=*/true);
  }
  const std::size_t run = place->second.run;
  if (entry->job->runs()[run].node != node) return;
  entry->job->on_output(run, now);
  RunStreams::Stream& stream = entry->log.streams[run].of(output.err());
  if (upto <= stream.upto) return send_taken(node, *id, output.err(), stream.upto, false);

  BoardExec::Log& log = entry->log;
  const std::uint64_t skipped = stream.upto > output.offset() ? stream.upto - output.offset() : 0;
  const std::uint64_t fresh = size - skipped;
  const std::uint64_t record = kOutputHeaderBytes + fresh;
  // Behind an end nothing comes: it is said behind all output.
  const bool wanted = !is_final(entry->job->runs()[run].state) && has_room(*entry, stream, fresh);
  const bool fits = log.end + record <= limits_.output_of_job;
  if (log.full || !wanted || !fits || untaken_[node] + record > limits_.output_of_node) {
    log.full = log.full || (wanted && !fits);
    lose_output(*entry, run, output.err());
    return send_taken(node, *id, output.err(), upto, /*enough=*/true);
  }
  append_output_record(log.pending, log.end,
                       {static_cast<std::uint32_t>(run), output.err(), output.offset() + skipped},
                       std::string_view(output.bytes()).substr(skipped));
  log.end += record;
  log.acks.push_back({run, output.err(), upto, record});
  stream.upto = upto;
  stream.bytes += fresh;
  stream.logged += record;
  untaken_[node] += record;
  work_on_log(*entry);
}

void RunBoard::lose_output(BoardExec& entry, std::size_t run, bool err) {
  entry.job->on_output_lost(run, err);
  notify(entry);
}

// One thing at a time: what is pending, then the sync that somebody waits for.
void RunBoard::work_on_log(BoardExec& entry) {
  BoardExec::Log& log = entry.log;
  if (log.busy) return;
  const std::uint64_t number = entry.record.number();
  if (!log.pending.empty()) {
    log.busy = true;
    disk_.post([this, number, file = log.file, position = log.written, upto = log.end,
                bytes = std::exchange(log.pending, {}), acks = std::exchange(log.acks, {})] {
      Status status = file->append(position, bytes);
      boost::asio::post(loop_, [this, number, upto, acks, status] {
        on_log_written(number, acks, upto, status);
      });
    });
  } else if (!log.when_synced.empty() && log.synced < log.written) {
    log.busy = true;
    disk_.post([this, number, file = log.file, upto = log.written] {
      Status status = file->sync();
      boost::asio::post(loop_,
                        [this, number, upto, status] { on_log_synced(number, upto, status); });
    });
  } else {
    for (const auto& then : std::exchange(log.when_synced, {})) then();
  }
}

void RunBoard::on_log_written(std::uint64_t number, std::vector<BoardExec::Log::Ack> acks,
                              std::uint64_t upto, const Status& status) {
  BoardExec* entry = in_memory(number);
  P2P_CHECK(entry != nullptr);  // a job with a busy log is not settled
  BoardExec::Log& log = entry->log;
  log.busy = false;
  if (status) {
    log.written = upto;
    logs_bytes_ += upto - std::exchange(logs_[number], upto);
  } else {
    break_log(*entry, status.error());
  }
  for (const auto& ack : acks) {
    const RunStatus& run = entry->job->runs()[ack.run];
    std::uint64_t& untaken = untaken_[run.node];
    untaken -= std::min(untaken, ack.bytes);
    if (untaken == 0) untaken_.erase(run.node);
    if (!status) entry->job->on_output_lost(ack.run, ack.err);
    send_taken(run.node, run.id, ack.err, ack.upto, /*enough=*/!status);
  }
  notify(*entry);
  if (logs_bytes_ > limits_.output_of_all) remove_old_output();
  work_on_log(*entry);
}

void RunBoard::on_log_synced(std::uint64_t number, std::uint64_t upto, const Status& status) {
  BoardExec* entry = in_memory(number);
  P2P_CHECK(entry != nullptr);
  entry->log.busy = false;
  if (!status) {
    break_log(*entry, status.error());
    for (std::size_t i = 0; i < entry->log.streams.size(); ++i) {
      for (const bool err : {false, true}) {
        if (entry->log.streams[i].of(err).bytes > 0) entry->job->on_output_lost(i, err);
      }
    }
  }
  // After a failure, too: the ends themselves are worth keeping, and nobody waits for ever.
  entry->log.synced = upto;
  work_on_log(*entry);
}

void RunBoard::when_output_is_synced(BoardExec& entry, std::function<void()> then) {
  entry.log.when_synced.push_back(std::move(then));
  work_on_log(entry);
}

// What was on its way is not kept, and nothing more is taken.
void RunBoard::break_log(BoardExec& entry, const Error& why) {
  log_error("runs", "output of a job cannot be kept",
            {{"job", JobId{entry.record.number()}.str()}, {"why", why.detail}});
  BoardExec::Log& log = entry.log;
  log.full = true;
  log.pending.clear();
  log.end = log.written;
  for (const auto& ack : std::exchange(log.acks, {})) {
    const RunStatus& run = entry.job->runs()[ack.run];
    untaken_.erase(run.node);
    entry.job->on_output_lost(ack.run, ack.err);
    send_taken(run.node, run.id, ack.err, ack.upto, /*enough=*/true);
  }
}

// Those of the oldest jobs that are over.
void RunBoard::remove_old_output() {
  while (logs_bytes_ > limits_.output_of_all) {
    const auto oldest = std::find_if(logs_.begin(), logs_.end(), [&](const auto& log) {
      const BoardExec* entry = in_memory(log.first);
      return entry == nullptr || entry->settled();
    });
    if (oldest == logs_.end()) return;
    log_info("runs", "output of an old job is removed to make room",
             {{"job", JobId{oldest->first}.str()}, {"bytes", oldest->second}});
    disk_.post([files = files_, number = oldest->first] {
      if (const Status removed = files.remove_output(number); !removed) {
        log_warn("runs", "old output cannot be removed", {{"why", removed.error().detail}});
      }
    });
    logs_bytes_ -= oldest->second;
    logs_.erase(oldest);
  }
}

RunBoard::OutputEnd RunBoard::output_end(const BoardExec& job) const {
  if (job.log.file != nullptr) {
    return {job.log.written, job.over() && job.log.written == job.log.end};
  }
  const auto known = logs_.find(job.record.number());
  return {known == logs_.end() ? 0 : known->second, true};
}

void RunBoard::read_output(JobId id, std::uint64_t from, std::optional<std::uint32_t> run,
                           std::size_t bytes_max, Read done) const {
  const BoardExec* job = find(id);
  if (job == nullptr) return done(Error{Errc::not_found, "no job " + id.str()});
  OutputWish wish;
  wish.from = from;
  wish.run = run;
  wish.bytes_max = bytes_max;
  wish.end = output_end(*job).written;
  if (*wish.end == 0) {
    // Nothing was written, or what was is not kept any more.
    const auto& runs = job->job->runs();
    const bool wrote = std::any_of(runs.begin(), runs.end(), [](const RunStatus& one) {
      return is_final(one.state) && one.facts.out_bytes + one.facts.err_bytes > 0;
    });
    if (wrote && job->finished()) return done(std::optional<OutputChunk>());
    return done(std::optional(OutputChunk{}));
  }
  disk_.post([this, path = files_.output_path(id.number), wish, done = std::move(done)]() mutable {
    auto chunk = p2p::read_output(path, wish);
    boost::asio::post(loop_, [chunk = std::move(chunk), done = std::move(done)]() mutable {
      if (chunk) return done(std::optional(*std::move(chunk)));
      if (chunk.error().code == Errc::not_found) return done(std::optional<OutputChunk>());
      done(chunk.error());
    });
  });
}

}  // namespace p2p
