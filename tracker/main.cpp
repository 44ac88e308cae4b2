// p2p-tracker: the registry, the planner of jobs, the API.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "io/config/config.h"
#include "io/identity/cluster.h"
#include "io/log/log.h"
#include "io/state/leveldb_store.h"
#include "io/wire/hello.h"
#include "tracker/audit.h"
#include "tracker/tracker.h"

namespace {

int fail(const p2p::Error& error) {
  std::fprintf(stderr, "p2p-tracker: %s\n", error.detail.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"p2p-tracker: registers nodes and files, plans jobs, answers p2pctl"};
  p2p::TrackerSettings settings;
  std::string listen = settings.listen.str();
  std::string api = settings.api.str();
  std::string config_path;
  std::string log_level = "info";
  app.set_version_flag("--version", std::string("p2p-tracker ") + p2p::kSoftwareVersion);
  app.add_option("--data", settings.data, "the folder that p2pctl init has made")->required();
  auto* listen_option =
      app.add_option("--listen", listen, "HOST:PORT where agents connect")->capture_default_str();
  auto* api_option =
      app.add_option("--api", api, "HOST:PORT where p2pctl connects")->capture_default_str();
  app.add_option("--config", config_path, "YAML file with listen, api, log_level");
  auto* level_option =
      app.add_option("--log-level", log_level, "error, warn, info or debug")->capture_default_str();
  app.add_option("--ready-file", settings.ready_file,
                 "write {\"listen\",\"api\"} with the real ports there once both accept");
  bool verify = false;
  app.add_flag("--verify-audit", verify,
               "read the chain of audit records in DATA, say whether it is whole, and end");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  }

  if (verify) {
    // A folder that is no tracker's stays as it is: opening a store would make one.
    if (auto cluster = p2p::load_cluster(settings.data); !cluster) return fail(cluster.error());
    auto store = p2p::LevelDbStore::open(settings.data + "/state");
    if (!store) return fail(store.error());
    const auto verified = p2p::verify_audit(**store);
    if (!verified) return fail(verified.error());
    std::printf("%s\n", verified->c_str());
    return 0;
  }
  if (!config_path.empty()) {
    auto values = p2p::load_config(config_path, {{"listen"}, {"api"}, {"log_level"}});
    if (!values) return fail(values.error());
    p2p::take_text(*values, "listen", listen_option->count() > 0, listen);
    p2p::take_text(*values, "api", api_option->count() > 0, api);
    p2p::take_text(*values, "log_level", level_option->count() > 0, log_level);
  }
  if (const p2p::Status set = p2p::set_log_level(log_level); !set) return fail(set.error());
  auto listen_address = p2p::parse_host_port(listen);
  if (!listen_address) return fail(listen_address.error().within("--listen"));
  auto api_address = p2p::parse_host_port(api);
  if (!api_address) return fail(api_address.error().within("--api"));
  settings.listen = *listen_address;
  settings.api = *api_address;

  auto tracker = p2p::Tracker::open(settings);
  if (!tracker) return fail(tracker.error());
  (*tracker)->run();
  return 0;
}
