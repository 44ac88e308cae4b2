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
  Loaded loaded{std::move(*node),        *id,
                std::move(*credentials), std::move(*privileged),
                std::move(*store),       std::move(*contents),
                std::move(*holdings)};
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
      uploads_(
          control_, disk_, mesh_, contents_,
          [this](const ContentId& content) {
            const auto found = holdings_.find(content);
            if (found == holdings_.end()) return;
            announce(found->second, /*gone=*/true);
            holdings_.erase(found);
            disk_.post([this, content] {
              const Status erased = contents_.erase_holding(content);
              if (!erased) log_warn("state", "a record stays", {{"why", erased.error().detail}});
            });
          },
          rng_.split()),
      timer_(control_),
      signals_(control_, SIGINT, SIGTERM),
      renewal_(agent_credentials_folder(settings.data)),
      node_name_(node_.name) {
  const TransferParts parts{control_, disk_, mesh_, contents_, parts_, *privileged_};
  Transfers::Owner& owner = *this;
  transfers_ = std::make_unique<Transfers>(parts, uploads_, owner, rng_.split());
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
  transfers_.reset();
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
  transfers_->on_tick(now);
  report_uploads();
  if (now - last_report_ >= kReportEvery) {
    last_report_ = now;
    report();
  }
  proto::AgentMessage renewal;
  if (renewal_.due(credentials_, link_->up(), wall_now(), *renewal.mutable_renew())) {
    link_->send(renewal);
  }
  timer_.expires_after(kTick);
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error) tick();
  });
}

// Progress of what runs, and what was sent to others, twice a second.
void Agent::report() {
  transfers_->report();
  for (const auto& [job, publishing] : publishing_) {
    proto::TaskUpdate update;
    update.set_job(job);
    update.set_state(std::string(to_string(TaskState::running)));
    update.set_bytes_done(publishing.done);
    update.set_bytes_total(publishing.total);
    send_task(update);
  }
}

// Often: what a source sent last should be known when the last receiver is done.
void Agent::report_uploads() {
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
    hello.set_certificate_expires_unix(
        static_cast<std::uint64_t>(unix_seconds(validity->not_after)));
  }
  link_->send(message);
}

void Agent::on_tracker_down(const Error&) {
  renewal_.forget_request();
}

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
      publishing_.erase(message.cancel().job());
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

void Agent::send_to_tracker(const proto::AgentMessage& message) {
  link_->send(message);
}

void Agent::on_held(const proto::HoldingRecord& record) {
  const auto content = ContentId::from_raw(record.content_id());
  P2P_CHECK(content.has_value());
  holdings_[*content] = record;
  announce(record, /*gone=*/false);
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
    // What is being served of this content goes on: the bytes are the same.
    uploads_.add_held(manifest.id);
    on_held(record);
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

// ---- peers -------------------------------------------------------------------------------------

void Agent::on_peer_up(NodeId peer) {
  transfers_->on_peer_up(peer);
}

void Agent::on_peer_down(NodeId peer) {
  uploads_.on_peer_down(peer);
  transfers_->on_peer_down(peer);
}

void Agent::on_peer_open(NodeId peer, const SpaceKey& space, bool wants, bool offers) {
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) return fetch->on_peer_open(peer, offers);
  uploads_.on_peer_open(peer, space, wants);
}

void Agent::on_peer_close(NodeId peer, const SpaceKey& space) {
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) fetch->on_peer_close(peer);
}

void Agent::on_peer_have(NodeId peer, const SpaceKey& space, std::vector<ChunkRun> runs) {
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) return fetch->on_peer_have(peer, runs);
  uploads_.on_peer_have(peer, space, runs);
}

void Agent::on_peer_offer(NodeId peer, const SpaceKey& space, const Offer& offer) {
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) return fetch->on_peer_offer(peer, offer);
  // Zero milliseconds: an answer to an offer of ours.
  if (offer.milliseconds == 0) uploads_.on_peer_decline(peer, space, ChunkIndex{offer.chunk});
}

void Agent::on_peer_busy(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) fetch->on_peer_busy(peer, range);
}

void Agent::on_peer_request(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  uploads_.on_peer_request(peer, space, range);
}

void Agent::on_peer_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  uploads_.on_peer_cancel(peer, space, range);
}

void Agent::on_peer_refusal(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) fetch->on_peer_refusal(peer, range);
}

void Agent::on_peer_data(NodeId peer, const SpaceKey& space, ArrivedData data) {
  // Late bytes of a transfer that is over are thrown away.
  if (SpaceFetch* fetch = transfers_->fetch_of(space)) fetch->on_peer_data(peer, std::move(data));
}

void Agent::on_peer_sent(NodeId peer, std::uint32_t payload_bytes) {
  uploads_.on_peer_sent(peer, payload_bytes);
}

void Agent::on_serve_failed(const ServeSourcePtr& source, const Error& why) {
  uploads_.on_serve_failed(source, why);
}

}  // namespace p2p
