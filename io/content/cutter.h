// Cuts bytes where their content says so, so that equal stretches of two files are cut alike
// wherever they stand (gear hash, as in FastCDC).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace p2p {

// Pieces have a quarter to four times `average` bytes. Where it cuts matters to one process only:
// it is no wire format. 1 to 3 GB/s on one core (delta.md §4.1).
class Cutter {
 public:
  // A power of two from 256 bytes to 1 MiB.
  explicit Cutter(std::uint32_t average);

  // Length of the piece at the start of `bytes`: all of them when there is no cut among the first
  // longest() of them.
  std::size_t next(std::span<const std::uint8_t> bytes) const;
  std::size_t longest() const { return 4 * static_cast<std::size_t>(average_); }

 private:
  std::uint32_t average_;
  std::uint64_t strict_;  // up to the average: more bits must be zero
  std::uint64_t loose_;   // from there on
};

}  // namespace p2p
