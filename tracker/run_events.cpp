#include "tracker/run_events.h"

#include <algorithm>
#include <utility>

#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "tracker/run_views.h"

namespace p2p {
namespace {

// What changes is told at once, but not within this time after the last telling, which is longer
// when telling takes long: a stream never has more than a part of the thread.
constexpr Duration kPace = std::chrono::milliseconds(5);
constexpr int kPaceOverCost = 4;
constexpr Duration kWatchPace = std::chrono::milliseconds(250);
// A reader can tell a quiet job from a dead tracker.
constexpr Duration kHeartbeat = std::chrono::seconds(2);
constexpr std::size_t kRunsInLine = 500;
constexpr std::size_t kOutputInLine = 128 * 1024;

}  // namespace

RunEvents::RunEvents(boost::asio::io_context& loop, RunBoard& board, const Registry& registry,
                     Exchange exchange, JobId job, std::uint64_t from)
    : board_(board),
      registry_(registry),
      exchange_(std::move(exchange)),
      job_(job),
      timer_(loop),
      pace_(kPace),
      cursor_(from) {}

void RunEvents::start() {
  exchange_->start_stream("application/jsonl");
  const auto self = shared_from_this();
  exchange_->on_drained([self] {
    self->blocked_ = false;
    self->pump();
  });
  exchange_->on_closed([self] { self->stop(); });
  if (over_) return;
  handle_ = board_.listen(job_, [self] { self->wake(); });
  pump();
}

void RunEvents::stop() {
  if (std::exchange(over_, true)) return;
  timer_.cancel();
  // Last: the board may hold the last reference to this.
  const auto self = shared_from_this();
  board_.unlisten(job_, std::exchange(handle_, 0));
}

void RunEvents::wake() {
  if (over_ || blocked_ || reading_) return;  // looked at afterwards anyway
  if (armed_ && quiet_too_long_) {
    // The timer stands for the heartbeat.
    quiet_too_long_ = false;
    armed_ = false;
  }
  if (!armed_) arm(std::max(Duration::zero(), pace_ - (monotonic_now() - pumped_)));
}

void RunEvents::arm(Duration delay) {
  armed_ = true;
  timer_.expires_after(delay);
  timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error || self->over_) return;
    self->armed_ = false;
    self->quiet_too_long_ = false;
    self->pump();
  });
}

void RunEvents::set_line(const google::protobuf::Message& event) {
  line_ = to_json(event) + "\n";
  told_ = monotonic_now();
}

void RunEvents::pump() {
  const auto self = shared_from_this();
  if (over_ || blocked_) return;
  const Time begun = monotonic_now();
  while (!over_) {
    if (!line_.empty()) {
      if (!exchange_->stream(line_)) {
        blocked_ = true;
        return;
      }
      line_.clear();
      if (final_line_) {
        exchange_->finish();
        return stop();
      }
    }
    const BoardExec* job = board_.find(job_);
    if (job == nullptr) {
      exchange_->finish();
      return stop();
    }
    if (!next_line(*job)) break;
  }
  if (over_) return;
  pumped_ = monotonic_now();
  const Duration cost = pumped_ - begun;
  pace_ = std::max(kPace, cost * kPaceOverCost);
  if (!armed_ && !reading_) {
    quiet_too_long_ = true;
    arm(kHeartbeat);
  }
}

// Puts the next thing to say into line_; false: there is nothing now.
bool RunEvents::next_line(const BoardExec& job) {
  if (!begun_) {
    begun_ = true;
    proto::JobEvent event;
    *event.mutable_job() = exec_view(job, registry_, WithRuns::no);
    event.set_next(cursor_);
    set_line(event);
    return true;
  }
  if (next_runs(job)) return true;
  if (read_more(job)) return false;
  const RunBoard::OutputEnd end = board_.output_end(job);
  const bool last = job.over() && end.last && !reading_;
  if (!last && monotonic_now() - told_ < kHeartbeat) return false;
  if (job.over() && !last) return false;
  proto::JobEvent event;
  *event.mutable_job() = exec_view(job, registry_, WithRuns::no);
  event.set_next(cursor_);
  event.set_all(true);
  set_line(event);
  final_line_ = last;
  return true;
}

// A part of those that have changed. What changes while they are being told is told in the next
// pass.
bool RunEvents::next_runs(const BoardExec& job) {
  const ExecJob& runs = *job.job;
  if (!passing_) {
    if (job.tellable() == seen_) return false;
    passing_ = true;
    pass_until_ = job.tellable();
    pass_at_ = 0;
  }
  const WallTime now = wall_now();
  proto::JobEvent event;
  const std::size_t count = runs.runs().size();
  for (; pass_at_ < count && event.runs_size() < static_cast<int>(kRunsInLine); ++pass_at_) {
    if (runs.changed_at(pass_at_) > seen_) {
      *event.add_runs() = run_view(job, pass_at_, registry_, now);
    }
  }
  if (pass_at_ == count) {
    passing_ = false;
    seen_ = pass_until_;
    all_told_ = true;
    // That it has finished is said behind all its output.
    if (!job.over()) *event.mutable_job() = exec_view(job, registry_, WithRuns::no);
  }
  event.set_all(all_told_);
  event.set_next(cursor_);
  set_line(event);
  return true;
}

// True while there is output to be told: a disk thread fetches it.
bool RunEvents::read_more(const BoardExec& job) {
  if (reading_) return true;
  if (cursor_ >= board_.output_end(job).written) return false;
  reading_ = true;
  board_.read_output(job_, cursor_, std::nullopt, kOutputInLine,
                     [self = shared_from_this()](Result<std::optional<OutputChunk>> chunk) {
                       self->on_output(std::move(chunk));
                     });
  return true;
}

void RunEvents::on_output(Result<std::optional<OutputChunk>> chunk) {
  reading_ = false;
  if (over_) return;
  if (!chunk) {
    // A stream that is cut short says to its reader that something is wrong; the log says what.
    log_warn("runs", "output of a job cannot be told",
             {{"job", job_.str()}, {"why", chunk.error().detail}});
    stop();
    return exchange_.reset();
  }
  if (*chunk) {
    proto::JobEvent event;
    cursor_ = (*chunk)->next;
    add_pieces(*std::move(*chunk), event.mutable_output());
    event.set_next(cursor_);
    event.set_all(all_told_);
    set_line(event);
  } else {
    const BoardExec* job = board_.find(job_);
    cursor_ = job == nullptr ? 0 : board_.output_end(*job).written;
  }
  timer_.cancel();
  armed_ = false;
  pump();
}

RunWatch::RunWatch(boost::asio::io_context& loop, RunBoard& board, const Registry& registry,
                   Exchange exchange, JobId job)
    : board_(board), registry_(registry), exchange_(std::move(exchange)), job_(job), timer_(loop) {}

void RunWatch::start() {
  exchange_->start_stream("application/jsonl");
  const auto self = shared_from_this();
  exchange_->on_drained([self] { self->tell(); });
  exchange_->on_closed([self] { self->stop(); });
  if (over_) return;
  handle_ = board_.listen(job_, [self] {
    self->changed_ = true;
    self->wake(kWatchPace);
  });
  tell();
}

void RunWatch::stop() {
  if (std::exchange(over_, true)) return;
  timer_.cancel();
  const auto self = shared_from_this();
  board_.unlisten(job_, std::exchange(handle_, 0));
}

void RunWatch::wake(Duration delay) {
  if (over_ || armed_) return;
  armed_ = true;
  timer_.expires_after(delay);
  timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    self->armed_ = false;
    if (!error) self->tell();
  });
}

// A slow reader misses states in between, but never the last one.
void RunWatch::tell() {
  if (over_) return;
  const Time now = monotonic_now();
  if (!changed_ && now - told_ < kHeartbeat) return wake(kWatchPace);
  const BoardExec* job = board_.find(job_);
  if (job == nullptr) {
    exchange_->finish();
    return stop();
  }
  const bool taken = exchange_->stream(to_json(exec_view(*job, registry_, WithRuns::yes)) + "\n");
  if (!taken) return;  // asked again when there is room
  changed_ = false;
  told_ = now;
  if (!job->over()) return wake(kWatchPace);
  exchange_->finish();
  stop();
}

}  // namespace p2p
