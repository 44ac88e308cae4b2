// The part of a fetch that deals with chunks of which an old file has the most.
#include <cstring>
#include <utility>

#include "core/delta/chunk_plan.h"
#include "io/content/merkle.h"
#include "io/runtime/wall_clock.h"
#include "io/wire/frames.h"
#include "p2pd/space_fetch.h"

namespace p2p {
namespace {

// Holders that are asked for leaves before the chunk is fetched whole, and how long each has.
constexpr int kLeavesTries = 3;
constexpr Duration kLeavesTimeout = std::chrono::seconds(2);
constexpr Duration kHolderLook = std::chrono::milliseconds(50);

}  // namespace

bool SpaceFetch::shorten(ChunkIndex chunk, std::vector<ByteRange> pieces) {
  if (!download_.may_be_shortened(chunk)) return false;
  download_.shorten(chunk, requests_for_run(pieces, kMaxRequestBytes, kMaxRequestRanges));
  if (pieces.empty()) {
    runs_.erase(chunk);
  } else {
    runs_[chunk] = std::move(pieces);
  }
  return true;
}

std::vector<NodeId> SpaceFetch::run_checked(ChunkIndex chunk, const Status& right) {
  if (failed_) return {};
  if (right) {
    became_whole(chunk);
    return {};
  }
  runs_.erase(chunk);
  std::vector<NodeId> contributors = download_.on_run_wrong(chunk, monotonic_now());
  perform();
  return contributors;
}

void SpaceFetch::drop(NodeId peer, ChunkIndex chunk, const std::string& reason) {
  sink_.on_bad_peer(peer, chunk, reason);
  mesh_.drop(peer, reason);
}

void SpaceFetch::ask_leaves(ChunkIndex chunk) {
  LeavesWanted wanted;
  wanted.since = monotonic_now();
  leaves_wanted_[chunk] = wanted;
  download_.fetch_again(chunk);
  ask_next_for_leaves(chunk);
  schedule();
}

void SpaceFetch::ask_next_for_leaves(ChunkIndex chunk) {
  LeavesWanted& wanted = leaves_wanted_.at(chunk);
  const std::optional<NodeId> holder = download_.any_holder(chunk);
  const Time now = monotonic_now();
  // At the start of a push neighbours may not have said yet what they have.
  if (!holder && now - wanted.since < kLeavesTimeout) {
    wanted.until = now + kHolderLook;
    return;
  }
  if (!holder || wanted.tries++ == kLeavesTries) {
    leaves_wanted_.erase(chunk);
    return sink_.on_leaves(chunk, std::nullopt);
  }
  wanted.asked = *holder;
  wanted.until = now + kLeavesTimeout;
  asked_for_leaves_.emplace(*holder, chunk);
  mesh_.send_leaves_wanted(*holder, key_.content, chunk);
}

void SpaceFetch::look_at_leaves(Time now) {
  std::vector<ChunkIndex> late;
  for (const auto& [chunk, wanted] : leaves_wanted_) {
    if (wanted.until <= now) late.push_back(chunk);
  }
  for (const ChunkIndex chunk : late) ask_next_for_leaves(chunk);
}

// Late answers of those who were asked before count, too: leaves are proven.
void SpaceFetch::on_peer_leaves(NodeId peer, ChunkIndex chunk, std::string_view bytes) {
  const auto asked = asked_for_leaves_.find({peer, chunk});
  if (asked == asked_for_leaves_.end()) {
    return drop(peer, chunk, "sent leaves that nobody asked for");
  }
  asked_for_leaves_.erase(asked);
  const auto wanted = leaves_wanted_.find(chunk);
  if (wanted == leaves_wanted_.end()) return;
  if (bytes.empty()) {
    if (wanted->second.asked == peer) ask_next_for_leaves(chunk);
    return schedule();
  }
  std::vector<Digest> leaves(space_.leaves_of(chunk));
  const bool whole = bytes.size() == leaves.size() * sizeof(Digest::bytes);
  if (whole) {
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      std::memcpy(leaves[i].bytes.data(), bytes.data() + i * sizeof(Digest::bytes),
                  sizeof(Digest::bytes));
    }
  }
  if (!whole || !verify_chunk(space_, chunk, leaves)) {
    drop(peer, chunk, "sent wrong leaves");
    if (leaves_wanted_.contains(chunk)) ask_next_for_leaves(chunk);
    return schedule();
  }
  leaves_wanted_.erase(wanted);
  sink_.on_leaves(chunk, std::move(leaves));
}

}  // namespace p2p
