#include "tools/p2pctl/summary.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

#include "core/base/text.h"
#include "core/base/units.h"
#include "core/model/node_set.h"

namespace p2p {
namespace {

constexpr std::size_t kFoldedNamesMax = 200;
constexpr std::size_t kReasonBytesMax = 2000;
constexpr std::size_t kGroupsShown = 20;
constexpr std::size_t kShortIdDigits = 12;

std::string ratio_text(std::uint64_t sent, std::uint64_t of) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2fx",
                static_cast<double>(sent) / static_cast<double>(of));
  return text.data();
}

// What old files spared, over the nodes that have the new one.
std::string delta_text(const proto::Job& job) {
  std::uint64_t nodes = 0;
  std::uint64_t fetched = 0;
  std::uint64_t copied = 0;
  for (const proto::Task& task : job.tasks()) {
    if (task.state() != "succeeded") continue;
    ++nodes;
    fetched += task.bytes_received();
    copied += task.bytes_copied();
  }
  if (copied == 0) return {};
  const std::string of = format_bytes(fetched / nodes) + " of " + format_bytes(job.data_bytes());
  if (nodes == 1)
    return "; fetched " + of + ", " + format_bytes(copied) + " copied from an old file";
  return "; fetched " + of + " a node, " + format_bytes(copied / nodes) + " copied from old files";
}

std::string result_line(const proto::Job& job) {
  const std::uint32_t done = job.counts().succeeded();
  const int all = job.tasks_size();
  std::string line = std::to_string(done) + " of " + std::to_string(all) +
                     (all == 1 ? " node has " : " nodes have ") + content_name(job) + " (" +
                     format_bytes(job.total_bytes()) + (all == 1 ? ")" : " each)") + " in " +
                     format_duration(from_seconds(job.seconds()));
  if (job.seconds() > 0 && job.bytes_done() > 0) {
    line += ", " + format_rate(static_cast<double>(job.bytes_done()) / job.seconds());
    if (all > 1) line += " together";
  }
  if (job.source_bytes_sent() > 0 && job.data_bytes() > 0) {
    line += "; source sent " + ratio_text(job.source_bytes_sent(), job.data_bytes()) + " the file";
  }
  return line + delta_text(job);
}

using Reason = std::pair<std::string, std::string>;  // state and detail, or nothing and a basis
using NodesByReason = std::map<Reason, std::vector<std::string>>;

// The largest group first.
std::vector<std::pair<Reason, std::vector<std::string>>> by_size(const NodesByReason& nodes) {
  std::vector<std::pair<Reason, std::vector<std::string>>> groups(nodes.begin(), nodes.end());
  std::stable_sort(groups.begin(), groups.end(),
                   [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
  return groups;
}

std::string problem_lines(const proto::Job& job) {
  NodesByReason nodes_by_reason;
  for (const proto::Task& task : job.tasks()) {
    if (task.state() == "succeeded") continue;
    nodes_by_reason[{task.state(), task.detail()}].push_back(task.node());
  }
  const auto groups = by_size(nodes_by_reason);
  std::string text;
  for (std::size_t i = 0; i < groups.size() && i < kGroupsShown; ++i) {
    const auto& [reason, nodes] = groups[i];
    text +=
        reason.first + " " + printable(fold_names(nodes, kFoldedNamesMax).str(), kReasonBytesMax);
    if (!reason.second.empty()) text += ": " + printable(reason.second, kReasonBytesMax);
    text += '\n';
  }
  if (groups.size() > kGroupsShown) {
    text += "and " + std::to_string(groups.size() - kGroupsShown) +
            " more reasons: p2pctl job show " + job.id() + "\n";
  }
  return text;
}

}  // namespace

std::string content_name(const proto::Job& job) {
  if (!job.file_name().empty()) return printable(job.file_name());
  if (!job.content_id().empty()) return "content " + job.content_id().substr(0, kShortIdDigits);
  return printable(job.push().source());
}

std::string push_summary(const proto::Job& job) {
  std::string text = job.id() + ": ";
  const bool ended_early = job.state() == "cancelled" || !job.detail().empty();
  if (ended_early) {
    text += job.state();
    if (!job.detail().empty()) text += ": " + printable(job.detail(), kReasonBytesMax);
    text += "\n" + job.id() + ": ";
  }
  text += result_line(job) + "\n" + problem_lines(job);
  // Where nobody had an old file there is nothing to explain.
  return delta_text(job).empty() ? text : text + basis_lines(job, BasisOf::nodes_without_one);
}

std::string basis_lines(const proto::Job& job, BasisOf which) {
  NodesByReason nodes_by_basis;
  for (const proto::Task& task : job.tasks()) {
    if (task.basis().empty()) continue;
    if (which == BasisOf::nodes_without_one &&
        (task.state() != "succeeded" || task.bytes_copied() > 0)) {
      continue;
    }
    nodes_by_basis[{"", task.basis()}].push_back(task.node());
  }
  const auto groups = by_size(nodes_by_basis);
  std::string text;
  for (std::size_t i = 0; i < groups.size() && i < kGroupsShown; ++i) {
    text += std::string(which == BasisOf::every_node ? "basis of " : "no old file for ") +
            printable(fold_names(groups[i].second, kFoldedNamesMax).str(), kReasonBytesMax) + ": " +
            printable(groups[i].first.second, kReasonBytesMax) + "\n";
  }
  if (groups.size() > kGroupsShown) {
    text += "and " + std::to_string(groups.size() - kGroupsShown) + " more: p2pctl job show " +
            job.id() + " -o json\n";
  }
  return text;
}

}  // namespace p2p
