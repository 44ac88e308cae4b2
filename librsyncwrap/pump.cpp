#include "librsyncwrap/pump.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/base/check.h"

namespace p2p::rsync {
namespace {

constexpr std::size_t kPieceBytes = 64 * 1024;  // stays in the processor's cache

}  // namespace

Pump::Pump(Iterate iterate, std::size_t tail_max, std::size_t output_bytes, Output output)
    : iterate_(std::move(iterate)),
      sink_(std::move(output)),
      tail_max_(tail_max),
      output_(new char[output_bytes]),
      output_bytes_(output_bytes) {
  P2P_CHECK(output_bytes > 0);
  buffers_.next_out = output_.get();
}

Pump::Pump(const JobPtr& job, std::size_t tail_max, std::size_t output_bytes, Output output)
    : Pump([job = job.get()](rs_buffers_t& buffers) { return rs_job_iter(job, &buffers); },
           tail_max, output_bytes, std::move(output)) {}

Status Pump::feed(std::span<const std::uint8_t> input) {
  while (!done_ && !input.empty()) {
    const std::span<const std::uint8_t> piece = input.first(std::min(input.size(), kPieceBytes));
    const char* bytes = reinterpret_cast<const char*>(piece.data());
    input_.insert(input_.end(), bytes, bytes + piece.size());
    if (Status ran = run(false); !ran) return ran;
    input = input.subspan(piece.size());
  }
  return {};
}

Status Pump::finish() {
  if (done_) return {};
  return run(true);
}

Status Pump::run(bool end) {
  while (true) {
    buffers_ = {};
    buffers_.next_in = input_.data();
    buffers_.avail_in = input_.size();
    buffers_.eof_in = end ? 1 : 0;
    buffers_.next_out = output_.get();
    buffers_.avail_out = output_bytes_;
    const rs_result result = iterate_(buffers_);
    const std::size_t written = output_bytes_ - buffers_.avail_out;
    const std::size_t taken = input_.size() - buffers_.avail_in;
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(taken));
    buffers_.next_out = output_.get();
    written_ += written;
    if (written > 0) {
      sink_({reinterpret_cast<const std::uint8_t*>(output_.get()), written});
    }
    if (result == RS_DONE) {
      done_ = true;
      return {};
    }
    // "Made no progress": what it was shown is not enough to go on with.
    const bool idle = result == RS_INTERNAL_ERROR && !end && written == 0 && taken == 0;
    if (result != RS_BLOCKED && !idle) {
      return Error{Errc::corrupt, std::string("librsync: ") + rs_strerror(result)};
    }
    if (written == output_bytes_) continue;
    if (end) return Error{Errc::corrupt, "librsync: waits for more at the end of its input"};
    if (input_.size() > tail_max_) {
      return Error{Errc::corrupt, "librsync: left " + std::to_string(input_.size()) +
                                      " bytes of its input, at most " + std::to_string(tail_max_) +
                                      " are expected"};
    }
    return {};
  }
}

}  // namespace p2p::rsync
