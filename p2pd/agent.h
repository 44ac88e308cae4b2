// The agent: its parts, and the loop between them.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/rng.h"
#include "io/config/config.h"
#include "io/disk/disk_pool.h"
#include "io/identity/credentials.h"
#include "io/privileged/privileged.h"
#include "io/state/state_store.h"
#include "p2pd/admission.h"
#include "p2pd/content_store.h"
#include "p2pd/hint_store.h"
#include "p2pd/join.h"
#include "p2pd/node_news.h"
#include "p2pd/orphans.h"
#include "p2pd/part_records.h"
#include "p2pd/peer_mesh.h"
#include "p2pd/publisher.h"
#include "p2pd/removed_nodes.h"
#include "p2pd/renewal.h"
#include "p2pd/runs.h"
#include "p2pd/tracker_link.h"
#include "p2pd/transfers.h"
#include "p2pd/uploads.h"

namespace p2p {

struct AgentSettings {
  std::string data;  // a name that leads there from the working folder
  HostPort listen{"0.0.0.0", 7402};
  std::string advertise;           // HOST:PORT that others shall dial; empty: what the tracker sees
  unsigned data_threads = 0;       // 0: one for each processor, at most four
  bool writes_ready_file = false;  // once the tracker has welcomed us

  ExecPolicy exec = ExecPolicy::off;
  std::string exec_account;  // of runs that name none

  std::string runs_folder() const { return data + "/runs"; }
  std::string deny_list_file() const { return data + "/deny-list"; }
};

// The control thread is the one that calls run(); it owns all state and decides. Data threads move
// bytes (p2pd/peer_session.h), the disk pool does everything else on files.
class Agent final : private TrackerLink::Owner,
                    private PeerMesh::Owner,
                    private Uploads::Owner,
                    private Transfers::Owner,
                    private Runs::Owner {
 public:
  // `launcher`: this side of its channel; none where runs are not allowed.
  static Result<std::unique_ptr<Agent>> open(const AgentSettings& settings,
                                             std::unique_ptr<Privileged> privileged, Fd launcher);
  ~Agent();

  // Until SIGINT or SIGTERM, or until `privileged` or the launcher is lost, which is an error.
  Status run();

 private:
  struct Loaded {
    NodeFile node;
    NodeId id;
    Credentials credentials;
    StatementVerifier verifier;
    std::unique_ptr<Privileged> privileged;
    std::unique_ptr<StateStore> store;
    ContentStore contents;
    HintStore hints;
    std::vector<StoredHint> stored_hints;
    std::vector<proto::HoldingRecord> holdings;
    bool search_roots = false;
  };
  struct Publishing {
    std::unique_ptr<Publisher> publisher;
    std::uint64_t done = 0;
    std::uint64_t total = 0;
  };

  Agent(const AgentSettings& settings, Loaded loaded, Fd launcher);
  Status start();
  Status make_contexts();
  void write_ready_file();
  void tick();
  void report();
  void report_uploads();
  void find_orphans(bool search_roots);

  void take_publish(const proto::PublishTask& task);
  void published(std::uint64_t job, Result<Publisher::Done> done);
  void take_labels(const google::protobuf::Map<std::string, std::string>& labels);
  void take_seeds(const proto::Seeds& message);
  void take_certificate(const proto::Certificate& certificate);
  void take_deny_list(const Result<bool>& taken, const std::string& from);
  void on_removed(const std::string& why);
  void announce_holdings();
  void note_lost(const ContentId& content);
  void announce(const proto::HoldingRecord& record);
  void sort_holdings(std::vector<proto::HoldingRecord> records);
  void send_task(const proto::TaskUpdate& update);

  void on_tracker_up() override;
  void on_tracker_message(const proto::TrackerMessage& message) override;
  void on_tracker_down(const Error& why) override;

  void on_peer_up(NodeId peer, const std::string& name) override;
  void on_peer_down(NodeId peer) override;
  bool is_removed(NodeId node) const override { return removed_.contains(node); }
  void on_peer_deny_version(NodeId peer, std::uint64_t version) override;
  void on_peer_deny_list(NodeId peer, std::string_view statement) override;
  void on_peer_open(NodeId peer, const SpaceKey& space, const PeerMesh::Opening& opening) override;
  void on_peer_ticket(NodeId peer, const ContentId& content, const std::string& ticket) override;
  void on_peer_refused_us(NodeId peer, const ContentId& content, const std::string& why) override;
  void on_peer_offer(NodeId peer, const SpaceKey& space, const Offer& offer) override;
  void on_peer_busy(NodeId peer, const SpaceKey& space, const ChunkRange& range) override;
  void on_peer_close(NodeId peer, const SpaceKey& space) override;
  void on_peer_have(NodeId peer, const SpaceKey& space, std::vector<ChunkRun> runs) override;
  void on_peer_request(NodeId peer, const SpaceKey& space, const ChunkRange& range) override;
  void on_peer_run_request(NodeId peer, const SpaceKey& space, const ChunkRange& run,
                           std::vector<ByteRange> pieces) override;
  void on_peer_leaves_wanted(NodeId peer, const ContentId& content, ChunkIndex chunk) override;
  void on_peer_leaves(NodeId peer, const ContentId& content, ChunkIndex chunk,
                      std::string leaves) override;
  void on_peer_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range) override;
  void on_peer_refusal(NodeId peer, const SpaceKey& space, const ChunkRange& range) override;
  void on_peer_data(NodeId peer, const SpaceKey& space, ArrivedData data) override;
  void on_peer_sent(NodeId peer, std::uint32_t payload_bytes) override;
  void on_serve_failed(const ServeSourcePtr& source, const Error& why) override;
  void on_peer_broke_rules(NodeId peer, const std::string& reason) override;

  void on_content_gone(const ContentId& content, const Error& why) override;
  bool may_have(NodeId peer, const ContentId& content) const override;
  void on_not_admitted(NodeId peer, const SpaceKey& space) override;

  void send_to_tracker(const proto::AgentMessage& message) override;
  void on_held(const proto::HoldingRecord& record) override;
  void on_hint_made(const MadeHint& made) override;

  void on_launcher_lost(const Error& why) override;
  void on_ledger_broken(const Error& why) override;

  AgentSettings settings_;
  NodeFile node_;
  NodeId id_;
  Rng rng_;
  Credentials credentials_;
  boost::asio::io_context control_{1};
  DiskPool disk_;
  std::unique_ptr<Privileged> privileged_;
  std::unique_ptr<StateStore> store_;
  ContentStore contents_;
  HintStore hints_;
  PartRecords parts_;
  std::map<ContentId, proto::HoldingRecord> holdings_;
  struct LostHolding {
    std::string path;
    bool changed = false;  // else: gone
  };
  // Held once and not any more: said to every tracker that this node connects with.
  std::map<ContentId, LostHolding> lost_;
  StatementVerifier verifier_;
  Admission admission_;
  RemovedNodes removed_;
  bool tell_deny_version_ = false;  // with the next tick
  bool removed_myself_ = false;     // this node has heard that it is not in the cluster any more
  PeerMesh mesh_;
  Uploads uploads_;
  std::unique_ptr<TrackerLink> link_;
  std::uint16_t port_ = 0;
  boost::asio::steady_timer timer_;
  boost::asio::signal_set signals_;
  std::map<std::uint64_t, Publishing> publishing_;  // by job
  std::unique_ptr<Transfers> transfers_;
  std::unique_ptr<Orphans> orphans_;
  std::unique_ptr<Runs> runs_;
  std::unique_ptr<NodeNews> news_;
  std::map<ContentId, std::uint64_t> uploads_reported_;
  Time last_report_{};
  Renewal renewal_;
  std::string node_name_;  // as the tracker says it
  Status ended_;           // what run() returns
};

}  // namespace p2p
