#include "tools/p2pctl/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "core/base/text.h"
#include "core/base/units.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

constexpr std::size_t kSlowestShown = 3;
constexpr std::size_t kBarMin = 10;
constexpr std::size_t kBarMax = 40;
constexpr double kLongestEtaSeconds = 1e7;  // beyond four months the figure means nothing

enum Phase { preparing, running, finished };

Phase phase_of(const proto::Job& job) {
  if (job.finished()) return finished;
  return job.state() == "preparing" ? preparing : running;
}

double fraction_of(std::uint64_t done, std::uint64_t total) {
  if (total == 0) return 0;
  return std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
}

// Rounded down: "100.0%" means all of it.
std::string percent_text(double fraction) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f%%", std::floor(fraction * 1000) / 10);
  return text.data();
}

}  // namespace

std::string cut_to_width(std::string line, std::size_t width) {
  if (display_width(line) <= width) return line;
  const std::size_t kept = width > 3 ? width - 3 : 0;
  std::size_t columns = 0;
  std::size_t bytes = 0;
  while (bytes < line.size()) {
    const std::size_t length =
        std::max<std::size_t>(1, visible_utf8_length(std::string_view(line).substr(bytes)));
    if (++columns > kept) break;
    bytes += length;
  }
  return line.substr(0, bytes) + std::string("...").substr(0, width - std::min(width, kept));
}

ProgressView::Bucket ProgressView::bucket_of(const proto::Task& task, double fraction) {
  const std::string& state = task.state();
  if (state == "succeeded") return Bucket::done;
  if (state == "failed") return Bucket::failed;
  if (state == "expired") return Bucket::expired;
  if (state == "cancelled") return Bucket::cancelled;
  if (state != "running" && fraction <= 0) return Bucket::queued;
  if (fraction > 0.9) return Bucket::above_90;
  return fraction >= 0.5 ? Bucket::below_90 : Bucket::below_50;
}

void ProgressView::start_phase(int phase) {
  // Hashing the source and sending it are counted apart: each starts at nothing.
  if (phase == running && phase_ == preparing) {
    nodes_.clear();
    fraction_ = 0;
    bytes_done_ = 0;
  }
  phase_ = phase;
}

void ProgressView::update_task(const proto::Task& task) {
  NodeProgress& node = nodes_[task.node()];
  if (node.bucket >= Bucket::done) return;
  node.fraction = std::max(node.fraction, fraction_of(task.bytes_done(), task.bytes_total()));
  node.bucket = bucket_of(task, node.fraction);
  node.bytes_left = task.bytes_total() - std::min(task.bytes_total(), task.bytes_done());
  node.bytes_per_second = task.bytes_per_second();
  if (node.bucket == Bucket::done) node.fraction = 1;
  if (node.bucket >= Bucket::done) node.bytes_left = node.bytes_per_second = 0;
}

void ProgressView::update(const proto::Job& job) {
  const int phase = phase_of(job);
  if (phase < phase_) return;
  if (phase != phase_) start_phase(phase);
  for (const proto::Task& task : job.tasks()) update_task(task);
  add_up(job);
  job_ = job;
  job_.clear_tasks();
  bytes_done_ = std::max(bytes_done_, job.bytes_done());
  fraction_ = std::max(fraction_, fraction_of(bytes_done_, job.bytes_total()));
}

std::string ProgressView::subject() const {
  std::string text = job_.id();
  if (job_.kind() == "publish") {
    text += " hashing " + job_.publish().node() + ":" + job_.publish().path();
  } else if (phase_ == preparing && job_.content_id().empty()) {
    text += " preparing: hashing " + job_.push().source();
  } else if (phase_ == preparing) {
    text += " preparing: comparing " + job_.push().source() + " with what nodes have";
  } else if (nodes_.size() == 1) {
    text += " " + nodes_.begin()->first;
  }
  return printable(text);
}

std::string ProgressView::eta() const {
  std::uint64_t left = 0;
  for (const auto& [name, node] : nodes_) left += node.bytes_left;
  if (left == 0) left = job_.bytes_total() - std::min(job_.bytes_total(), bytes_done_);
  if (job_.bytes_per_second() == 0) return "ETA --";
  const double seconds = static_cast<double>(left) / static_cast<double>(job_.bytes_per_second());
  if (seconds > kLongestEtaSeconds) return "ETA --";
  return "ETA " + format_duration(from_seconds(seconds));
}

std::string ProgressView::totals() const {
  if (job_.bytes_total() == 0) return job_.state();
  std::string text = percent_text(fraction_) + "  " + format_bytes(bytes_done_) + " of " +
                     format_bytes(job_.bytes_total());
  if (phase_ == finished) return text + "  " + job_.state();
  return text + "  " + format_rate(static_cast<double>(job_.bytes_per_second())) + "  " + eta();
}

std::string ProgressView::bar_line(std::size_t width) const {
  const std::string left = subject() + "  ";
  const std::string right = totals();
  const std::size_t used = display_width(left) + display_width(right) + 4;  // "[", "]", two blanks
  if (job_.bytes_total() == 0 || used + kBarMin > width) return cut_to_width(left + right, width);
  const std::size_t room = std::min(kBarMax, width - used);
  const auto filled = static_cast<std::size_t>(fraction_ * static_cast<double>(room));
  return left + "[" + std::string(filled, '#') + std::string(room - filled, ' ') + "]  " + right;
}

std::string ProgressView::bucket_line(const Style& style) const {
  std::array<std::size_t, 8> counts{};
  for (const auto& [name, node] : nodes_) ++counts[static_cast<std::size_t>(node.bucket)];
  constexpr const char* kPlain = nullptr;
  constexpr const char* kGreen = "\x1b[32m";
  constexpr const char* kRed = "\x1b[31m";
  struct Part {
    Bucket bucket;
    const char* title;
    const char* colour;
  };
  constexpr std::array<Part, 8> kParts{{{Bucket::done, "done", kGreen},
                                        {Bucket::above_90, ">90%", kPlain},
                                        {Bucket::below_90, "50-90%", kPlain},
                                        {Bucket::below_50, "<50%", kPlain},
                                        {Bucket::queued, "queued", kPlain},
                                        {Bucket::failed, "failed", kRed},
                                        {Bucket::expired, "expired", kRed},
                                        {Bucket::cancelled, "cancelled", kPlain}}};
  std::string line;
  std::size_t columns = 0;
  for (const Part& part : kParts) {
    const std::size_t count = counts[static_cast<std::size_t>(part.bucket)];
    if (count == 0 && part.bucket != Bucket::done) continue;
    const std::string text = std::string(part.title) + " " + std::to_string(count);
    const std::string gap = line.empty() ? "" : " | ";
    columns += gap.size() + text.size();
    if (columns > style.width) break;
    const bool coloured = style.colour && part.colour != kPlain && count > 0;
    line += gap + (coloured ? part.colour + text + "\x1b[0m" : text);
  }
  return line;
}

std::string ProgressView::slowest_line() const {
  std::vector<const std::pair<const std::string, NodeProgress>*> moving;
  for (const auto& entry : nodes_) {
    const Bucket bucket = entry.second.bucket;
    if (bucket > Bucket::queued && bucket < Bucket::done) moving.push_back(&entry);
  }
  const std::size_t shown = std::min(kSlowestShown, moving.size());
  std::partial_sort(moving.begin(), moving.begin() + static_cast<std::ptrdiff_t>(shown),
                    moving.end(), [](const auto* a, const auto* b) {
                      if (a->second.fraction != b->second.fraction) {
                        return a->second.fraction < b->second.fraction;
                      }
                      return a->first < b->first;
                    });
  std::string line;
  for (std::size_t i = 0; i < shown; ++i) {
    line += (i == 0 ? "slowest: " : ", ") + printable(moving[i]->first) + " " +
            percent_text(moving[i]->second.fraction) + " " +
            format_rate(static_cast<double>(moving[i]->second.bytes_per_second));
  }
  return line;
}

void ProgressView::add_up(const proto::Job& job) {
  if (job.kind() != "push") return;
  Sums now;
  for (const proto::Task& task : job.tasks()) {
    now.fetched += task.bytes_received();
    now.copied += task.bytes_copied();
    now.already += task.bytes_already();
    now.written += task.bytes_written();
  }
  sums_.fetched = std::max(sums_.fetched, now.fetched);
  sums_.copied = std::max(sums_.copied, now.copied);
  sums_.already = std::max(sums_.already, now.already);
  sums_.written = std::max(sums_.written, now.written);
}

// Only where something did not have to be fetched.
std::string ProgressView::delta_line() const {
  if (phase_ == preparing || sums_.copied + sums_.already == 0) return {};
  return "fetched " + format_bytes(sums_.fetched) + ", copied " + format_bytes(sums_.copied) +
         ", already there " + format_bytes(sums_.already) + ", written " +
         format_bytes(sums_.written);
}

std::vector<std::string> ProgressView::lines(const Style& style) const {
  if (phase_ < 0) return {};
  std::vector<std::string> lines;
  if (nodes_.size() <= 1 || phase_ == preparing) {
    lines.push_back(bar_line(style.width));
  } else {
    lines.push_back(bucket_line(style));
    lines.push_back(cut_to_width(subject() + "  " + totals(), style.width));
    if (const std::string slowest = slowest_line(); !slowest.empty()) {
      lines.push_back(cut_to_width(slowest, style.width));
    }
  }
  if (const std::string delta = delta_line(); !delta.empty()) {
    lines.push_back(cut_to_width(delta, style.width));
  }
  // What it waits for; what a finished one has to say is in its summary.
  if (phase_ == running && !job_.detail().empty()) {
    lines.push_back(cut_to_width(printable(job_.detail()), style.width));
  }
  return lines;
}

proto::ProgressEvent ProgressView::event() const {
  proto::ProgressEvent event;
  event.set_event("progress");
  event.set_job(job_.id());
  event.set_state(job_.state());
  event.set_percent(std::floor(fraction_ * 1000) / 10);
  event.set_bytes_done(bytes_done_);
  event.set_bytes_total(job_.bytes_total());
  event.set_bytes_per_second(job_.bytes_per_second());
  event.set_finished(job_.finished());
  const proto::TaskCounts& counts = job_.counts();
  event.set_queued(counts.queued() + counts.offered() + counts.accepted());
  event.set_running(counts.running());
  event.set_succeeded(counts.succeeded());
  event.set_failed(counts.failed());
  event.set_cancelled(counts.cancelled());
  event.set_expired(counts.expired());
  event.set_detail(job_.detail());
  event.set_bytes_fetched(sums_.fetched);
  event.set_bytes_copied(sums_.copied);
  event.set_bytes_already(sums_.already);
  event.set_bytes_written(sums_.written);
  return event;
}

}  // namespace p2p
