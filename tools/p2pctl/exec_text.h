// The results of an exec job in table form: outputs grouped as `clush -b` does, differences, and
// what went wrong where.
//
// Pure. Big outputs go to a sink in parts.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/p2pctl/exec_record.h"

namespace p2p {

using Sink = std::function<void(std::string_view bytes)>;

enum class Streams { both, out, err };

// Runs with the same outputs and the same return code.
struct OutputGroup {
  std::vector<std::string> nodes;  // in natural order
  const RunEntry* example = nullptr;
  int code = 0;
};
// The largest first. Runs that have written nothing into `streams` are a group only with
// `with_silent`.
std::vector<OutputGroup> group_outputs(const ExecRecord& record, Streams streams,
                                       bool with_silent = false);

// "web[001-120] (120)", folded and capped; of one node its name.
std::string nodes_text(const std::vector<std::string>& nodes);

// Each group's nodes between rules, then its output; what it wrote to stderr behind that.
void write_groups(const ExecRecord& record, Streams streams, const Sink& sink);
// One group whole, and how the others differ from it: that with the lowest return code, and of
// those the largest. Only runs that have exited are compared.
void write_diff(const ExecRecord& record, Streams streams, const Sink& sink);
// Each run's lines behind its node's name, in the order of the nodes' turns. stderr goes to `err`.
void write_lines(const ExecRecord& record, Streams streams, const Sink& out, const Sink& err);

// A line for each way in which runs have not ended well, its nodes folded: "web007: exited with
// code 3". Then one for processes that go on, and one for output that was not kept, of runs that
// ended well, too. Empty when there is nothing to say.
std::string failure_lines(const ExecRecord& record);
// "j17: 118 of 120 nodes ok in 2.3s; ...", with why the job stopped and how to go on.
std::string exec_summary(const ExecRecord& record);

// The largest return code of the commands when one is above 0, else the job's exit code. Its own
// codes 1, 6 and 7 stay.
int largest_return_code(const ExecRecord& record);

}  // namespace p2p
