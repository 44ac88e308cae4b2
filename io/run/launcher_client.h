// The agent's side of the launcher.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "core/base/result.h"
#include "core/runs/run_id.h"
#include "io/disk/fd.h"
#include "proto/run.pb.h"

namespace p2p {

// Blocking and thread-safe: one request after the other. `unavailable`, for ever, once the launcher
// is gone: then whether a run was started is not known.
class LauncherClient {
 public:
  // An end of make_helper_channel(). Closing it ends the launcher and no run.
  explicit LauncherClient(Fd socket) : socket_(std::move(socket)) {}

  // Starts the run; its folder is there when this returns. denied: the node's owner forbids it.
  // already_exists: it was started before. After any error but `unavailable` nothing has begun.
  Status start(const proto::RunOrder& order);
  // Tells its shim to end it. not_found: it does not run.
  Status cancel(const RunId& id);
  // Never blocks.
  bool is_gone() const;
  // Removes the folder of a run that has ended. No error when there is none.
  Status remove(const RunId& id);

 private:
  Status ask(proto::LauncherRequest::Kind kind, const RunId& id, int file);

  const Fd socket_;
  std::mutex mutex_;
  std::uint64_t last_number_ = 0;
};

}  // namespace p2p
