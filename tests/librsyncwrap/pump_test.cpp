// The pump with jobs that treat their buffers as librsync up to 2.3.2 does, and as it does from
// 2.3.3 on.
#include "librsyncwrap/pump.h"

#include <algorithm>
#include <string>

#include "core/base/rng.h"
#include "tests/support/catch.h"

namespace p2p::rsync {
namespace {

// Turns every pair of bytes into one: enough of a job to show lost, repeated or reordered input.
class FakeJob {
 public:
  // `tail`: bytes that stay in the caller's buffer until the end; 0: everything is taken at once.
  explicit FakeJob(std::size_t tail) : tail_(tail) {}

  rs_result operator()(rs_buffers_t& buffers) {
    const std::size_t in_before = buffers.avail_in;
    const std::size_t out_before = buffers.avail_out;
    const rs_result result = work(buffers);
    if (result == RS_BLOCKED && in_before != 0 && out_before != 0 &&
        in_before == buffers.avail_in && out_before == buffers.avail_out) {
      return RS_INTERNAL_ERROR;  // as rs_job_iter does
    }
    return result;
  }

 private:
  rs_result work(rs_buffers_t& buffers) {
    if (tail_ == 0) {
      scoop_.append(buffers.next_in, buffers.avail_in);
      buffers.next_in += buffers.avail_in;
      buffers.avail_in = 0;
      while (scoop_.size() >= 2) {
        if (!put(buffers, scoop_[0], scoop_[1])) return RS_BLOCKED;
        scoop_.erase(0, 2);
      }
    } else {
      const std::size_t kept = buffers.eof_in ? 0 : tail_;
      while (buffers.avail_in >= kept + 2) {
        if (!put(buffers, buffers.next_in[0], buffers.next_in[1])) return RS_BLOCKED;
        buffers.next_in += 2;
        buffers.avail_in -= 2;
      }
    }
    return buffers.eof_in ? RS_DONE : RS_BLOCKED;
  }

  static bool put(rs_buffers_t& buffers, char a, char b) {
    if (buffers.avail_out == 0) return false;
    *buffers.next_out++ = static_cast<char>(a * 7 + b);
    --buffers.avail_out;
    return true;
  }

  std::size_t tail_;
  std::string scoop_;
};

std::string pumped(const std::string& input, std::size_t tail, std::size_t output_bytes,
                   std::size_t step_max, std::uint64_t seed) {
  FakeJob job(tail);
  std::string output;
  Pump pump([&](rs_buffers_t& buffers) { return job(buffers); }, tail + 2, output_bytes,
            [&](std::span<const std::uint8_t> bytes) {
              output.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
            });
  Rng rng(seed);
  for (std::size_t at = 0; at < input.size();) {
    const std::size_t step = std::min<std::size_t>(1 + rng.below(step_max), input.size() - at);
    REQUIRE(pump.feed({reinterpret_cast<const std::uint8_t*>(input.data()) + at, step}));
    at += step;
  }
  REQUIRE(pump.finish());
  CHECK(pump.done());
  CHECK(pump.written() == output.size());
  return output;
}

}  // namespace

TEST_CASE("the pump loses and repeats nothing under both buffer contracts", "[librsync]") {
  Rng rng(1);
  std::string input;
  for (int i = 0; i < 4000; ++i) input += static_cast<char>(rng.next());
  std::string expected;
  for (std::size_t i = 0; i < input.size(); i += 2) {
    expected += static_cast<char>(input[i] * 7 + input[i + 1]);
  }
  for (const std::size_t tail : {0, 1, 10, 100, 1000}) {
    for (const std::size_t output_bytes : {1, 2, 7, 50, 5000}) {
      for (const std::size_t step : {1, 3, 64, 700}) {
        CHECK(pumped(input, tail, output_bytes, step, tail + step) == expected);
      }
    }
  }
}

TEST_CASE("a tail that is longer than expected is an error, not memory", "[librsync]") {
  FakeJob job(1000);
  Pump pump([&](rs_buffers_t& buffers) { return job(buffers); }, 100, 64,
            [](std::span<const std::uint8_t>) {});
  const std::vector<std::uint8_t> bytes(500);
  const Status fed = pump.feed(bytes);
  REQUIRE(!fed);
  CHECK(fed.error().detail.find("500 bytes") != std::string::npos);
}

TEST_CASE("what a job refuses is an error with librsync's words", "[librsync]") {
  Pump pump([](rs_buffers_t&) { return RS_BAD_MAGIC; }, 100, 64,
            [](std::span<const std::uint8_t>) {});
  const std::vector<std::uint8_t> bytes(5);
  const Status fed = pump.feed(bytes);
  REQUIRE(!fed);
  CHECK(fed.error().code == Errc::corrupt);
  CHECK(fed.error().detail.find("magic") != std::string::npos);
}

TEST_CASE("a job that waits for more at the end is an error", "[librsync]") {
  Pump pump([](rs_buffers_t&) { return RS_BLOCKED; }, 100, 64,
            [](std::span<const std::uint8_t>) {});
  CHECK(!pump.finish());
}

}  // namespace p2p::rsync
