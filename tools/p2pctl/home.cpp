#include "tools/p2pctl/home.h"

#include <cstdlib>

#include "io/identity/credentials.h"

namespace p2p {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

Result<HostPort> api_address(const std::string& option, const AdminConfig& config,
                             const std::string& home) {
  if (!option.empty()) {
    auto api = parse_host_port(option);
    if (!api) return api.error().within("--api");
    return api;
  }
  if (const std::string text = environment("P2PCTL_API"); !text.empty()) {
    auto api = parse_host_port(text);
    if (!api) return api.error().within("P2PCTL_API");
    return api;
  }
  auto api = parse_host_port(config.api);
  if (!api) return api.error().within(home + "/config.yaml: api");
  return api;
}

}  // namespace

Result<std::string> home_folder() {
  if (std::string folder = environment("P2PCTL_HOME"); !folder.empty()) return folder;
  const std::string user_home = environment("HOME");
  if (user_home.empty()) {
    return Error{Errc::invalid_argument,
                 "neither P2PCTL_HOME nor HOME is set: set P2PCTL_HOME to your credential folder"};
  }
  return user_home + "/.p2pctl";
}

Result<ApiAccess> load_api_access(const std::string& api_option) {
  auto home = home_folder();
  if (!home) return home.error();
  auto config = load_admin_config(*home);
  if (!config) {
    if (config.error().code != Errc::not_found) return config.error();
    return Error{Errc::not_found,
                 *home +
                     " holds no credential: make a cluster with p2pctl init, or set "
                     "P2PCTL_HOME to the folder of a credential that you have"};
  }
  auto api = api_address(api_option, *config, *home);
  if (!api) return api.error();
  auto credentials = load_credentials(*home);
  if (!credentials) return credentials.error();
  auto tls = make_client_context(*credentials, {"http/1.1"});
  if (!tls) return tls.error();
  return ApiAccess{*api, config->cluster_name, config->cluster_id, *tls};
}

}  // namespace p2p
