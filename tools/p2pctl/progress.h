// What a job's progress looks like: the newest state goes in, lines come out.
//
// Pure. What it shows never goes backwards within one phase of a job, even when the states that
// come in do (a tracker that just took over knows less than its predecessor): fractions and bytes
// keep their highest value, a task that was final stays so, and a state of an earlier phase is
// ignored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "proto/api.pb.h"
#include "tools/p2pctl/events.pb.h"

namespace p2p {

// With "..." where it is longer.
std::string cut_to_width(std::string line, std::size_t width);

class ProgressView {
 public:
  struct Style {
    std::size_t width = 80;  // columns that a line may fill
    bool colour = false;
  };

  void update(const proto::Job& job);
  // One line for a job on one node, up to three for a fleet, one about what old files spare, and
  // one about whom it waits for; none before the first update.
  std::vector<std::string> lines(const Style& style) const;
  proto::ProgressEvent event() const;

 private:
  enum class Bucket { queued, below_50, below_90, above_90, done, failed, expired, cancelled };
  struct NodeProgress {
    Bucket bucket = Bucket::queued;
    double fraction = 0;
    std::uint64_t bytes_left = 0;
    std::uint64_t bytes_per_second = 0;
  };

  // Over all nodes of a push.
  struct Sums {
    std::uint64_t fetched = 0, copied = 0, already = 0, written = 0;
  };

  static Bucket bucket_of(const proto::Task& task, double fraction);
  void update_task(const proto::Task& task);
  void start_phase(int phase);
  std::string subject() const;
  std::string eta() const;
  // Total, bytes, rate and time left, with two blanks between them.
  std::string totals() const;
  std::string bar_line(std::size_t width) const;
  std::string bucket_line(const Style& style) const;
  std::string slowest_line() const;
  std::string delta_line() const;
  void add_up(const proto::Job& job);

  proto::Job job_;  // the newest accepted state, without its tasks
  int phase_ = -1;
  std::unordered_map<std::string, NodeProgress> nodes_;
  double fraction_ = 0;
  std::uint64_t bytes_done_ = 0;
  Sums sums_;
};

}  // namespace p2p
