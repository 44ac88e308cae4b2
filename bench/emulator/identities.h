// Who the emulated nodes are: joined once, kept in a store, one certificate each and one key for
// all of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "io/config/config.h"
#include "io/identity/credentials.h"
#include "io/state/state_store.h"
#include "proto/control.pb.h"

namespace p2p::emulator {

struct Member {
  proto::JoinReply reply;
  Credentials credentials;
};

// "emu-00001", from 1.
std::string name_of(std::size_t number);
// 40 to a rack, four racks to a datacentre: {"dc", "emu-2"}, {"rack", "r07"}, {"role", "emulated"}.
std::map<std::string, std::string> labels_of(std::size_t number);

struct JoinPlan {
  HostPort tracker;
  std::string token;  // the line; empty: whoever is not in the store is an error
  std::size_t nodes = 0;
  std::size_t at_once = 32;
};
// The first `nodes` members: those in the store, and the others when they have joined, a moment of
// which `progress` hears how many there are. Blocking. What has joined before an error is kept.
Result<std::vector<Member>> members(StateStore& store, const JoinPlan& plan,
                                    const std::function<void(std::size_t)>& progress);

}  // namespace p2p::emulator
