// What operators and their scripts send to the tracker's API.
#include <optional>
#include <string>

#include "core/base/check.h"
#include "core/model/destination.h"
#include "core/model/file_name.h"
#include "core/model/target_expression.h"
#include "io/net/http_message.h"
#include "io/wire/proto_json.h"
#include "proto/api.pb.h"
#include "tests/fuzz/target.h"

namespace p2p::fuzz {
namespace {

void run_targets(Bytes input) {
  const auto parsed = parse_targets(text_of(input));
  if (!parsed) {
    P2P_CHECK(!parsed.error().detail.empty());
    return;
  }
  std::vector<TargetCandidate> nodes(3);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    nodes[i].id.bytes[0] = static_cast<std::uint8_t>(i + 1);
    nodes[i].name = "n" + std::to_string(i + 1);
    nodes[i].labels["rack"] = i == 0 ? "r1" : "r2";
    nodes[i].facts["mem"] = i == 0 ? "64GB" : "12.5";
    nodes[i].addresses = {i == 0 ? "10.2.0.1" : "fd00::1"};
  }
  // The input is a group, too: one that may name itself.
  TargetWorld world;
  world.group = [&](const std::string& name) -> std::optional<std::string> {
    if (name == "g") return parsed->text;
    return name == "h" ? std::optional<std::string>("n1 | mem>5") : std::nullopt;
  };
  const auto selected = select(*parsed, nodes, world);
  P2P_CHECK(selected ? !selected->empty() && selected->size() <= 3
                     : !selected.error().detail.empty());
}

std::vector<std::string> target_seeds() {
  return {"n1,n2",
          "n[1-3] & rack=r2",
          "all - (n1 | rack=r1)",
          "n[1-100000]",
          "((((((n1))))))",
          "mem>=64GB ^ rack!=r1",
          "ip in 10.2.0.0/16 | ip in fd00::/8",
          "random 2 of (@h | n3)",
          "n1,@g"};
}

void run_http(Bytes input) {
  HttpRequest request;
  request.target = std::string(text_of(input));
  (void)parse_target(request);
  const auto decoded = percent_decode(text_of(input));
  if (!decoded) return;
  const auto again = percent_decode(percent_encode(*decoded));
  P2P_CHECK(again && *again == *decoded);
}

std::vector<std::string> http_seeds() {
  return {"/v1/files/a%2Fb?limit=5&x=%20", "/v1/jobs/j1/watch",
          std::string("/a\0b", 4)};  // was taken, and %00 was not
}

void run_json(Bytes input) {
  proto::PushSpec push;
  if (from_json(text_of(input), push)) {
    proto::PushSpec again;
    P2P_CHECK(from_json(to_json(push), again));
  }
}

std::vector<std::string> json_seeds() {
  return {R"({"source":"images/base","targets":"all","path":"x"})", "{}", R"({"limit":"5"})"};
}

}  // namespace

std::vector<Target> text_targets() {
  return {{"target_expression", run_targets, target_seeds},
          {"http_target", run_http, http_seeds},
          {"api_json", run_json, json_seeds}};
}

}  // namespace p2p::fuzz
