#include "tracker/api_users.h"

#include <boost/asio/post.hpp>
#include <charconv>
#include <utility>

#include "core/base/text.h"
#include "io/identity/token.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

proto::User user_view(const proto::UserRecord& record) {
  proto::User view;
  view.set_name(record.name());
  view.set_id(record.id());
  *view.mutable_roles() = record.roles();
  view.set_added_at(rfc3339(from_unix_seconds(record.added_unix())));
  view.set_added_by(record.added_by());
  view.set_certificate_expires_at(rfc3339(from_unix_seconds(record.certificate_expires_unix())));
  return view;
}

}  // namespace

void UsersApi::add_routes(Router& router) {
  const auto add = [&](std::string_view method, std::vector<std::string_view> path, auto handler) {
    router.add(method, std::move(path), Who::administrators,
               [this, handler](const ApiCall& call) { (this->*handler)(call); });
  };
  add("GET", {"v1", "users"}, &UsersApi::list_users);
  add("POST", {"v1", "users"}, &UsersApi::add_user);
  add("DELETE", {"v1", "users", "*"}, &UsersApi::remove_user);
  add("GET", {"v1", "audit"}, &UsersApi::read_audit);
}

void UsersApi::list_users(const ApiCall& call) const {
  proto::UserList list;
  for (const auto* user : rooms_.users.list()) *list.add_users() = user_view(*user);
  reply(call.exchange, list);
}

void UsersApi::add_user(const ApiCall& call) {
  proto::User request;
  if (!read_body(call.exchange, request)) return;
  const WallTime now = wall_now();
  proto::UserRecord record;
  record.set_name(request.name());
  *record.mutable_roles() = request.roles();
  record.set_id(new_uuid());
  record.set_added_unix(unix_seconds(now));
  record.set_added_by(call.caller.name);
  if (const Status valid = rooms_.users.check(record); !valid) {
    return reply(call.exchange, valid.error());
  }
  auto certificate =
      rooms_.enrolment.certify_user(record.id(), record.name(), request.csr_pem(), now);
  if (!certificate) {
    return reply(call.exchange,
                 Error{Errc::invalid_argument, "user " + record.name() + ": the request for a " +
                                                   "certificate: " + certificate.error().detail});
  }
  const auto validity = validity_of(certificate->chain_pem());
  if (!validity) return reply(call.exchange, validity.error());
  record.set_certificate_expires_unix(unix_seconds(validity->not_after));

  proto::User view = user_view(record);
  view.set_chain_pem(certificate->chain_pem());
  view.set_bundle_pem(certificate->bundle_pem());
  view.set_cluster(rooms_.enrolment.cluster().name);
  view.set_cluster_id(rooms_.enrolment.cluster().id);
  StateBatch batch;
  rooms_.users.add(std::move(record), batch);
  log_info("users", "user added", {{"name", view.name()}, {"id", view.id()}});
  commit_and_reply(rooms_.journal, std::move(batch), call.exchange, view);
}

void UsersApi::remove_user(const ApiCall& call) {
  StateBatch batch;
  const auto removed = rooms_.users.remove(call.parts[2], batch);
  if (!removed) return reply(call.exchange, removed.error());
  log_info("users", "user removed", {{"name", removed->name()}, {"id", removed->id()}});
  rooms_.cut_off(removed->id());
  commit_and_reply(rooms_.journal, std::move(batch), call.exchange, user_view(*removed));
}

void UsersApi::read_audit(const ApiCall& call) const {
  std::uint64_t from = 1;
  if (const auto text = call.query("from")) {
    const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), from);
    if (failed != std::errc{} || end != text->data() + text->size() || from == 0) {
      return reply(call.exchange, Error{Errc::invalid_argument,
                                        "?from=" + printable(*text, 40) +
                                            " is no number of a record: they count from 1"});
    }
  }
  // What has been added so far is in the store when this empty batch has been applied.
  rooms_.journal.commit(
      {}, [this, exchange = call.exchange, from, last = rooms_.audit.last()](const Status& stored) {
        if (!stored) return reply(exchange, stored.error());
        read_audit_page(exchange, from, last);
      });
}

void UsersApi::read_audit_page(const Exchange& exchange, std::uint64_t from,
                               std::uint64_t last) const {
  rooms_.disk.post([this, exchange, from, last] {
    auto list = rooms_.audit.read(from, last);
    boost::asio::post(rooms_.loop, [exchange, list = std::move(list)] {
      if (!list) return reply(exchange, list.error());
      reply(exchange, *list);
    });
  });
}

}  // namespace p2p
