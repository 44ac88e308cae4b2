#include "tools/p2pctl/exec_text.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "core/base/text.h"
#include "core/base/units.h"
#include "core/jobs/outcome.h"
#include "core/model/node_set.h"
#include "tools/p2pctl/exec_live.h"
#include "tools/p2pctl/text_diff.h"

namespace p2p {
namespace {

constexpr std::size_t kFoldedNamesMax = 200;
constexpr std::size_t kReasonBytesMax = 2000;
constexpr std::size_t kReasonsShown = 20;
constexpr std::string_view kRule = "---------------\n";

bool wants_out(Streams streams) {
  return streams != Streams::err;
}
bool wants_err(Streams streams) {
  return streams != Streams::out;
}

std::string folded(const std::vector<std::string>& nodes) {
  return printable(fold_names(nodes, kFoldedNamesMax).str(), kReasonBytesMax);
}

// Its parts, with words in lines of their own where something is missing, and a line break at the
// end.
void write_stream(const OutputStream& stream, const OutputStore& store, const Sink& sink) {
  char last = '\n';
  stream.visit(store, [&](std::string_view bytes, std::uint64_t missing) {
    if (missing > 0) {
      sink((last == '\n' ? "" : "\n") + missing_text(missing) + "\n");
      last = '\n';
      return;
    }
    sink(bytes);
    last = bytes.back();
  });
  if (last != '\n') sink("\n");
}

void write_header(const std::string& title, const Sink& sink) {
  sink(std::string(kRule) + title + "\n" + std::string(kRule));
}

void write_group(const OutputGroup& group, const OutputStore& store, Streams streams,
                 const Sink& sink) {
  const std::string nodes = nodes_text(group.nodes);
  if (wants_out(streams) && !group.example->out.empty()) {
    write_header(nodes, sink);
    write_stream(group.example->out, store, sink);
  }
  if (wants_err(streams) && !group.example->err.empty()) {
    write_header(nodes + " stderr", sink);
    write_stream(group.example->err, store, sink);
  }
}

// Nodes by what there is to say of them, the most frequent first.
class Reasons {
 public:
  void add(std::string reason, const std::string& node) {
    nodes_[std::move(reason)].push_back(node);
  }
  bool empty() const { return nodes_.empty(); }
  std::string lines(const std::string& job) const {
    std::vector<std::pair<std::string, std::vector<std::string>>> sorted(nodes_.begin(),
                                                                         nodes_.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
      return a.second.size() > b.second.size();
    });
    std::string text;
    for (std::size_t i = 0; i < sorted.size() && i < kReasonsShown; ++i) {
      text +=
          nodes_text(sorted[i].second) + ": " + printable(sorted[i].first, kReasonBytesMax) + "\n";
    }
    if (sorted.size() > kReasonsShown) {
      text += "and " + std::to_string(sorted.size() - kReasonsShown) +
              " more reasons: p2pctl job show " + job + "\n";
    }
    return text;
  }

 private:
  std::map<std::string, std::vector<std::string>> nodes_;
};

}  // namespace

std::string nodes_text(const std::vector<std::string>& nodes) {
  return folded(nodes) + (nodes.size() > 1 ? " (" + std::to_string(nodes.size()) + ")" : "");
}

std::vector<OutputGroup> group_outputs(const ExecRecord& record, Streams streams,
                                       bool with_silent) {
  using Key = std::tuple<const OutputStream*, const OutputStream*, int>;
  static const OutputStream kNothing;
  const auto less = [](const Key& a, const Key& b) {
    return std::tie(*std::get<0>(a), *std::get<1>(a), std::get<2>(a)) <
           std::tie(*std::get<0>(b), *std::get<1>(b), std::get<2>(b));
  };
  std::map<Key, OutputGroup, decltype(less)> groups(less);
  for (const RunEntry& entry : record.runs()) {
    if (!entry.told()) continue;
    const OutputStream* out = wants_out(streams) ? &entry.out : &kNothing;
    const OutputStream* err = wants_err(streams) ? &entry.err : &kNothing;
    if (!with_silent && out->empty() && err->empty()) continue;
    OutputGroup& group = groups[{out, err, entry.return_code()}];
    group.nodes.push_back(entry.run.node());
    group.example = &entry;
    group.code = entry.return_code();
  }
  std::vector<OutputGroup> sorted;
  for (auto& [key, group] : groups) {
    std::sort(group.nodes.begin(), group.nodes.end(), natural_less);
    sorted.push_back(std::move(group));
  }
  std::sort(sorted.begin(), sorted.end(), [](const OutputGroup& a, const OutputGroup& b) {
    if (a.nodes.size() != b.nodes.size()) return a.nodes.size() > b.nodes.size();
    return natural_less(a.nodes.front(), b.nodes.front());
  });
  return sorted;
}

void write_groups(const ExecRecord& record, Streams streams, const Sink& sink) {
  for (const OutputGroup& group : group_outputs(record, streams)) {
    write_group(group, record.store(), streams, sink);
  }
}

void write_diff(const ExecRecord& record, Streams streams, const Sink& sink) {
  std::vector<OutputGroup> groups = group_outputs(record, streams, /*with_silent=*/true);
  std::erase_if(groups, [](const OutputGroup& group) { return group.code < 0; });
  if (groups.empty()) return;
  // They come by size: the first of the lowest code is the largest.
  const auto reference =
      std::min_element(groups.begin(), groups.end(),
                       [](const OutputGroup& a, const OutputGroup& b) { return a.code < b.code; });
  const OutputStore& store = record.store();
  write_group(*reference, store, streams, sink);
  const std::string old_name = nodes_text(reference->nodes);
  for (const OutputGroup& group : groups) {
    if (&group == &*reference) continue;
    const std::string new_name = nodes_text(group.nodes);
    if (wants_out(streams)) {
      sink(unified_diff(reference->example->out.text(store), group.example->out.text(store),
                        {old_name, new_name}));
    }
    if (wants_err(streams)) {
      sink(unified_diff(reference->example->err.text(store), group.example->err.text(store),
                        {old_name + " stderr", new_name + " stderr"}));
    }
  }
}

void write_lines(const ExecRecord& record, Streams streams, const Sink& out, const Sink& err) {
  const auto write = [&](const RunEntry& entry, const OutputStream& stream, const Sink& sink) {
    PrefixedLines lines(entry.run.node() + ": ");
    stream.visit(record.store(), [&](std::string_view bytes, std::uint64_t missing) {
      if (missing > 0) lines.skip(missing, sink);
      lines.add(bytes, sink);
    });
    lines.end(sink);
  };
  for (const RunEntry& entry : record.runs()) {
    if (wants_out(streams)) write(entry, entry.out, out);
    if (wants_err(streams)) write(entry, entry.err, err);
  }
}

std::string failure_lines(const ExecRecord& record) {
  Reasons failures;
  Reasons left_running;
  std::vector<std::string> cut;
  for (const RunEntry& entry : record.runs()) {
    if (!entry.told()) continue;
    const std::string& node = entry.run.node();
    if (!entry.good()) failures.add(end_text(entry.run), node);
    if (entry.run.left_running() > 0) {
      left_running.add(
          "what its command started goes on: " + std::to_string(entry.run.left_running()) +
              (entry.run.left_running() == 1 ? " process" : " processes"),
          node);
    }
    if (entry.run.out_truncated() || entry.run.err_truncated()) cut.push_back(node);
  }
  std::string text = failures.lines(record.job().id()) + left_running.lines(record.job().id());
  if (!cut.empty()) {
    text += nodes_text(cut) + ": not all of the output was kept: --keep says how much is\n";
  }
  return text;
}

std::string exec_summary(const ExecRecord& record) {
  const proto::Job& job = record.job();
  const std::size_t all = record.runs().size();
  std::string text = job.id() + ": ";
  if (job.state() == "cancelled" || !job.detail().empty()) {
    text += job.state();
    if (!job.detail().empty()) text += ": " + printable(job.detail(), kReasonBytesMax);
    text += "; ";
  } else if (!job.rollout_state().empty() && record.good() < all) {
    text += printable(job.rollout_state(), kReasonBytesMax) + "; ";
  }
  text += std::to_string(record.good()) + " of " + std::to_string(all) +
          (all == 1 ? " node ok in " : " nodes ok in ") +
          format_duration(from_seconds(job.seconds()));
  if (record.good() < all) text += "; the others again: p2pctl job retry " + job.id();
  return text;
}

int largest_return_code(const ExecRecord& record) {
  const int of_job = static_cast<int>(record.job().exit_code());
  const auto code = static_cast<ExitCode>(of_job);
  if (code == ExitCode::usage_or_internal || code == ExitCode::not_authorised ||
      code == ExitCode::no_tracker) {
    return of_job;
  }
  int largest = 0;
  for (const RunEntry& entry : record.runs()) largest = std::max(largest, entry.return_code());
  return largest > 0 ? std::min(largest, 255) : of_job;
}

}  // namespace p2p
