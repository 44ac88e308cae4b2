#include "tracker/registry.h"

#include <algorithm>
#include <random>

#include "core/base/text.h"
#include "core/base/units.h"
#include "core/model/ip_range.h"
#include "core/model/node_set.h"
#include "io/identity/cluster.h"
#include "io/identity/token.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

constexpr std::string_view kNodePrefix = "node/";
constexpr std::string_view kTokenPrefix = "token/";
constexpr std::string_view kFactsPrefix = "facts/";
constexpr std::size_t kMaxLabels = 64;
constexpr int kMaxFacts = 64;
constexpr std::size_t kMaxFactBytes = 255;
constexpr int kMaxAddresses = 64;
constexpr Duration kFactsPause = std::chrono::minutes(1);
constexpr std::size_t kFactsAtOnce = 100;

// Two levels, so that no level has more than 1,000 children before there are 256,000 nodes.
std::string node_key(const std::string& id) {
  return std::string(kNodePrefix) + id.substr(0, 2) + "/" + id;
}

std::string facts_key(const std::string& id) {
  return std::string(kFactsPrefix) + id.substr(0, 2) + "/" + id;
}

std::string token_key(const std::string& id) {
  return std::string(kTokenPrefix) + id;
}

Error bad_record(std::string_view key) {
  return Error{Errc::corrupt, "state store: record " + std::string(key) + " cannot be read"};
}

// A node's word: what cannot be a fact or an address is passed over, and so is what is too much.
proto::NodeFactsRecord facts_from(const proto::Facts& said) {
  proto::NodeFactsRecord record;
  const std::map<std::string, std::string> values{said.values().begin(), said.values().end()};
  for (const auto& [key, value] : values) {
    if (record.values_size() == kMaxFacts) break;
    if (!check_label_key(key) || value.empty() || value.size() > kMaxFactBytes) continue;
    (*record.mutable_values())[key] = printable(value, kMaxFactBytes);
  }
  for (const std::string& address : said.addresses()) {
    if (record.addresses_size() == kMaxAddresses) break;
    if (parse_ip(address)) record.add_addresses(address);
  }
  return record;
}

bool say_the_same(const proto::NodeFactsRecord& a, const proto::NodeFactsRecord& b) {
  return std::equal(a.addresses().begin(), a.addresses().end(), b.addresses().begin(),
                    b.addresses().end()) &&
         std::map<std::string, std::string>(a.values().begin(), a.values().end()) ==
             std::map<std::string, std::string>(b.values().begin(), b.values().end());
}

}  // namespace

Result<Registry> Registry::load(StateStore& store) {
  Registry registry;
  std::optional<Error> bad;
  const Status nodes = store.scan(kNodePrefix, [&](std::string_view key, const auto& entry) {
    proto::NodeRecord record;
    std::optional<NodeId> id;
    if (record.ParseFromString(entry.value)) id = NodeId::parse(record.id());
    if (!id) {
      bad = bad_record(key);
      return false;
    }
    if (!record.removed()) registry.by_name_[record.name()] = *id;
    registry.deny_version_ = std::max(registry.deny_version_, record.deny_version());
    NodeEntry node;
    node.id = *id;
    node.record = std::move(record);
    registry.nodes_.emplace(*id, std::move(node));
    return true;
  });
  if (!nodes) return nodes.error();
  const Status tokens = store.scan(kTokenPrefix, [&](std::string_view key, const auto& entry) {
    proto::TokenRecord record;
    if (!record.ParseFromString(entry.value)) {
      bad = bad_record(key);
      return false;
    }
    registry.tokens_[record.id()] = std::move(record);
    return true;
  });
  if (!tokens) return tokens.error();
  if (bad) return *bad;
  if (const Status facts = registry.load_facts(store); !facts) return facts.error();
  auto groups = Groups::load(store);
  if (!groups) return groups.error();
  registry.groups_ = std::move(*groups);
  return registry;
}

// A record that cannot be read is passed over: the node says it again when it connects.
Status Registry::load_facts(StateStore& store) {
  return store.scan(kFactsPrefix, [&](std::string_view key, const auto& entry) {
    const auto id = NodeId::parse(key.substr(key.rfind('/') + 1));
    NodeEntry* node = id ? find(*id) : nullptr;
    proto::NodeFactsRecord record;
    if (node != nullptr && record.ParseFromString(entry.value)) node->facts = std::move(record);
    return true;
  });
}

bool Registry::set_facts(NodeEntry& node, const proto::Facts& facts, WallTime now) {
  proto::NodeFactsRecord record = facts_from(facts);
  if (say_the_same(record, node.facts)) return false;
  record.set_said_unix(unix_seconds(now));
  node.facts = std::move(record);
  new_facts_.insert(node.id);
  return true;
}

std::vector<StateBatch> Registry::facts_to_store(WallTime now) {
  std::vector<StateBatch> batches;
  for (auto it = new_facts_.begin(); it != new_facts_.end() && batches.size() < kFactsAtOnce;) {
    NodeEntry* node = find(*it);
    if (node != nullptr && now - node->facts_stored < kFactsPause && now >= node->facts_stored) {
      ++it;
      continue;
    }
    it = new_facts_.erase(it);
    if (node == nullptr) continue;
    node->facts_stored = now;
    batches.emplace_back().put(facts_key(node->record.id()), node->facts.SerializeAsString());
  }
  return batches;
}

NodeEntry* Registry::find(NodeId id) {
  const auto found = nodes_.find(id);
  return found == nodes_.end() || found->second.record.removed() ? nullptr : &found->second;
}

const NodeEntry* Registry::find(NodeId id) const {
  return const_cast<Registry*>(this)->find(id);
}

NodeEntry* Registry::find(const std::string& name_or_id) {
  if (const auto found = by_name_.find(name_or_id); found != by_name_.end()) {
    return find(found->second);
  }
  if (const auto id = NodeId::parse(name_or_id)) return find(*id);
  return nullptr;
}

const NodeEntry* Registry::find_removed(const std::string& name_or_id) const {
  const auto id = NodeId::parse(name_or_id);
  const NodeEntry* last = nullptr;
  for (const auto& [node_id, node] : nodes_) {
    if (!node.record.removed()) continue;
    if (node.record.name() != name_or_id && !(id && *id == node_id)) continue;
    if (last == nullptr || last->record.deny_version() < node.record.deny_version()) last = &node;
  }
  return last;
}

std::string Registry::name_of(NodeId id) const {
  const auto found = nodes_.find(id);
  return found == nodes_.end() ? id.str() : found->second.record.name();
}

Error Registry::unknown_node(const std::string& name) {
  return Error{Errc::not_found, "no node named '" + name + "': p2pctl node list shows them"};
}

std::vector<TargetCandidate> Registry::candidates_with(Details details) const {
  std::vector<TargetCandidate> list;
  for (const auto& [id, node] : nodes_) {
    if (node.record.removed()) continue;
    TargetCandidate candidate{id, node.record.name(), {}};
    if (details == Details::all) {
      candidate.labels = {node.record.labels().begin(), node.record.labels().end()};
      candidate.facts = {node.facts.values().begin(), node.facts.values().end()};
      candidate.addresses = {node.facts.addresses().begin(), node.facts.addresses().end()};
    }
    list.push_back(std::move(candidate));
  }
  return list;
}

Result<std::vector<NodeId>> Registry::resolve(const std::string& expression) const {
  auto parsed = parse_targets(expression);
  if (!parsed) return parsed.error();
  TargetWorld world;
  world.group = [this](const std::string& name) { return groups_.expression_of(name); };
  std::random_device device;
  world.seed = static_cast<std::uint64_t>(device()) << 32 | device();
  // Labels, facts and addresses are many, and most expressions are lists of names.
  const bool by_names =
      std::all_of(parsed->steps.begin(), parsed->steps.end(), [](const TargetStep& step) {
        return !std::holds_alternative<LabelIs>(step) && !std::holds_alternative<AddressIn>(step) &&
               !std::holds_alternative<GroupMembers>(step);
      });
  return select(*parsed, candidates_with(by_names ? Details::names : Details::all), world);
}

void Registry::put_token(proto::TokenRecord token, StateBatch& batch) {
  batch.put(token_key(token.id()), token.SerializeAsString());
  tokens_[token.id()] = std::move(token);
}

Result<proto::NodeRecord> Registry::join(const Join& request, WallTime now, StateBatch& batch) {
  const auto found = tokens_.find(request.token_id);
  if (found == tokens_.end() ||
      !equal_in_constant_time(secret_hash(request.token_secret), found->second.secret_hash())) {
    return Error{Errc::denied,
                 "this token is not known here: make a new one with p2pctl token create"};
  }
  proto::TokenRecord& token = found->second;
  if (unix_seconds(now) >= token.expires_unix()) {
    return Error{Errc::denied, "the token expired at " +
                                   rfc3339(from_unix_seconds(token.expires_unix())) +
                                   ": make a new one with p2pctl token create"};
  }
  if (token.uses_left() == 0) {
    return Error{Errc::denied,
                 "the token is used up: make a new one with p2pctl token create (--uses N for "
                 "several nodes)"};
  }
  if (const Status valid = check_node_name(request.name); !valid) return valid.error();
  // An operator who removes a node by its id must not hit another one of that name.
  if (NodeId::parse(request.name)) {
    return Error{Errc::invalid_argument, "node name " + request.name +
                                             " has the form of a node's id: choose another --name"};
  }
  if (by_name_.contains(request.name)) {
    return Error{Errc::already_exists, "a node named '" + request.name +
                                           "' is already in the cluster: choose another --name"};
  }
  proto::NodeRecord record;
  record.set_id(new_uuid());
  record.set_name(request.name);
  record.set_enrolled_unix(unix_seconds(now));
  record.set_token_id(token.id());
  auto& labels = *record.mutable_labels();
  for (const auto& [key, value] : request.labels) {
    if (const Status valid = check_label_key(key); !valid) return valid.error();
    if (const Status valid = check_label_value(value); !valid) return valid.error();
    labels[key] = value;
  }
  // What the operator put on the token wins over what the node says of itself.
  for (const auto& [key, value] : token.labels()) labels[key] = value;
  if (labels.size() > kMaxLabels) {
    return Error{Errc::invalid_argument, "node " + request.name + ": more than 64 labels"};
  }

  token.set_uses_left(token.uses_left() - 1);
  batch.put(token_key(token.id()), token.SerializeAsString());
  batch.put(node_key(record.id()), record.SerializeAsString());
  const auto id = NodeId::parse(record.id());
  NodeEntry node;
  node.id = *id;
  node.record = record;
  nodes_.emplace(*id, std::move(node));
  by_name_[record.name()] = *id;
  return record;
}

void Registry::remove(NodeEntry& node, WallTime now, StateBatch& batch) {
  deny_version_ = std::max(deny_version_ + 1,
                           static_cast<std::uint64_t>(std::max<std::int64_t>(0, unix_millis(now))));
  by_name_.erase(node.record.name());
  node.online = false;
  node.record.set_removed(true);
  node.record.set_removed_unix(unix_seconds(now));
  node.record.set_deny_version(deny_version_);
  batch.put(node_key(node.record.id()), node.record.SerializeAsString());
  node.facts.Clear();
  batch.erase(facts_key(node.record.id()));
}

DenyList Registry::deny_list(WallTime now) const {
  DenyList list;
  list.version = deny_version_;
  list.issued = now;
  for (const auto& [id, node] : nodes_) {
    if (!node.record.removed()) continue;
    const WallTime removed = from_unix_seconds(node.record.removed_unix());
    if (now < removed + kAgentCertificateLife + kClockSkewAllowance) list.nodes.insert(id);
  }
  return list;
}

Status Registry::set_labels(NodeEntry& node, const std::map<std::string, std::string>& labels,
                            StateBatch& batch) {
  auto changed = node.record;
  for (const auto& [key, value] : labels) {
    if (Status valid = check_label_key(key); !valid) return valid;
    if (Status valid = check_label_value(value); !valid) return valid;
    if (value.empty()) {
      changed.mutable_labels()->erase(key);
    } else {
      (*changed.mutable_labels())[key] = value;
    }
  }
  if (static_cast<std::size_t>(changed.labels_size()) > kMaxLabels) {
    return Error{Errc::invalid_argument, "node " + changed.name() + ": more than 64 labels"};
  }
  node.record = std::move(changed);
  batch.put(node_key(node.record.id()), node.record.SerializeAsString());
  return {};
}

}  // namespace p2p
