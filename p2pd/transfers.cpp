#include "p2pd/transfers.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "core/base/text.h"
#include "io/config/config.h"
#include "io/content/manifest_codec.h"

namespace p2p {
namespace {

std::vector<NodeId> rack_mates_in(const proto::PushTask& task) {
  std::vector<NodeId> mates;
  for (const proto::PeerAddress& peer : task.peers()) {
    const auto node = NodeId::parse(peer.node_id());
    if (node && peer.rack_mate() && !peer.seed()) mates.push_back(*node);
  }
  return mates;
}

// What the tracker knows of hints; those that are none are left out.
std::vector<KnownHint> hints_in(const proto::PushTask& task) {
  std::vector<KnownHint> hints;
  for (const proto::Hint& message : task.hints()) {
    KnownHint hint;
    hint.id = content_id_of(message.root_record());
    auto record = decode_root_record_of(hint.id, message.root_record());
    if (!record || record->total_bytes != 0) continue;
    hint.recipe = message.kind() == proto::HINT_RECIPE;
    if (hint.recipe) {
      const auto root = Digest::from_raw(message.old_root());
      if (!root) continue;
      hint.old_root = *root;
      hint.old_name = std::string(utf8_prefix(message.old_name(), 256));
    }
    hint.root_record = message.root_record();
    hint.record = std::move(*record);
    hints.push_back(std::move(hint));
  }
  return hints;
}

std::vector<ContentId> older_in(const proto::PushTask& task) {
  std::vector<ContentId> older;
  for (const std::string& raw : task.older()) {
    if (const auto content = ContentId::from_raw(raw)) older.push_back(*content);
  }
  for (const proto::Hint& hint : task.hints()) {
    const auto content = ContentId::from_raw(hint.old_content());
    if (content) older.push_back(*content);
  }
  return older;
}

}  // namespace

Transfers::Transfers(const TransferParts& parts, Uploads& uploads, Owner& owner, Rng rng)
    : parts_(parts), uploads_(uploads), owner_(owner), rng_(rng) {}

Transfers::~Transfers() {
  *alive_ = false;
}

template <class Call>
void Transfers::each_fetch(Call call) {
  for (auto& [job, transfer] : running_) {
    if (SpaceFetch* fetch = transfer->fetch()) call(*fetch);
    if (SpaceFetch* fetch = transfer->hint_fetch()) call(*fetch);
  }
}

void Transfers::take_push(const proto::PushTask& task, const std::string& node_name) {
  const ContentId content = content_id_of(task.root_record());
  take_ticket(content, task.ticket());
  for (const proto::Hint& hint : task.hints()) {
    take_ticket(content_id_of(hint.root_record()), hint.ticket());
  }
  know_peers(task.peers());
  if (const auto running = running_.find(task.job()); running != running_.end()) {
    // Offered again after the tracker or the connection was away: it goes on as it was.
    running->second->set_rate(task.rate_bytes_per_second());
    running->second->set_rack_mates(rack_mates_in(task));
    return report(*running->second);
  }
  for (const auto& waits : waiting_) {
    if (waits->order().job.number == task.job()) return report(*waits);
  }
  PushOrder order;
  order.job = JobId{task.job()};
  order.content = content;
  order.root_record = task.root_record();
  order.path = task.path();
  order.original_name = task.original_name();
  order.node_name = node_name;
  order.bytes_per_second = task.rate_bytes_per_second();
  order.allocate = task.allocate();
  order.rack = rack_;
  order.rack_mates = rack_mates_in(task);
  order.delta = !task.no_delta();
  order.reflink = !task.no_reflink();
  order.basis = task.basis();
  order.older = older_in(task);
  order.hints = hints_in(task);
  Transfer::Owner& owner = *this;
  auto transfer = std::make_unique<Transfer>(parts_, owner, std::move(order), rng_.split());
  // Known before it begins, so that two ways to write one path are seen to be one. Where the file
  // can be nowhere, begin() says so.
  (void)transfer->resolve();
  waiting_.push_back(std::move(transfer));
  begin_waiting();
}

// Two transfers of one content would write one checkpoint: the later one waits and then copies. Two
// to one path: the later one waits, and then takes the path.
const Transfer* Transfers::rival_of(const Transfer& transfer) const {
  for (const auto& [job, running] : running_) {
    if (running->order().content == transfer.order().content ||
        running->final_path() == transfer.final_path()) {
      return running.get();
    }
  }
  return nullptr;
}

void Transfers::begin_waiting() {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (const Transfer* rival = rival_of(**it)) {
      (*it)->wait_for(*rival);
      report(**it);
      ++it;
      continue;
    }
    std::unique_ptr<Transfer> transfer = std::move(*it);
    it = waiting_.erase(it);
    Transfer& begun = *transfer;
    running_[begun.order().job.number] = std::move(transfer);
    begun.begin();
  }
}

void Transfers::take_ticket(const ContentId& content, const std::string& ticket) {
  if (!parts_.admission.keep_own(content, ticket)) return;
  each_fetch([&](SpaceFetch& fetch) {
    if (fetch.key().content == content) fetch.on_own_ticket();
  });
}

void Transfers::know_peers(const google::protobuf::RepeatedPtrField<proto::PeerAddress>& peers) {
  for (const proto::PeerAddress& peer : peers) {
    const auto node = NodeId::parse(peer.node_id());
    const auto address = parse_host_port(peer.address());
    if (!node || !address) continue;
    parts_.mesh.know(*node, *address, peer.seed());
    // One that we are connected with may have got something since it last said that it has nothing.
    if (parts_.mesh.is_up(*node)) on_peer_up(*node);
  }
}

void Transfers::cancel(std::uint64_t job) {
  if (const auto found = running_.find(job); found != running_.end()) found->second->cancel();
  std::erase_if(waiting_,
                [&](const auto& transfer) { return transfer->order().job.number == job; });
}

void Transfers::cancel_all() {
  waiting_.clear();
  for (auto& [job, transfer] : running_) transfer->cancel();
}

bool Transfers::has(std::uint64_t job) const {
  return running_.contains(job) ||
         std::any_of(waiting_.begin(), waiting_.end(),
                     [&](const auto& t) { return t->order().job.number == job; });
}

void Transfers::report(Transfer& transfer) {
  proto::TaskUpdate update;
  update.set_job(transfer.order().job.number);
  update.set_state(std::string(to_string(transfer.state())));
  update.set_detail(transfer.detail());
  update.set_bytes_done(transfer.bytes_done());
  update.set_bytes_total(transfer.bytes_total());
  update.set_bytes_received(transfer.bytes_received());
  update.set_bytes_copied(transfer.bytes_copied());
  update.set_bytes_already(transfer.bytes_already());
  update.set_bytes_written(transfer.bytes_written());
  update.set_basis(std::string(utf8_prefix(transfer.basis(), 1024)));
  const auto sent = uploads_.bytes_sent().find(transfer.order().content);
  if (sent != uploads_.bytes_sent().end()) update.set_bytes_sent(sent->second);
  update.set_path(transfer.final_path());
  update.set_durable(transfer.durable());
  update.set_chunks_without_holder(transfer.chunks_without_holder());
  if (transfer.state() == TaskState::failed) {
    update.set_error_code(std::string(to_string(transfer.error_code())));
  }
  proto::AgentMessage message;
  *message.mutable_task() = std::move(update);
  owner_.send_to_tracker(message);
}

void Transfers::on_transfer_changed(Transfer& transfer) {
  // States are told at once, bytes with the next report.
  if (is_final(transfer.state()) || transfer.bytes_done() == 0) report(transfer);
  if (!is_final(transfer.state()) || removal_posted_) return;
  removal_posted_ = true;
  boost::asio::post(parts_.control, [this] { remove_ended(); });
}

void Transfers::remove_ended() {
  removal_posted_ = false;
  for (auto it = running_.begin(); it != running_.end();) {
    if (!is_final(it->second->state())) {
      ++it;
      continue;
    }
    Transfer& ended = *it->second;
    // What is served from now on does not hang on the transfer any more.
    const SpaceKey data{ended.order().content, false};
    if (ended.state() == TaskState::succeeded && ended.source()) {
      uploads_.share(data, ended.source(), nullptr);
    } else if (ended.state() != TaskState::succeeded) {
      uploads_.unshare(data);
    }
    const ContentId content = ended.order().content;
    const std::vector<KnownHint> hints = ended.order().hints;
    ended.let_go_of_files();
    it = running_.erase(it);
    const auto fetches = [&](const Transfer& t) { return t.order().content == content; };
    if (std::none_of(running_.begin(), running_.end(),
                     [&](const auto& entry) { return fetches(*entry.second); }) &&
        std::none_of(waiting_.begin(), waiting_.end(),
                     [&](const auto& transfer) { return fetches(*transfer); })) {
      parts_.admission.drop_own(content);
      for (const KnownHint& hint : hints) parts_.admission.drop_own(hint.id);
    }
  }
  if (running_.empty() && waiting_.empty())
    parts_.mesh.forget_all_but([](NodeId) { return false; });
  begin_waiting();
}

void Transfers::share(const SpaceKey& space, ServeSourcePtr source, const Bitfield* have) {
  uploads_.share(space, std::move(source), have);
}

void Transfers::unshare(const SpaceKey& space) {
  uploads_.unshare(space);
}

void Transfers::on_landed(Transfer& transfer, const proto::HoldingRecord& record) {
  uploads_.add_held(transfer.order().content);
  owner_.on_held(record);
}

void Transfers::on_bad_peer(const ContentId& content, NodeId peer, ChunkIndex chunk,
                            const std::string& reason) {
  proto::AgentMessage message;
  auto& report = *message.mutable_report();
  report.set_node_id(peer.str());
  report.set_content_id(std::string(content.digest.view()));
  report.set_chunk(chunk.value);
  report.set_reason(reason);
  owner_.send_to_tracker(message);
}

void Transfers::on_hint_wrong(const ContentId& hint, const ContentId& content,
                              const std::string& why) {
  proto::AgentMessage message;
  message.mutable_blame()->set_hint(std::string(hint.digest.view()));
  message.mutable_blame()->set_new_content(std::string(content.digest.view()));
  message.mutable_blame()->set_reason(why);
  owner_.send_to_tracker(message);
  uploads_.unshare({hint, /*body=*/true});
  parts_.disk.post([&hints = parts_.hints, hint] { (void)hints.remove(hint); });
}

void Transfers::on_recipe_found(const ContentId& old_content, const ContentId& content,
                                const Recipe& recipe) {
  offload(
      parts_.disk, content_lane(content), parts_.control, alive_,
      [&hints = parts_.hints, old_content, content, recipe] {
        return std::make_shared<Result<MadeHint>>(keep_recipe(hints, old_content, content, recipe));
      },
      [this](const std::shared_ptr<Result<MadeHint>>& made) {
        if (*made) owner_.on_hint_made(**made);
      });
}

std::uint64_t Transfers::promised_to_others(const Transfer& transfer, std::uint64_t device) const {
  std::uint64_t sum = 0;
  for (const auto& [job, other] : running_) {
    if (other.get() != &transfer) sum += other->promised(device);
  }
  return sum;
}

void Transfers::set_rate(const proto::RateLease& lease) {
  if (const auto found = running_.find(lease.job()); found != running_.end()) {
    found->second->set_rate(lease.bytes_per_second());
  }
}

void Transfers::on_tick(Time now) {
  for (auto& [job, transfer] : running_) transfer->on_tick(now);
}

void Transfers::report() {
  for (auto& [job, transfer] : running_) {
    if (!is_final(transfer->state())) report(*transfer);
  }
}

void Transfers::on_peer_up(NodeId peer) {
  each_fetch([&](SpaceFetch& fetch) { fetch.on_peer_up(peer); });
}

void Transfers::on_peer_down(NodeId peer) {
  each_fetch([&](SpaceFetch& fetch) { fetch.on_peer_down(peer); });
}

SpaceFetch* Transfers::fetch_of(const SpaceKey& space) {
  for (auto& [job, transfer] : running_) {
    if (SpaceFetch* fetch = transfer->fetch_of(space)) return fetch;
  }
  return nullptr;
}

}  // namespace p2p
