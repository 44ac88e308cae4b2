#include "librsyncwrap/in_place.h"

#include <algorithm>
#include <vector>

#include "core/base/check.h"
#include "librsyncwrap/signature_builder.h"

namespace p2p::rsync {

struct InPlaceMatcher::State {
  State(const SignatureLayout& the_layout, std::uint32_t first, std::span<const Record> expected)
      : layout(the_layout),
        first_block(first),
        records(expected),
        equal(static_cast<std::uint32_t>(expected.size())),
        sums(the_layout.block_bytes()) {
    const auto count = static_cast<std::uint32_t>(expected.size());
    P2P_CHECK(expected.size() <= layout.blocks() && first <= layout.blocks() - count);
    if (count > 0) {
      const std::uint32_t last = first + count - 1;
      bytes_left = layout.offset_of(last) + layout.length_of(last) - layout.offset_of(first);
    }
  }

  // Compares what the builder has made.
  void compare() {
    for (const Record record : decode_records(sums.take())) {
      const std::uint32_t i = compared++;
      const std::uint32_t length = layout.length_of(first_block + i);
      const std::uint64_t begin = static_cast<std::uint64_t>(i) * layout.block_bytes();
      if (fed - begin >= length && record == records[i]) equal.set(i);
    }
  }

  SignatureLayout layout;
  std::uint32_t first_block;
  std::span<const Record> records;
  Bitfield equal;
  SignatureBuilder sums;
  std::uint64_t fed = 0;
  std::uint64_t bytes_left = 0;
  std::uint32_t compared = 0;
};

InPlaceMatcher::InPlaceMatcher(const SignatureLayout& layout, std::uint32_t first_block,
                               std::span<const Record> records)
    : state_(std::make_unique<State>(layout, first_block, records)) {}
InPlaceMatcher::~InPlaceMatcher() = default;
InPlaceMatcher::InPlaceMatcher(InPlaceMatcher&&) noexcept = default;
InPlaceMatcher& InPlaceMatcher::operator=(InPlaceMatcher&&) noexcept = default;

Status InPlaceMatcher::feed(std::span<const std::uint8_t> old_bytes) {
  const auto taken =
      static_cast<std::size_t>(std::min<std::uint64_t>(old_bytes.size(), state_->bytes_left));
  state_->bytes_left -= taken;
  state_->fed += taken;
  if (Status fed = state_->sums.feed(old_bytes.first(taken)); !fed) return fed;
  state_->compare();
  return {};
}

Status InPlaceMatcher::finish() {
  if (Status done = state_->sums.finish(); !done) return done;
  state_->compare();
  return {};
}

const Bitfield& InPlaceMatcher::equal() const {
  return state_->equal;
}

}  // namespace p2p::rsync
