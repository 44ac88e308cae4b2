// The part of the board that knows who holds what, and tells nodes about each other.
#include <algorithm>
#include <utility>

#include "core/base/text.h"
#include "core/model/destination.h"
#include "core/model/place.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "tracker/job_board.h"

namespace p2p {
namespace {

// More seeds than this do not divide the chunks any finer.
constexpr std::size_t kMostSeeds = 256;

}  // namespace

void JobBoard::offer_push(BoardJob& job, const Job::Offer& offer) {
  const ContentId content = content_of(job);
  const auto* record = catalogue_.content(content);
  auto root_record = catalogue_.read_root_record(content);
  auto ticket = tickets_.issue(offer.node, content, wall_now());
  if (!ticket) {
    job.targets->on_node_lost(offer.node, ticket.error().detail, wall_now());
    return;
  }
  if (record == nullptr || !root_record) {
    job.targets->on_impossible(root_record ? "the content is unknown" : root_record.error().detail,
                               wall_now());
    return;
  }
  proto::TrackerMessage message;
  auto& push = *message.mutable_push();
  push.set_job(job.record.number());
  push.set_root_record(*root_record);
  push.set_path(job.record.path());
  push.set_original_name(record->original_name());
  push.set_ticket(*std::move(ticket));
  push.set_rate_bytes_per_second(offer.bytes_per_second);
  push.set_allocate(job.record.allocate());
  auto members = swarms_[content].handout(offer.node, HandoutRules{}, rng_);
  if (const NodeEntry* node = registry_.find(offer.node)) add_hints(job, *node, push, members);
  add_peers(job, offer.node, members, push.mutable_peers());
  agents_.send(offer.node, message);
}

// A task that still runs when half of its ticket's life is over gets another one. A node that is
// away gets it with the offer when it comes back.
void JobBoard::renew_tickets(WallTime now) {
  const std::vector<TicketOffice::Holder> due = tickets_.take_due(now);
  if (due.empty()) return;
  std::vector<const BoardJob*> running;
  for (const auto& [id, job] : jobs_) {
    if (!job.finished() && job.targets) running.push_back(&job);
  }
  for (const auto& [node, content] : due) {
    const bool needed = std::any_of(running.begin(), running.end(), [&](const BoardJob* job) {
      const auto index = content_of(*job) == content ? job->targets->index_of(node) : std::nullopt;
      return index && !is_final(job->targets->tasks()[*index].state) &&
             job->targets->is_online(node);
    });
    if (!needed) continue;
    auto ticket = tickets_.issue(node, content, now);
    if (!ticket) {
      log_error("jobs", "a ticket cannot be renewed", {{"why", ticket.error().detail}});
      continue;
    }
    proto::TrackerMessage message;
    message.mutable_ticket()->set_content_id(std::string(content.digest.view()));
    message.mutable_ticket()->set_ticket(*std::move(ticket));
    agents_.send(node, message);
  }
}

void JobBoard::stand(Swarm& swarm, NodeId node) const {
  const NodeEntry* entry = std::as_const(registry_).find(node);
  if (entry == nullptr) return;
  swarm.on_rack(node, rack_of({entry->record.labels().begin(), entry->record.labels().end()}));
}

void JobBoard::on_labels_changed(const NodeEntry& node) {
  if (!node.online) return;
  proto::TrackerMessage message;
  *message.mutable_labels()->mutable_labels() = node.record.labels();
  agents_.send(node.id, message);
}

bool JobBoard::is_wanted(const ContentId& content) const {
  return std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
    const BoardJob& job = entry.second;
    return !job.finished() && job.targets && content_of(job) == content;
  });
}

// Seeds divide the chunks among themselves: each hears who the others are, before the receivers
// hear of any. `anew`: it has forgotten what it was told.
void JobBoard::tell_seeds(const ContentId& content, std::optional<NodeId> anew) {
  const auto swarm = swarms_.find(content);
  if (swarm == swarms_.end()) return;
  const std::vector<NodeId> seeds = swarm->second.sources(kMostSeeds);
  const auto told = seeds_told_.find(content);
  if (told == seeds_told_.end() && (seeds.size() < 2 || !is_wanted(content))) return;
  const bool changed = told == seeds_told_.end() || told->second != seeds;
  proto::TrackerMessage message;
  message.mutable_seeds()->set_content_id(std::string(content.digest.view()));
  for (const NodeId seed : seeds) message.mutable_seeds()->add_node_ids(seed.str());
  for (const NodeId seed : seeds) {
    if (changed || seed == anew) agents_.send(seed, message);
  }
  seeds_told_[content] = seeds;
}

void JobBoard::add_peers(const BoardJob&, NodeId node, std::vector<Swarm::Member> members,
                         google::protobuf::RepeatedPtrField<proto::PeerAddress>* out) const {
  for (const Swarm::Member& member : members) {
    const NodeEntry* entry = std::as_const(registry_).find(member.node);
    if (entry == nullptr || !entry->online || entry->address.empty() || member.node == node) {
      continue;
    }
    proto::PeerAddress& peer = *out->Add();
    peer.set_node_id(member.node.str());
    peer.set_address(entry->address);
    peer.set_seed(member.seed);
    peer.set_rack_mate(member.rack_mate);
  }
}

void JobBoard::on_holdings(NodeId node, const proto::Holdings& holdings) {
  // What it held before counts as away until it has said everything.
  if (holdings.first()) {
    held_paths_.erase(node);
    for (auto& [content, swarm] : swarms_) swarm.on_node_offline(node);
  }
  for (const proto::Holding& holding : holdings.holdings()) {
    const auto content = ContentId::from_raw(holding.content_id());
    // Of a content that this tracker does not know nobody can ask for anything.
    if (!content || catalogue_.content(*content) == nullptr) continue;
    Swarm& swarm = swarms_[*content];
    const auto before = swarm.holders().find(node);
    const bool news =
        holding.complete() && (before == swarm.holders().end() || !before->second.complete);
    if (holding.gone()) {
      on_source_lost(node, *content,
                     holding.changed() ? "changed at the source" : "gone from the source",
                     std::string(utf8_prefix(holding.path(), kMaxPathBytes)));
      tell_seeds(*content);
      continue;
    }
    // Enough is enough: ten thousand nodes that land must not tell each other, one by one.
    const bool plenty = swarm.seeds() >= HandoutRules{}.seeds;
    stand(swarm, node);
    const Holder holder{holding.complete(), holding.bytes(), holding.path()};
    swarm.on_holder(node, holder);
    note_held(node, *content, holder);
    if (holding.complete()) on_whole_holder(node, *content);
    if (news && is_wanted(*content)) tell_seeds(*content, node);
    if (!news || plenty) continue;
    // A seed that came, or came back at another address: whoever wants the content hears of it.
    for (auto& [id, job] : jobs_) {
      if (job.finished() || !job.targets || content_of(job) != *content) continue;
      for (const TaskStatus& task : job.targets->tasks()) {
        const bool told = task.state != TaskState::queued && !is_final(task.state);
        if (!told || task.node == node || !job.targets->is_online(task.node)) continue;
        proto::TrackerMessage message;
        message.mutable_peers()->set_content_id(holding.content_id());
        add_peers(job, task.node, {{node, true}}, message.mutable_peers()->mutable_peers());
        if (message.peers().peers_size() > 0) agents_.send(task.node, message);
      }
    }
  }
  if (holdings.last()) on_announced(node);
}

void JobBoard::on_upload(NodeId node, const proto::UploadReport& report) {
  const auto content = ContentId::from_raw(report.content_id());
  if (!content || catalogue_.content(*content) == nullptr) return;
  if (uploads_.size() >= limits_.uploads && !uploads_.contains({*content, node})) {
    forget_old_uploads();
  }
  Upload& upload = uploads_[{*content, node}];
  // The agent counts from its own start.
  upload.total += report.bytes_sent() >= upload.last_report
                      ? report.bytes_sent() - upload.last_report
                      : report.bytes_sent();
  upload.last_report = report.bytes_sent();
  for (auto& [id, job] : jobs_) {
    if (!job.finished() && content_of(job) == *content) job.changed = true;
  }
}

// Those of contents that no job is about now. A later job may then count what was sent before it.
void JobBoard::forget_old_uploads() {
  std::set<ContentId> in_use;
  for (const auto& [id, job] : jobs_) {
    if (!job.source_sent) in_use.insert(content_of(job));
  }
  std::erase_if(uploads_, [&](const auto& entry) { return !in_use.contains(entry.first.first); });
}

std::uint64_t JobBoard::source_bytes_sent(const BoardJob& job) const {
  if (!job.targets) return 0;
  if (job.source_sent) return *job.source_sent;
  std::uint64_t sum = 0;
  const ContentId content = content_of(job);
  for (auto it = uploads_.lower_bound({content, NodeId{}});
       it != uploads_.end() && it->first.first == content; ++it) {
    if (job.targets->index_of(it->first.second)) continue;
    const auto before = job.uploads_before.find(it->first.second);
    sum += it->second.total - (before == job.uploads_before.end() ? 0 : before->second);
  }
  return sum;
}

}  // namespace p2p
