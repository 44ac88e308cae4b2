// The part of the board that withdraws what can be had from nobody any more, and ends what removed
// nodes had to do.
#include <algorithm>
#include <utility>

#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "tracker/job_board.h"

namespace p2p {
namespace {

constexpr const char* kNodeRemoved = "the node was removed from the cluster";
constexpr const char* kHolderRemoved = "gone with a node that was removed from the cluster";

bool has_published(const proto::ContentRecord& content, NodeId node) {
  const auto& publishers = content.publishers();
  return std::find(publishers.begin(), publishers.end(), node.str()) != publishers.end();
}

}  // namespace

// A node that held the content whole does not any more. `what` became of it, and at which `path`.
void JobBoard::on_source_lost(NodeId node, const ContentId& content, const std::string& what,
                              const std::string& path) {
  const bool was_whole = may_hold_whole(node, content);
  if (const auto swarm = swarms_.find(content); swarm != swarms_.end()) {
    swarm->second.on_gone(node);
  }
  const auto* record = catalogue_.content(content);
  if (record == nullptr || !record->withdrawn().empty()) return;
  const auto [found, first] = lost_.try_emplace(content, Lost{SourceLoss(loss_rules_), "", {}});
  Lost& lost = found->second;
  const bool published = has_published(*record, node);
  // An agent says so each time that it connects, because a tracker may have forgotten.
  const bool news = published ? lost.publishers.insert(node).second : first || was_whole;
  if (!news) return;
  if (published || first) {
    lost.why = what + " (" + registry_.name_of(node) + (path.empty() ? "" : ":" + path) + ")";
  }
  lost.rule.on_source_lost(monotonic_now());
  if (receivers_of(content).empty()) return;
  log_warn("swarm", "a holder is lost",
           {{"content", content.short_hex()}, {"why", lost.why}, {"holders", seeds_of(content)}});
}

// What was withdrawn for want of one can be pushed again.
void JobBoard::on_whole_holder(NodeId node, const ContentId& content) {
  if (const auto lost = lost_.find(content); lost != lost_.end()) {
    lost->second.publishers.erase(node);
    if (lost->second.publishers.empty()) lost_.erase(lost);
  }
  const auto* record = catalogue_.content(content);
  if (record == nullptr || record->withdrawn().empty()) return;
  log_info("swarm", "content is here again",
           {{"content", content.short_hex()}, {"node", registry_.name_of(node)}});
  StateBatch batch;
  catalogue_.restore(content, batch);
  journal_.commit(std::move(batch));
}

// The node has said everything that it holds: what it had before and did not name, it has no more.
void JobBoard::on_announced(NodeId node) {
  announced_.insert(node);
  for (auto& [content, swarm] : swarms_) {
    if (!swarm.away().contains(node)) continue;
    on_source_lost(node, content, "gone from the source", "");
    swarm.on_gone(node);
  }
  for (const auto& [id, job] : jobs_) {
    if (job.finished() || !job.targets) continue;
    const ContentId content = content_of(job);
    const auto* record = catalogue_.content(content);
    if (record == nullptr) continue;
    if (!has_published(*record, node) || may_hold_whole(node, content)) continue;
    on_source_lost(node, content, "gone from the source", "");
  }
}

// It says that it has all of it, or said so when it was last connected.
bool JobBoard::may_hold_whole(NodeId node, const ContentId& content) const {
  const Swarm* swarm = swarm_of(content);
  if (swarm == nullptr) return false;
  const auto held = swarm->holders().find(node);
  return swarm->away().contains(node) || (held != swarm->holders().end() && held->second.complete);
}

std::size_t JobBoard::seeds_of(const ContentId& content) const {
  const Swarm* swarm = swarm_of(content);
  return swarm == nullptr ? 0 : swarm->seeds();
}

// Nodes that may have all of the content when they are back.
std::vector<NodeId> JobBoard::holders_away(const ContentId& content) const {
  std::set<NodeId> away;
  if (const Swarm* swarm = swarm_of(content)) away = swarm->away();
  const auto* record = catalogue_.content(content);
  const auto lost = lost_.find(content);
  for (int i = 0; record != nullptr && i < record->publishers_size(); ++i) {
    const auto node = NodeId::parse(record->publishers(i));
    if (!node || std::as_const(registry_).find(*node) == nullptr) continue;
    if (announced_.contains(*node)) continue;
    if (lost != lost_.end() && lost->second.publishers.contains(*node)) continue;
    away.insert(*node);
  }
  return {away.begin(), away.end()};
}

// A holder that is away is waited for as long as a target that is away.
bool JobBoard::may_be_had(const ContentId& content, WallTime now) const {
  if (seeds_of(content) > 0) return true;
  std::uint64_t ttl = 0;
  for (const auto& [id, job] : jobs_) {
    if (job.finished() || !job.targets || content_of(job) != content) continue;
    ttl = std::max(ttl, job.record.offline_ttl_seconds());
  }
  const std::vector<NodeId> away = holders_away(content);
  return std::any_of(away.begin(), away.end(), [&](NodeId id) {
    const NodeEntry* node = std::as_const(registry_).find(id);
    const WallTime seen = node == nullptr ? WallTime{} : std::max(node->last_seen, loaded_);
    return now - seen < std::chrono::seconds(ttl);
  });
}

std::string JobBoard::waits_for(const BoardJob& job) const {
  if (job.finished() || !job.targets || job.lacking.empty()) return {};
  const ContentId content = content_of(job);
  if (seeds_of(content) > 0) return {};
  const std::vector<NodeId> away = holders_away(content);
  if (away.empty()) return {};
  constexpr std::size_t kNamed = 3;
  std::string names;
  for (std::size_t i = 0; i < std::min(kNamed, away.size()); ++i) {
    names += (i == 0 ? "" : " or ") + registry_.name_of(away[i]);
  }
  if (away.size() > kNamed) names += " or " + std::to_string(away.size() - kNamed) + " others";
  return "waits for " + names + ": offline, and nobody else has what is missing";
}

// What a receiver says of its missing chunks.
void JobBoard::note_lacking(BoardJob& job, NodeId node, const proto::TaskUpdate& update) {
  if (!job.targets || task_state_from(update.state()) != TaskState::running) return;
  const std::uint32_t chunks = update.chunks_without_holder();
  if (chunks > 0) {
    job.lacking.insert(node);
  } else {
    job.lacking.erase(node);
  }
  const auto lost = lost_.find(content_of(job));
  if (lost != lost_.end()) lost->second.rule.on_report(node, chunks, monotonic_now());
}

std::vector<SourceLoss::Receiver> JobBoard::receivers_of(const ContentId& content) const {
  std::vector<SourceLoss::Receiver> receivers;
  for (const auto& [id, job] : jobs_) {
    if (job.finished() || !job.targets || content_of(job) != content) continue;
    for (const TaskStatus& task : job.targets->tasks()) {
      if (is_final(task.state)) continue;
      receivers.push_back(
          {task.node, task.state != TaskState::queued, job.targets->is_online(task.node)});
    }
  }
  return receivers;
}

bool JobBoard::has_just_started() const {
  return monotonic_now() - started_ < loss_rules_.after_start;
}

// Why a push of the content cannot begin; empty: it can.
std::string JobBoard::why_lost(const ContentId& content) const {
  const auto lost = lost_.find(content);
  if (lost == lost_.end() || has_just_started() || seeds_of(content) > 0) return {};
  if (!holders_away(content).empty() || !receivers_of(content).empty()) return {};
  return lost->second.why;
}

std::string JobBoard::shown_name(const ContentId& content) const {
  const auto* file = catalogue_.name_of(content);
  if (file == nullptr) return "content " + content.short_hex();
  return file->domain() + "/" + file->name() + "@" + file->version();
}

void JobBoard::withdraw_what_is_lost(WallTime now) {
  if (has_just_started()) return;
  std::set<ContentId> wanted;
  for (const auto& [id, job] : jobs_) {
    if (!lost_.empty() && !job.finished() && job.targets) wanted.insert(content_of(job));
  }
  for (const ContentId& content : wanted) {
    const auto lost = lost_.find(content);
    if (lost == lost_.end()) continue;
    const bool had = may_be_had(content, now);
    if (!lost->second.rule.is_lost(monotonic_now(), had, receivers_of(content))) continue;
    const std::string why = lost->second.why;
    lost_.erase(lost);
    withdraw(content, "withdrawn: " + why + "; publish it again", now);
  }
}

void JobBoard::withdraw(const ContentId& content, const std::string& why, WallTime now) {
  log_warn("swarm", "content withdrawn", {{"content", content.short_hex()}, {"why", why}});
  StateBatch batch;
  catalogue_.withdraw(content, why, batch);
  if (!batch.changes.empty()) journal_.commit(std::move(batch));
  const std::string said = shown_name(content) + " was " + why;
  for (auto& [id, job] : jobs_) {
    if (job.finished() || !job.targets || content_of(job) != content) continue;
    job.targets->on_impossible(said, now);
    perform(job, now);
  }
}

// The removal was stored, and the tracker ended before its tasks were.
void JobBoard::fail_removed(BoardJob& job, WallTime now) {
  for (auto* part : {&job.source, &job.targets}) {
    if (!*part) continue;
    for (const TaskStatus& task : std::vector<TaskStatus>((*part)->tasks())) {
      if (std::as_const(registry_).find(task.node) != nullptr) continue;
      (*part)->on_node_lost(task.node, kNodeRemoved, now);
    }
  }
}

std::uint32_t JobBoard::on_node_removed(NodeId node, WallTime now) {
  std::uint32_t failed = 0;
  note_removed_holder(node);
  for (auto& [id, job] : jobs_) {
    if (job.finished()) continue;
    bool concerned = false;
    for (auto* part : {&job.source, &job.targets}) {
      const auto index = *part ? (*part)->index_of(node) : std::nullopt;
      if (!index || is_final((*part)->tasks()[*index].state)) continue;
      (*part)->on_node_lost(node, kNodeRemoved, now);
      concerned = true;
    }
    failed += concerned ? 1 : 0;
    if (concerned && job.stored) perform(job, now);
  }
  for (auto& [content, swarm] : swarms_) {
    swarm.on_gone(node);
    swarm.on_wants_no_more(node);
  }
  std::erase_if(swarms_, [](const auto& entry) { return entry.second.empty(); });
  std::erase_if(bodies_, [&](const auto& entry) { return entry.first.first == node; });
  withdraw_what_is_lost(now);
  return failed;
}

// Receivers that wait for what only this node had must not wait for ever.
void JobBoard::note_removed_holder(NodeId node) {
  for (const auto& [content, record] : catalogue_.contents()) {
    const bool had = has_published(record, node) || may_hold_whole(node, content);
    if (had) on_source_lost(node, content, kHolderRemoved, "");
  }
}

// The same at the start: removals are remembered, what they meant for contents is not.
void JobBoard::arm_what_removed_nodes_had() {
  for (const auto& [content, record] : catalogue_.contents()) {
    for (const std::string& publisher : record.publishers()) {
      const auto node = NodeId::parse(publisher);
      if (node && std::as_const(registry_).find(*node) == nullptr) {
        on_source_lost(*node, content, kHolderRemoved, "");
      }
    }
  }
}

}  // namespace p2p
