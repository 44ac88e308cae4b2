#include "p2pd/helper_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "io/disk/file_io.h"
#include "io/log/log.h"
#include "io/privileged/helper_client.h"
#include "io/privileged/helper_server.h"
#include "io/privileged/local_privileged.h"
#include "p2pd/child_process.h"
#include "p2pd/data_folder.h"

namespace p2p {
namespace {

std::vector<std::string> command_line(const HelperSettings& settings) {
  std::vector<std::string> words = {"helper", "--channel", std::to_string(kChildChannel),
                                    "--log-level", settings.log_level};
  // With '=', so that no name can be taken for an option.
  for (const std::string& root : settings.roots) words.push_back("--root=" + root);
  for (const std::string& share : settings.shares) words.push_back("--share=" + share);
  if (!settings.ready_file.empty()) words.push_back("--ready-file=" + settings.ready_file);
  return words;
}

// The name of the working folder for this process: `path`, where it leads there, or ".".
std::string reachable_name(const std::string& path) {
  const Fd by_name(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat named {};
  struct stat here {};
  const bool same = by_name && ::fstat(by_name.get(), &named) == 0 && ::stat(".", &here) == 0 &&
                    named.st_dev == here.st_dev && named.st_ino == here.st_ino;
  if (!same || ::chdir("/") != 0) return ".";
  return path;
}

}  // namespace

Result<Separated> separate(const std::string& data, const HelperSettings& helper,
                           const LauncherProcessSettings& launcher, const Account& account) {
  // The helper opens them again; here they are checked while there is somebody to tell.
  std::vector<std::string> roots;
  std::vector<std::string> shares;
  {
    const auto checked = LocalPrivileged::create(helper.roots, helper.shares);
    if (!checked) return checked.error();
    roots = (*checked)->roots();
    shares = (*checked)->shares();
  }
  const Status handed = hand_over(data, account);
  // If it is not there, the agent will say so, in the words that it has for it.
  const bool exists = handed || handed.error().code != Errc::not_found;
  if (exists && !handed) return handed.error();

  auto channel = make_helper_channel();
  if (!channel) return channel.error();
  const Result<pid_t> started = start_child(channel->second, command_line(helper));
  if (!started) return started.error();
  channel->second.reset();

  Separated separated{.privileged = nullptr, .helper = *started, .launcher = {}, .data = data};
  if (exists) {
    auto begun = start_launcher(launcher, account);
    if (!begun) return begun.error();
    separated.launcher = std::move(*begun);
  }
  if (exists && ::chdir(data.c_str()) != 0) return error_from_errno(errno, "enter " + data);
  if (Status became = become(account); !became) {
    return became.error().within("cannot run as " + account.name +
                                 " (--user root runs all in one process, as root)");
  }
  if (exists) separated.data = reachable_name(data);
  separated.privileged = std::make_unique<HelperPrivileged>(std::move(channel->first),
                                                            std::move(roots), std::move(shares));
  log_info("agent", "faces the network without privileges, with a helper for files",
           {{"user", account.name}, {"helper", separated.helper}});
  return separated;
}

Status run_helper(const HelperSettings& settings) {
  // Otherwise ps and the journal call it "exe", as it was started.
  ::prctl(PR_SET_NAME, "p2pd-helper", 0, 0, 0);
  if (Status set = set_log_level(settings.log_level); !set) return set;
  const auto channel = take_channel(settings.channel, "helper");
  if (!channel) return channel.error();
  if (Status kept = keep_file_rights(); !kept) return kept;
  auto local = LocalPrivileged::create(settings.roots, settings.shares, settings.ready_file);
  if (!local) return local.error();
  return serve_privileged(channel->get(), **local);
}

}  // namespace p2p
