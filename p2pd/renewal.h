// Keeps the agent's certificate young: from two thirds of its life on it asks for a new one.
//
// Control thread only.
#pragma once

#include <functional>
#include <string>

#include "core/base/result.h"
#include "core/base/time.h"
#include "io/identity/credentials.h"
#include "proto/control.pb.h"

namespace p2p {

class Renewal {
 public:
  // `folder` is where the credentials are saved.
  explicit Renewal(std::string folder) : folder_(std::move(folder)) {}

  // Fills `request` when it is time to ask; looks every ten minutes, or as soon as `can_ask`.
  bool due(const Credentials& current, bool can_ask, WallTime now, proto::RenewRequest& request);
  // The answer to a request of ours: saved, then in `credentials`. cancelled: nobody asked.
  Status take(const proto::Certificate& certificate, Credentials& credentials);
  // The connection is lost: no answer will come.
  void forget_request() { key_.clear(); }

 private:
  std::string folder_;
  std::string key_;  // of the request under way
  WallTime checked_{};
};

}  // namespace p2p
