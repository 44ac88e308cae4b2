// One look at a run: what the ledger says of it now, and the next of its output. The blocking part
// of p2pd/runs.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/result.h"
#include "core/runs/run_id.h"
#include "core/runs/run_state.h"
#include "io/run/run_files.h"
#include "p2pd/run_ledger.h"
#include "proto/control.pb.h"

namespace p2p {

struct GlanceOrder {
  RunId id;
  std::array<std::uint64_t, 2> from{};  // of stdout and stderr, not sent yet
  std::size_t bytes_max = 0;            // of output to read; 0: only whether there is any
  bool err_first = false;
};

struct Glance {
  struct Piece {
    bool err = false;
    OutputPiece output;
  };
  RunState state = RunState::accepted;
  // With what is known of the end, whatever of the output has been sent.
  proto::RunReport report;
  std::uint64_t keep_bytes = 0;  // of each stream
  std::vector<Piece> pieces;
  // Behind these pieces there is something to send now. While the run goes on only the
  // head of a stream is sent (output_segments.h), so that one that never stops talking has an end.
  bool more = false;
  // The run has ended, and nothing is left.
  bool drained = false;
};

// Blocking. not_found: the ledger does not know the run.
Result<Glance> glance_at(const RunLedger& ledger, const RunFolders& folders,
                         const GlanceOrder& order);

// What a record alone can say.
proto::RunReport report_of(const proto::RunRecord& record);

}  // namespace p2p
