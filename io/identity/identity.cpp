#include "io/identity/identity.h"

#include <algorithm>

#include "core/base/ids.h"

namespace p2p {
namespace {

bool is_uuid(std::string_view text) {
  const auto id = NodeId::parse(text);
  return id && id->str() == text;
}

}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::agent:
      return "agent";
    case Role::tracker:
      return "tracker";
    case Role::admin:
      return "admin";
    case Role::user:
      return "user";
  }
  P2P_CHECK(false);
  return {};
}

std::string Identity::uri() const {
  return std::string(kIdentityScheme) + cluster + "/" + std::string(to_string(role)) + "/" + id;
}

Result<Identity> parse_identity(std::string_view uri) {
  const auto bad = [](std::string_view why) {
    return Error{Errc::invalid_argument,
                 "identity: " + std::string(why) + "; the form is p2pd://CLUSTER/ROLE/ID"};
  };
  if (!uri.starts_with(kIdentityScheme)) return bad("it does not begin with p2pd://");
  std::string_view rest = uri.substr(kIdentityScheme.size());
  const std::size_t first = std::min(rest.find('/'), rest.size());
  const std::size_t last = rest.rfind('/');
  if (last == rest.npos || last == first) return bad("a part is missing");
  const std::string_view cluster = rest.substr(0, first);
  const std::string_view role = rest.substr(first + 1, last - first - 1);
  const std::string_view id = rest.substr(last + 1);
  if (!is_uuid(cluster)) return bad("the cluster is not a UUID in lower case");
  if (!is_uuid(id)) return bad("the id is not a UUID in lower case");
  for (const Role known : {Role::agent, Role::tracker, Role::admin, Role::user}) {
    if (role == to_string(known)) return Identity{std::string(cluster), known, std::string(id)};
  }
  return bad("the role is not agent, tracker, admin or user");
}

}  // namespace p2p
