// Drives one librsync job whichever way it treats its buffers. Only this folder and its tests
// include this: the other headers show nothing of librsync.
//
// Up to 2.3.2 a job takes all the input it is given. From 2.3.3 on it may work in the caller's
// buffer and leave a tail of at most a block and 64 KiB, which it must be shown again with more
// behind it; shown too little, it fails as "made no progress". So the pump keeps what was left,
// puts the next input behind it, and takes that failure for a wish for more.
#pragma once

#include <librsync.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/base/result.h"

namespace p2p::rsync {

struct JobDeleter {
  void operator()(rs_job_t* job) const { rs_job_free(job); }
};
using JobPtr = std::unique_ptr<rs_job_t, JobDeleter>;

class Pump {
 public:
  // rs_job_iter, or what a test puts in its place.
  using Iterate = std::function<rs_result(rs_buffers_t&)>;
  // Takes what a job has written; the bytes are gone after the call.
  using Output = std::function<void(std::span<const std::uint8_t>)>;

  // A tail above `tail_max` is an error of the job. `output_bytes` is room for what one feed brings
  // out, so that a job rarely stops for lack of it. Memory: 64 KiB + tail_max + output_bytes.
  Pump(Iterate iterate, std::size_t tail_max, std::size_t output_bytes, Output output);
  explicit Pump(const JobPtr& job, std::size_t tail_max, std::size_t output_bytes, Output output);

  // The job calls back into whoever owns the pump: it stays where it is.
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  // Errc::corrupt: the job said no. Then the pump must not be used again.
  Status feed(std::span<const std::uint8_t> input);
  // No more input.
  Status finish();
  bool done() const { return done_; }
  // Bytes that the job has written, those of a call that is under way included.
  std::uint64_t written() const {
    return written_ + static_cast<std::uint64_t>(buffers_.next_out - output_begin());
  }

 private:
  Status run(bool end);
  const char* output_begin() const { return output_.get(); }

  Iterate iterate_;
  Output sink_;
  std::size_t tail_max_;
  std::vector<char> input_;         // what the job has not taken
  std::unique_ptr<char[]> output_;  // not initialised: a patch job often writes nothing into it
  std::size_t output_bytes_;
  rs_buffers_t buffers_{};
  std::uint64_t written_ = 0;
  bool done_ = false;
};

}  // namespace p2p::rsync
