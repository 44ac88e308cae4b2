// All pushes on this node: which run, which wait, and where the events of the mesh go.
//
// Control thread only.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "p2pd/hint_maker.h"
#include "p2pd/transfer.h"
#include "p2pd/uploads.h"
#include "proto/control.pb.h"

namespace p2p {

class Transfers final : private Transfer::Owner {
 public:
  struct Owner {
    virtual void send_to_tracker(const proto::AgentMessage& message) = 0;
    // A content lies whole on this node, under this record.
    virtual void on_held(const proto::HoldingRecord& record) = 0;
    // A hint was made here, and is served from now on.
    virtual void on_hint_made(const MadeHint& made) = 0;

   protected:
    ~Owner() = default;
  };

  Transfers(const TransferParts& parts, Uploads& uploads, Owner& owner, Rng rng);
  ~Transfers();

  // Where this node stands (core/model/place.h): for transfers that begin from now on.
  void stands_in(const std::string& rack) { rack_ = rack; }
  void take_push(const proto::PushTask& task, const std::string& node_name);
  // This node's ticket for a content, or a newer one.
  void take_ticket(const ContentId& content, const std::string& ticket);
  void know_peers(const google::protobuf::RepeatedPtrField<proto::PeerAddress>& peers);
  void set_rate(const proto::RateLease& lease);
  void cancel(std::uint64_t job);
  void cancel_all();
  // It runs or waits.
  bool has(std::uint64_t job) const;
  // Every 100 ms or so: checkpoints.
  void on_tick(Time now);
  // Progress of everything that runs goes to the tracker.
  void report();

  void on_peer_up(NodeId peer);
  void on_peer_down(NodeId peer);
  // The fetch that deals with a space; nothing when none does.
  SpaceFetch* fetch_of(const SpaceKey& space);

 private:
  template <class Call>
  void each_fetch(Call call);
  const Transfer* rival_of(const Transfer& transfer) const;
  void begin_waiting();
  void report(Transfer& transfer);
  void remove_ended();

  void on_transfer_changed(Transfer& transfer) override;
  void share(const SpaceKey& space, ServeSourcePtr source, const Bitfield* have) override;
  void unshare(const SpaceKey& space) override;
  void on_landed(Transfer& transfer, const proto::HoldingRecord& record) override;
  void on_bad_peer(const ContentId& content, NodeId peer, ChunkIndex chunk,
                   const std::string& reason) override;
  void on_hint_wrong(const ContentId& hint, const ContentId& content,
                     const std::string& why) override;
  void on_recipe_found(const ContentId& old_content, const ContentId& content,
                       const Recipe& recipe) override;
  std::uint64_t promised_to_others(const Transfer& transfer, std::uint64_t device) const override;

  TransferParts parts_;
  Uploads& uploads_;
  Owner& owner_;
  Rng rng_;
  std::string rack_;
  std::map<std::uint64_t, std::unique_ptr<Transfer>> running_;  // by job
  std::deque<std::unique_ptr<Transfer>> waiting_;  // for one with the same content or path
  bool removal_posted_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
