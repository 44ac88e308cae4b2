#include "tracker/removal.h"

#include <utility>

#include "io/log/log.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

// Then nodes whose certificates have run out leave it.
constexpr Duration kSignedAnewAfter = std::chrono::hours(24);

proto::RemovedNode reply_about(const NodeEntry& node) {
  proto::RemovedNode reply;
  reply.set_id(node.id.str());
  reply.set_name(node.record.name());
  reply.set_removed_at(rfc3339(from_unix_seconds(node.record.removed_unix())));
  return reply;
}

}  // namespace

Error removed_error(const NodeEntry* node) {
  std::string what = "this node is not in the cluster any more";
  if (node != nullptr) {
    what = "node " + node->record.name() + " was removed from the cluster at " +
           rfc3339(from_unix_seconds(node->record.removed_unix()));
  }
  return Error{Errc::denied, what + ": join again with a new token"};
}

void Removal::set_signer(StatementSigner signer) {
  signer_ = std::move(signer);
  signed_version_ = 0;
}

Result<std::string> Removal::signed_list(WallTime now) {
  const std::uint64_t version = registry_.deny_version();
  if (signed_version_ == version && now - signed_at_ < kSignedAnewAfter) return signed_;
  auto statement = sign_deny_list(signer_, cluster_, registry_.deny_list(now));
  if (!statement) return statement.error();
  signed_ = *std::move(statement);
  signed_version_ = version;
  signed_at_ = now;
  return signed_;
}

std::string Removal::newer_than(std::uint64_t version, WallTime now) {
  if (version > registry_.deny_version()) {
    log_warn("agents",
             "an agent has a newer deny-list than this tracker: was its state restored from a "
             "backup? what was removed since has to be removed again",
             {{"theirs", version}, {"ours", registry_.deny_version()}});
  }
  if (version >= registry_.deny_version()) return {};
  auto list = signed_list(now);
  if (list) return *std::move(list);
  log_error("agents", "the deny-list cannot be signed", {{"why", list.error().detail}});
  return {};
}

void Removal::remove(const std::string& name, WallTime now,
                     std::function<void(Result<proto::RemovedNode>)> done) {
  NodeEntry* node = registry_.find(name);
  if (node == nullptr) {
    const NodeEntry* before = registry_.find_removed(name);
    if (before == nullptr) return done(Registry::unknown_node(name));
    proto::RemovedNode reply = reply_about(*before);
    reply.set_already(true);
    // The list could not be signed when it was due: nobody is cut off yet.
    if (told_version_ < registry_.deny_version()) {
      const auto told = tell_all(now);
      if (!told) return done(told.error().within(reply.name() + " is removed, but not cut off"));
      reply.set_agents_told(*told);
    }
    return done(reply);
  }
  if (registry_.deny_list(now).nodes.size() >= kMaxDenied) {
    return done(Error{Errc::exhausted,
                      std::to_string(kMaxDenied) +
                          " nodes were removed in the last month, and no list of more can be told "
                          "to the agents: wait until the first ones' certificates have run out"});
  }
  const NodeId id = node->id;
  StateBatch batch;
  registry_.remove(*node, now, batch);
  // Before what becomes of its tasks: a crash in between leaves tasks that fail at the next start.
  journal_.commit(std::move(batch), [this, id, done = std::move(done),
                                     reply = reply_about(*node)](const Status& stored) mutable {
    if (!stored) return done(stored.error());
    announce(id, std::move(reply), done);
  });
}

Result<std::uint32_t> Removal::tell_all(WallTime now) {
  auto list = signed_list(now);
  if (!list) return list.error();
  proto::TrackerMessage message;
  message.set_deny_list(*std::move(list));
  told_version_ = signed_version_;
  return agents_.send_to_all(message);
}

void Removal::announce(NodeId node, proto::RemovedNode reply,
                       const std::function<void(Result<proto::RemovedNode>)>& done) {
  const WallTime now = wall_now();
  const auto told = tell_all(now);
  reply.set_agents_told(told ? *told : 0);
  reply.set_tasks_failed(board_.on_node_removed(node, now));
  agents_.end_removed(node);
  if (!told) {
    return done(told.error().within(
        reply.name() + " is removed, but not cut off from the other nodes; repeat it"));
  }
  log_info("agents", "node removed",
           {{"node", reply.name()},
            {"id", reply.id()},
            {"tasks_failed", reply.tasks_failed()},
            {"agents_told", reply.agents_told()}});
  done(std::move(reply));
}

}  // namespace p2p
