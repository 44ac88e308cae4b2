// What is known of an exec job here: its runs and, where they are wanted, their outputs.
//
// Pure. JobEvents go in, in the order in which the tracker tells them; what a reconnect tells again
// changes nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/runs/run_state.h"
#include "proto/api.pb.h"
#include "tools/p2pctl/output_store.h"

namespace p2p {

struct RunEntry {
  proto::Run run;  // without a node until it has been told
  OutputStream out;
  OutputStream err;

  bool told() const { return !run.node().empty(); }
  bool ended() const;
  // It exited, with code 0.
  bool good() const { return run.state() == "exited" && run.has_code() && run.code() == 0; }
  // What a shell calls the return code: 128 + n for a signal; -1 when the command has not exited.
  int return_code() const;
};

// How a run ended or stands, for people: "exited with code 3", "killed by signal 9 (KILL)",
// "rejected: ...".
std::string end_text(const proto::Run& run);

class ExecRecord {
 public:
  // Bytes that are told for the first time, of the run with this index, behind `skipped` that were
  // not kept.
  using OnOutput =
      std::function<void(std::size_t run, bool err, std::uint64_t skipped, std::string_view bytes)>;

  // keep: outputs stay in memory.
  enum class Outputs { keep, pass };
  explicit ExecRecord(Outputs outputs) : outputs_(outputs) {}

  void add(const proto::JobEvent& event, const OnOutput& on_output = {});
  // Nothing more comes.
  void finish();

  const proto::Job& job() const { return job_; }
  // By Run.index.
  const std::vector<RunEntry>& runs() const { return runs_; }
  const OutputStore& store() const { return store_; }
  // ?from= to go on.
  std::uint64_t next() const { return next_; }
  bool all_told() const { return all_; }
  // How many runs the job has; 0: not known yet.
  std::size_t expected_runs() const;
  // Of the runs told.
  std::size_t count(RunState state) const;
  std::size_t good() const;
  // Runs that a node has and has not ended.
  std::size_t under_way() const;

 private:
  RunEntry& entry(std::uint32_t index);

  Outputs outputs_;
  proto::Job job_;
  std::vector<RunEntry> runs_;
  OutputStore store_;
  std::uint64_t next_ = 0;
  bool all_ = false;
};

}  // namespace p2p
