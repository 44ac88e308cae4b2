// What a command that an emulated node is told to run would have done. No process is made.
#pragma once

#include <string>

#include "core/base/result.h"
#include "core/base/time.h"
#include "proto/run.pb.h"

namespace p2p::emulator {

struct FakeCommand {
  int code = 0;
  std::string out;
  Duration takes{};  // cut to the order's timeout
  bool timed_out = false;
};

// Of true, false, echo, hostname, uname, sleep and exit (with its code), with or without a folder
// before the name; a script is one that does nothing. not_found: an emulated node knows no other
// command.
Result<FakeCommand> fake_command(const proto::RunOrder& order, const std::string& node);

// What the shim would have written at the end.
proto::RunResult result_of(const FakeCommand& command, WallTime begun, WallTime ended);
proto::RunResult cancelled_result(WallTime begun, WallTime ended);

}  // namespace p2p::emulator
