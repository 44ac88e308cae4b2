// An exec job that is being made.
#pragma once

#include "tracker/run_board.h"

namespace p2p {

// Scripts and inputs up to this size are part of the order; larger ones are asked for by hash.
inline constexpr std::size_t kMaxInlineBytes = 16 * 1024;

struct RunBoard::Plan {
  proto::ExecRecord record;
  std::vector<RunStatus> runs;
  ExecRules rules;
  proto::RunTask task;        // the order, but for ids; script and input join it on a disk thread
  std::string script_sha256;  // in Blobs
  std::string input;
  std::uint64_t order_of = 0;  // job whose order is taken instead; 0: none
  std::string order_bytes;     // what the order's file holds: `task`
};

// The frozen targets as ranges, for people.
std::string fold_targets(const std::vector<RunStatus>& runs, const Registry& registry);
// False: these are not the bytes of this job's order.
bool set_order(BoardExec& entry, const std::string& order_bytes);

}  // namespace p2p
