#include "p2pd/launcher_process.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <utility>

#include "io/log/log.h"
#include "io/privileged/helper_channel.h"
#include "io/run/launcher.h"
#include "p2pd/child_process.h"

namespace p2p {

Result<std::optional<StartedLauncher>> start_launcher(const LauncherProcessSettings& settings,
                                                      const std::optional<Account>& reader) {
  const auto policy = parse_exec_policy(settings.policy);
  if (!policy) return policy.error();
  // What still runs can be cancelled, and what has ended is removed.
  if (*policy == ExecPolicy::off && !is_runs_folder_in_use(settings.runs)) {
    return std::optional<StartedLauncher>();
  }
  const int group = reader ? static_cast<int>(reader->group) : -1;
  if (Status made = prepare_runs_folder(settings.runs, group); !made) return made.error();
  auto channel = make_helper_channel();
  if (!channel) return channel.error();
  // With '=', so that no name can be taken for an option.
  std::vector<std::string> words = {
      "launcher",
      "--channel",
      std::to_string(kChildChannel),
      "--runs=" + settings.runs,
      "--exec=" + settings.policy,
      "--agent-user=" + std::to_string(reader ? reader->user : ::geteuid()),
      "--log-level",
      settings.log_level};
  for (const std::string& name : settings.accounts) words.push_back("--account=" + name);
  const auto started = start_child(channel->second, std::move(words));
  if (!started) return started.error();
  log_info("agent", "starts runs in a process of its own",
           {{"exec", settings.policy}, {"launcher", *started}});
  return std::optional(StartedLauncher{std::move(channel->first), *started});
}

Status run_launcher_process(const LauncherProcessSettings& settings) {
  ::prctl(PR_SET_NAME, "p2pd-launcher", 0, 0, 0);
  if (Status set = set_log_level(settings.log_level); !set) return set;
  const auto policy = parse_exec_policy(settings.policy);
  if (!policy) return policy.error();
  const auto channel = take_channel(settings.channel, "launcher");
  if (!channel) return channel.error();
  return run_launcher(channel->get(),
                      {.runs = settings.runs,
                       .policy = *policy,
                       .accounts = {.allowed = settings.accounts, .agent = settings.agent_user}});
}

}  // namespace p2p
