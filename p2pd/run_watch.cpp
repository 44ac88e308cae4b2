#include "p2pd/run_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "io/log/log.h"
#include "io/run/run_files.h"

namespace p2p {
namespace {

std::optional<RunChange> change_of(std::string_view name, std::uint32_t mask) {
  if (name.starts_with("out.")) return RunChange::out;
  if (name.starts_with("err.")) return RunChange::err;
  // Closed by the last one who held the lock.
  if (name == run_files::kLock && (mask & IN_CLOSE_WRITE) != 0) return RunChange::state;
  if (name == run_files::kBegun || name == run_files::kResult) return RunChange::state;
  return std::nullopt;
}

}  // namespace

RunWatch::RunWatch(boost::asio::io_context& control,
                   std::function<void(int watch, RunChange change)> on_change)
    : descriptor_(control), on_change_(std::move(on_change)) {
  inotify_ = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (inotify_ < 0) {
    log_warn("runs", "no notice of changes: runs are looked at several times a second instead",
             {{"why", std::generic_category().message(errno)},
              {"limit", "/proc/sys/fs/inotify/max_user_instances"}});
    return;
  }
  descriptor_.assign(inotify_);
  wait();
}

int RunWatch::add(const std::string& folder) const {
  if (!works()) return -1;
  return ::inotify_add_watch(inotify_, folder.c_str(),
                             IN_MODIFY | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR);
}

void RunWatch::remove(int watch) const {
  if (watch >= 0) ::inotify_rm_watch(inotify_, watch);
}

void RunWatch::wait() {
  descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                         [this, alive = alive_](boost::system::error_code error) {
                           if (error || !*alive) return;
                           read();
                           wait();
                         });
}

void RunWatch::read() {
  for (;;) {
    const ssize_t got = ::read(inotify_, events_.data(), events_.size());
    if (got <= 0) return;
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(events_.data() + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      if (event->len == 0) continue;
      if (const auto change = change_of(event->name, event->mask)) on_change_(event->wd, *change);
    }
  }
}

}  // namespace p2p
