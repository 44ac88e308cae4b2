// Shows an exec job that is being followed: live, and its results at the end.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/time.h"
#include "tools/p2pctl/command_line.h"
#include "tools/p2pctl/exec_live.h"
#include "tools/p2pctl/exec_record.h"
#include "tools/p2pctl/output.h"
#include "tools/p2pctl/terminal.h"

namespace p2p {

class ExecShow {
 public:
  // `runs`: how many the job has. One run's output is shown as it is, without a name.
  ExecShow(const Output& output, const OutputView& view, std::size_t runs);

  // The record that events go into; outputs are kept in it only where they are shown at the end.
  ExecRecord& record() { return record_; }

  void on_output(std::size_t run, bool err, std::uint64_t skipped, std::string_view bytes);
  // Draws what there is to draw. `line`: the event as it came.
  void on_event(const proto::JobEvent& event, std::string_view line);
  // A line of talk, which does not tear what is drawn.
  void say(const std::string& line);
  // Nothing more is drawn.
  void end_live();
  // The outputs that are shown at the end.
  void show_results();
  // What went wrong, and the last words about a job that has finished. Returns the exit code.
  int tell_end();

 private:
  enum class Mode {
    raw,     // one run: as it is
    lines,   // behind the node's name, at once
    at_end,  // in the form of the view
    jsonl,   // each event
    json,    // one document at the end
  };
  static Mode mode_of(const Output& output, const OutputView& view, std::size_t runs);
  void write(bool err, std::string_view bytes);
  void draw(bool now);
  std::string name_of(std::size_t run) const;

  const Output& output_;
  const OutputView view_;
  const Mode mode_;
  const bool draws_;
  const bool colour_;
  ExecRecord record_;
  ExecProgress progress_;
  LivePainter painter_;
  const Time started_ = monotonic_now();
  std::optional<Time> drawn_;
  std::map<std::pair<std::size_t, bool>, PrefixedLines> lines_;
};

// The results as p2pctl's JSON document, written in parts; see proto::ExecResult.
void write_json_result(const ExecRecord& record, const Sink& sink);

}  // namespace p2p
