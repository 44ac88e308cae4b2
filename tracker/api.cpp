#include "tracker/api.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <map>
#include <set>

#include "core/model/manifest.h"
#include "core/model/node_set.h"
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

using Exchange = std::shared_ptr<HttpExchange>;

void reply(const Exchange& exchange, const google::protobuf::Message& message) {
  exchange->reply({200, "application/json", to_json(message)});
}

unsigned status_of(Errc code) {
  switch (code) {
    case Errc::invalid_argument:
      return 400;
    case Errc::denied:
      return 403;
    case Errc::not_found:
      return 404;
    case Errc::already_exists:
      return 409;
    case Errc::exhausted:
      return 507;
    case Errc::unavailable:
      return 503;
    case Errc::timed_out:
      return 504;
    case Errc::cancelled:
    case Errc::corrupt:
    case Errc::io_failed:
      return 500;
  }
  return 500;
}

void reply(const Exchange& exchange, const Error& error) {
  // A path outside the shares is the operator's mistake; 403 says that the operator is the mistake.
  const unsigned status = error.code == Errc::denied ? 400 : status_of(error.code);
  exchange->reply({status, "application/json", error_body(error)});
}

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const std::size_t end = std::min(path.find('/'), path.size());
    parts.emplace_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return parts;
}

// An empty body is an empty message.
template <class Message>
bool read_body(const Exchange& exchange, Message& message) {
  if (exchange->request().body.empty()) return true;
  if (const Status parsed = from_json(exchange->request().body, message); !parsed) {
    reply(exchange, parsed.error());
    return false;
  }
  return true;
}

}  // namespace

Api::Api(Registry& registry, Catalogue& catalogue, Enrolment& enrolment, Removal& removal,
         Journal& journal, DiskPool& disk, boost::asio::io_context& loop, JobBoard& board)
    : registry_(registry),
      catalogue_(catalogue),
      enrolment_(enrolment),
      removal_(removal),
      journal_(journal),
      disk_(disk),
      loop_(loop),
      board_(board),
      started_(monotonic_now()) {}

Result<std::string> Api::authenticate(const SSL* ssl) const {
  auto identity = peer_identity(ssl, enrolment_.cluster().id);
  if (!identity) return identity.error();
  if (identity->role != Role::admin) {
    return Error{Errc::denied, "the operator's API is for administrators: this certificate is of " +
                                   identity->uri()};
  }
  return identity->id;
}

void Api::set_addresses(std::string agents, std::string api, WallTime certificate_expires) {
  agents_address_ = std::move(agents);
  api_address_ = std::move(api);
  certificate_expires_ = certificate_expires;
}

const std::vector<Api::Route>& Api::routes() {
  static const std::vector<Route> table{
      {"GET", {"v1", "status"}, &Api::status},
      {"POST", {"v1", "tokens"}, &Api::create_token},
      {"GET", {"v1", "nodes"}, &Api::list_nodes},
      {"GET", {"v1", "nodes", "*"}, &Api::show_node},
      {"DELETE", {"v1", "nodes", "*"}, &Api::remove_node},
      {"POST", {"v1", "nodes", "*", "labels"}, &Api::label_node},
      {"GET", {"v1", "files"}, &Api::list_files},
      {"GET", {"v1", "files", "*", "*"}, &Api::show_file},
      {"GET", {"v1", "files", "*", "*", "holders"}, &Api::file_holders},
      {"GET", {"v1", "contents", "*"}, &Api::show_content},
      {"GET", {"v1", "contents", "*", "holders"}, &Api::content_holders},
      {"POST", {"v1", "plan"}, &Api::plan_push},
      {"POST", {"v1", "jobs"}, &Api::create_job},
      {"GET", {"v1", "jobs"}, &Api::list_jobs},
      {"GET", {"v1", "jobs", "*"}, &Api::show_job},
      {"GET", {"v1", "jobs", "*", "watch"}, &Api::watch_job},
      {"POST", {"v1", "jobs", "*", "cancel"}, &Api::cancel_job},
  };
  return table;
}

void Api::handle(std::shared_ptr<HttpExchange> exchange) {
  const HttpRequest& request = exchange->request();
  const auto parts = parts_of(request.path);
  bool path_known = false;
  for (const Route& route : routes()) {
    if (route.path.size() != parts.size()) continue;
    const bool fits = std::equal(route.path.begin(), route.path.end(), parts.begin(),
                                 [](std::string_view wanted, const std::string& part) {
                                   return wanted == "*" || wanted == part;
                                 });
    if (!fits) continue;
    path_known = true;
    if (route.method != request.method) continue;
    if (request.method != "GET") {
      log_info("audit", "call",
               {{"by", request.identity}, {"from", request.peer}, {"what", request.target}});
    }
    return (this->*route.handler)(exchange, parts);
  }
  const Error error{Errc::not_found, path_known
                                         ? "no method " + request.method + " for " + request.path
                                         : "no such path: " + request.path};
  exchange->reply({path_known ? 405u : 404u, "application/json", error_body(error)});
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
  view.set_jobs_running(static_cast<std::uint32_t>(board_.running()));
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
  record.set_created_by(exchange->request().identity);
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

namespace {

// How many contents each node holds whole; counted for all at once, or a list of many nodes would
// look into every file once for each.
class FilesHeld {
 public:
  FilesHeld(const Catalogue& catalogue, const JobBoard& board) {
    std::set<ContentId> contents;
    for (const auto* file : catalogue.files()) {
      contents.insert(*ContentId::from_raw(file->content_id()));
    }
    for (const ContentId& content : contents) {
      const Swarm* swarm = board.swarm_of(content);
      if (swarm == nullptr) continue;
      for (const auto& [node, holder] : swarm->holders()) counts_[node] += holder.complete ? 1 : 0;
    }
  }
  std::uint32_t of(const NodeEntry& node) const {
    const auto found = counts_.find(node.id);
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  std::map<NodeId, std::uint32_t> counts_;
};

}  // namespace

void Api::list_nodes(const Exchange& exchange, const std::vector<std::string>&) {
  proto::NodeList list;
  std::vector<const NodeEntry*> nodes;
  for (const auto& [id, node] : registry_.nodes()) {
    if (!node.record.removed()) nodes.push_back(&node);
  }
  std::sort(nodes.begin(), nodes.end(), [](const NodeEntry* a, const NodeEntry* b) {
    return natural_less(a->record.name(), b->record.name());
  });
  const FilesHeld held(catalogue_, board_);
  for (const NodeEntry* node : nodes) *list.add_nodes() = node_view(*node, held.of(*node));
  reply(exchange, list);
}

void Api::show_node(const Exchange& exchange, const std::vector<std::string>& parts) {
  const NodeEntry* node = registry_.find(parts[2]);
  if (node == nullptr) return reply(exchange, Registry::unknown_node(parts[2]));
  reply(exchange, node_view(*node, FilesHeld(catalogue_, board_).of(*node)));
}

void Api::remove_node(const Exchange& exchange, const std::vector<std::string>& parts) {
  removal_.remove(parts[2], wall_now(), [exchange](const Result<proto::RemovedNode>& removed) {
    if (!removed) return reply(exchange, removed.error());
    reply(exchange, *removed);
  });
}

void Api::label_node(const Exchange& exchange, const std::vector<std::string>& parts) {
  NodeEntry* node = registry_.find(parts[2]);
  if (node == nullptr) return reply(exchange, Registry::unknown_node(parts[2]));
  proto::SetLabelsRequest request;
  if (!read_body(exchange, request)) return;
  StateBatch batch;
  const Status set =
      registry_.set_labels(*node, {request.labels().begin(), request.labels().end()}, batch);
  if (!set) return reply(exchange, set.error());
  board_.on_labels_changed(*node);
  const proto::Node view = node_view(*node, FilesHeld(catalogue_, board_).of(*node));
  journal_.commit(std::move(batch), [exchange, view](const Status& stored) {
    if (!stored) return reply(exchange, stored.error());
    reply(exchange, view);
  });
}

proto::File Api::file_view(const proto::FileRecord* file,
                           const proto::ContentRecord& content) const {
  proto::File view;
  const ContentId id = *ContentId::from_raw(content.content_id());
  if (file != nullptr) {
    view.set_name(file->domain() + "/" + file->name());
    view.set_version(file->version());
    view.set_published_by(file->published_by());
    view.set_published_at(rfc3339(from_unix_seconds(file->published_unix())));
    view.set_latest(catalogue_.is_latest(*file));
    view.set_withdrawn(file->withdrawn());
  }
  view.set_content_id(id.hex());
  view.set_total_bytes(content.total_bytes());
  view.set_data_bytes(content.data_bytes());
  view.set_chunks(chunk_count_for(content.total_bytes()));
  view.set_chunk_bytes(chunk_bytes_for(content.total_bytes()));
  if (const auto root = Digest::from_raw(content.root())) view.set_root(root->hex());
  view.set_original_name(content.original_name());
  if (const Swarm* swarm = board_.swarm_of(id)) {
    for (const auto& [node, holder] : swarm->holders()) {
      if (holder.complete) {
        view.set_seeds(view.seeds() + 1);
      } else {
        view.set_partial(view.partial() + 1);
      }
    }
  }
  return view;
}

void Api::list_files(const Exchange& exchange, const std::vector<std::string>&) {
  proto::FileList list;
  for (const auto* file : catalogue_.files()) {
    const auto* content = catalogue_.content(*ContentId::from_raw(file->content_id()));
    if (content != nullptr) *list.add_files() = file_view(file, *content);
  }
  reply(exchange, list);
}

// These two answer the exchange themselves when there is no such file.
std::optional<Api::Found> Api::file_of(const Exchange& exchange,
                                       const std::vector<std::string>& parts) {
  auto name = parse_file_name(parts[2] + "/" + parts[3]);
  if (!name) {
    reply(exchange, name.error());
    return std::nullopt;
  }
  const auto* file = catalogue_.find(*name);
  const auto* content =
      file == nullptr ? nullptr : catalogue_.content(*ContentId::from_raw(file->content_id()));
  if (content != nullptr) return Found{file, content};
  reply(exchange, Catalogue::unknown_file(name->str()));
  return std::nullopt;
}

std::optional<Api::Found> Api::content_of(const Exchange& exchange,
                                          const std::vector<std::string>& parts) {
  const auto id = ContentId::from_hex(parts[2]);
  const auto* content = id ? catalogue_.content(*id) : nullptr;
  if (content != nullptr) return Found{catalogue_.name_of(*id), content};
  reply(exchange, Catalogue::unknown_file(parts[2]));
  return std::nullopt;
}

void Api::show_file(const Exchange& exchange, const std::vector<std::string>& parts) {
  if (const auto found = file_of(exchange, parts)) {
    reply(exchange, file_view(found->file, *found->content));
  }
}

void Api::show_content(const Exchange& exchange, const std::vector<std::string>& parts) {
  if (const auto found = content_of(exchange, parts)) {
    reply(exchange, file_view(found->file, *found->content));
  }
}

void Api::reply_holders(const Exchange& exchange, const proto::FileRecord* file,
                        const proto::ContentRecord& content) {
  proto::Holders view;
  *view.mutable_file() = file_view(file, content);
  if (const Swarm* swarm = board_.swarm_of(*ContentId::from_raw(content.content_id()))) {
    for (const auto& [id, holder] : swarm->holders()) {
      const NodeEntry* node = registry_.find(id);
      proto::Holder& entry = *view.add_holders();
      entry.set_node(node == nullptr ? id.str() : node->record.name());
      entry.set_online(node != nullptr && node->online);
      entry.set_complete(holder.complete);
      entry.set_bytes(holder.bytes);
      entry.set_path(holder.path);
    }
  }
  std::sort(view.mutable_holders()->begin(), view.mutable_holders()->end(),
            [](const auto& a, const auto& b) { return natural_less(a.node(), b.node()); });
  reply(exchange, view);
}

void Api::file_holders(const Exchange& exchange, const std::vector<std::string>& parts) {
  if (const auto found = file_of(exchange, parts)) {
    reply_holders(exchange, found->file, *found->content);
  }
}

void Api::content_holders(const Exchange& exchange, const std::vector<std::string>& parts) {
  if (const auto found = content_of(exchange, parts)) {
    reply_holders(exchange, found->file, *found->content);
  }
}

void Api::plan_push(const Exchange& exchange, const std::vector<std::string>&) {
  proto::PushSpec spec;
  if (!read_body(exchange, spec)) return;
  const auto plan = board_.push_plan(spec, wall_now());
  if (!plan) return reply(exchange, plan.error());
  reply(exchange, *plan);
}

void Api::create_job(const Exchange& exchange, const std::vector<std::string>&) {
  proto::CreateJobRequest request;
  if (!read_body(exchange, request)) return;
  board_.create(
      request, exchange->request().identity, wall_now(), [this, exchange](const Result<JobId>& id) {
        if (!id) return reply(exchange, id.error());
        reply(exchange, job_view(*board_.find(*id), board_, registry_, catalogue_, WithTasks::yes));
      });
}

void Api::list_jobs(const Exchange& exchange, const std::vector<std::string>&) {
  proto::JobList list;
  for (const BoardJob* job : board_.newest_first()) {
    *list.add_jobs() = job_view(*job, board_, registry_, catalogue_, WithTasks::no);
    if (list.jobs_size() == 1000) break;
  }
  reply(exchange, list);
}

// Answers the exchange itself when there is no such job.
const BoardJob* Api::job_of(const Exchange& exchange, const std::string& text) {
  const auto id = JobId::parse(text);
  const BoardJob* job = id ? board_.find(*id) : nullptr;
  if (job == nullptr) {
    reply(exchange, Error{Errc::not_found, "no job '" + text + "': p2pctl job list shows them"});
  }
  return job;
}

void Api::show_job(const Exchange& exchange, const std::vector<std::string>& parts) {
  if (const BoardJob* job = job_of(exchange, parts[2])) {
    reply(exchange, job_view(*job, board_, registry_, catalogue_, WithTasks::yes));
  }
}

void Api::watch_job(const Exchange& exchange, const std::vector<std::string>& parts) {
  const BoardJob* job = job_of(exchange, parts[2]);
  if (job == nullptr) return;
  exchange->start_stream("application/jsonl");
  // A slow reader misses intermediate states, but never the last one.
  const auto handle = std::make_shared<std::uint64_t>(0);
  const auto over = std::make_shared<bool>(false);
  const auto tell = [this, exchange, handle, over](const BoardJob& now) {
    if (*over) return true;
    const bool taken = exchange->stream(
        to_json(job_view(now, board_, registry_, catalogue_, WithTasks::yes)) + "\n");
    if (taken && now.finished()) {
      *over = true;
      exchange->finish();
      board_.unwatch(*handle);
    }
    return taken;
  };
  if (tell(*job) && job->finished()) return;
  const JobId id{job->record.number()};
  *handle = board_.watch(id, [tell](const BoardJob& now) { tell(now); });
  exchange->on_drained([this, id, tell] {
    const BoardJob* now = board_.find(id);
    if (now != nullptr && now->finished()) tell(*now);
  });
  exchange->on_closed([this, handle] { board_.unwatch(*handle); });
}

void Api::cancel_job(const Exchange& exchange, const std::vector<std::string>& parts) {
  const BoardJob* job = job_of(exchange, parts[2]);
  if (job == nullptr) return;
  const Status cancelled = board_.cancel(JobId{job->record.number()}, wall_now());
  if (!cancelled) return reply(exchange, cancelled.error());
  reply(exchange, job_view(*job, board_, registry_, catalogue_, WithTasks::yes));
}

}  // namespace p2p
