// The part of the board that withdraws what can be had from nobody any more, and ends what removed
// nodes had to do.
#include <utility>

#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "tracker/job_board.h"

namespace p2p {
namespace {

constexpr const char* kNodeRemoved = "the node was removed from the cluster";

}  // namespace

// A node that held the content whole says that its file is another one now, or gone.
void JobBoard::on_source_lost(NodeId node, const ContentId& content,
                              const proto::Holding& holding) {
  const std::string name = registry_.name_of(node);
  Lost& lost = lost_.try_emplace(content, Lost{SourceLoss(loss_rules_), ""}).first->second;
  lost.rule.on_source_lost(monotonic_now());
  lost.why = (holding.changed() ? "changed at the source (" : "gone from the source (") + name +
             ":" + holding.path() + ")";
  log_warn("swarm", "a holder is lost",
           {{"content", content.short_hex()}, {"why", lost.why}, {"holders", seeds_of(content)}});
}

std::size_t JobBoard::seeds_of(const ContentId& content) const {
  const Swarm* swarm = swarm_of(content);
  return swarm == nullptr ? 0 : swarm->seeds();
}

// What a receiver says of a content whose source was lost.
void JobBoard::note_lacking(const BoardJob& job, NodeId node, std::uint32_t chunks_without_holder) {
  if (lost_.empty() || !job.targets) return;
  const auto lost = lost_.find(content_of(job));
  if (lost == lost_.end()) return;
  lost->second.rule.on_report(node, chunks_without_holder, monotonic_now());
}

void JobBoard::withdraw_what_is_lost(WallTime now) {
  for (auto lost = lost_.begin(); lost != lost_.end();) {
    const ContentId content = lost->first;
    std::vector<SourceLoss::Receiver> receivers;
    for (const auto& [id, job] : jobs_) {
      if (job.finished() || !job.targets || content_of(job) != content) continue;
      for (const TaskStatus& task : job.targets->tasks()) {
        if (is_final(task.state)) continue;
        receivers.push_back(
            {task.node, task.state == TaskState::running, job.targets->is_online(task.node)});
      }
    }
    const bool held_whole = seeds_of(content) > 0;
    if (lost->second.rule.is_lost(monotonic_now(), held_whole, receivers)) {
      withdraw(content, "withdrawn: " + lost->second.why + "; publish it again", now);
      lost = lost_.erase(lost);
    } else if (receivers.empty() || held_whole) {
      // Everybody has it, or somebody has it whole: nobody lacks anything.
      lost = lost_.erase(lost);
    } else {
      ++lost;
    }
  }
}

void JobBoard::withdraw(const ContentId& content, const std::string& why, WallTime now) {
  log_warn("swarm", "content withdrawn", {{"content", content.short_hex()}, {"why", why}});
  StateBatch batch;
  catalogue_.withdraw(content, why, batch);
  if (!batch.changes.empty()) journal_.commit(std::move(batch));
  for (auto& [id, job] : jobs_) {
    if (job.finished() || !job.targets || content_of(job) != content) continue;
    job.targets->on_impossible(why, now);
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
    if (job.targets) note_source_removed(job, node);
    if (concerned && job.stored) perform(job, now);
  }
  for (auto& [content, swarm] : swarms_) {
    swarm.on_gone(node);
    swarm.on_wants_no_more(node);
  }
  std::erase_if(bodies_, [&](const auto& entry) { return entry.first.first == node; });
  withdraw_what_is_lost(now);
  return failed;
}

// Receivers that wait for what only this node had must not wait for ever.
void JobBoard::note_source_removed(const BoardJob& job, NodeId node) {
  const ContentId content = content_of(job);
  const Swarm* swarm = swarm_of(content);
  if (swarm == nullptr) return;
  const auto holder = swarm->holders().find(node);
  if (holder == swarm->holders().end() || !holder->second.complete) return;
  proto::Holding holding;
  holding.set_path(holder->second.path);
  on_source_lost(node, content, holding);
}

}  // namespace p2p
