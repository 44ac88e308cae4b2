#include "librsyncwrap/matcher.h"

#include <librsync.h>

#include <algorithm>

#include "core/base/check.h"
#include "librsyncwrap/block_index_state.h"
#include "librsyncwrap/pump.h"

namespace p2p::rsync {
namespace {

// Longest literal of librsync (64 KiB from 2.3.3 on, 32 KiB before), with its command.
constexpr std::size_t kLiteralMax = 64 * 1024 + 64;
constexpr std::size_t kPatchOutput = 256 * 1024;

}  // namespace

struct Matcher::State {
  State(BlockIndex::State& the_index, std::uint64_t offset)
      : index(the_index),
        old_offset(offset),
        patch(rs_patch_begin(&State::copied, this)),
        // What the decoder writes is the old file again: nobody wants it.
        decoder(patch, kLiteralMax, kPatchOutput, [](std::span<const std::uint8_t>) {}),
        delta(rs_delta_begin(the_index.sums.get())),
        scanner(delta, 4 * (the_index.layout.block_bytes() + kLiteralMax),
                2 * (kStepBytes + the_index.layout.block_bytes() + kLiteralMax),
                [this](std::span<const std::uint8_t> bytes) {
                  if (decoded) decoded = decoder.feed(bytes);
                }) {}

  // rs_patch asks for `length` bytes of the new file at `position` (in slots of the index); what it
  // has put out so far is the place in the old file. Nothing is copied.
  static rs_result copied(void* self, rs_long_t position, std::size_t* length, void**) {
    static_cast<State*>(self)->match(static_cast<std::uint64_t>(position), *length);
    return RS_DONE;
  }

  // A command is asked for in pieces, as room for output goes; blocks are counted when whole.
  void match(std::uint64_t position, std::size_t length) {
    const std::uint64_t old_at = old_offset + decoder.written();
    if (position != next_position || old_at != next_old) {
      end_command();
      command_position = position;
      command_old = old_at;
      command_length = 0;
    }
    command_length += length;
    next_position = position + length;
    next_old = old_at + length;
    const std::uint32_t block_bytes = index.layout.block_bytes();
    while (command_length >= block_bytes) take_block(block_bytes);
  }

  // What is left of a command is a short block.
  void end_command() {
    if (command_length > 0) take_block(static_cast<std::uint32_t>(command_length));
  }

  void take_block(std::uint32_t length) {
    const auto first = static_cast<std::uint32_t>(command_position / index.layout.block_bytes());
    if (index.length_of(first) == length) {
      std::uint32_t slot = first;
      // Of several equal blocks, the one that stands behind the block found just before.
      if (last_slot + 1 < index.blocks.size() && last_old_end == command_old &&
          index.blocks[last_slot + 1] == index.blocks[last_slot] + 1 &&
          index.records[last_slot + 1] == index.records[first] &&
          index.length_of(last_slot + 1) == length) {
        slot = last_slot + 1;
      }
      index.note(first, slot, command_old);
      last_slot = slot;
      last_old_end = command_old + length;
      matched_bytes += length;
    }
    command_position += length;
    command_old += length;
    command_length -= length;
  }

  BlockIndex::State& index;
  std::uint64_t old_offset;
  Status decoded;

  std::uint64_t command_position = 0;
  std::uint64_t command_old = 0;
  std::uint64_t command_length = 0;
  std::uint64_t next_position = kNowhere;
  std::uint64_t next_old = kNowhere;
  std::uint32_t last_slot = 0;
  std::uint64_t last_old_end = kNowhere;
  std::uint64_t matched_bytes = 0;

  JobPtr patch;
  Pump decoder;
  JobPtr delta;
  Pump scanner;
};

Matcher::Matcher(BlockIndex& index, std::uint64_t old_offset) {
  if (index.state_->sums) state_ = std::make_unique<State>(*index.state_, old_offset);
}
Matcher::~Matcher() = default;
Matcher::Matcher(Matcher&&) noexcept = default;
Matcher& Matcher::operator=(Matcher&&) noexcept = default;

Result<std::size_t> Matcher::feed(std::span<const std::uint8_t> old_bytes) {
  const std::size_t taken = std::min(old_bytes.size(), kStepBytes);
  if (!state_) return taken;
  if (Status fed = state_->scanner.feed(old_bytes.first(taken)); !fed) return fed.error();
  if (!state_->decoded) return state_->decoded.error();
  return taken;
}

Status Matcher::finish() {
  if (!state_) return {};
  if (Status done = state_->scanner.finish(); !done) return done;
  if (!state_->decoded) return state_->decoded;
  if (Status done = state_->decoder.finish(); !done) return done;
  state_->end_command();
  return {};
}

std::uint64_t Matcher::matched_bytes() const {
  return state_ ? state_->matched_bytes : 0;
}

}  // namespace p2p::rsync
