#include "p2pd/agent.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <csignal>
#include <random>
#include <thread>
#include <utility>

#include "io/content/manifest_codec.h"
#include "io/identity/tls_context.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "io/wire/hello.h"
#include "io/wire/proto_json.h"
#include "p2pd/agent_store.h"
#include "proto/ready.pb.h"

namespace p2p {
namespace {

constexpr Duration kTick = std::chrono::milliseconds(100);
constexpr Duration kReportEvery = std::chrono::milliseconds(500);
constexpr std::size_t kBodyPieceBytes = 256 * 1024;
constexpr unsigned kDiskThreads = 4;
constexpr std::size_t kDiskQueue = 1024;
// As long as a job may wait for a node (tracker/job_plan.cpp): then nobody needs to know any more.
constexpr Duration kLostHoldingKept = std::chrono::hours(30 * 24);

std::uint64_t random_seed() {
  std::random_device device;
  return static_cast<std::uint64_t>(device()) << 32 | device();
}

PeerMeshSettings mesh_settings(const AgentSettings& settings) {
  PeerMeshSettings mesh;
  mesh.data_threads = settings.data_threads > 0
                          ? settings.data_threads
                          : std::clamp(std::thread::hardware_concurrency(), 1u, 4u);
  return mesh;
}

}  // namespace

Result<std::unique_ptr<Agent>> Agent::open(const AgentSettings& settings,
                                           std::unique_ptr<Privileged> privileged, Fd launcher) {
  auto node = load_node_file(settings.data);
  if (!node) return node.error();
  const auto id = NodeId::parse(node->node_id);
  if (!id) return Error{Errc::corrupt, settings.data + "/node.json: not a node id"};
  auto credentials = load_credentials(agent_credentials_folder(settings.data));
  if (!credentials) return credentials.error();
  auto store = open_agent_store(settings.data);
  if (!store) return store.error();
  auto contents = ContentStore::open(*store->store, settings.data + "/manifests", *privileged);
  if (!contents) return contents.error();
  auto holdings = contents->holdings();
  if (!holdings) return holdings.error();
  auto verifier = StatementVerifier::make(credentials->bundle_pem, node->cluster_id);
  if (!verifier) return verifier.error();
  auto hints = HintStore::open(settings.data + "/hints");
  if (!hints) return hints.error();
  auto stored = hints->load();
  if (!stored) return stored.error();
  Loaded loaded{std::move(*node),        *id,
                std::move(*credentials), std::move(*verifier),
                std::move(privileged),   std::move(store->store),
                std::move(*contents),    std::move(*hints),
                std::move(*stored),      std::move(*holdings),
                store->search_roots};
  std::unique_ptr<Agent> agent(new Agent(settings, std::move(loaded), std::move(launcher)));
  if (const Status found = agent->runs_->recover(); !found) return found.error();
  if (const Status started = agent->start(); !started) return started.error();
  return agent;
}

Agent::Agent(const AgentSettings& settings, Loaded loaded, Fd launcher)
    : settings_(settings),
      node_(std::move(loaded.node)),
      id_(loaded.id),
      rng_(random_seed()),
      credentials_(std::move(loaded.credentials)),
      disk_(kDiskThreads, kDiskQueue),
      privileged_(std::move(loaded.privileged)),
      store_(std::move(loaded.store)),
      contents_(std::move(loaded.contents)),
      hints_(std::move(loaded.hints)),
      parts_(*store_),
      verifier_(std::move(loaded.verifier)),
      admission_(verifier_),
      removed_(verifier_),
      mesh_(control_, disk_, mesh_settings(settings), id_, node_.cluster_id, *this, rng_.split()),
      uploads_(control_, disk_, mesh_, id_, contents_, *this, rng_.split()),
      timer_(control_),
      signals_(control_, SIGINT, SIGTERM),
      renewal_(agent_credentials_folder(settings.data)),
      node_name_(node_.name) {
  const PartTools part{*privileged_, parts_, FileCalls::system()};
  const TransferParts parts{id_, control_, disk_, mesh_, admission_, contents_, hints_, part};
  Transfers::Owner& owner = *this;
  transfers_ = std::make_unique<Transfers>(parts, uploads_, owner, rng_.split());
  orphans_ = std::make_unique<Orphans>(control_, disk_, part, id_, [this](JobId job) {
    if (transfers_->has(job.number) || !link_->up()) return;
    proto::TaskUpdate update;
    update.set_job(job.number);
    update.set_state(std::string(to_string(TaskState::accepted)));
    send_task(update);
  });
  RunsSettings runs{settings.runs_folder(), settings.exec, settings.exec_account};
  Runs::Owner& runs_owner = *this;
  runs_ =
      std::make_unique<Runs>(control_, *store_, std::move(launcher), std::move(runs), runs_owner);
  news_ = std::make_unique<NodeNews>(
      control_, disk_, [this](const proto::AgentMessage& message) { link_->send(message); },
      [this] { return runs_->running(); });
  sort_holdings(std::move(loaded.holdings));
  for (const StoredHint& hint : loaded.stored_hints) {
    uploads_.share({hint.id, /*body=*/true}, hint.source, nullptr);
  }
  find_orphans(loaded.search_roots);
  if (const Status known = removed_.load(settings.deny_list_file(), wall_now()); !known) {
    log_warn("peers", "the stored deny-list is not believed; a newer one will come",
             {{"why", known.error().detail}});
  }
}

// Whether a file is still what was recorded. Later it shows when somebody asks for it.
void Agent::sort_holdings(std::vector<proto::HoldingRecord> records) {
  const WallTime now = wall_now();
  for (proto::HoldingRecord& record : records) {
    const auto content = ContentId::from_raw(record.content_id());
    if (!content) continue;
    const auto file = contents_.open_held(record);
    if (file) {
      record.clear_lost_unix();
      uploads_.add_held(*content);
      holdings_[*content] = std::move(record);
      continue;
    }
    const WallTime lost = from_unix_seconds(record.lost_unix());
    const bool old = record.lost_unix() != 0 && now - lost >= kLostHoldingKept;
    if (!old) lost_[*content] = {record.path(), file.error().code == Errc::corrupt};
    const Status noted =
        old ? contents_.erase_holding(*content) : contents_.mark_lost(*content, now);
    if (!noted) log_warn("state", "a record stays as it was", {{"why", noted.error().detail}});
  }
}

void Agent::find_orphans(bool search_roots) {
  if (auto known = parts_.list()) orphans_->add(*known);
  if (!search_roots) return;
  orphans_->search([this] {
    disk_.post([this] {
      const Status done = remember_search(*store_);
      if (!done) log_warn("state", "not remembered", {{"why", done.error().detail}});
    });
  });
}

Agent::~Agent() {
  link_.reset();
  publishing_.clear();
  news_.reset();
  runs_.reset();
  // Data threads first: they post to the disk pool; then the pool, whose jobs use everything else.
  mesh_.stop();
  disk_.stop();
  orphans_.reset();
  transfers_.reset();
}

Status Agent::make_contexts() {
  auto server = make_server_context(credentials_, {kAlpn}, ClientCertificate::required);
  if (!server) return server.error();
  auto client = make_client_context(credentials_, {kAlpn});
  if (!client) return client.error();
  mesh_.set_contexts(*server, *client);
  if (link_) link_->set_context(*client);
  auto verifier = StatementVerifier::make(credentials_.bundle_pem, node_.cluster_id);
  if (!verifier) return verifier.error();
  verifier_ = std::move(*verifier);
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
  if (privileged_->roots().empty()) {
    log_info("agent", "no --root: this node publishes, but receives nothing");
  }
  return {};
}

Status Agent::run() {
  privileged_->on_lost([this](const Error& why) {
    // Before any request fails on this thread: what runs goes on after the restart.
    boost::asio::post(control_, [this, why] {
      ended_ = why;
      control_.stop();
    });
  });
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
  return ended_;
}

// Nothing can be started any more; what runs goes on, and is found again after the restart.
void Agent::on_launcher_lost(const Error& why) {
  ended_ = why;
  control_.stop();
}

void Agent::on_ledger_broken(const Error& why) {
  ended_ = Error{why.code, "the ledger of runs cannot be written: " + why.detail +
                               "; what runs goes on and is found again"};
  control_.stop();
}

void Agent::write_ready_file() {
  proto::Ready ready;
  ready.set_listen(HostPort{settings_.listen.host, port_}.str());
  ready.set_online(true);
  disk_.post([this, text = to_json(ready) + "\n"] {
    const Status written = privileged_->write_ready_file(text);
    if (!written) log_warn("agent", "no ready file", {{"why", written.error().detail}});
  });
}

void Agent::tick() {
  const Time now = monotonic_now();
  transfers_->on_tick(now);
  runs_->on_tick(now);
  news_->on_tick(now);
  report_uploads();
  if (std::exchange(tell_deny_version_, false)) {
    for (const NodeId peer : mesh_.peers_up()) mesh_.send_deny_version(peer, removed_.version());
  }
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

// ---- publish -----------------------------------------------------------------------------------

void Agent::take_publish(const proto::PublishTask& task) {
  const std::uint64_t job = task.job();
  if (publishing_.contains(job)) return;
  Publishing& publishing = publishing_[job];
  HintOrder order;
  order.signature = task.signature();
  for (const std::string& raw : task.bases()) {
    if (const auto base = ContentId::from_raw(raw)) order.bases.push_back(*base);
  }
  log_info("publish", "begins", {{"job", JobId{job}.str()}, {"path", task.path()}});
  publishing.publisher = std::make_unique<Publisher>(
      control_, contents_, hints_, *privileged_, task.path(), std::move(order),
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
    for (const MadeHint& made : done->hints) on_hint_made(made);
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

}  // namespace p2p
