// Makes a signature from the bytes of a file, in one pass and constant memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/result.h"
#include "librsyncwrap/signature.h"

namespace p2p::rsync {

// The records of a run of blocks: a whole file, or one segment, so that several builders can share
// a file. What goes before them is encode_signature_header; one after the other they are what
// `rdiff signature -b BLOCK -S 4` writes.
//
// One core does 0.54 GB/s, which is BLAKE2b (delta.md §3.1; bench/delta_wrap measures it). Memory:
// two blocks and the records not taken yet, 8 bytes a block. Builders are independent of each
// other; one builder is not thread-safe.
class SignatureBuilder {
 public:
  explicit SignatureBuilder(std::uint32_t block_bytes);
  ~SignatureBuilder();
  SignatureBuilder(SignatureBuilder&&) noexcept;
  SignatureBuilder& operator=(SignatureBuilder&&) noexcept;

  // Errc::corrupt: librsync refused, which no input makes it do.
  Status feed(std::span<const std::uint8_t> bytes);
  // The same as feeding `count` zeros, without hashing whole blocks of them again: for holes.
  Status feed_zeros(std::uint64_t count);
  // The end of the file, or of the segment: a block that is not full is summed as it is.
  Status finish();

  // Record bytes made since the last call.
  std::vector<std::uint8_t> take();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace p2p::rsync
