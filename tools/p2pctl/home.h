// Who the operator is and where the tracker's API is: the credential folder and the environment.
#pragma once

#include <string>

#include "core/base/result.h"
#include "io/config/config.h"
#include "io/identity/cluster.h"
#include "io/identity/tls_context.h"

namespace p2p {

// P2PCTL_HOME, or ~/.p2pctl.
Result<std::string> home_folder();

struct ApiAccess {
  HostPort api;
  std::string cluster_name;
  std::string cluster_id;
  TlsContext tls;
};
// `api_option` wins over P2PCTL_API, which wins over the folder's config.yaml; empty: not given.
Result<ApiAccess> load_api_access(const std::string& api_option);

}  // namespace p2p
