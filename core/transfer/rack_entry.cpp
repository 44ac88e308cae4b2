#include "core/transfer/rack_entry.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/check.h"
#include "core/transfer/rendezvous.h"

namespace p2p {

std::uint64_t rack_key(const ContentId& content) {
  std::uint64_t key = 0;
  std::memcpy(&key, content.digest.bytes.data(), sizeof key);
  return key;
}

std::vector<NodeId> entry_nodes(std::vector<NodeId> members, std::uint64_t key,
                                std::uint32_t count) {
  const auto heavier = [&](const NodeId& a, const NodeId& b) {
    return std::pair(rendezvous_weight(a, key), a) > std::pair(rendezvous_weight(b, key), b);
  };
  const std::size_t kept = std::min<std::size_t>(count, members.size());
  std::partial_sort(members.begin(), members.begin() + static_cast<std::ptrdiff_t>(kept),
                    members.end(), heavier);
  members.resize(kept);
  return members;
}

const NodeId& entry_for(const std::vector<NodeId>& entries, ChunkIndex chunk) {
  P2P_CHECK(!entries.empty());
  // Another key than the choice of the entry nodes themselves has.
  const std::uint64_t key = ~std::uint64_t{chunk.value};
  return *std::max_element(entries.begin(), entries.end(), [&](const NodeId& a, const NodeId& b) {
    return std::pair(rendezvous_weight(a, key), a) < std::pair(rendezvous_weight(b, key), b);
  });
}

RackEntry::RackEntry(NodeId self, std::uint64_t key, std::uint32_t chunk_count,
                     const RackEntrySettings& settings)
    : self_(self), key_(key), settings_(settings), holders_(chunk_count, 0) {
  members_[self_];
  entries_ = {self_};
}

void RackEntry::set_members(const std::vector<NodeId>& members, Time now) {
  for (const NodeId& id : members) {
    if (id != self_) members_.emplace(id, Member{now, Time{}, {}});
  }
  std::erase_if(members_, [&](const auto& member) {
    return member.first != self_ &&
           std::find(members.begin(), members.end(), member.first) == members.end();
  });
  choose(now);
}

void RackEntry::on_member_back(NodeId id, Time now) {
  const auto found = members_.find(id);
  if (found == members_.end() || found->second.gone_since == Time::max()) return;
  found->second.gone_since = Time::max();
  choose(now);
}

void RackEntry::on_member_gone(NodeId id, Time now) {
  const auto found = members_.find(id);
  if (found == members_.end() || found->second.gone_since != Time::max()) return;
  found->second.gone_since = now;
  wake_ = std::min(wake_, now + settings_.absent_after);
}

void RackEntry::on_have(NodeId id, ChunkIndex chunk, Time now) {
  std::uint8_t& holders = holders_[chunk.value];
  if (holders == 2) return;
  if (holders == 0) {
    holders = 1;
    alone_with_[chunk] = id;
    const auto found = members_.find(id);
    if (found == members_.end()) return;
    found->second.lonely[chunk] = now;
    if (found->second.lonely.size() >= settings_.lonely_chunks) {
      wake_ = std::min(wake_, now + settings_.lonely_for);
    }
    return;
  }
  const auto alone = alone_with_.find(chunk);
  if (alone->second == id) return;
  holders = 2;
  const auto found = members_.find(alone->second);
  if (found != members_.end()) found->second.lonely.erase(chunk);
  alone_with_.erase(alone);
}

bool RackEntry::stuck(const Member& member, Time now) const {
  std::uint32_t old = 0;
  for (const auto& [chunk, since] : member.lonely) {
    old += now - since >= settings_.lonely_for ? 1 : 0;
  }
  return old >= settings_.lonely_chunks;
}

void RackEntry::on_tick(Time now) {
  if (wake_ <= now) choose(now);
}

void RackEntry::choose(Time now) {
  wake_ = Time::max();
  std::vector<NodeId> able;
  for (auto& [id, member] : members_) {
    if (member.gone_since != Time::max()) {
      const Time absent = member.gone_since + settings_.absent_after;
      if (absent <= now) continue;
      wake_ = std::min(wake_, absent);
    }
    if (member.replaced_until > now) {
      wake_ = std::min(wake_, member.replaced_until);
      continue;
    }
    if (members_.size() > 1 && stuck(member, now)) {
      member.replaced_until = now + settings_.replaced_for;
      wake_ = std::min(wake_, member.replaced_until);
      continue;
    }
    if (member.lonely.size() >= settings_.lonely_chunks) {
      wake_ = std::min(wake_, now + settings_.lonely_for);
    }
    able.push_back(id);
  }
  // Somebody has to do it.
  if (able.empty()) able.push_back(self_);
  std::vector<NodeId> entries = entry_nodes(std::move(able), key_, settings_.entries);
  if (entries == entries_) return;
  entries_ = std::move(entries);
  ++version_;
}

bool RackEntry::is_replaced(NodeId id, Time now) const {
  const auto found = members_.find(id);
  return found != members_.end() && found->second.replaced_until > now;
}

bool RackEntry::is_ours(ChunkIndex chunk) const {
  if (std::find(entries_.begin(), entries_.end(), self_) == entries_.end()) return false;
  return entry_for(entries_, chunk) == self_;
}

}  // namespace p2p
