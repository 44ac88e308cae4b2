// The command line of init, token, node and status.
#include <limits>

#include "core/base/ids.h"
#include "core/base/text.h"
#include "core/model/node_set.h"
#include "tools/p2pctl/command_line_parser.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxLabels = 64;
constexpr const char* kDefaultApi = "127.0.0.1:7401";

// "--label a=1 --label b=2". An empty value is for those commands where it means something.
enum class EmptyValue { refused, allowed };
Result<Labels> parse_labels(const std::vector<std::string>& texts, EmptyValue empty) {
  if (texts.size() > kMaxLabels) {
    return usage("too many labels: at most " + std::to_string(kMaxLabels) + " at once");
  }
  Labels labels;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) {
      return usage("label " + p2p::quoted(text) + ": no '=': write key=value, as in rack=r12");
    }
    const std::string key = text.substr(0, equals);
    const std::string value = text.substr(equals + 1);
    if (Status fits = check_label_key(key); !fits) return fits.error();
    if (Status fits = check_label_value(value); !fits) return fits.error();
    if (value.empty() && empty == EmptyValue::refused) {
      return usage("label " + p2p::quoted(text) + ": no value: write key=value, as in rack=r12");
    }
    if (!labels.emplace(key, value).second)
      return usage("label " + p2p::quoted(key) + " is given twice");
  }
  return labels;
}

// A node as the API takes it in a path: its name or its id.
Result<std::string> parse_node(const std::string& text) {
  if (NodeId::parse(text)) return text;
  if (Status fits = check_node_name(text); !fits) return fits.error();
  return text;
}

}  // namespace

void add_init(Parser& parser) {
  struct Raw {
    std::string data, name, api = kDefaultApi;
    std::vector<std::string> sans;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* sub = parser.app.add_subcommand(
      "init", "Make a cluster: CA, tracker certificate and your own credential");
  sub->add_option("--tracker-data", raw->data, "Data folder of the tracker")->required();
  sub->add_option("--name", raw->name, "Name of the cluster")->required();
  CLI::Option* api = sub->add_option("--api", raw->api,
                                     "HOST:PORT where you will reach the tracker's API, "
                                     "127.0.0.1:7401 by default");
  sub->add_option("--san", raw->sans, "A further host name or address of the tracker, repeatable")
      ->allow_extra_args(false);
  parser.command(sub, [raw, api, &parser]() -> Result<Command> {
    InitCommand command{raw->data, raw->name, {}, raw->sans};
    auto where = parse_api(api->count() == 0 && !parser.api.empty() ? parser.api : raw->api);
    if (!where) return where.error();
    command.api = *where;
    return Command(command);
  });
}

void add_token(Parser& parser) {
  struct Raw {
    std::int64_t uses = 1;
    std::string ttl = "2h";
    std::vector<std::string> labels;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* token = parser.group("token", "Tokens with which nodes join");
  CLI::App* create = token->add_subcommand("create", "Make a join token and print it, alone");
  create->add_option("--uses", raw->uses, "How many nodes may join with it, 1 by default");
  create->add_option("--ttl", raw->ttl, "How long it is valid, 2h by default");
  create->add_option("--label", raw->labels, "key=value for the nodes that use it, repeatable")
      ->allow_extra_args(false);
  parser.command(create, [raw]() -> Result<Command> {
    TokenCreateCommand command;
    if (raw->uses < 1 || raw->uses > std::numeric_limits<std::uint32_t>::max()) {
      return usage("--uses " + std::to_string(raw->uses) + ": at least 1, as in --uses 40");
    }
    command.uses = static_cast<std::uint32_t>(raw->uses);
    auto ttl = parse_seconds("--ttl", raw->ttl);
    if (!ttl) return ttl.error();
    command.ttl_seconds = *ttl;
    auto labels = parse_labels(raw->labels, EmptyValue::refused);
    if (!labels) return labels.error();
    command.labels = *std::move(labels);
    return Command(command);
  });
}

void add_node(Parser& parser) {
  struct Raw {
    std::string node;
    std::vector<std::string> labels;
  };
  const auto raw = std::make_shared<Raw>();
  CLI::App* group = parser.group("node", "The servers of the fleet");
  parser.command(group->add_subcommand("list", "All nodes"),
                 []() -> Result<Command> { return Command(NodeListCommand{}); });
  CLI::App* show = group->add_subcommand("show", "Everything about one node");
  show->add_option("NODE", raw->node, "Name or id")->required();
  parser.command(show, [raw]() -> Result<Command> {
    auto node = parse_node(raw->node);
    if (!node) return node.error();
    return Command(NodeShowCommand{*node});
  });
  CLI::App* label = group->add_subcommand("label", "Set labels of a node; \"key=\" removes one");
  label->add_option("NODE", raw->node, "Name or id")->required();
  label->add_option("LABEL", raw->labels, "key=value")->required();
  parser.command(label, [raw]() -> Result<Command> {
    auto node = parse_node(raw->node);
    if (!node) return node.error();
    auto labels = parse_labels(raw->labels, EmptyValue::allowed);
    if (!labels) return labels.error();
    return Command(NodeLabelCommand{*node, *labels});
  });
  CLI::App* remove = group->add_subcommand(
      "remove", "Take a node out of the cluster: its tasks fail, no agent gives it anything more");
  remove->add_option("NODE", raw->node, "Name or id")->required();
  parser.command(remove, [raw]() -> Result<Command> {
    auto node = parse_node(raw->node);
    if (!node) return node.error();
    return Command(NodeRemoveCommand{*node});
  });
}

void add_status(Parser& parser) {
  parser.command(parser.app.add_subcommand("status", "The cluster at a glance"),
                 []() -> Result<Command> { return Command(StatusCommand{}); });
}

}  // namespace p2p
