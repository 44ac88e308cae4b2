#include "tracker/tracker.h"

#include <openssl/ssl.h>

#include <csignal>
#include <random>

#include "core/base/text.h"
#include "core/runs/exec_policy.h"
#include "io/disk/file_io.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "io/state/leveldb_store.h"
#include "io/wire/hello.h"
#include "io/wire/proto_json.h"
#include "proto/ready.pb.h"

namespace p2p {
namespace {

// A script of 960 KiB in base64, and room.
constexpr std::uint64_t kMaxApiBodyBytes = 4 * 1024 * 1024;
constexpr Duration kTick = std::chrono::milliseconds(250);
constexpr Duration kRenewalCheck = std::chrono::minutes(10);
// A connection that has not become a node's within this time is ended: joining takes a second.
constexpr Duration kSilentMost = std::chrono::seconds(30);
// As long as agents wait, too (p2pd/tracker_link.cpp): when a whole fleet comes back at once, its
// handshakes wait for each other, and one that is given up has to be made again.
constexpr int kHandshakeSeconds = 30;
constexpr Duration kSilentCheck = std::chrono::seconds(5);

std::uint64_t random_seed() {
  std::random_device device;
  return static_cast<std::uint64_t>(device()) << 32 | device();
}

}  // namespace

Result<std::unique_ptr<Tracker>> Tracker::open(const TrackerSettings& settings) {
  auto cluster = load_cluster(settings.data);
  if (!cluster) return cluster.error();
  auto credentials = load_credentials(tracker_credentials_folder(settings.data));
  if (!credentials) return credentials.error();
  auto store = LevelDbStore::open(settings.data + "/state");
  if (!store) return store.error();
  auto registry = Registry::load(**store);
  if (!registry) return registry.error();
  auto catalogue = Catalogue::load(**store, settings.data + "/manifests");
  if (!catalogue) return catalogue.error();
  auto hints = Hints::load(**store);
  if (!hints) return hints.error();
  auto signer = StatementSigner::make(*credentials);
  if (!signer) return signer.error();
  auto accounts = Accounts::load(**store);
  if (!accounts) return accounts.error();
  auto scripts = Scripts::load(**store);
  if (!scripts) return scripts.error();
  auto users = Users::load(**store);
  if (!users) return users.error();
  auto audit = Audit::load(**store);
  if (!audit) return audit.error();
  auto blobs = Blobs::open(settings.data + "/blobs");
  if (!blobs) return blobs.error();
  Loaded loaded{std::move(*cluster), std::move(*credentials), std::move(*signer),
                std::move(*store),   std::move(*registry),    std::move(*catalogue),
                std::move(*hints),   std::move(*accounts),    std::move(*scripts),
                std::move(*users),   std::move(*audit),       std::move(*blobs)};
  std::unique_ptr<Tracker> tracker(new Tracker(settings, std::move(loaded)));
  if (const Status started = tracker->start(); !started) return started.error();
  return tracker;
}

Tracker::Tracker(const TrackerSettings& settings, Loaded loaded)
    : settings_(settings),
      credentials_(std::move(loaded.credentials)),
      store_(std::move(loaded.store)),
      registry_(std::move(loaded.registry)),
      catalogue_(std::move(loaded.catalogue)),
      hints_(std::move(loaded.hints)),
      accounts_(std::move(loaded.accounts)),
      scripts_(std::move(loaded.scripts)),
      users_(std::move(loaded.users)),
      audit_(std::move(loaded.audit)),
      blobs_(std::move(loaded.blobs)),
      journal_(loop_, *store_),
      disk_(2, 1000, "disk"),
      enrolment_(std::move(loaded.cluster), registry_, journal_),
      tickets_(loaded.signer, enrolment_.cluster().id, registry_),
      board_(loop_, registry_, catalogue_, hints_, tickets_, journal_, disk_, *this,
             Rng(random_seed())),
      runs_({loop_, registry_, accounts_, scripts_, blobs_, journal_, disk_, *this, numbers_,
             ExecFiles(settings.data + "/exec")},
            Rng(random_seed())),
      removal_(std::move(loaded.signer), enrolment_.cluster().id, registry_, board_, journal_,
               *this),
      figures_(loop_, [this](NodeId node, const auto& message) { send(node, message); }),
      api_(registry_, catalogue_, enrolment_, removal_, journal_, disk_, loop_, board_, users_,
           audit_, figures_),
      directory_api_({registry_, accounts_, scripts_, blobs_, journal_, disk_, loop_}),
      users_api_({users_, audit_, enrolment_, journal_, disk_, loop_,
                  [this](const std::string& id) { http_->cut_off(id); }}),
      runs_api_({loop_, runs_, board_, registry_, catalogue_}),
      listener_(loop_),
      timer_(loop_),
      signals_(loop_, SIGINT, SIGTERM) {}

Tracker::~Tracker() {
  disk_.stop();
  journal_.stop();
}

Status Tracker::make_contexts() {
  auto agents =
      make_server_context(credentials_, {kAlpn}, ClientCertificate::optional, ChainSent::with_root);
  if (!agents) return agents.error();
  auto api = make_server_context(credentials_, {"http/1.1"}, ClientCertificate::required);
  if (!api) return api.error();
  agent_tls_ = std::move(*agents);
  api_tls_ = std::move(*api);
  auto signer = StatementSigner::make(credentials_);
  if (!signer) return signer.error();
  tickets_.set_signer(*signer);
  removal_.set_signer(std::move(*signer));
  return {};
}

Status Tracker::start() {
  board_.share_numbers(numbers_);
  if (Status loaded = board_.load(*store_, wall_now()); !loaded) return loaded;
  board_.set_audit(audit_);
  if (Status loaded = runs_.load(*store_, wall_now()); !loaded) return loaded;
  note_jobs_of_runs();
  api_.count_also([this] { return runs_.running(); });
  if (Status made = make_contexts(); !made) return made;

  auto agents_port = listener_.listen(
      settings_.listen.host, settings_.listen.port,
      [this](Listener::Socket socket, std::string peer) { accept(std::move(socket), peer); });
  if (!agents_port) return agents_port.error();

  directory_api_.add_routes(api_.router());
  users_api_.add_routes(api_.router());
  runs_api_.add_routes(api_.router());
  HttpServerSettings http;
  http.body_bytes_max = kMaxApiBodyBytes;
  http.context = api_tls_->get();
  http.authenticate = [this](const SSL* ssl) { return api_.authenticate(ssl); };
  http.handle = [this](std::shared_ptr<HttpExchange> exchange) {
    api_.handle(std::move(exchange));
  };
  http_ = std::make_unique<HttpServer>(loop_, std::move(http));
  auto api_port = http_->listen(settings_.api.host, settings_.api.port);
  if (!api_port) return api_port.error();

  const HostPort agents{settings_.listen.host, *agents_port};
  const HostPort api{settings_.api.host, *api_port};
  const auto validity = validity_of(credentials_.chain_pem);
  api_.set_addresses(agents.str(), api.str(), validity ? validity->not_after : WallTime{});
  log_info("tracker", "ready",
           {{"cluster", enrolment_.cluster().name},
            {"agents", agents.str()},
            {"api", api.str()},
            {"nodes", registry_.nodes().size()},
            {"version", kSoftwareVersion}});
  if (!settings_.ready_file.empty()) {
    proto::Ready ready;
    ready.set_listen(agents.str());
    ready.set_api(api.str());
    return write_file_atomically(settings_.ready_file, to_json(ready) + "\n", 0644);
  }
  return {};
}

void Tracker::run() {
  signals_.async_wait([this](boost::system::error_code error, int) {
    if (error) return;
    log_info("tracker", "stopping");
    timer_.cancel();
    listener_.close();
    http_->stop();
    sessions_.clear();
    loop_.stop();
  });
  tick();
  loop_.run();
}

void Tracker::tick() {
  const WallTime now = wall_now();
  board_.on_tick(now);
  runs_.on_tick(now);
  for (StateBatch& batch : registry_.facts_to_store(now)) journal_.commit(std::move(batch));
  if (now - renewal_checked_ >= kRenewalCheck) {
    renewal_checked_ = now;
    renew_own_certificate(now);
  }
  end_silent_sessions(monotonic_now());
  timer_.expires_after(kTick);
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error) tick();
  });
}

// The tracker holds the intermediate: it renews its own certificate in place.
void Tracker::renew_own_certificate(WallTime now) {
  const auto validity = validity_of(credentials_.chain_pem);
  if (!validity || !renewal_due(*validity, now)) return;
  const auto identity = identity_of(credentials_.chain_pem);
  if (!identity) return;
  MemberSpec spec;
  spec.identity = *identity;
  spec.sans = tracker_sans({settings_.api.host, settings_.listen.host});
  spec.life = kTrackerCertificateLife;
  auto renewed = make_member(enrolment_.cluster(), spec, now);
  Status done = renewed ? save_credentials(tracker_credentials_folder(settings_.data), *renewed)
                        : Status(renewed.error());
  if (done) {
    credentials_ = std::move(*renewed);
    done = make_contexts();
  }
  if (!done) {
    log_error("tracker", "cannot renew the tracker's certificate; it stays valid for now",
              {{"until", utc_text(validity->not_after)}, {"error", done.error().detail}});
    return;
  }
  http_->set_context(api_tls_->get());
  log_info("tracker", "certificate renewed");
}

void Tracker::accept(Listener::Socket socket, std::string peer) {
  Connection::Settings settings;
  settings.cluster = enrolment_.cluster().id;
  settings.handshake_seconds = kHandshakeSeconds;
  auto connection = Connection::make(loop_, std::move(socket), *agent_tls_,
                                     Connection::Side::server, settings, std::move(peer));
  AgentSession::Owner& owner = *this;
  auto session = std::make_unique<AgentSession>(owner, std::move(connection));
  AgentSession* raw = session.get();
  sessions_.emplace(raw, Open{std::move(session), monotonic_now()});
  raw->start();
}

void Tracker::on_session_open(AgentSession& session) {
  if (!session.node()) return;
  const NodeId id = *session.node();
  if (registry_.find(id) == nullptr) {
    const NodeEntry* removed = registry_.find_removed(id.str());
    log_warn("agents", "a node that is not in this cluster any more was refused",
             {{"node", registry_.name_of(id)}, {"id", id.str()}, {"peer", session.peer()}});
    session.refuse(removed_error(removed), /*removed=*/true);
    return forget(session);
  }
  // A newer connection of the same node replaces an older one that has not noticed its end yet.
  if (const auto old = by_node_.find(id); old != by_node_.end()) {
    AgentSession* replaced = old->second;
    replaced->close();
    on_session_closed(*replaced, Error{Errc::cancelled, "replaced by a newer connection"});
  }
  by_node_[id] = &session;
}

void Tracker::greet(AgentSession& session, const proto::AgentHello& hello) {
  NodeEntry* node = registry_.find(*session.node());
  if (node == nullptr) return;
  node->online = true;
  node->version = hello.version();
  node->roots = {hello.roots().begin(), hello.roots().end()};
  node->shares = {hello.shares().begin(), hello.shares().end()};
  const auto exec = parse_exec_policy(hello.exec());
  node->exec = exec ? std::string(to_string(*exec)) : std::string();
  node->last_seen = wall_now();
  node->certificate_expires =
      from_unix_seconds(static_cast<std::int64_t>(hello.certificate_expires_unix()));
  node->address =
      hello.advertise().empty()
          ? HostPort{session.remote_address(), static_cast<std::uint16_t>(hello.listen_port())}
                .str()
          : hello.advertise();
  proto::TrackerMessage message;
  message.mutable_welcome()->set_node_name(node->record.name());
  message.mutable_welcome()->set_epoch(1);
  *message.mutable_welcome()->mutable_labels() = node->record.labels();
  session.send(message);
  if (std::string list = removal_.newer_than(hello.deny_version(), wall_now()); !list.empty()) {
    proto::TrackerMessage news;
    news.set_deny_list(std::move(list));
    session.send(news);
  }
  log_info("agents", "node online",
           {{"node", node->record.name()}, {"address", node->address}, {"version", node->version}});
  runs_.on_agent_hello(node->id, !hello.exec().empty(), wall_now());
}

// The audit record of each exec job that is made, with the job itself.
void Tracker::note_jobs_of_runs() {
  runs_.on_made([this](const BoardExec& job, StateBatch& batch) {
    std::vector<std::string> targets;
    for (const RunStatus& run : job.job->runs()) targets.push_back(registry_.name_of(run.node));
    const proto::ExecRecord& record = job.record;
    const std::uint64_t number =
        audit_.add(audit_of_job(JobId{record.number()}.str(), record.created_by(), "exec",
                                std::move(targets), record.order_sha256()),
                   wall_now(), batch);
    return std::function<void()>([this, number] { audit_.take_back(number); });
  });
}

void Tracker::on_session_message(AgentSession& session, const proto::AgentMessage& message) {
  const WallTime now = wall_now();
  if (message.has_join()) {
    // The session may be gone when the store has answered.
    enrolment_.join(message.join(), now,
                    [this, raw = &session](const Result<proto::JoinReply>& reply) {
                      const auto found = sessions_.find(raw);
                      if (found == sessions_.end()) return;
                      if (!reply) return refuse(*raw, reply.error());
                      proto::TrackerMessage answer;
                      *answer.mutable_joined() = *reply;
                      raw->send(answer);
                    });
    return;
  }
  const auto current = session.node() ? by_node_.find(*session.node()) : by_node_.end();
  if (current == by_node_.end() || current->second != &session) return;
  const NodeId id = *session.node();
  NodeEntry* node = registry_.find(id);
  if (node == nullptr) return;
  node->last_seen = now;
  using Kind = proto::AgentMessage::KindCase;
  switch (message.kind_case()) {
    case Kind::kHello:
      greet(session, message.hello());
      break;
    case Kind::kHoldings:
      board_.on_holdings(id, message.holdings());
      // Jobs are offered once it is known what the node holds.
      if (message.holdings().last()) board_.on_agent_online(id, now);
      break;
    case Kind::kTask:
      board_.on_task_update(id, message.task(), now);
      break;
    case Kind::kUpload:
      board_.on_upload(id, message.upload());
      break;
    case Kind::kBody:
      board_.on_body_piece(id, message.body());
      break;
    case Kind::kReport:
      if (report_words_.allows(id, monotonic_now())) note_report(*node, message.report());
      break;
    case Kind::kRenew: {
      proto::TrackerMessage answer;
      auto certificate = enrolment_.renew(id, message.renew().csr_pem(), now);
      if (certificate) {
        *answer.mutable_certificate() = std::move(*certificate);
        log_info("enrol", "certificate renewed", {{"node", node->record.name()}});
      } else {
        answer.mutable_refusal()->set_code(std::string(to_string(certificate.error().code)));
        answer.mutable_refusal()->set_detail(certificate.error().detail);
      }
      session.send(answer);
      break;
    }
    case Kind::kHint:
      board_.on_hint_made(id, message.hint(), now);
      break;
    case Kind::kBlame:
      board_.on_hint_blame(id, message.blame());
      break;
    case Kind::kFacts:
      registry_.set_facts(*node, message.facts(), now);
      break;
    case Kind::kFigures:
      figures_.on_figures(id, message.figures());
      break;
    case Kind::kRuns:
      runs_.on_run_reports(id, message.runs(), now);
      break;
    case Kind::kOutput:
      runs_.on_run_output(id, message.output(), now);
      break;
    case Kind::kBlob:
      runs_.on_blob_wanted(id, message.blob());
      break;
    case Kind::kJoin:
    case Kind::KIND_NOT_SET:
      break;
  }
}

// Whoever reports is a node of the cluster, but what it says is no more than its word.
void Tracker::note_report(const NodeEntry& reporter, const proto::PeerReport& report) const {
  const auto about = NodeId::parse(report.node_id());
  if (!about) return;
  const std::string chunk = report.content_id().empty() ? "-" : std::to_string(report.chunk());
  log_warn("agents", "a node was reported by another one",
           {{"reporter", reporter.record.name()},
            {"about", registry_.name_of(*about)},
            {"id", about->str()},
            {"chunk", chunk},
            {"reason", printable(report.reason())}});
}

void Tracker::on_session_closed(AgentSession& session, const Error& why) {
  const auto found = sessions_.find(&session);
  if (found == sessions_.end()) return;
  if (!session.node()) {
    // Joining nodes close once they have their certificate; everything else deserves a line.
    if (why.code != Errc::unavailable) {
      log_warn("agents", "connection refused", {{"reason", why.detail}});
    }
  } else if (const auto mine = by_node_.find(*session.node());
             mine != by_node_.end() && mine->second == &session) {
    const NodeId id = mine->first;
    by_node_.erase(mine);
    if (NodeEntry* node = registry_.find(id)) {
      node->online = false;
      node->last_seen = wall_now();
      log_info("agents", "node offline", {{"node", node->record.name()}, {"reason", why.detail}});
    }
    board_.on_agent_offline(id, wall_now());
    figures_.on_agent_offline(id);
    runs_.on_agent_offline(id, wall_now());
  } else {
    log_warn("agents", "connection refused", {{"reason", why.detail}});
  }
  forget(session);
}

void Tracker::refuse(AgentSession& session, const Error& why) {
  session.refuse(why);
  forget(session);
}

void Tracker::forget(AgentSession& session) {
  const auto found = sessions_.find(&session);
  if (found == sessions_.end()) return;
  // Not at once: the session is on the stack.
  std::shared_ptr<AgentSession> last = std::move(found->second.session);
  sessions_.erase(found);
  boost::asio::post(loop_, [last = std::move(last)] {});
}

void Tracker::end_silent_sessions(Time now) {
  if (now - sessions_checked_ < kSilentCheck) return;
  sessions_checked_ = now;
  std::vector<AgentSession*> silent;
  for (const auto& [session, open] : sessions_) {
    const auto node = session->node() ? by_node_.find(*session->node()) : by_node_.end();
    const bool is_a_nodes = node != by_node_.end() && node->second == session;
    if (!is_a_nodes && now - open.since >= kSilentMost) silent.push_back(session);
  }
  for (AgentSession* session : silent) {
    session->close();
    on_session_closed(*session,
                      Error{Errc::timed_out, session->peer() + ": said nothing for 30 s"});
  }
}

std::uint32_t Tracker::send_to_all(const proto::TrackerMessage& message) {
  std::uint32_t count = 0;
  for (const auto& [id, session] : by_node_) {
    const NodeEntry* node = registry_.find(id);
    if (node == nullptr || !node->online) continue;
    session->send(message);
    ++count;
  }
  return count;
}

void Tracker::end_removed(NodeId node) {
  runs_.on_node_removed(node, wall_now());
  const auto found = by_node_.find(node);
  if (found == by_node_.end()) return;
  AgentSession& session = *found->second;
  by_node_.erase(found);
  board_.on_agent_offline(node, wall_now());
  figures_.on_agent_offline(node);
  session.refuse(removed_error(registry_.find_removed(node.str())), /*removed=*/true);
  forget(session);
}

void Tracker::send(NodeId node, const proto::TrackerMessage& message) {
  if (const auto found = by_node_.find(node); found != by_node_.end()) {
    found->second->send(message);
  }
}

}  // namespace p2p
