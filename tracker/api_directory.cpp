#include "tracker/api_directory.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "core/base/text.h"
#include "core/model/node_set.h"
#include "core/runs/shebang.h"
#include "io/runtime/wall_clock.h"
#include "proto/api.pb.h"
#include "tracker/views.h"

namespace p2p {
namespace {

proto::Group group_view(const proto::GroupRecord& record) {
  proto::Group view;
  view.set_name(record.name());
  view.set_expression(record.expression());
  view.set_changed_at(rfc3339(from_unix_seconds(record.changed_unix())));
  view.set_changed_by(record.changed_by());
  return view;
}

// With its members now, or why there are none.
proto::Group group_with_members(const proto::GroupRecord& record, const Registry& registry) {
  proto::Group view = group_view(record);
  const auto nodes = registry.resolve(record.expression());
  if (nodes) {
    *view.mutable_nodes() = target_view(*nodes, registry).nodes();
  } else {
    view.set_problem(nodes.error().detail);
  }
  return view;
}

// Answers itself when path and body name different things.
bool same_name(const ApiCall& call, const std::string& in_body) {
  const std::string& name = call.parts[2];
  if (in_body.empty() || in_body == name) return true;
  reply(call.exchange, Error{Errc::invalid_argument, "the path names " + quoted(name, 80) +
                                                         ", the body " + quoted(in_body, 80)});
  return false;
}

proto::Account account_view(const proto::AccountRecord& record) {
  proto::Account view;
  view.set_name(record.name());
  view.set_user(record.user());
  *view.mutable_roles() = record.roles();
  view.set_nodes(record.nodes());
  view.set_cpu_seconds(record.cpu_seconds());
  view.set_memory_bytes(record.memory_bytes());
  view.set_processes(record.processes());
  view.set_open_files(record.open_files());
  view.set_file_bytes(record.file_bytes());
  view.set_wall_ms(record.wall_ms());
  *view.mutable_environment() = record.environment();
  view.set_umask(record.umask());
  view.set_folder(record.folder());
  view.set_changed_at(rfc3339(from_unix_seconds(record.changed_unix())));
  view.set_changed_by(record.changed_by());
  return view;
}

proto::AccountRecord account_record(const proto::Account& view, const std::string& name,
                                    const std::string& by, WallTime now) {
  proto::AccountRecord record;
  record.set_name(name);
  record.set_user(view.user());
  *record.mutable_roles() = view.roles();
  record.set_nodes(view.nodes());
  record.set_cpu_seconds(view.cpu_seconds());
  record.set_memory_bytes(view.memory_bytes());
  record.set_processes(view.processes());
  record.set_open_files(view.open_files());
  record.set_file_bytes(view.file_bytes());
  record.set_wall_ms(view.wall_ms());
  *record.mutable_environment() = view.environment();
  record.set_umask(view.umask());
  record.set_folder(view.folder());
  record.set_changed_unix(unix_seconds(now));
  record.set_changed_unix_ms(unix_millis(now));
  record.set_changed_by(by);
  return record;
}

proto::Script script_view(const proto::ScriptRecord& record, const Scripts& scripts) {
  proto::Script view;
  view.set_name(record.name());
  view.set_version(record.version());
  view.set_sha256(to_hex(reinterpret_cast<const std::uint8_t*>(record.sha256().data()),
                         record.sha256().size()));
  view.set_bytes(record.bytes());
  view.set_interpreter(record.interpreter());
  view.set_put_at(rfc3339(from_unix_seconds(record.put_unix())));
  view.set_put_by(record.put_by());
  const auto newest = scripts.find(record.name());
  view.set_latest(newest && newest->version() == record.version());
  return view;
}

}  // namespace

void DirectoryApi::add_routes(Router& router) {
  const auto add = [&](std::string_view method, std::vector<std::string_view> path, Who who,
                       auto handler) {
    router.add(method, std::move(path), who,
               [this, handler](const ApiCall& call) { (this->*handler)(call); });
  };
  add("GET", {"v1", "targets"}, Who::users, &DirectoryApi::select_targets);
  add("GET", {"v1", "groups"}, Who::users, &DirectoryApi::list_groups);
  add("GET", {"v1", "groups", "*"}, Who::users, &DirectoryApi::show_group);
  add("PUT", {"v1", "groups", "*"}, Who::administrators, &DirectoryApi::set_group);
  add("DELETE", {"v1", "groups", "*"}, Who::administrators, &DirectoryApi::remove_group);
  add("GET", {"v1", "accounts"}, Who::users, &DirectoryApi::list_accounts);
  add("PUT", {"v1", "accounts", "*"}, Who::administrators, &DirectoryApi::set_account);
  add("DELETE", {"v1", "accounts", "*"}, Who::administrators, &DirectoryApi::remove_account);
  add("GET", {"v1", "scripts"}, Who::users, &DirectoryApi::list_scripts);
  add("GET", {"v1", "scripts", "*"}, Who::users, &DirectoryApi::show_script);
  add("POST", {"v1", "scripts"}, Who::administrators, &DirectoryApi::put_script);
}

void DirectoryApi::select_targets(const ApiCall& call) const {
  const auto expression = call.query("to");
  if (!expression) {
    return reply(call.exchange, Error{Errc::invalid_argument,
                                      "say ?to=EXPRESSION: which nodes, such as web[1-9] or '*'"});
  }
  const auto nodes = rooms_.registry.resolve(*expression);
  if (!nodes) return reply(call.exchange, nodes.error());
  reply(call.exchange, target_view(*nodes, rooms_.registry));
}

void DirectoryApi::list_groups(const ApiCall& call) const {
  proto::GroupList list;
  for (const auto* group : rooms_.registry.groups().list()) *list.add_groups() = group_view(*group);
  reply(call.exchange, list);
}

void DirectoryApi::show_group(const ApiCall& call) const {
  const auto* group = rooms_.registry.groups().find(call.parts[2]);
  if (group == nullptr) return reply(call.exchange, Groups::unknown(call.parts[2]));
  reply(call.exchange, group_with_members(*group, rooms_.registry));
}

void DirectoryApi::set_group(const ApiCall& call) {
  proto::Group request;
  if (!read_body(call.exchange, request)) return;
  if (!same_name(call, request.name())) return;
  proto::GroupRecord record;
  record.set_name(call.parts[2]);
  record.set_expression(request.expression());
  record.set_changed_unix(unix_seconds(wall_now()));
  record.set_changed_by(call.caller.name);
  StateBatch batch;
  if (const Status set = rooms_.registry.groups().set(record, batch); !set) {
    return reply(call.exchange, set.error());
  }
  commit_and_reply(rooms_.journal, std::move(batch), call.exchange,
                   group_with_members(record, rooms_.registry));
}

void DirectoryApi::remove_group(const ApiCall& call) {
  StateBatch batch;
  const auto removed = rooms_.registry.groups().remove(call.parts[2], batch);
  if (!removed) return reply(call.exchange, removed.error());
  commit_and_reply(rooms_.journal, std::move(batch), call.exchange, group_view(*removed));
}

void DirectoryApi::list_accounts(const ApiCall& call) const {
  proto::AccountList list;
  for (const auto* account : rooms_.accounts.list()) {
    // Of accounts that users may not use they learn nothing.
    if (!rooms_.accounts.usable(account->name(), call.caller)) continue;
    *list.add_accounts() = account_view(*account);
  }
  reply(call.exchange, list);
}

void DirectoryApi::set_account(const ApiCall& call) {
  proto::Account request;
  if (!read_body(call.exchange, request)) return;
  if (!same_name(call, request.name())) return;
  auto record = account_record(request, call.parts[2], call.caller.name, wall_now());
  const proto::Account view = account_view(record);
  StateBatch batch;
  if (const Status set = rooms_.accounts.set(std::move(record), batch); !set) {
    return reply(call.exchange, set.error());
  }
  commit_and_reply(rooms_.journal, std::move(batch), call.exchange, view);
}

void DirectoryApi::remove_account(const ApiCall& call) {
  StateBatch batch;
  const auto removed = rooms_.accounts.remove(call.parts[2], batch);
  if (!removed) return reply(call.exchange, removed.error());
  commit_and_reply(rooms_.journal, std::move(batch), call.exchange, account_view(*removed));
}

void DirectoryApi::list_scripts(const ApiCall& call) const {
  proto::ScriptList list;
  const auto all = rooms_.scripts.list();
  for (std::size_t i = 0; i < all.size(); ++i) {
    // By name, versions rising: a later one of the same name is so many places on.
    const std::size_t later = i + kListedVersions;
    if (later < all.size() && all[later]->name() == all[i]->name()) continue;
    *list.add_scripts() = script_view(*all[i], rooms_.scripts);
  }
  reply(call.exchange, list);
}

void DirectoryApi::show_script(const ApiCall& call) const {
  const auto record = rooms_.scripts.find(call.parts[2]);
  if (!record) return reply(call.exchange, record.error());
  rooms_.disk.post([this, exchange = call.exchange, record = *record] {
    auto body = rooms_.blobs.get(record.sha256());
    boost::asio::post(rooms_.loop, [this, exchange, record, body = std::move(body)] {
      if (!body) {
        return reply(exchange, body.error().within("the body of script " + record.name()));
      }
      proto::Script view = script_view(record, rooms_.scripts);
      view.set_body(*body);
      reply(exchange, view);
    });
  });
}

void DirectoryApi::put_script(const ApiCall& call) {
  proto::Script request;
  if (!read_body(call.exchange, request)) return;
  if (const Status valid = check_script_name(request.name()); !valid) {
    return reply(call.exchange, valid.error());
  }
  const std::string what = "script " + request.name();
  if (request.body().size() > kMaxBlobBytes) {
    return reply(call.exchange,
                 Error{Errc::invalid_argument,
                       what + ": " + std::to_string(request.body().size()) +
                           " bytes; a script has at most 960 KiB: publish what it needs beside "
                           "itself, and push that to the nodes"});
  }
  const auto shebang = parse_shebang(request.body());
  if (!shebang) return reply(call.exchange, shebang.error().within(what));
  if (const Status room = rooms_.scripts.check_room(request.name()); !room) {
    return reply(call.exchange, room.error());
  }
  proto::ScriptRecord record;
  record.set_name(request.name());
  record.set_bytes(request.body().size());
  record.set_interpreter(shebang->interpreter +
                         (shebang->argument ? " " + *shebang->argument : std::string()));
  record.set_interpreter(printable(record.interpreter(), kMaxShebangBytes));
  record.set_put_unix(unix_seconds(wall_now()));
  record.set_put_by(call.caller.name);
  rooms_.disk.post([this, call, record, body = std::move(*request.mutable_body())]() mutable {
    auto hash = rooms_.blobs.put(body);
    boost::asio::post(rooms_.loop, [this, call, record, hash = std::move(hash)]() mutable {
      if (!hash) return reply(call.exchange, hash.error());
      record.set_sha256(*hash);
      keep_script(call, std::move(record));
    });
  });
}

void DirectoryApi::keep_script(const ApiCall& call, proto::ScriptRecord record) {
  // Others may have come in between.
  if (const Status room = rooms_.scripts.check_room(record.name()); !room) {
    return reply(call.exchange, room.error());
  }
  StateBatch batch;
  const proto::ScriptRecord kept = rooms_.scripts.put(std::move(record), batch);
  proto::Script view = script_view(kept, rooms_.scripts);
  view.set_already(batch.changes.empty());
  if (view.already()) return reply(call.exchange, view);
  commit_and_reply(rooms_.journal, std::move(batch), call.exchange, view);
}

}  // namespace p2p
