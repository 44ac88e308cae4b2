#include "librsyncwrap/signature_builder.h"

#include <librsync.h>

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "librsyncwrap/pump.h"

namespace p2p::rsync {
namespace {

constexpr std::size_t kZerosAtOnce = 64 * 1024;
constexpr std::size_t kOutputBytes = 16 * 1024;

// One signature job; passes on what it writes, without the header.
class SumJob {
 public:
  SumJob(std::uint32_t block_bytes, std::vector<std::uint8_t>& records)
      : job_(rs_sig_begin(block_bytes, kStrongBytes, RS_RK_BLAKE2_SIG_MAGIC)),
        pump_(job_, block_bytes, kOutputBytes, [this, &records](std::span<const std::uint8_t> out) {
          const std::size_t header = std::min(header_left_, out.size());
          header_left_ -= header;
          records.insert(records.end(), out.begin() + static_cast<std::ptrdiff_t>(header),
                         out.end());
        }) {}

  Pump& pump() { return pump_; }

 private:
  JobPtr job_;
  std::size_t header_left_ = kHeaderBytes;
  Pump pump_;
};

}  // namespace

struct SignatureBuilder::State {
  explicit State(std::uint32_t block) : block_bytes(block), job(block, records) {}

  // Sums of one block of zeros, made when first asked for.
  Result<std::span<const std::uint8_t>> zero_record() {
    if (zero.empty()) {
      SumJob sum(block_bytes, zero);
      const std::vector<std::uint8_t> bytes(block_bytes, 0);
      if (Status fed = sum.pump().feed(bytes); !fed) return fed.error();
      if (Status done = sum.pump().finish(); !done) return done.error();
      P2P_CHECK(zero.size() == kRecordBytes);
    }
    return std::span<const std::uint8_t>(zero);
  }

  Status feed(std::span<const std::uint8_t> bytes) {
    in_block = (in_block + bytes.size()) % block_bytes;
    return job.pump().feed(bytes);
  }

  std::uint32_t block_bytes;
  std::uint64_t in_block = 0;  // bytes of the block that is not full yet
  std::vector<std::uint8_t> records;
  std::vector<std::uint8_t> zero;
  SumJob job;
};

SignatureBuilder::SignatureBuilder(std::uint32_t block_bytes)
    : state_(std::make_unique<State>(block_bytes)) {
  P2P_CHECK(block_bytes >= kMinBlockBytes && block_bytes <= kMaxBlockBytes);
}
SignatureBuilder::~SignatureBuilder() = default;
SignatureBuilder::SignatureBuilder(SignatureBuilder&&) noexcept = default;
SignatureBuilder& SignatureBuilder::operator=(SignatureBuilder&&) noexcept = default;

Status SignatureBuilder::feed(std::span<const std::uint8_t> bytes) {
  return state_->feed(bytes);
}

Status SignatureBuilder::feed_zeros(std::uint64_t count) {
  static constexpr std::uint8_t kZeros[kZerosAtOnce] = {};
  while (count > 0) {
    if (state_->in_block == 0 && count >= state_->block_bytes) {
      const auto record = state_->zero_record();
      if (!record) return record.error();
      for (; count >= state_->block_bytes; count -= state_->block_bytes) {
        state_->records.insert(state_->records.end(), record->begin(), record->end());
      }
      continue;
    }
    const std::uint64_t piece =
        std::min<std::uint64_t>({count, kZerosAtOnce, state_->block_bytes - state_->in_block});
    if (Status fed = state_->feed({kZeros, static_cast<std::size_t>(piece)}); !fed) return fed;
    count -= piece;
  }
  return {};
}

Status SignatureBuilder::finish() {
  return state_->job.pump().finish();
}

std::vector<std::uint8_t> SignatureBuilder::take() {
  return std::exchange(state_->records, {});
}

}  // namespace p2p::rsync
