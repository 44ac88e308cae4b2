// The nodes, groups and join tokens of a cluster: a mirror in memory of what the store holds.
//
// Control thread only. A change is made in memory at once and added to the caller's batch, which
// the caller commits before it tells anybody (tracker/journal.h keeps the order).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "core/model/target_expression.h"
#include "io/identity/deny_list.h"
#include "io/state/state_store.h"
#include "proto/control.pb.h"
#include "proto/records.pb.h"
#include "tracker/groups.h"

namespace p2p {

struct NodeEntry {
  NodeId id;
  proto::NodeRecord record;
  // Soft: what the agent said when it last connected.
  bool online = false;
  std::string address;  // where peers dial it
  std::string version;
  std::vector<std::string> roots;
  std::vector<std::string> shares;
  std::string exec;  // core/runs/exec_policy.h; empty: a release before runs
  // What it has said of itself last, also before the tracker's restart.
  proto::NodeFactsRecord facts;
  WallTime facts_stored{};  // since the tracker began
  WallTime last_seen{};
  WallTime certificate_expires{};
};

class Registry {
 public:
  static Result<Registry> load(StateStore& store);

  NodeEntry* find(NodeId id);
  const NodeEntry* find(NodeId id) const;
  // By name, or by the UUID's text. Removed nodes are not found.
  NodeEntry* find(const std::string& name_or_id);
  // The same among removed ones; of several with that name the one that was removed last.
  const NodeEntry* find_removed(const std::string& name_or_id) const;
  // Also of a removed node; its id when there never was such a node.
  std::string name_of(NodeId id) const;
  // Names the node and says how to list those that exist.
  static Error unknown_node(const std::string& name);
  const std::map<NodeId, NodeEntry>& nodes() const { return nodes_; }
  std::vector<TargetCandidate> candidates() const { return candidates_with(Details::all); }
  // Whom a target expression selects now, in natural order of their names. "random" draws anew
  // each time.
  Result<std::vector<NodeId>> resolve(const std::string& expression) const;

  // Keeps what can be a fact, in memory at once. False: that is what is known.
  bool set_facts(NodeEntry& node, const proto::Facts& facts, WallTime now);
  // Facts that are due to be stored, a batch for each node: of one node once a minute, however
  // often it says others.
  std::vector<StateBatch> facts_to_store(WallTime now);
  Groups& groups() { return groups_; }
  const Groups& groups() const { return groups_; }

  void put_token(proto::TokenRecord token, StateBatch& batch);
  // Checks the token and the name, takes one use, and makes the node's record. Errors are what the
  // joining side is told: they do not tell a wrong secret from an unknown token.
  struct Join {
    std::string token_id, token_secret, name;
    std::map<std::string, std::string> labels;
  };
  Result<proto::NodeRecord> join(const Join& request, WallTime now, StateBatch& batch);
  // The node's name is free from now on, its id is never given again.
  void remove(NodeEntry& node, WallTime now, StateBatch& batch);
  // Rises with each removal, also across a restored backup: it is at least the time in
  // milliseconds.
  std::uint64_t deny_version() const { return deny_version_; }
  // Removed nodes whose certificates may still be valid at `now`.
  DenyList deny_list(WallTime now) const;
  Status set_labels(NodeEntry& node, const std::map<std::string, std::string>& labels,
                    StateBatch& batch);

 private:
  Status load_facts(StateStore& store);
  enum class Details { all, names };
  std::vector<TargetCandidate> candidates_with(Details details) const;

  Groups groups_;
  std::map<NodeId, NodeEntry> nodes_;
  std::map<std::string, NodeId> by_name_;
  std::map<std::string, proto::TokenRecord> tokens_;
  std::set<NodeId> new_facts_;  // that are not stored
  std::uint64_t deny_version_ = 0;
};

}  // namespace p2p
