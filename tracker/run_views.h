// What operators are shown of exec jobs and their runs.
#pragma once

#include "proto/api.pb.h"
#include "tracker/registry.h"
#include "tracker/run_board.h"

namespace p2p {

// In a list of jobs the targets are not folded, either: that takes long for many jobs of many.
enum class WithRuns { no, yes, in_list };
// A job that is not made yet (number 0) has no id.
proto::Job exec_view(const BoardExec& job, const Registry& registry, WithRuns with_runs);
// For those who may not look at it (RunBoard::may_look): state and counts, and `why`.
void hide_what_it_runs(proto::Job& view, const Error& why);
// The frozen targets as ranges.
const std::string& folded_targets(const BoardExec& job, const Registry& registry);
proto::Run run_view(const BoardExec& job, std::size_t run, const Registry& registry, WallTime now);
void add_pieces(OutputChunk chunk, google::protobuf::RepeatedPtrField<proto::OutputPiece>* out);

}  // namespace p2p
