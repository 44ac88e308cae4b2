// Who a member of a cluster is: the URI that its certificate carries.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

inline constexpr std::string_view kIdentityScheme = "p2pd://";

// A user is somebody who may do what the tracker's record of him says; an administrator everything.
enum class Role { agent, tracker, admin, user };
std::string_view to_string(Role role);

struct Identity {
  std::string cluster;  // UUID, lower-case 8-4-4-4-12 form
  Role role = Role::agent;
  std::string id;  // UUID of the node, the tracker, the administrator or the user
  // For logs: what the tracker called the member when it made the certificate. No part of who it
  // is.
  std::string name;

  // "p2pd://CLUSTER/ROLE/ID"
  std::string uri() const;
  // The name, or the id of a member without one.
  const std::string& shown() const { return name.empty() ? id : name; }
  friend bool operator==(const Identity& a, const Identity& b) {
    return a.cluster == b.cluster && a.role == b.role && a.id == b.id;
  }
};
// Exactly the form that uri() gives; the name stays empty.
Result<Identity> parse_identity(std::string_view uri);

}  // namespace p2p
