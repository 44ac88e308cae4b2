#include "tracker/api.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <map>
#include <set>

#include "core/model/manifest.h"
#include "core/model/node_set.h"
#include "io/content/merkle.h"
#include "io/identity/tls_context.h"
#include "io/identity/token.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "io/wire/hello.h"
#include "io/wire/proto_json.h"
#include "tracker/views.h"

namespace p2p {
namespace {

constexpr std::uint64_t kDefaultTokenTtl = 2 * 3600;
constexpr std::uint64_t kMaxTokenTtl = 365ull * 24 * 3600;
constexpr std::uint32_t kMaxTokenUses = 100'000;

}  // namespace

Api::Api(Registry& registry, Catalogue& catalogue, Enrolment& enrolment, Removal& removal,
         Journal& journal, DiskPool& disk, boost::asio::io_context& loop, JobBoard& board,
         const Users& users, Audit& audit, FiguresDesk& figures)
    : registry_(registry),
      catalogue_(catalogue),
      enrolment_(enrolment),
      removal_(removal),
      journal_(journal),
      disk_(disk),
      loop_(loop),
      board_(board),
      users_(users),
      audit_(audit),
      figures_(figures),
      router_([this](const std::string& identity) { return find_caller(identity); },
              [this](const ApiCall& call, const Status& allowed, Router::Then then) {
                note(call, allowed, std::move(then));
              }),
      started_(monotonic_now()) {
  add_routes();
}

Result<std::string> Api::authenticate(const SSL* ssl) {
  auto identity = peer_identity(ssl, enrolment_.cluster().id);
  if (!identity) return identity.error();
  if (identity->role == Role::user) {
    if (const auto known = users_.caller(identity->id); !known) return known.error();
    return identity->id;
  }
  if (identity->role != Role::admin) {
    return Error{Errc::denied,
                 "the operator's API is for administrators and users: this certificate is of " +
                     identity->uri()};
  }
  administrators_[identity->id] = identity->shown();
  return identity->id;
}

Result<Caller> Api::find_caller(const std::string& identity) const {
  const auto administrator = administrators_.find(identity);
  if (administrator == administrators_.end()) return users_.caller(identity);
  return Caller{administrator->second, identity, /*admin=*/true, {}};
}

std::string Api::name_of(const Exchange& exchange) const {
  const std::string& identity = exchange->request().identity;
  const auto caller = find_caller(identity);
  return caller ? caller->name : identity;
}

void Api::note(const ApiCall& call, const Status& allowed, Router::Then then) {
  const HttpRequest& request = call.exchange->request();
  const std::string name = call.caller.name.empty() ? request.identity : call.caller.name;
  proto::AuditRecord entry;
  entry.set_who(name == request.identity ? name : name + " (" + request.identity + ")");
  entry.set_what(request.method + " " + request.target);
  entry.set_request_sha256(std::string(sha256(request.body).view()));
  entry.set_outcome(allowed ? "asked" : "refused: " + allowed.error().detail);
  entry.set_detail("from " + request.peer);
  StateBatch batch;
  const std::uint64_t number = audit_.add(entry, wall_now(), batch);
  log_info("audit", allowed ? "call" : "call refused",
           {{"number", number},
            {"by", entry.who()},
            {"from", request.peer},
            {"what", request.target},
            {"hash", audit_.newest_hash()}});
  journal_.commit(std::move(batch), [this, number, then = std::move(then)](const Status& stored) {
    if (!stored) audit_.take_back(number);
    then(stored);
  });
}

void Api::set_addresses(std::string agents, std::string api, WallTime certificate_expires) {
  agents_address_ = std::move(agents);
  api_address_ = std::move(api);
  certificate_expires_ = certificate_expires;
}

void Api::add_routes() {
  using Method = void (Api::*)(const Exchange&, const std::vector<std::string>&);
  const auto add = [this](std::string_view method, std::vector<std::string_view> path, Who who,
                          Method handler) {
    router_.add(method, std::move(path), who, [this, handler](const ApiCall& call) {
      (this->*handler)(call.exchange, call.parts);
    });
  };
  add("GET", {"v1", "status"}, Who::users, &Api::status);
  add("POST", {"v1", "tokens"}, Who::administrators, &Api::create_token);
  add("GET", {"v1", "nodes"}, Who::users, &Api::list_nodes);
  add("GET", {"v1", "nodes", "*"}, Who::users, &Api::show_node);
  add("DELETE", {"v1", "nodes", "*"}, Who::administrators, &Api::remove_node);
  add("POST", {"v1", "nodes", "*", "labels"}, Who::administrators, &Api::label_node);
  add("GET", {"v1", "files"}, Who::users, &Api::list_files);
  add("GET", {"v1", "files", "*", "*"}, Who::users, &Api::show_file);
  add("GET", {"v1", "files", "*", "*", "holders"}, Who::users, &Api::file_holders);
  add("GET", {"v1", "contents", "*"}, Who::users, &Api::show_content);
  add("GET", {"v1", "contents", "*", "holders"}, Who::users, &Api::content_holders);
  router_.add(
      "POST", {"v1", "plan"}, Who::administrators,
      [this](const ApiCall& call) { plan_push(call.exchange, call.parts); }, Effect::none);
  add("POST", {"v1", "jobs"}, Who::administrators, &Api::create_job);
  add("GET", {"v1", "jobs"}, Who::users, &Api::list_jobs);
  add("GET", {"v1", "jobs", "*"}, Who::users, &Api::show_job);
  add("GET", {"v1", "jobs", "*", "watch"}, Who::users, &Api::watch_job);
  add("POST", {"v1", "jobs", "*", "cancel"}, Who::administrators, &Api::cancel_job);
  router_.add("POST", {"v1", "jobs", "*", "pause"}, Who::administrators,
              [this](const ApiCall& call) { pause_job(call); });
  router_.add("POST", {"v1", "jobs", "*", "resume"}, Who::administrators,
              [this](const ApiCall& call) { resume_job(call); });
  router_.add("POST", {"v1", "jobs", "*", "retry"}, Who::administrators,
              [this](const ApiCall& call) { retry_job(call); });
}

void Api::status(const Exchange& exchange, const std::vector<std::string>&) {
  proto::ClusterStatus view;
  view.set_cluster(enrolment_.cluster().name);
  view.set_cluster_id(enrolment_.cluster().id);
  view.set_tracker_version(kSoftwareVersion);
  view.set_agent_address(agents_address_);
  view.set_api_address(api_address_);
  for (const auto& [id, node] : registry_.nodes()) {
    if (node.record.removed()) continue;
    view.set_nodes(view.nodes() + 1);
    view.set_nodes_online(view.nodes_online() + (node.online ? 1 : 0));
  }
  view.set_files(static_cast<std::uint32_t>(catalogue_.files().size()));
  const std::size_t others = also_running_ ? also_running_() : 0;
  view.set_jobs_running(static_cast<std::uint32_t>(board_.running() + others));
  view.set_uptime_seconds(seconds(monotonic_now() - started_));
  view.set_certificate_expires_at(rfc3339(certificate_expires_));
  reply(exchange, view);
}

void Api::create_token(const Exchange& exchange, const std::vector<std::string>&) {
  proto::CreateTokenRequest request;
  if (!read_body(exchange, request)) return;
  const std::uint64_t ttl = request.ttl_seconds() == 0 ? kDefaultTokenTtl : request.ttl_seconds();
  const std::uint32_t uses = request.uses() == 0 ? 1 : request.uses();
  if (ttl > kMaxTokenTtl || uses > kMaxTokenUses) {
    return reply(exchange, Error{Errc::invalid_argument,
                                 "a token lives at most 365 days and has at most 100000 uses"});
  }
  for (const auto& [key, value] : request.labels()) {
    if (const Status valid = check_label_key(key); !valid) return reply(exchange, valid.error());
    if (const Status valid = check_label_value(value); !valid)
      return reply(exchange, valid.error());
  }
  auto pin = enrolment_.cluster().pin();
  if (!pin) return reply(exchange, pin.error());
  auto token = make_token(*pin);
  if (!token) return reply(exchange, token.error());

  const WallTime expires = wall_now() + std::chrono::seconds(ttl);
  proto::TokenRecord record;
  record.set_id(token->id);
  record.set_secret_hash(secret_hash(token->secret));
  record.set_uses_left(uses);
  record.set_expires_unix(unix_seconds(expires));
  *record.mutable_labels() = request.labels();
  record.set_created_by(name_of(exchange));
  StateBatch batch;
  registry_.put_token(record, batch);
  proto::CreateTokenReply view;
  view.set_token(token->line());
  view.set_expires_at(rfc3339(expires));
  view.set_uses(uses);
  journal_.commit(std::move(batch), [exchange, view](const Status& stored) {
    if (!stored) return reply(exchange, stored.error());
    reply(exchange, view);
  });
}

}  // namespace p2p
