#include "core/base/units.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

std::string plan_table(const proto::PushPlan& plan) {
  Table table({{"NODE"}, {"STATE"}, {"FETCHES", Table::Align::right}, {"BASIS"}});
  for (const proto::NodePlan& node : plan.nodes()) {
    const std::string bytes = format_bytes(node.fetch_bytes());
    table.add_row({node.node(), node.online() ? "online" : "offline",
                   node.exact() ? bytes : "<= " + bytes, node.basis()});
  }
  return table.str();
}

}  // namespace

int run(Session& session, const PlanCommand& command) {
  proto::PushPlan plan;
  if (auto failure = session.api.post("/v1/plan", &command.spec, plan)) {
    return session.output.fail(*failure);
  }
  print_list(session.output, plan, plan.nodes(), [&] {
    const std::string name = plan.file_name().empty() ? plan.content_id() : plan.file_name();
    return plan_table(plan) + "\n" + name + ": " + format_bytes(plan.fetch_bytes()) +
           " to be fetched at most, of " + format_bytes(plan.data_bytes()) + " for each of " +
           std::to_string(plan.nodes_size()) + (plan.nodes_size() == 1 ? " node" : " nodes") + "\n";
  });
  return 0;
}

}  // namespace p2p
