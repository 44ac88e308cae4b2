// p2pd: the agent on every server.
#include <malloc.h>
#include <sys/statvfs.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>

#include "core/base/text.h"
#include "io/disk/file_io.h"
#include "io/log/log.h"
#include "io/privileged/local_privileged.h"
#include "io/run/run_account.h"
#include "io/run/shim.h"
#include "io/wire/hello.h"
#include "p2pd/agent.h"
#include "p2pd/child_process.h"
#include "p2pd/helper_process.h"
#include "p2pd/join.h"
#include "p2pd/launcher_process.h"
#include "p2pd/privileges.h"

namespace {

int fail(const p2p::Error& error) {
  std::fprintf(stderr, "p2pd: %s\n", error.detail.c_str());
  return 1;
}

struct JoinOptions {
  p2p::JoinSettings settings;
  std::string tracker;
  std::string token_file;
  std::vector<std::string> labels;
};

struct RunOptions {
  p2p::AgentSettings settings;
  p2p::HelperSettings files;  // what its helper, or this process, may touch
  p2p::LauncherProcessSettings launcher;
  std::string listen = p2p::AgentSettings{}.listen.str();
  std::string user;
  std::string config;
  CLI::Option* listen_option = nullptr;
  CLI::Option* root_option = nullptr;
  CLI::Option* share_option = nullptr;
  CLI::Option* advertise_option = nullptr;
  CLI::Option* user_option = nullptr;
  CLI::Option* exec_option = nullptr;
  CLI::Option* exec_account_option = nullptr;
  CLI::Option* exec_accounts_option = nullptr;
  CLI::Option* level_option = nullptr;
};

void add_join(CLI::App& app, JoinOptions& options) {
  app.add_option("--tracker", options.tracker, "HOST:PORT of the tracker")->required();
  auto* token =
      app.add_option("--token", options.settings.token, "what p2pctl token create printed");
  auto* file = app.add_option("--token-file", options.token_file, "a file that holds the token");
  token->excludes(file);
  app.add_option("--data", options.settings.data, "folder of this node's identity and records")
      ->required();
  app.add_option("--name", options.settings.name, "name of the node (default: the host name)");
  app.add_option("--label", options.labels, "k=v, for target expressions; repeatable");
}

void add_run(CLI::App& app, RunOptions& options) {
  app.add_option("--data", options.settings.data, "the folder that p2pd join has made")->required();
  options.listen_option =
      app.add_option("--listen", options.listen, "HOST:PORT where peers connect")
          ->capture_default_str();
  options.root_option = app.add_option("--root", options.files.roots,
                                       "folder below which files are received; repeatable");
  options.share_option = app.add_option("--share", options.files.shares,
                                        "folder below which files may be published; repeatable");
  options.advertise_option = app.add_option(
      "--advertise", options.settings.advertise,
      "HOST:PORT that peers shall dial (default: the address that the tracker sees)");
  options.user_option = app.add_option(
      "--user", options.user,
      "when started as root: the account that faces the network, while a helper process opens "
      "files (default: p2pd, or daemon where there is no p2pd; root: one process, not "
      "recommended)");
  options.exec_option =
      app.add_option(
             "--exec", options.launcher.policy,
             "what may be run here: off, scripts-only (scripts of the cluster's library) or "
             "any; nothing that comes over the network changes it")
          ->capture_default_str();
  options.exec_account_option = app.add_option(
      "--exec-account", options.settings.exec_account,
      "account of runs that name none (default: nobody, or the own one when not started as root)");
  options.exec_accounts_option =
      app.add_option("--exec-accounts", options.launcher.accounts,
                     "NAME,NAME...: accounts that runs may have here, and no others (default: when "
                     "started as root every one but p2pd's own, root among them); nothing that "
                     "comes over the network changes it")
          ->delimiter(',');
  app.add_option("--config", options.config,
                 "YAML file with listen, root, share, advertise, user, exec, exec_account, "
                 "exec_accounts, log_level");
  options.level_option =
      app.add_option("--log-level", options.files.log_level, "error, warn, info or debug")
          ->capture_default_str();
  app.add_option("--ready-file", options.files.ready_file,
                 "write {\"listen\",\"online\"} there once the tracker has welcomed this node");
}

int do_join(JoinOptions& options) {
  auto tracker = p2p::parse_host_port(options.tracker);
  if (!tracker) return fail(tracker.error().within("--tracker"));
  options.settings.tracker = *tracker;
  if (!options.token_file.empty()) {
    auto token = p2p::read_file(options.token_file, 4096);
    if (!token) return fail(token.error().within("--token-file"));
    options.settings.token = *token;
  }
  if (options.settings.token.empty()) {
    return fail({p2p::Errc::invalid_argument,
                 "a token is missing: give --token or --token-file with what p2pctl token create "
                 "printed"});
  }
  for (const std::string& label : options.labels) {
    const std::size_t equals = label.find('=');
    if (equals == std::string::npos) {
      return fail({p2p::Errc::invalid_argument, "--label " + label + ": write it as key=value"});
    }
    options.settings.labels[label.substr(0, equals)] = label.substr(equals + 1);
  }
  auto node = p2p::join(options.settings);
  if (!node) return fail(node.error());
  std::printf("joined cluster %s as %s (node %s)\nstart it with: p2pd run --data %s --root DIR\n",
              node->cluster_id.c_str(), node->name.c_str(), node->node_id.c_str(),
              options.settings.data.c_str());
  return 0;
}

std::string absolute(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

// A unit of systemd that protects the system makes everything read-only that it does not name.
void warn_of_read_only(const std::vector<std::string>& roots) {
  for (const std::string& root : roots) {
    struct statvfs system {};
    if (::statvfs(root.c_str(), &system) != 0 || (system.f_flag & ST_RDONLY) == 0) continue;
    p2p::log_warn("agent", "nothing can be received below a root that is read-only",
                  {{"root", root}, {"with", "in systemd's unit: ReadWritePaths=" + root}});
  }
}

// Until it is told to end. Then, or when it cannot begin, its parts are gone.
p2p::Status run_agent(const p2p::AgentSettings& settings,
                      std::unique_ptr<p2p::Privileged> privileged, p2p::Fd launcher) {
  auto agent = p2p::Agent::open(settings, std::move(privileged), std::move(launcher));
  if (!agent) return agent.error();
  p2p::Status ended = (*agent)->run();
  if (!ended) p2p::log_error("agent", "stopping", {{"why", ended.error().detail}});
  return ended;
}

// Only says it if not.
void await(const char* what, pid_t process) {
  const p2p::Status ended = p2p::await_child(process);
  if (!ended)
    p2p::log_error("agent", std::string("its ") + what + " failed",
                   {{"how", ended.error().detail}});
}

// As root with a helper for files beside it; where runs are allowed, with a launcher of them.
int start(RunOptions& options) {
  auto account = p2p::choose_account(options.user);
  if (!account) return fail(account.error());
  warn_of_read_only(options.files.roots);
  p2p::AgentSettings& settings = options.settings;
  settings.writes_ready_file = !options.files.ready_file.empty();
  p2p::Separated parts{.privileged = nullptr, .helper = -1, .launcher = {}, .data = settings.data};
  const std::string data = absolute(settings.data);
  options.launcher.runs = data + "/runs";
  options.launcher.log_level = options.files.log_level;
  if (*account) {
    if (settings.writes_ready_file) options.files.ready_file = absolute(options.files.ready_file);
    auto separated = p2p::separate(data, options.files, options.launcher, **account);
    if (!separated) return fail(separated.error());
    parts = std::move(*separated);
    settings.data = parts.data;
  } else {
    auto local = p2p::LocalPrivileged::create(options.files.roots, options.files.shares,
                                              options.files.ready_file);
    if (!local) return fail(local.error());
    parts.privileged = std::move(*local);
    // Where there is no node, the agent has the words for it.
    if (std::filesystem::exists(data + "/node.json")) {
      auto launcher = p2p::start_launcher(options.launcher, std::nullopt);
      if (!launcher) return fail(launcher.error());
      parts.launcher = std::move(*launcher);
    }
  }
  p2p::Fd channel;
  if (parts.launcher) channel = std::move(parts.launcher->channel);
  p2p::Status ended = run_agent(settings, std::move(parts.privileged), std::move(channel));
  // Where the folder has no other name for the account, texts about it begin with "./".
  if (!ended && settings.data == "." && ended.error().detail.find("./") != std::string::npos) {
    ended = ended.error().within("data folder " + data);
  }
  if (parts.helper > 0) await("helper", parts.helper);
  if (parts.launcher) await("launcher", parts.launcher->process);
  return ended ? 0 : fail(ended.error());
}

int do_run(RunOptions& options) {
  if (!options.config.empty()) {
    auto values = p2p::load_config(options.config, {{"listen"},
                                                    {"root", p2p::ConfigKind::list},
                                                    {"share", p2p::ConfigKind::list},
                                                    {"advertise"},
                                                    {"user"},
                                                    {"exec"},
                                                    {"exec_account"},
                                                    {"exec_accounts", p2p::ConfigKind::list},
                                                    {"log_level"}});
    if (!values) return fail(values.error());
    p2p::take_text(*values, "listen", options.listen_option->count() > 0, options.listen);
    p2p::take_list(*values, "root", options.root_option->count() > 0, options.files.roots);
    p2p::take_list(*values, "share", options.share_option->count() > 0, options.files.shares);
    p2p::take_text(*values, "advertise", options.advertise_option->count() > 0,
                   options.settings.advertise);
    p2p::take_text(*values, "user", options.user_option->count() > 0, options.user);
    p2p::take_text(*values, "exec", options.exec_option->count() > 0, options.launcher.policy);
    p2p::take_text(*values, "exec_account", options.exec_account_option->count() > 0,
                   options.settings.exec_account);
    p2p::take_list(*values, "exec_accounts", options.exec_accounts_option->count() > 0,
                   options.launcher.accounts);
    p2p::take_text(*values, "log_level", options.level_option->count() > 0,
                   options.files.log_level);
  }
  if (const p2p::Status set = p2p::set_log_level(options.files.log_level); !set)
    return fail(set.error());
  auto listen = p2p::parse_host_port(options.listen);
  if (!listen) return fail(listen.error().within("--listen"));
  options.settings.listen = *listen;
  if (!options.settings.advertise.empty()) {
    auto advertise = p2p::parse_host_port(options.settings.advertise);
    if (!advertise) return fail(advertise.error().within("--advertise"));
  }
  const auto policy = p2p::parse_exec_policy(options.launcher.policy);
  if (!policy) return fail(policy.error());
  options.settings.exec = *policy;
  if (!options.settings.exec_account.empty()) {
    const auto found = p2p::find_run_account(options.settings.exec_account);
    if (!found) return fail(found.error().within("--exec-account"));
    const p2p::AccountRule rule{.allowed = options.launcher.accounts, .agent = ~uid_t{0}};
    if (const p2p::Status allowed = p2p::permit_account(rule, *found); !allowed) {
      return fail(allowed.error().within("--exec-account"));
    }
  }
  for (const std::string& name : options.launcher.accounts) {
    if (!name.empty() && name.find(',') == std::string::npos) continue;
    return fail({p2p::Errc::invalid_argument,
                 "--exec-accounts: " + p2p::quoted(name) + " is not the name of an account"});
  }
  for (const auto* folders : {&options.files.roots, &options.files.shares}) {
    for (const std::string& folder : *folders) {
      if (p2p::printable(folder, folder.size()) == folder) continue;
      return fail(
          {p2p::Errc::invalid_argument,
           "folder " + p2p::quoted(folder) +
               ": its name is not UTF-8 or has control characters, so no message could name "
               "it; rename it"});
    }
  }
  return start(options);
}

void add_helper(CLI::App& app, p2p::HelperSettings& settings) {
  app.add_option("--channel", settings.channel)->required();
  app.add_option("--root", settings.roots);
  app.add_option("--share", settings.shares);
  app.add_option("--ready-file", settings.ready_file);
  app.add_option("--log-level", settings.log_level);
}

int do_helper(const p2p::HelperSettings& settings) {
  const p2p::Status ended = p2p::run_helper(settings);
  if (ended) return 0;
  p2p::log_error("helper", "ended", {{"why", ended.error().detail}});
  return 1;
}

void add_launcher(CLI::App& app, p2p::LauncherProcessSettings& settings) {
  app.add_option("--channel", settings.channel)->required();
  app.add_option("--runs", settings.runs)->required();
  app.add_option("--exec", settings.policy)->required();
  app.add_option("--account", settings.accounts);
  app.add_option("--agent-user", settings.agent_user);
  app.add_option("--log-level", settings.log_level);
}

void add_shim(CLI::App& app, p2p::AccountRule& rule) {
  app.add_option("--account", rule.allowed);
  app.add_option("--agent-user", rule.agent);
}

int do_launcher(const p2p::LauncherProcessSettings& settings) {
  const p2p::Status ended = p2p::run_launcher_process(settings);
  if (ended) return 0;
  p2p::log_error("launcher", "ended", {{"why", ended.error().detail}});
  return 1;
}

// Its own log is /dev/null: what there is to say stands in the result of the run.
int do_shim(const p2p::AccountRule& accounts) {
  const p2p::Status ended = p2p::run_shim(accounts);
  return ended ? 0 : fail(ended.error());
}

}  // namespace

int main(int argc, char** argv) {
  // Payload buffers are made on data threads and freed on disk threads, many a millisecond: giving
  // their pages back to the kernel each time costs more than what is done with them.
  ::mallopt(M_MMAP_THRESHOLD, 8 * 1024 * 1024);
  ::mallopt(M_TRIM_THRESHOLD, 32 * 1024 * 1024);
  CLI::App app{"p2pd: receives, relays and publishes files on this server"};
  app.set_version_flag("--version", std::string("p2pd ") + p2p::kSoftwareVersion);
  app.require_subcommand(1);
  JoinOptions join;
  auto* join_command = app.add_subcommand("join", "make this server a node of a cluster");
  add_join(*join_command, join);
  RunOptions run;
  auto* run_command = app.add_subcommand("run", "run the agent");
  add_run(*run_command, run);
  p2p::HelperSettings helper;
  // For p2pd run alone, so --help does not show it.
  auto* helper_command = app.add_subcommand("helper")->group("");
  add_helper(*helper_command, helper);
  p2p::LauncherProcessSettings launcher;
  auto* launcher_command = app.add_subcommand("launcher")->group("");
  add_launcher(*launcher_command, launcher);
  // For the launcher of runs alone.
  p2p::AccountRule shim;
  auto* shim_command = app.add_subcommand("shim")->group("");
  add_shim(*shim_command, shim);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  if (helper_command->parsed()) return do_helper(helper);
  if (launcher_command->parsed()) return do_launcher(launcher);
  if (shim_command->parsed()) return do_shim(shim);
  return join_command->parsed() ? do_join(join) : do_run(run);
}
