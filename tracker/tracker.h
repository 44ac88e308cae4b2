// The tracker: its parts, and the loop between them.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/config/config.h"
#include "io/disk/disk_pool.h"
#include "io/identity/cluster.h"
#include "io/identity/tls_context.h"
#include "io/net/http_server.h"
#include "io/net/listener.h"
#include "io/state/state_store.h"
#include "tracker/accounts.h"
#include "tracker/agent_session.h"
#include "tracker/api.h"
#include "tracker/api_directory.h"
#include "tracker/api_runs.h"
#include "tracker/api_users.h"
#include "tracker/audit.h"
#include "tracker/blobs.h"
#include "tracker/catalogue.h"
#include "tracker/enrolment.h"
#include "tracker/figures_desk.h"
#include "tracker/hints.h"
#include "tracker/job_board.h"
#include "tracker/job_numbers.h"
#include "tracker/journal.h"
#include "tracker/registry.h"
#include "tracker/removal.h"
#include "tracker/run_board.h"
#include "tracker/scripts.h"
#include "tracker/ticket_office.h"
#include "tracker/users.h"
#include "tracker/words_of_nodes.h"

namespace p2p {

struct TrackerSettings {
  std::string data;
  HostPort listen{"0.0.0.0", 7400};
  HostPort api{"127.0.0.1", 7401};
  std::string ready_file;  // written once both ports accept; empty: none
};

// Everything happens on the thread that calls run(); one store thread writes, one pool reads and
// writes manifests.
class Tracker final : private AgentSession::Owner,
                      private JobBoard::Agents,
                      private RunBoard::Agents,
                      private Removal::Agents {
 public:
  static Result<std::unique_ptr<Tracker>> open(const TrackerSettings& settings);
  ~Tracker();

  // Until SIGINT or SIGTERM.
  void run();

 private:
  struct Loaded {
    Cluster cluster;
    Credentials credentials;
    StatementSigner signer;
    std::unique_ptr<StateStore> store;
    Registry registry;
    Catalogue catalogue;
    Hints hints;
    Accounts accounts;
    Scripts scripts;
    Users users;
    Audit audit;
    Blobs blobs;
  };

  Tracker(const TrackerSettings& settings, Loaded loaded);
  Status start();
  Status make_contexts();
  void accept(Listener::Socket socket, std::string peer);
  void tick();
  void renew_own_certificate(WallTime now);
  void refuse(AgentSession& session, const Error& why);
  void forget(AgentSession& session);
  void note_jobs_of_runs();
  void end_silent_sessions(Time now);
  void greet(AgentSession& session, const proto::AgentHello& hello);
  void note_report(const NodeEntry& reporter, const proto::PeerReport& report) const;

  void on_session_open(AgentSession& session) override;
  void on_session_message(AgentSession& session, const proto::AgentMessage& message) override;
  void on_session_closed(AgentSession& session, const Error& why) override;
  void send(NodeId node, const proto::TrackerMessage& message) override;
  std::uint32_t send_to_all(const proto::TrackerMessage& message) override;
  void end_removed(NodeId node) override;

  TrackerSettings settings_;
  boost::asio::io_context loop_{1};
  Credentials credentials_;
  std::unique_ptr<StateStore> store_;
  Registry registry_;
  Catalogue catalogue_;
  Hints hints_;
  Accounts accounts_;
  Scripts scripts_;
  Users users_;
  Audit audit_;
  Blobs blobs_;
  Journal journal_;
  DiskPool disk_;
  Enrolment enrolment_;
  TicketOffice tickets_;
  JobNumbers numbers_;
  JobBoard board_;
  RunBoard runs_;
  Removal removal_;
  FiguresDesk figures_;
  std::optional<TlsContext> agent_tls_;
  std::optional<TlsContext> api_tls_;
  Api api_;
  DirectoryApi directory_api_;
  UsersApi users_api_;
  RunsApi runs_api_;
  std::unique_ptr<HttpServer> http_;
  Listener listener_;
  boost::asio::steady_timer timer_;
  boost::asio::signal_set signals_;
  struct Open {
    std::unique_ptr<AgentSession> session;
    Time since{};
  };
  std::map<AgentSession*, Open> sessions_;
  std::map<NodeId, AgentSession*> by_node_;
  WallTime renewal_checked_{};
  Time sessions_checked_{};
  WordsOfNodes report_words_;
};

}  // namespace p2p
