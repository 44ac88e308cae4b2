// What is shown of an exec job while it goes on.
//
// Pure: bytes and states go in, lines come out.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/p2pctl/exec_record.h"

namespace p2p {

// One stream as lines that each begin with the same words.
class PrefixedLines {
 public:
  using Sink = std::function<void(std::string_view bytes)>;
  // A longer line is broken: nobody knows whether it ever ends.
  static constexpr std::size_t kMaxLineBytes = 64 * 1024;

  explicit PrefixedLines(std::string prefix) : prefix_(std::move(prefix)) {}

  // Passes on what is complete.
  void add(std::string_view bytes, const Sink& sink);
  // So many bytes are missing here.
  void skip(std::uint64_t bytes, const Sink& sink);
  // What is left gets its line break.
  void end(const Sink& sink);

 private:
  std::string prefix_;
  std::string partial_;
};

// Progress of a job on many nodes.
class ExecProgress {
 public:
  // The newest whole line of any node; not of streams that are no text.
  void note_output(const std::string& node, std::string_view bytes);
  // Lines of at most `width` columns: counts, whom it waits for, what was written last. `seconds`
  // since the job began.
  std::vector<std::string> lines(const ExecRecord& record, double seconds, std::size_t width,
                                 bool colour) const;

 private:
  std::string last_line_;
};

// "j17: exited 985 (3 failed) | running 12 | queued 3  2.3s  wave 2 of 3"
std::string progress_text(const ExecRecord& record, double seconds);

}  // namespace p2p
