// Takes nodes out of the cluster, and keeps the signed list that lets agents cut them off.
//
// Control thread. Nobody is told before the removal is on stable storage.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "io/identity/deny_list.h"
#include "proto/api.pb.h"
#include "proto/control.pb.h"
#include "tracker/job_board.h"
#include "tracker/journal.h"
#include "tracker/registry.h"

namespace p2p {

class Removal {
 public:
  // What it needs of the connections.
  struct Agents {
    // To every agent that was welcomed; how many these are.
    virtual std::uint32_t send_to_all(const proto::TrackerMessage& message) = 0;
    // Says so to the node, and ends its connection.
    virtual void end_removed(NodeId node) = 0;

   protected:
    ~Agents() = default;
  };

  Removal(StatementSigner signer, std::string cluster, Registry& registry, JobBoard& board,
          Journal& journal, Agents& agents)
      : signer_(std::move(signer)),
        cluster_(std::move(cluster)),
        registry_(registry),
        board_(board),
        journal_(journal),
        agents_(agents) {}

  // The tracker's certificate was renewed.
  void set_signer(StatementSigner signer);

  // `node` is a name or an id. `done` is called when it is removed for good, at once when it had
  // been before. not_found: there never was such a node. exhausted: the deny-list is full.
  void remove(const std::string& node, WallTime now,
              std::function<void(Result<proto::RemovedNode>)> done);

  // What an agent that says it has `version` must be told: nothing, when that is enough.
  std::string newer_than(std::uint64_t version, WallTime now);

 private:
  Result<std::string> signed_list(WallTime now);
  Result<std::uint32_t> tell_all(WallTime now);
  void announce(NodeId node, proto::RemovedNode reply,
                const std::function<void(Result<proto::RemovedNode>)>& done);

  StatementSigner signer_;
  std::string cluster_;
  Registry& registry_;
  JobBoard& board_;
  Journal& journal_;
  Agents& agents_;
  std::string signed_;  // of signed_version_, at signed_at_
  std::uint64_t signed_version_ = 0;
  WallTime signed_at_{};
  std::uint64_t told_version_ = 0;  // that all agents were sent
};

// What a removed node is told, whenever it connects.
Error removed_error(const NodeEntry* node);

}  // namespace p2p
