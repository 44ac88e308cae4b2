// Exec jobs for tests, as the tracker tells them.
#pragma once

#include <string>
#include <vector>

#include "tools/p2pctl/exec_record.h"

namespace p2p {

inline proto::Run& add_run(proto::JobEvent& event, const std::string& node,
                           const std::string& state, int code = 0) {
  proto::Run& run = *event.add_runs();
  run.set_node(node);
  run.set_state(state);
  run.set_index(static_cast<std::uint32_t>(event.runs_size() - 1));
  run.set_has_code(state == "exited");
  run.set_code(code);
  return run;
}

inline void add_piece(proto::JobEvent& event, std::uint32_t run, std::uint64_t offset,
                      const std::string& data, bool err = false) {
  proto::OutputPiece& piece = *event.add_output();
  piece.set_run(run);
  piece.set_err(err);
  piece.set_offset(offset);
  piece.set_data(data);
}

// A job on nodes of which each has written something and exited with a code.
struct Wrote {
  std::string node, out;
  int code = 0;
  std::string err = {};
};
inline ExecRecord record_of(const std::vector<Wrote>& nodes) {
  proto::JobEvent event;
  event.mutable_job()->set_id("j7");
  for (const Wrote& wrote : nodes) {
    const auto index = static_cast<std::uint32_t>(event.runs_size());
    proto::Run& run = add_run(event, wrote.node, "exited", wrote.code);
    run.set_out_bytes(wrote.out.size());
    run.set_err_bytes(wrote.err.size());
    if (!wrote.out.empty()) add_piece(event, index, 0, wrote.out);
    if (!wrote.err.empty()) add_piece(event, index, 0, wrote.err, true);
  }
  event.set_all(true);
  ExecRecord record(ExecRecord::Outputs::keep);
  record.add(event);
  record.finish();
  return record;
}

}  // namespace p2p
