// Who calls the operator's API.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace p2p {

struct Caller {
  std::string name;  // of the user; of an administrator the name in the certificate, or its id
  std::string id;    // UUID in the certificate
  bool admin = false;
  std::vector<std::string> roles;  // of a user who is no administrator

  bool has_role(const std::string& role) const {
    return std::find(roles.begin(), roles.end(), role) != roles.end();
  }
};

}  // namespace p2p
