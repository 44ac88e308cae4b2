// The part of the search that looks for the blocks of a signature in the old file.
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <ctime>
#include <span>
#include <utility>

#include "core/base/units.h"
#include "io/disk/file_io.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "librsyncwrap/file_match.h"
#include "p2pd/basis_search.h"

namespace p2p {
namespace {

using rsync::MatchInput;
using rsync::MatchPace;
using rsync::MatchProgress;
using rsync::MatchTier;
using rsync::SampleWindow;
using rsync::SignatureLayout;

// How long a chunk waits for what rolling may find, once it was compared in place.
constexpr Duration kRollingWait = std::chrono::seconds(3);

// Of this thread.
Duration cpu_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// Reads only when nobody else does (ioprio_set(2): class idle), and computes when nobody else wants
// to.
void become_modest() {
  const auto thread = static_cast<id_t>(::syscall(SYS_gettid));
  (void)::setpriority(PRIO_PROCESS, thread, 10);
#ifdef SYS_ioprio_set
  constexpr int kWhoProcess = 1;
  constexpr int kClassIdle = 3 << 13;
  (void)::syscall(SYS_ioprio_set, kWhoProcess, 0, kClassIdle);
#endif
}

MatchInput input_of(std::shared_ptr<const OldFile> old, ServeSourcePtr hint) {
  MatchInput input;
  input.old_bytes = old->facts.size;
  input.old_data = old->data;
  input.read_old = [old](std::uint64_t offset, std::span<std::uint8_t> out) {
    return read_at(old->file.get(), out, offset, old->path);
  };
  input.read_signature = [hint](std::uint64_t offset, std::span<std::uint8_t> out) {
    return read_exactly_at(hint->file.get(), out, offset, hint->name);
  };
  return input;
}

Result<SignatureLayout> layout_of(const ServeSource& hint, std::uint64_t file_bytes) {
  std::array<std::uint8_t, rsync::kHeaderBytes> bytes{};
  const auto header = std::span(bytes).first(
      static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), hint.space.size())));
  if (Status read = read_exactly_at(hint.file.get(), header, 0, hint.name); !read) {
    return read.error();
  }
  return rsync::parse_signature_header(header, file_bytes, hint.space.size());
}

// The records that lie wholly in these chunks of the signature.
std::vector<SampleWindow> windows_in(const ChunkSpace& space, const SignatureLayout& layout,
                                     const std::vector<ChunkIndex>& chunks) {
  std::vector<SampleWindow> windows;
  for (const ChunkIndex chunk : chunks) {
    const std::uint64_t begin =
        std::max<std::uint64_t>(space.offset_of(chunk), rsync::kHeaderBytes);
    const std::uint64_t end = space.offset_of(chunk) + space.size_of(chunk);
    const std::uint64_t first =
        (begin - rsync::kHeaderBytes + rsync::kRecordBytes - 1) / rsync::kRecordBytes;
    const std::uint64_t last = (end - rsync::kHeaderBytes) / rsync::kRecordBytes;
    if (first >= last || last > layout.blocks()) continue;
    windows.push_back(
        {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last - first)});
  }
  return windows;
}

// Turns progress into verdicts of the budget.
class Pace {
 public:
  Pace(std::uint64_t old_bytes, const std::atomic<bool>& stop)
      : budget_(ScanBudgetSettings{}, old_bytes), stop_(stop) {}

  MatchPace operator()(const MatchProgress& progress) {
    if (stop_) return MatchPace::stop;
    if (progress.tier != tier_ || progress.window != window_) {
      tier_ = progress.tier;
      window_ = progress.window;
      if (progress.matched_bytes < matched_) matched_ = 0;
      budget_.begin_window();
    }
    const Duration now = cpu_time();
    const auto verdict = budget_.charge(now - charged_, progress.matched_bytes - matched_);
    charged_ = now;
    matched_ = progress.matched_bytes;
    switch (verdict) {
      case ScanBudget::Verdict::go_on:
        return MatchPace::go_on;
      case ScanBudget::Verdict::next_window:
        return MatchPace::next_window;
      case ScanBudget::Verdict::stop:
        return MatchPace::stop;
    }
    return MatchPace::stop;
  }

 private:
  ScanBudget budget_;
  const std::atomic<bool>& stop_;
  Duration charged_ = cpu_time();
  MatchTier tier_ = MatchTier::in_place;
  std::uint32_t window_ = 0;
  std::uint64_t matched_ = 0;
};

std::uint64_t data_bytes_of(const OldFile& old) {
  std::uint64_t sum = 0;
  for (const ByteRange& range : old.data) sum += range.length;
  return sum;
}

}  // namespace

template <class Work>
void BasisSearch::on_thread(Work work) {
  if (thread_.joinable()) thread_.join();  // it has posted its last word
  thread_ = std::thread([work = std::move(work)] {
    ::pthread_setname_np(::pthread_self(), "match");
    work();
  });
}

void BasisSearch::begin_sample() {
  const ServeSourcePtr hint = hint_whole_ ? hint_whole_ : ServeSourcePtr(hint_);
  on_thread([this, alive = alive_, &control = parts_.control, hint, old = old_, stop = stop_,
             chunks = sample_chunks_, file_bytes = order_.tree.size] {
    Result<rsync::SampleResult> sample = rsync::SampleResult{};
    const auto layout = layout_of(*hint, file_bytes);
    if (!layout) {
      sample = layout.error();
    } else {
      MatchInput input = input_of(old, hint);
      input.pace = [stop](const MatchProgress&) {
        return *stop ? MatchPace::stop : MatchPace::go_on;
      };
      const std::vector<SampleWindow> windows = windows_in(hint->space, *layout, chunks);
      sample = windows.empty() ? rsync::sample_file(*layout, input)
                               : rsync::sample_file(*layout, windows, input);
    }
    boost::asio::post(control, [this, alive, sample = std::move(sample)] {
      if (!*alive || over_ || !used_) return;
      if (!sample) return give_up_hint(sample.error().detail);
      sampled(relation_of(sample->old_bytes, sample->in_place_bytes, sample->rolled_bytes));
    });
  });
}

void BasisSearch::sampled(Relation relation) {
  log_debug("transfer", "old file sampled",
            {{"path", old_->path}, {"relation", static_cast<int>(relation)}});
  if (relation == Relation::unrelated) return give_up_hint("it has nothing in common with this");
  relation_ = relation;
  if (hint_whole_) return begin_scan();
  for (std::uint32_t i = 0; i < hint_->space.count(); ++i) fetch_->release(ChunkIndex{i});
}

// What is missing after the first tier may be found by the second; it is fetched when that takes
// too long.
void BasisSearch::wait_for_rolling(const ByteRange& stretch) {
  compared_.emplace_back(monotonic_now() + kRollingWait, stretch);
  if (compared_.size() == 1) release_compared();
}

void BasisSearch::release_compared() {
  const Time now = monotonic_now();
  while (!compared_.empty() && compared_.front().first <= now) {
    const ByteRange stretch = compared_.front().second;
    compared_.pop_front();
    owner_.on_copies({}, stretch);
  }
  if (compared_.empty()) return;
  timer_.expires_after(compared_.front().first - now);
  timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive && !over_) release_compared();
  });
}

void BasisSearch::begin_scan() {
  on_thread([this, alive = alive_, &control = parts_.control, hint = hint_whole_, old = old_,
             stop = stop_, data = order_.data, tree_size = order_.tree.size,
             relation = *relation_] {
    const auto tell = [&](std::vector<CopyRange> found, ByteRange decided) {
      boost::asio::post(control, [this, alive, found = std::move(found), decided]() mutable {
        if (*alive && !over_) owner_.on_copies(std::move(found), decided);
      });
    };
    const auto done = [&](std::string how, bool unchanged = false) {
      boost::asio::post(control, [this, alive, unchanged, how = std::move(how)]() mutable {
        if (!*alive) return;
        scanned_ = unchanged;
        end(std::move(how));
      });
    };
    // The sample does not: the first byte waits for it.
    become_modest();
    const auto layout = layout_of(*hint, tree_size);
    if (!layout) return done(old->path + " is not used: " + layout.error().detail);
    MatchInput input = input_of(old, hint);
    input.pace = Pace(data_bytes_of(*old), *stop);
    input.on_found = [&](MatchTier tier, ByteRange passed, std::vector<CopyRange> found) {
      if (tier == MatchTier::in_place) {
        tell(std::move(found), {});
        boost::asio::post(control, [this, alive, passed] {
          if (*alive && !over_) wait_for_rolling(passed);
        });
        return;
      }
      // What stands in the old file so far behind the window has been passed; what was moved
      // further than a window is fetched, or found in time.
      tell(std::move(found), {0, std::min(passed.offset, tree_size)});
    };
    const auto result = rsync::match_file(
        *layout, data, input, {.in_place = relation == Relation::in_place, .rolling = true});
    if (!result) return done(old->path + " is not used: " + result.error().detail);
    tell(result->map.ranges(), {0, tree_size});
    done("signature against " + old->path + (result->stopped ? ", given up early" : ""),
         old->unchanged());
  });
}

}  // namespace p2p
