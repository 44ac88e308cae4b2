// The one counter of all jobs, whatever their kind: j17 names one job.
#pragma once

#include <algorithm>
#include <cstdint>

namespace p2p {

// Control thread only. Who loads jobs says which numbers are taken before anybody asks for one.
class JobNumbers {
 public:
  void take(std::uint64_t number) { last_ = std::max(last_, number); }
  std::uint64_t next() { return ++last_; }
  std::uint64_t last() const { return last_; }

 private:
  std::uint64_t last_ = 0;
};

}  // namespace p2p
