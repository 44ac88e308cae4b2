#include "io/identity/deny_list.h"

#include <algorithm>

#include "core/base/text.h"
#include "io/runtime/wall_clock.h"
#include "proto/statement.pb.h"

namespace p2p {
namespace {

// The year 2242.
constexpr std::int64_t kMaxSeconds = std::int64_t{1} << 33;

std::string to_raw(NodeId id) {
  return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
}

NodeId from_raw(const std::string& raw) {
  NodeId id;
  std::copy(raw.begin(), raw.end(), id.bytes.begin());
  return id;
}

}  // namespace

Result<std::string> sign_deny_list(const StatementSigner& signer, const std::string& cluster,
                                   const DenyList& list) {
  if (list.nodes.size() > kMaxDenied) {
    return Error{Errc::invalid_argument,
                 "a deny-list has at most " + std::to_string(kMaxDenied) + " nodes"};
  }
  proto::DenyList payload;
  payload.set_cluster_id(cluster);
  payload.set_version(list.version);
  payload.set_issued_unix(unix_seconds(list.issued));
  for (const NodeId node : list.nodes) payload.add_node_ids(to_raw(node));
  return signer.sign(Purpose::deny_list, payload.SerializeAsString());
}

Result<DenyList> verify_deny_list(StatementVerifier& verifier, std::string_view statement,
                                  WallTime now) {
  const auto bytes = verifier.verify(Purpose::deny_list, statement, now);
  if (!bytes) return bytes.error();
  proto::DenyList payload;
  const bool readable =
      payload.ParseFromString(*bytes) && payload.version() > 0 && payload.issued_unix() >= 0 &&
      payload.issued_unix() <= kMaxSeconds &&
      static_cast<std::size_t>(payload.node_ids_size()) <= kMaxDenied &&
      std::all_of(payload.node_ids().begin(), payload.node_ids().end(),
                  [](const std::string& id) { return id.size() == sizeof(NodeId::bytes); });
  if (!readable) return Error{Errc::corrupt, "deny-list: it cannot be read"};
  if (payload.cluster_id() != verifier.cluster()) {
    return Error{Errc::denied,
                 "the deny-list is of cluster " + printable(payload.cluster_id(), 64)};
  }
  DenyList list;
  list.version = payload.version();
  list.issued = from_unix_seconds(payload.issued_unix());
  for (const std::string& id : payload.node_ids()) list.nodes.insert(from_raw(id));
  return list;
}

}  // namespace p2p
