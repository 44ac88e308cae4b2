// The part of the agent that the tracker talks to.
#include <limits>
#include <utility>

#include "core/model/place.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "io/wire/hello.h"
#include "p2pd/agent.h"

namespace p2p {
namespace {

// Lanes of transfers count up from the numbers of their jobs.
constexpr DiskPool::Lane kDenyListLane = std::numeric_limits<DiskPool::Lane>::max();

proto::Holding held(const proto::HoldingRecord& record) {
  proto::Holding holding;
  holding.set_content_id(record.content_id());
  holding.set_complete(true);
  holding.set_bytes(record.size());
  holding.set_path(record.path());
  return holding;
}

proto::Holding gone(const ContentId& content, const std::string& path, bool changed) {
  proto::Holding holding;
  holding.set_content_id(std::string(content.digest.view()));
  holding.set_path(path);
  holding.set_gone(true);
  holding.set_changed(changed);
  return holding;
}

}  // namespace

void Agent::on_tracker_up() {
  proto::AgentMessage message;
  auto& hello = *message.mutable_hello();
  hello.set_version(kSoftwareVersion);
  hello.set_advertise(settings_.advertise);
  hello.set_listen_port(port_);
  for (const std::string& root : privileged_->roots()) hello.add_roots(root);
  for (const std::string& share : privileged_->shares()) hello.add_shares(share);
  if (const auto validity = validity_of(credentials_.chain_pem)) {
    hello.set_certificate_expires_unix(
        static_cast<std::uint64_t>(unix_seconds(validity->not_after)));
  }
  hello.set_deny_version(removed_.version());
  hello.set_exec(std::string(to_string(runs_->policy())));
  link_->send(message);
}

void Agent::on_tracker_down(const Error&) {
  renewal_.forget_request();
  runs_->on_tracker_down();
}

void Agent::on_tracker_message(const proto::TrackerMessage& message) {
  using Kind = proto::TrackerMessage::KindCase;
  switch (message.kind_case()) {
    case Kind::kWelcome: {
      node_name_ = message.welcome().node_name();
      take_labels(message.welcome().labels());
      runs_->is_named(node_name_);
      log_info("tracker", "connected", {{"tracker", node_.tracker}, {"as", node_name_}});
      link_->set_slow(false);
      removed_myself_ = false;
      uploads_reported_.clear();
      announce_holdings();
      orphans_->ask_all();
      runs_->on_welcome();
      news_->on_welcome();
      if (std::exchange(settings_.writes_ready_file, false)) write_ready_file();
      break;
    }
    case Kind::kPublish:
      take_publish(message.publish());
      break;
    case Kind::kPush:
      // Hints for it were being made here when the connection was lost: the push goes on without.
      publishing_.erase(message.push().job());
      transfers_->take_push(message.push(), node_name_);
      break;
    case Kind::kPeers:
      transfers_->know_peers(message.peers().peers());
      break;
    case Kind::kRate:
      transfers_->set_rate(message.rate());
      break;
    case Kind::kCancel:
      transfers_->cancel(message.cancel().job());
      orphans_->remove(JobId{message.cancel().job()});
      publishing_.erase(message.cancel().job());
      break;
    case Kind::kTicket:
      if (const auto content = ContentId::from_raw(message.ticket().content_id())) {
        transfers_->take_ticket(*content, message.ticket().ticket());
      }
      break;
    case Kind::kLabels:
      take_labels(message.labels().labels());
      break;
    case Kind::kSeeds:
      take_seeds(message.seeds());
      break;
    case Kind::kCertificate:
      take_certificate(message.certificate());
      break;
    case Kind::kDenyList:
      take_deny_list(removed_.take(message.deny_list(), wall_now()), "the tracker");
      break;
    case Kind::kRefusal:
      if (message.refusal().removed()) return on_removed(message.refusal().detail());
      log_error("tracker", "refused by the tracker", {{"why", message.refusal().detail()}});
      break;
    case Kind::kRun:
      runs_->take(message.run());
      break;
    case Kind::kCancelRun:
      runs_->cancel(message.cancel_run());
      break;
    case Kind::kRunKnown:
      runs_->take_known(message.run_known());
      break;
    case Kind::kOutputTaken:
      runs_->take_output_taken(message.output_taken());
      break;
    case Kind::kBlob:
      runs_->take_blob(message.blob());
      break;
    case Kind::kFigures:
      news_->take_figures_wanted();
      break;
    case Kind::kJoined:
    case Kind::KIND_NOT_SET:
      break;
  }
}

void Agent::take_labels(const google::protobuf::Map<std::string, std::string>& labels) {
  const std::string rack = rack_of({labels.begin(), labels.end()});
  uploads_.stands_in(rack);
  transfers_->stands_in(rack);
}

void Agent::take_seeds(const proto::Seeds& message) {
  const auto content = ContentId::from_raw(message.content_id());
  if (!content) return;
  std::vector<NodeId> seeds;
  for (const std::string& text : message.node_ids()) {
    if (const auto node = NodeId::parse(text)) seeds.push_back(*node);
  }
  uploads_.set_seeds(*content, std::move(seeds));
}

// A newer list is kept at once and told to the peers with the next tick: by then the tracker has
// told most of them.
void Agent::take_deny_list(const Result<bool>& taken, const std::string& from) {
  if (!taken) {
    log_warn("peers", "a deny-list is not believed",
             {{"from", from}, {"why", taken.error().detail}});
    return;
  }
  if (!*taken) return;
  log_info(
      "peers", "a newer deny-list",
      {{"from", from}, {"version", removed_.version()}, {"nodes", removed_.list().nodes.size()}});
  disk_.post(kDenyListLane, [file = settings_.deny_list_file(), list = removed_.statement()] {
    const Status stored = RemovedNodes::store(file, list);
    if (!stored) log_error("peers", "not stored", {{"why", stored.error().detail}});
  });
  tell_deny_version_ = true;
  mesh_.end_removed();
  if (removed_.contains(id_)) on_removed("it is on the deny-list");
}

// Nobody gives or takes anything any more. The tracker is asked again now and then: it may have
// been a mistake that a restored backup undoes.
void Agent::on_removed(const std::string& why) {
  link_->set_slow(true);
  if (std::exchange(removed_myself_, true)) return;
  log_error("agent",
            "this node was removed from the cluster; to bring it back, stop it, move its data "
            "folder away, and join again with a new token",
            {{"node", node_.name}, {"data", settings_.data}, {"why", why}});
  transfers_->cancel_all();
}

void Agent::announce_holdings() {
  constexpr int kInMessage = 500;
  proto::AgentMessage message;
  message.mutable_holdings()->set_first(true);
  const auto add = [&](const proto::Holding& holding) {
    *message.mutable_holdings()->add_holdings() = holding;
    if (message.holdings().holdings_size() < kInMessage) return;
    link_->send(message);
    message.mutable_holdings()->Clear();
  };
  for (const auto& [content, record] : holdings_) add(held(record));
  for (const auto& [content, lost] : lost_) add(gone(content, lost.path, lost.changed));
  message.mutable_holdings()->set_last(true);
  link_->send(message);
}

void Agent::announce(const proto::HoldingRecord& record) {
  proto::AgentMessage message;
  *message.mutable_holdings()->add_holdings() = held(record);
  link_->send(message);
}

// The file is gone or (corrupt) another one than was recorded.
void Agent::on_content_gone(const ContentId& content, const Error& why) {
  const auto found = holdings_.find(content);
  if (found == holdings_.end()) return;
  const LostHolding lost{found->second.path(), why.code == Errc::corrupt};
  holdings_.erase(found);
  lost_[content] = lost;
  proto::AgentMessage message;
  *message.mutable_holdings()->add_holdings() = gone(content, lost.path, lost.changed);
  link_->send(message);
  note_lost(content);
}

void Agent::note_lost(const ContentId& content) {
  disk_.post([this, content] {
    const Status noted = contents_.mark_lost(content, wall_now());
    if (!noted) log_warn("state", "a record stays as it was", {{"why", noted.error().detail}});
  });
}

void Agent::send_task(const proto::TaskUpdate& update) {
  proto::AgentMessage message;
  *message.mutable_task() = update;
  link_->send(message);
}

void Agent::send_to_tracker(const proto::AgentMessage& message) {
  link_->send(message);
}

void Agent::on_held(const proto::HoldingRecord& record) {
  const auto content = ContentId::from_raw(record.content_id());
  P2P_CHECK(content.has_value());
  // What stood at this path before has made way: nobody has tampered with it.
  for (auto it = holdings_.begin(); it != holdings_.end();) {
    if (it->first == *content || it->second.path() != record.path()) {
      ++it;
      continue;
    }
    const ContentId replaced = it->first;
    it = holdings_.erase(it);
    lost_[replaced] = {record.path(), /*changed=*/false};
    proto::AgentMessage message;
    *message.mutable_holdings()->add_holdings() = gone(replaced, record.path(), false);
    link_->send(message);
    note_lost(replaced);
  }
  holdings_[*content] = record;
  lost_.erase(*content);
  announce(record);
}

void Agent::on_hint_made(const MadeHint& made) {
  uploads_.share({made.stored.id, /*body=*/true}, made.stored.source, nullptr);
  proto::AgentMessage message;
  *message.mutable_hint() = made.message;
  link_->send(message);
}

void Agent::take_certificate(const proto::Certificate& certificate) {
  Status done = renewal_.take(certificate, credentials_);
  if (done) done = make_contexts();
  if (done) {
    log_info("agent", "certificate renewed");
  } else {
    log_error("agent", "the new certificate is not usable; the old one stays",
              {{"why", done.error().detail}});
  }
}

}  // namespace p2p
