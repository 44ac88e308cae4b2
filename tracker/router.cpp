#include "tracker/router.h"

#include <algorithm>
#include <utility>

namespace p2p {
namespace {

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

}  // namespace

void reply(const Exchange& exchange, const google::protobuf::Message& message) {
  exchange->reply({200, "application/json", to_json(message)});
}

void reply(const Exchange& exchange, const Error& error) {
  // A path outside the shares is the operator's mistake; 403 says that the operator is the mistake.
  const unsigned status = error.code == Errc::denied ? 400 : status_of(error.code);
  exchange->reply({status, "application/json", error_body(error)});
}

void reply_forbidden(const Exchange& exchange, const Error& error) {
  exchange->reply({403, "application/json", error_body(error)});
}

void commit_and_reply(Journal& journal, StateBatch batch, const Exchange& exchange,
                      const google::protobuf::Message& message) {
  journal.commit(std::move(batch), [exchange, body = to_json(message)](const Status& stored) {
    if (!stored) return reply(exchange, stored.error());
    exchange->reply({200, "application/json", body});
  });
}

bool read_body(const Exchange& exchange, google::protobuf::Message& message) {
  if (exchange->request().body.empty()) return true;
  if (const Status parsed = from_json(exchange->request().body, message); !parsed) {
    reply(exchange, parsed.error());
    return false;
  }
  return true;
}

std::optional<std::string> ApiCall::query(std::string_view name) const {
  const auto& query = exchange->request().query;
  const auto found = query.find(name);
  if (found == query.end()) return std::nullopt;
  return found->second;
}

void Router::add(std::string_view method, std::vector<std::string_view> path, Who who,
                 Handler handler, Effect effect) {
  routes_.push_back({method, std::move(path), who, std::move(handler), effect, nullptr});
}

void Router::add_first(std::string_view method, std::vector<std::string_view> path, Who who,
                       When when, Handler handler) {
  routes_.insert(routes_.begin(), {method, std::move(path), who, std::move(handler),
                                   Effect::as_its_method, std::move(when)});
}

void Router::handle(Exchange exchange) const {
  const HttpRequest& request = exchange->request();
  ApiCall call{exchange, parts_of(request.path), {}};
  bool path_known = false;
  for (const Route& route : routes_) {
    if (route.path.size() != call.parts.size()) continue;
    const bool fits = std::equal(route.path.begin(), route.path.end(), call.parts.begin(),
                                 [](std::string_view wanted, const std::string& part) {
                                   return wanted == "*" || wanted == part;
                                 });
    if (!fits) continue;
    if (route.when && (route.method != request.method || !route.when(call))) continue;
    path_known = true;
    if (route.method != request.method) continue;
    auto caller = find_caller_(request.identity);
    Status allowed;
    if (caller) {
      call.caller = *std::move(caller);
      if (route.who == Who::administrators && !call.caller.admin) {
        allowed = Error{Errc::denied,
                        "only administrators may do this; you are user '" + call.caller.name + "'"};
      }
    } else {
      allowed = caller.error();
    }
    if (request.method == "GET" || route.effect == Effect::none) {
      if (!allowed) return reply_forbidden(exchange, allowed.error());
      return route.handler(call);
    }
    // Routes are added before the first call, and stay where they are.
    return note_(call, allowed, [call, allowed, &route](const Status& noted) {
      if (!allowed) return reply_forbidden(call.exchange, allowed.error());
      if (!noted) return reply(call.exchange, noted.error().within("the call is not recorded"));
      route.handler(call);
    });
  }
  const Error error{Errc::not_found, path_known
                                         ? "no method " + request.method + " for " + request.path
                                         : "no such path: " + request.path};
  exchange->reply({path_known ? 405u : 404u, "application/json", error_body(error)});
}

}  // namespace p2p
