#include <array>
#include <charconv>
#include <cstdio>

#include "core/base/text.h"
#include "core/base/units.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

std::string joined(const google::protobuf::RepeatedPtrField<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

std::string labels_text(const proto::Node& node) {
  const Labels sorted(node.labels().begin(), node.labels().end());
  std::string text;
  for (const auto& [key, value] : sorted) text += (text.empty() ? "" : ",") + key + "=" + value;
  return text;
}

std::string state_text(const proto::Node& node) {
  return node.online() ? "online" : "offline";
}

std::string exec_text(const std::string& policy) {
  if (policy == "off") return "no: p2pd run --exec off";
  if (policy == "scripts-only") return "scripts only: p2pd run --exec scripts-only";
  return policy;
}

// Sizes are bytes, which nobody reads.
std::string fact_text(const std::string& name, const std::string& value) {
  if (name != "mem" && name != "swap" && !name.starts_with("disk.")) return value;
  std::uint64_t bytes = 0;
  const auto read = std::from_chars(value.data(), value.data() + value.size(), bytes);
  return read.ec == std::errc() && read.ptr == value.data() + value.size() ? format_bytes(bytes)
                                                                           : value;
}

std::string percent_text(double share) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.0f%%", share * 100);
  return text.data();
}

std::string load_text(double load) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f", load);
  return text.data();
}

void add_figures(const proto::NodeFigures& figures, Facts& facts) {
  facts
      .add("now: CPU busy",
           percent_text(figures.cpu_busy()) + ", load " + load_text(figures.load1()))
      .add("now: memory", format_bytes(figures.memory_available_bytes()) + " available of " +
                              format_bytes(figures.memory_bytes()));
  for (const proto::NodeFigures::Disk& disk : figures.disks()) {
    facts.add("now: " + printable(disk.mount()),
              format_bytes(disk.free_bytes()) + " free of " + format_bytes(disk.total_bytes()));
  }
  for (const proto::NodeFigures::Interface& link : figures.interfaces()) {
    facts.add("now: " + printable(link.name()),
              "in " + format_rate(static_cast<double>(link.received_bytes_per_second())) +
                  ", out " + format_rate(static_cast<double>(link.sent_bytes_per_second())));
  }
  facts.add("up", format_duration(std::chrono::seconds(figures.uptime_seconds())))
      .add("runs going on", std::to_string(figures.runs()));
}

void print_node(const Output& output, const proto::Node& node) {
  if (output.format() != OutputFormat::table) {
    output.print(node);
    return;
  }
  Facts facts;
  facts.add("name", node.name())
      .add("id", node.id())
      .add("state", state_text(node))
      .add("last seen", node.last_seen())
      .add("address", node.address())
      .add("version", node.version())
      .add("labels", labels_text(node))
      .add("roots", joined(node.roots()))
      .add("shares", joined(node.shares()))
      .add("files held", std::to_string(node.files_held()))
      .add("enrolled", node.enrolled_at())
      .add("certificate until", node.certificate_expires_at());
  if (!node.exec().empty()) facts.add("runs commands", exec_text(node.exec()));
  if (!node.addresses().empty()) facts.add("addresses", joined(node.addresses()));
  const Labels sorted(node.facts().begin(), node.facts().end());
  for (const auto& [name, value] : sorted) facts.add(printable(name), fact_text(name, value));
  if (node.has_figures()) add_figures(node.figures(), facts);
  output.print(facts.str());
}

std::string counted(std::uint32_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string removal_text(const proto::RemovedNode& removed) {
  const std::string node = "node " + removed.name() + " (" + removed.id() + ")";
  if (removed.already()) return node + " was removed already, at " + removed.removed_at();
  return node + " removed: " + counted(removed.tasks_failed(), "unfinished task") + " failed, " +
         counted(removed.agents_told(), "agent") + " told";
}

}  // namespace

int run(Session& session, const NodeListCommand&) {
  proto::NodeList list;
  if (auto failure = session.api.get("/v1/nodes", list)) return session.output.fail(*failure);
  print_list(session.output, list, list.nodes(), [&] {
    Table table({{"NAME"},
                 {"STATE"},
                 {"ADDRESS"},
                 {"VERSION"},
                 {"FILES", Table::Align::right},
                 {"LAST SEEN"},
                 {"LABELS"}});
    for (const proto::Node& node : list.nodes()) {
      table.add_row({node.name(), state_text(node), node.address(), node.version(),
                     std::to_string(node.files_held()), node.last_seen(), labels_text(node)});
    }
    return table.str();
  });
  return 0;
}

int run(Session& session, const NodeShowCommand& command) {
  proto::Node node;
  if (auto failure = session.api.get("/v1/nodes/" + command.node, node)) {
    return session.output.fail(*failure);
  }
  print_node(session.output, node);
  return 0;
}

int run(Session& session, const NodeLabelCommand& command) {
  proto::SetLabelsRequest request;
  request.mutable_labels()->insert(command.labels.begin(), command.labels.end());
  proto::Node node;
  if (auto failure = session.api.post("/v1/nodes/" + command.node + "/labels", &request, node)) {
    return session.output.fail(*failure);
  }
  print_node(session.output, node);
  return 0;
}

int run(Session& session, const NodeRemoveCommand& command) {
  proto::RemovedNode removed;
  if (auto failure = session.api.erase("/v1/nodes/" + command.node, removed)) {
    return session.output.fail(*failure);
  }
  if (session.output.format() != OutputFormat::table) {
    session.output.print(removed);
  } else {
    session.output.print(removal_text(removed) + "\n");
  }
  return 0;
}

}  // namespace p2p
