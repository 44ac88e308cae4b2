// What this node serves to others, and the order in which it does.
//
// Owns a core UploadSlots, and a core SeedOffers for each content that lies whole here. Contents
// that lie whole on this node are opened when the first peer asks for them; parts are shared by
// their transfer while it runs. A file that was deleted or replaced is closed once nobody asks for
// it any more: until then its disk space is not free. Control thread only.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "core/base/rng.h"
#include "core/transfer/seed_offers.h"
#include "core/transfer/upload_slots.h"
#include "p2pd/content_store.h"
#include "p2pd/leaf_answers.h"
#include "p2pd/peer_mesh.h"

namespace p2p {

class Uploads {
 public:
  struct Owner {
    // A file that was held is gone, or (corrupt) was written to.
    virtual void on_content_gone(const ContentId& content, const Error& why) = 0;
    // Asked again when a request's turn comes: it may have waited while a ticket ended.
    virtual bool may_have(NodeId peer, const ContentId& content) const = 0;
    // may_have() has said no, and what the peer had asked for was refused. Perhaps several times.
    virtual void on_not_admitted(NodeId peer, const SpaceKey& space) = 0;

   protected:
    ~Owner() = default;
  };

  Uploads(boost::asio::io_context& control, DiskPool& disk, PeerMesh& mesh, NodeId self,
          const ContentStore& contents, Owner& owner, Rng rng);
  ~Uploads();

  // Where this node stands (core/model/place.h).
  void stands_in(const std::string& rack) { rack_ = rack; }
  // The nodes, this one among them, that held a content before it was pushed: they divide the
  // chunks.
  void set_seeds(const ContentId& content, std::vector<NodeId> seeds);
  // Contents that lie whole on this node.
  void add_held(const ContentId& content) { held_.insert(content); }
  // `have`: what of the space may be served, nullptr for all; lives until the space is unshared or
  // shared again.
  void share(const SpaceKey& space, ServeSourcePtr source, const Bitfield* have);
  void unshare(const SpaceKey& space);

  // Where a peer says that it stands, with each Open.
  void on_peer_place(NodeId peer, const std::string& rack);
  // A peer's Open for a space that no fetch of ours deals with: answered with an Open and what we
  // have, or with a Close.
  // The caller has seen to it that the peer may have the content.
  void on_peer_open(NodeId peer, const SpaceKey& space, bool wants);
  // What a receiver says of a space that this node has whole.
  // Of any space, whether it is shared here or being fetched.
  void on_peer_has_some(NodeId peer, const SpaceKey& space);
  void on_peer_have(NodeId peer, const SpaceKey& space, const std::vector<ChunkRun>& runs);
  void on_peer_decline(NodeId peer, const SpaceKey& space, ChunkIndex chunk);
  void on_peer_request(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
    on_peer_run_request(peer, space, range, {});
  }
  // `pieces`: what a range of a run is made of.
  void on_peer_run_request(NodeId peer, const SpaceKey& space, const ChunkRange& range,
                           std::vector<ByteRange> pieces);
  // The peer, which may have the content, asks for the leaves of a chunk.
  void on_peer_leaves_wanted(NodeId peer, const ContentId& content, ChunkIndex chunk);
  void on_peer_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range);
  void on_peer_sent(NodeId peer, std::uint32_t payload_bytes);
  void on_peer_down(NodeId peer);
  // The peer is offered nothing more of the space, unless it opens it again.
  void forget(NodeId peer, const SpaceKey& space);
  void on_serve_failed(const ServeSourcePtr& source, const Error& why);

  // Payload of the data space granted to others since the start.
  const std::map<ContentId, std::uint64_t>& bytes_sent() const { return bytes_sent_; }

 private:
  struct Shared {
    ServeSourcePtr source;
    const Bitfield* have = nullptr;
    Time last_request{};
  };
  struct Opened;  // what a disk thread found

  void open_held(const ContentId& content);
  void make_offers(const ContentId& content, std::uint32_t chunks);
  void opened(const ContentId& content, Opened opened);
  void answer(NodeId peer, const SpaceKey& space);
  SeedOffers* offers_of(const SpaceKey& space);
  void offer();
  void grant();
  const Shared* holding(const SpaceKey& space, ChunkIndex chunk) const;
  bool serve(UploadSlots::Grant grant);
  void deny(const UploadSlots::Grant& grant);
  void schedule();
  void sweep_later();
  void sweep();
  void close_deleted(const SpaceKey& space, const ServeSourcePtr& source);

  boost::asio::io_context& control_;
  DiskPool& disk_;
  PeerMesh& mesh_;
  const ContentStore& contents_;
  Owner& owner_;
  NodeId self_;
  std::string rack_;
  std::map<NodeId, std::string> racks_;             // of peers that are connected
  std::map<ContentId, std::vector<NodeId>> seeds_;  // where there are several
  Rng rng_;
  UploadSlots slots_{UploadSettings{}};
  LeafAnswers leaves_;
  std::map<ContentId, SeedOffers> offers_;  // of data spaces that were whole before anybody asked
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer sweep_timer_;
  bool sweeping_ = false;
  std::set<ContentId> held_;
  std::map<SpaceKey, Shared> shared_;
  std::map<ContentId, std::vector<std::pair<NodeId, SpaceKey>>>
      waiting_;  // for a file to be opened
  std::map<ContentId, std::uint64_t> bytes_sent_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
