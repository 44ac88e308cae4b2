#include <arpa/inet.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include "core/base/units.h"
#include "io/identity/cluster.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/events.pb.h"
#include "tools/p2pctl/home.h"
#include "tools/p2pctl/job_text.h"
#include "tools/p2pctl/table.h"
#include "tools/p2pctl/terminal.h"

namespace p2p {
namespace {

constexpr std::uint16_t kAgentPort = 7400;
constexpr auto kAdminDays =
    std::chrono::duration_cast<std::chrono::days>(kAdminCertificateLife).count();

bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  return ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

std::string init_text(const proto::InitReport& report, const HostPort& api) {
  Facts facts;
  facts.add("cluster", report.cluster() + " (" + report.cluster_id() + ")")
      .add("CA pin", report.ca_pin())
      .add("tracker data", report.tracker_data())
      .add("your credential", report.home() + ", valid for " + std::to_string(kAdminDays) + " days")
      .add("API", report.api());
  const std::string data = shell_word(report.tracker_data());
  // A name cannot be listened on: the tracker then takes every address of its machine.
  const std::string listen = is_address(api.host) ? api.str() : HostPort{"0.0.0.0", api.port}.str();
  const std::string agents = HostPort{api.host, kAgentPort}.str();
  return facts.str() + "\nKeep a copy of " + data +
         "/ca/root.key in a safe place: it makes the next intermediate CA.\n\nNext:\n"
         "  p2p-tracker --data " +
         data + " --api " + listen +
         "\n  p2pctl token create\n"
         "  p2pd join --tracker " +
         agents + " --token TOKEN --data /var/lib/p2pd\n";
}

// Where a node would dial the tracker: agents connect to the same machine as administrators when
// the tracker listens on all of its addresses.
std::string agent_address(const proto::ClusterStatus& status, const std::string& api_host) {
  auto address = parse_host_port(status.agent_address());
  if (!address) return HostPort{api_host, kAgentPort}.str();
  if (address->host == "0.0.0.0" || address->host == "::") address->host = api_host;
  return address->str();
}

}  // namespace

int run(Session& session, const InitCommand& command) {
  const auto fail = [&](const Error& error) {
    return session.output.fail({ExitCode::usage_or_internal, error, false});
  };
  auto home = home_folder();
  if (!home) return fail(home.error());
  ClusterOptions options;
  options.tracker_data = command.tracker_data;
  options.name = command.name;
  options.api_host = command.api.host;
  options.api_port = command.api.port;
  options.sans = command.sans;
  options.administrator = login_name();
  options.home = *home;
  auto cluster = create_cluster(options, wall_now());
  if (!cluster) return fail(cluster.error());
  auto pin = cluster->pin();
  if (!pin) return fail(pin.error());
  proto::InitReport report;
  report.set_cluster(cluster->name);
  report.set_cluster_id(cluster->id);
  report.set_tracker_data(command.tracker_data);
  report.set_home(*home);
  report.set_api(command.api.str());
  report.set_ca_pin(*pin);
  if (session.output.format() == OutputFormat::table) {
    session.output.print(init_text(report, command.api));
  } else {
    session.output.print(report);
  }
  return 0;
}

int run(Session& session, const TokenCreateCommand& command) {
  proto::CreateTokenRequest request;
  request.set_uses(command.uses);
  request.set_ttl_seconds(command.ttl_seconds);
  request.mutable_labels()->insert(command.labels.begin(), command.labels.end());
  proto::CreateTokenReply reply;
  if (auto failure = session.api.post("/v1/tokens", &request, reply)) {
    return session.output.fail(*failure);
  }
  if (session.output.format() != OutputFormat::table) {
    session.output.print(reply);
    return 0;
  }
  session.output.print(reply.token() + "\n");
  proto::ClusterStatus status;
  // Only the join line needs it; the token is good without.
  if (session.api.get("/v1/status", status)) status.Clear();
  // Where stderr is a log the secret has no business there.
  const std::string word = ::isatty(STDERR_FILENO) == 1 ? reply.token() : "TOKEN";
  session.output.say(
      "good for " + std::to_string(reply.uses()) + (reply.uses() == 1 ? " node" : " nodes") +
      " until " + reply.expires_at() + "; on the node run:\n  p2pd join --tracker " +
      agent_address(status, session.api.host()) + " --token " + word + " --data /var/lib/p2pd");
  return 0;
}

int run(Session& session, const StatusCommand&) {
  proto::ClusterStatus status;
  if (auto failure = session.api.get("/v1/status", status)) return session.output.fail(*failure);
  if (session.output.format() != OutputFormat::table) {
    session.output.print(status);
    return 0;
  }
  Facts facts;
  facts.add("cluster", status.cluster() + " (" + status.cluster_id() + ")")
      .add("tracker", status.tracker_version() + ", up " +
                          format_duration(from_seconds(status.uptime_seconds())))
      .add("agents connect to", status.agent_address())
      .add("API", status.api_address())
      .add("certificate until", status.certificate_expires_at())
      .add("nodes", std::to_string(status.nodes_online()) + " of " +
                        std::to_string(status.nodes()) + " online")
      .add("files", std::to_string(status.files()))
      .add("jobs running", std::to_string(status.jobs_running()));
  session.output.print(facts.str());
  return 0;
}

}  // namespace p2p
