#include "p2pd/agent.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <csignal>
#include <random>
#include <thread>

#include "io/content/manifest_codec.h"
#include "io/disk/file_io.h"
#include "io/identity/tls_context.h"
#include "io/log/log.h"
#include "io/privileged/local_privileged.h"
#include "io/runtime/wall_clock.h"
#include "io/state/leveldb_store.h"
#include "io/wire/hello.h"
#include "io/wire/proto_json.h"
#include "proto/ready.pb.h"

namespace p2p {
namespace {

constexpr Duration kTick = std::chrono::milliseconds(100);
constexpr Duration kReportEvery = std::chrono::milliseconds(500);
constexpr Duration kRenewalCheck = std::chrono::minutes(10);
constexpr std::size_t kBodyPieceBytes = 256 * 1024;
constexpr unsigned kDiskThreads = 4;
constexpr std::size_t kDiskQueue = 1024;

std::uint64_t random_seed() {
  std::random_device device;
  return static_cast<std::uint64_t>(device()) << 32 | device();
}

unsigned data_threads(const AgentSettings& settings) {
  if (settings.data_threads > 0) return settings.data_threads;
  return std::clamp(std::thread::hardware_concurrency(), 1u, 4u);
}

}  // namespace

Result<std::unique_ptr<Agent>> Agent::open(const AgentSettings& settings) {
  auto node = load_node_file(settings.data);
  if (!node) return node.error();
  const auto id = NodeId::parse(node->node_id);
  if (!id) return Error{Errc::corrupt, settings.data + "/node.json: not a node id"};
  auto credentials = load_credentials(agent_credentials_folder(settings.data));
  if (!credentials) return credentials.error();
  auto privileged = LocalPrivileged::create(settings.roots, settings.shares);
  if (!privileged) return privileged.error();
  auto store = LevelDbStore::open(settings.data + "/state");
  if (!store) return store.error();
  auto contents = ContentStore::open(**store, settings.data + "/manifests", **privileged);
  if (!contents) return contents.error();
  auto holdings = contents->holdings();
  if (!holdings) return holdings.error();
  Loaded loaded{std::move(*node),  *id, std::move(*credentials), std::move(*privileged),
                std::move(*store), std::move(*contents), std::move(*holdings)};
  std::unique_ptr<Agent> agent(new Agent(settings, std::move(loaded)));
  if (const Status started = agent->start(); !started) return started.error();
  return agent;
}

Agent::Agent(const AgentSettings& settings, Loaded loaded)
    : settings_(settings),
      node_(std::move(loaded.node)),
      id_(loaded.id),
      rng_(random_seed()),
      credentials_(std::move(loaded.credentials)),
      disk_(kDiskThreads, kDiskQueue),
      privileged_(std::move(loaded.privileged)),
      store_(std::move(loaded.store)),
      contents_(std::move(loaded.contents)),
      parts_(*store_),
      mesh_(control_, disk_, data_threads(settings), id_, node_.cluster_id, *this, rng_.split()),
      uploads_(control_, disk_, mesh_, contents_,
               [this](const ContentId& content) {
                 const auto found = holdings_.find(content);
                 if (found == holdings_.end()) return;
                 announce(found->second, /*gone=*/true);
                 holdings_.erase(found);
                 disk_.post([this, content] {
                   const Status erased = contents_.erase_holding(content);
                   if (!erased) log_warn("state", "a record stays", {{"why", erased.error().detail}});
                 });
               }),
      timer_(control_),
      signals_(control_, SIGINT, SIGTERM),
      node_name_(node_.name) {
  for (auto& record : loaded.holdings) {
    const auto content = ContentId::from_raw(record.content_id());
    if (!content) continue;
    // Whether the file is still what was recorded shows when somebody asks for it, or below.
    if (!contents_.open_held(record)) continue;
    uploads_.add_held(*content);
    holdings_[*content] = std::move(record);
  }
}

Agent::~Agent() {
  link_.reset();
  publishing_.clear();
  // Data threads first: they post to the disk pool; then the pool, whose jobs use everything else.
  mesh_.stop();
  disk_.stop();
  waiting_.clear();
  transfers_.clear();
}

Status Agent::make_contexts() {
  auto server = make_server_context(credentials_, {kAlpn}, ClientCertificate::required);
  if (!server) return server.error();
  auto client = make_client_context(credentials_, {kAlpn});
  if (!client) return client.error();
  mesh_.set_contexts(*server, *client);
  if (link_) link_->set_context(*client);
  return {};
}

Status Agent::start() {
  auto tracker = parse_host_port(node_.tracker);
  if (!tracker) return tracker.error().within(settings_.data + "/node.json");
  auto port = mesh_.listen(settings_.listen);
  if (!port) return port.error();
  port_ = *port;
  TrackerLink::Owner& owner = *this;
  link_ = std::make_unique<TrackerLink>(control_, *tracker, node_.cluster_id, port_, owner,
                                        rng_.split());
  if (Status made = make_contexts(); !made) return made;
  log_info("agent", "ready",
           {{"node", node_.name},
            {"listen", HostPort{settings_.listen.host, port_}.str()},
            {"tracker", node_.tracker},
            {"held", holdings_.size()},
            {"version", kSoftwareVersion}});
  if (settings_.roots.empty()) {
    log_info("agent", "no --root: this node publishes, but receives nothing");
  }
  return {};
}

void Agent::run() {
  signals_.async_wait([this](boost::system::error_code error, int) {
    if (error) return;
    log_info("agent", "stopping");
    timer_.cancel();
    link_->stop();
    control_.stop();
  });
  link_->start();
  tick();
  control_.run();
}

void Agent::tick() {
  const Time now = monotonic_now();
  for (auto& [job, transfer] : transfers_) transfer->on_tick(now);
  if (now - last_report_ >= kReportEvery) {
    last_report_ = now;
    report_due(now);
  }
  renew_if_due(wall_now());
  timer_.expires_after(kTick);
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error) tick();
  });
}

// Progress of what runs, and what was sent to others, twice a second.
void Agent::report_due(Time) {
  for (auto& [job, transfer] : transfers_) {
    if (!is_final(transfer->state())) send_transfer(*transfer);
  }
  for (const auto& [job, publishing] : publishing_) {
    proto::TaskUpdate update;
    update.set_job(job);
    update.set_state(std::string(to_string(TaskState::running)));
    update.set_bytes_done(publishing.done);
    update.set_bytes_total(publishing.total);
    send_task(update);
  }
  for (const auto& [content, bytes] : uploads_.bytes_sent()) {
    std::uint64_t& reported = uploads_reported_[content];
    if (reported == bytes) continue;
    reported = bytes;
    proto::AgentMessage message;
    message.mutable_upload()->set_content_id(std::string(content.digest.view()));
    message.mutable_upload()->set_bytes_sent(bytes);
    link_->send(message);
  }
}

// ---- the tracker -------------------------------------------------------------------------------

void Agent::on_tracker_up() {
  proto::AgentMessage message;
  auto& hello = *message.mutable_hello();
  hello.set_version(kSoftwareVersion);
  hello.set_advertise(settings_.advertise);
  hello.set_listen_port(port_);
  for (const std::string& root : privileged_->roots()) hello.add_roots(root);
  for (const std::string& share : privileged_->shares()) hello.add_shares(share);
  if (const auto validity = validity_of(credentials_.chain_pem)) {
    hello.set_certificate_expires_unix(static_cast<std::uint64_t>(unix_seconds(validity->not_after)));
  }
  link_->send(message);
}

void Agent::on_tracker_down(const Error&) { renewal_key_.clear(); }

void Agent::on_tracker_message(const proto::TrackerMessage& message) {
  using Kind = proto::TrackerMessage::KindCase;
  switch (message.kind_case()) {
    case Kind::kWelcome: {
      node_name_ = message.welcome().node_name();
      log_info("tracker", "connected", {{"tracker", node_.tracker}, {"as", node_name_}});
      uploads_reported_.clear();
      announce_holdings();
      if (!settings_.ready_file.empty()) {
        proto::Ready ready;
        ready.set_listen(HostPort{settings_.listen.host, port_}.str());
        ready.set_online(true);
        const Status written =
            write_file_atomically(settings_.ready_file, to_json(ready) + "\n", 0644);
        if (!written) log_warn("agent", "no ready file", {{"why", written.error().detail}});
        settings_.ready_file.clear();
      }
      break;
    }
    case Kind::kPublish:
      take_publish(message.publish());
      break;
    case Kind::kPush:
      take_push(message.push());
      break;
    case Kind::kPeers:
      know_peers(message.peers().peers());
      break;
    case Kind::kRate:
      if (const auto found = transfers_.find(message.rate().job()); found != transfers_.end()) {
        found->second->set_rate(message.rate().bytes_per_second());
      }
      break;
    case Kind::kCancel:
      take_cancel(message.cancel().job());
      break;
    case Kind::kCertificate:
      take_certificate(message.certificate());
      break;
    case Kind::kRefusal:
      log_error("tracker", "refused by the tracker", {{"why", message.refusal().detail()}});
      break;
    case Kind::kJoined:
    case Kind::KIND_NOT_SET:
      break;
  }
}

void Agent::announce_holdings() {
  constexpr int kInMessage = 500;
  proto::AgentMessage message;
  message.mutable_holdings()->set_first(true);
  for (const auto& [content, record] : holdings_) {
    proto::Holding& holding = *message.mutable_holdings()->add_holdings();
    holding.set_content_id(record.content_id());
    holding.set_complete(true);
    holding.set_bytes(record.size());
    holding.set_path(record.path());
    if (message.holdings().holdings_size() == kInMessage) {
      link_->send(message);
      message.mutable_holdings()->Clear();
    }
  }
  message.mutable_holdings()->set_last(true);
  link_->send(message);
}

void Agent::announce(const proto::HoldingRecord& record, bool gone) {
  proto::AgentMessage message;
  proto::Holding& holding = *message.mutable_holdings()->add_holdings();
  holding.set_content_id(record.content_id());
  holding.set_complete(!gone);
  holding.set_gone(gone);
  holding.set_bytes(record.size());
  holding.set_path(record.path());
  link_->send(message);
}

void Agent::send_task(const proto::TaskUpdate& update) {
  proto::AgentMessage message;
  *message.mutable_task() = update;
  link_->send(message);
}

// From two thirds of its life on a certificate is renewed, with a new key.
void Agent::renew_if_due(WallTime now) {
  if (now - renewal_checked_ < kRenewalCheck) return;
  renewal_checked_ = now;
  const auto validity = validity_of(credentials_.chain_pem);
  if (!validity || !renewal_due(*validity, now)) return;
  if (!link_->up()) {
    renewal_checked_ = WallTime{};  // as soon as there is a tracker again
    return;
  }
  auto key = generate_key();
  auto csr = key ? make_csr(*key) : Result<std::string>(key.error());
  if (!csr) {
    log_error("agent", "cannot ask for a new certificate", {{"why", csr.error().detail}});
    return;
  }
  renewal_key_ = *key;
  proto::AgentMessage message;
  message.mutable_renew()->set_csr_pem(*csr);
  link_->send(message);
}

void Agent::take_certificate(const proto::Certificate& certificate) {
  if (renewal_key_.empty()) return;
  Credentials renewed{std::exchange(renewal_key_, {}), certificate.chain_pem(),
                      certificate.bundle_pem()};
  Status done = save_credentials(agent_credentials_folder(settings_.data), renewed);
  if (done) {
    credentials_ = std::move(renewed);
    done = make_contexts();
  }
  if (done) {
    log_info("agent", "certificate renewed");
  } else {
    log_error("agent", "the new certificate is not usable; the old one stays",
              {{"why", done.error().detail}});
  }
}

// ---- publish -----------------------------------------------------------------------------------

void Agent::take_publish(const proto::PublishTask& task) {
  const std::uint64_t job = task.job();
  if (publishing_.contains(job)) return;
  Publishing& publishing = publishing_[job];
  log_info("publish", "begins", {{"job", JobId{job}.str()}, {"path", task.path()}});
  publishing.publisher = std::make_unique<Publisher>(
      control_, contents_, *privileged_, task.path(),
      [this, job](std::uint64_t done, std::uint64_t total) {
        publishing_[job].done = done;
        publishing_[job].total = total;
      },
      [this, job](Result<Publisher::Done> done) { published(job, std::move(done)); });
}

void Agent::published(std::uint64_t job, Result<Publisher::Done> done) {
  proto::TaskUpdate update;
  update.set_job(job);
  if (!done) {
    update.set_state(std::string(to_string(TaskState::failed)));
    update.set_detail(done.error().detail);
    update.set_error_code(std::string(to_string(done.error().code)));
    log_warn("publish", "failed", {{"job", JobId{job}.str()}, {"why", done.error().detail}});
  } else {
    const LoadedManifest& manifest = done->manifest;
    for (std::size_t at = 0; at < manifest.body_bytes.size(); at += kBodyPieceBytes) {
      proto::AgentMessage piece;
      piece.mutable_body()->set_content_id(std::string(manifest.id.digest.view()));
      piece.mutable_body()->set_offset(at);
      piece.mutable_body()->set_bytes(manifest.body_bytes.substr(at, kBodyPieceBytes));
      piece.mutable_body()->set_last(at + kBodyPieceBytes >= manifest.body_bytes.size());
      link_->send(piece);
    }
    proto::HoldingRecord record;
    record.set_content_id(std::string(manifest.id.digest.view()));
    record.set_path(done->path);
    record.set_size(manifest.root_record.total_bytes);
    // What was opened of an older file at that place is not served any more.
    uploads_.unshare({manifest.id, false});
    uploads_.add_held(manifest.id);
    holdings_[manifest.id] = record;
    announce(record, /*gone=*/false);
    update.set_state(std::string(to_string(TaskState::succeeded)));
    update.set_bytes_done(manifest.root_record.total_bytes);
    update.set_bytes_total(manifest.root_record.total_bytes);
    update.set_root_record(manifest.root_record_bytes);
    update.set_original_name(done->original_name);
    update.set_path(done->path);
    log_info("publish", "done",
             {{"job", JobId{job}.str()}, {"path", done->path}, {"content", manifest.id.hex()}});
  }
  send_task(update);
  boost::asio::post(control_, [this, job] { publishing_.erase(job); });
}

// ---- push --------------------------------------------------------------------------------------

void Agent::take_push(const proto::PushTask& task) {
  const ContentId content = content_id_of(task.root_record());
  know_peers(task.peers());
  if (const auto running = transfers_.find(task.job()); running != transfers_.end()) {
    // Offered again after the tracker or the connection was away: it goes on as it was.
    running->second->set_rate(task.rate_bytes_per_second());
    return send_transfer(*running->second);
  }
  const bool waits = std::any_of(waiting_.begin(), waiting_.end(), [&](const auto& transfer) {
    return transfer->order().job.number == task.job();
  });
  if (waits) return;
  PushOrder order;
  order.job = JobId{task.job()};
  order.content = content;
  order.root_record = task.root_record();
  order.path = task.path();
  order.original_name = task.original_name();
  order.node_name = node_name_;
  order.bytes_per_second = task.rate_bytes_per_second();
  const TransferParts parts{control_, disk_, mesh_, contents_, parts_, *privileged_};
  Transfer::Owner& owner = *this;
  waiting_.push_back(std::make_unique<Transfer>(parts, owner, std::move(order), rng_.split()));
  begin_waiting();
}

// Two transfers of one content would write one checkpoint: the later one waits and then copies.
bool Agent::clashes(const Transfer& transfer) const {
  return std::any_of(transfers_.begin(), transfers_.end(), [&](const auto& entry) {
    return entry.second->order().content == transfer.order().content ||
           entry.second->order().path == transfer.order().path;
  });
}

void Agent::begin_waiting() {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (clashes(**it)) {
      ++it;
      continue;
    }
    std::unique_ptr<Transfer> transfer = std::move(*it);
    it = waiting_.erase(it);
    Transfer& begun = *transfer;
    transfers_[begun.order().job.number] = std::move(transfer);
    begun.begin();
  }
}

void Agent::know_peers(const google::protobuf::RepeatedPtrField<proto::PeerAddress>& peers) {
  for (const proto::PeerAddress& peer : peers) {
    const auto node = NodeId::parse(peer.node_id());
    const auto address = parse_host_port(peer.address());
    if (node && address) mesh_.know(*node, *address, peer.seed());
  }
}

void Agent::take_cancel(std::uint64_t job) {
  if (const auto found = transfers_.find(job); found != transfers_.end()) found->second->cancel();
  std::erase_if(waiting_, [&](const auto& transfer) {
    return transfer->order().job.number == job;
  });
  publishing_.erase(job);
}

void Agent::send_transfer(Transfer& transfer) {
  proto::TaskUpdate update;
  update.set_job(transfer.order().job.number);
  update.set_state(std::string(to_string(transfer.state())));
  update.set_detail(transfer.detail());
  update.set_bytes_done(transfer.bytes_done());
  update.set_bytes_total(transfer.bytes_total());
  update.set_bytes_received(transfer.bytes_received());
  const auto sent = uploads_.bytes_sent().find(transfer.order().content);
  if (sent != uploads_.bytes_sent().end()) update.set_bytes_sent(sent->second);
  update.set_path(transfer.final_path());
  update.set_durable(transfer.durable());
  if (transfer.state() == TaskState::failed) {
    update.set_error_code(std::string(to_string(transfer.error_code())));
  }
  send_task(update);
}

void Agent::on_transfer_changed(Transfer& transfer) {
  // States are told at once, bytes with the next report.
  if (is_final(transfer.state()) || transfer.bytes_done() == 0) send_transfer(transfer);
  if (!is_final(transfer.state()) || removal_posted_) return;
  removal_posted_ = true;
  boost::asio::post(control_, [this] { remove_ended(); });
}

void Agent::remove_ended() {
  removal_posted_ = false;
  for (auto it = transfers_.begin(); it != transfers_.end();) {
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
    it = transfers_.erase(it);
  }
  if (transfers_.empty() && waiting_.empty()) mesh_.forget_all_but([](NodeId) { return false; });
  begin_waiting();
}

void Agent::share(const SpaceKey& space, ServeSourcePtr source, const Bitfield* have) {
  uploads_.share(space, std::move(source), have);
}

void Agent::unshare(const SpaceKey& space) { uploads_.unshare(space); }

void Agent::on_landed(Transfer& transfer, const proto::HoldingRecord& record) {
  const ContentId content = transfer.order().content;
  uploads_.add_held(content);
  holdings_[content] = record;
  announce(record, /*gone=*/false);
}

void Agent::on_bad_peer(const ContentId& content, NodeId peer, ChunkIndex chunk,
                        const std::string& reason) {
  proto::AgentMessage message;
  auto& report = *message.mutable_report();
  report.set_node_id(peer.str());
  report.set_content_id(std::string(content.digest.view()));
  report.set_chunk(chunk.value);
  report.set_reason(reason);
  link_->send(message);
}

// ---- peers -------------------------------------------------------------------------------------

SpaceFetch* Agent::fetch_of(const SpaceKey& space) {
  for (auto& [job, transfer] : transfers_) {
    if (SpaceFetch* fetch = transfer->fetch_of(space)) return fetch;
  }
  return nullptr;
}

void Agent::on_peer_up(NodeId peer) {
  for (auto& [job, transfer] : transfers_) {
    if (SpaceFetch* fetch = transfer->fetch()) fetch->on_peer_up(peer);
  }
}

void Agent::on_peer_down(NodeId peer) {
  uploads_.on_peer_down(peer);
  for (auto& [job, transfer] : transfers_) {
    if (SpaceFetch* fetch = transfer->fetch()) fetch->on_peer_down(peer);
  }
}

void Agent::on_peer_open(NodeId peer, const SpaceKey& space, bool wants) {
  if (SpaceFetch* fetch = fetch_of(space)) return fetch->on_peer_open(peer);
  uploads_.on_peer_open(peer, space, wants);
}

void Agent::on_peer_close(NodeId peer, const SpaceKey& space) {
  if (SpaceFetch* fetch = fetch_of(space)) fetch->on_peer_close(peer);
}

void Agent::on_peer_have(NodeId peer, const SpaceKey& space, std::vector<ChunkRun> runs) {
  if (SpaceFetch* fetch = fetch_of(space)) fetch->on_peer_have(peer, runs);
}

void Agent::on_peer_request(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  uploads_.on_peer_request(peer, space, range);
}

void Agent::on_peer_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  uploads_.on_peer_cancel(peer, space, range);
}

void Agent::on_peer_refusal(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  if (SpaceFetch* fetch = fetch_of(space)) fetch->on_peer_refusal(peer, range);
}

void Agent::on_peer_data(NodeId peer, const SpaceKey& space, ArrivedData data) {
  // Late bytes of a transfer that is over are thrown away.
  if (SpaceFetch* fetch = fetch_of(space)) fetch->on_peer_data(peer, std::move(data));
}

void Agent::on_peer_sent(NodeId peer, std::uint32_t payload_bytes) {
  uploads_.on_peer_sent(peer, payload_bytes);
}

void Agent::on_serve_failed(const ServeSourcePtr& source, const Error& why) {
  uploads_.on_serve_failed(source, why);
}

}  // namespace p2p
