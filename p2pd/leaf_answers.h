// Answers to peers that ask for the hashes of a chunk's blocks (LeavesWanted in proto/peer.proto).
//
// A chunk is read and hashed on a disk thread, for each peer one at a time. Control thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "core/base/ids.h"
#include "io/disk/disk_pool.h"
#include "p2pd/peer_mesh.h"
#include "p2pd/serve_source.h"

namespace p2p {

class LeafAnswers {
 public:
  // A source could not be read, or has changed.
  using OnFailure = std::function<void(const ServeSourcePtr& source, const Error& why)>;

  LeafAnswers(boost::asio::io_context& control, DiskPool& disk, PeerMesh& mesh, OnFailure failed)
      : control_(control), disk_(disk), mesh_(mesh), failed_(std::move(failed)) {}
  ~LeafAnswers() { *alive_ = false; }

  // Without a source, or with too much waiting already, the answer is that this node cannot tell.
  void on_wanted(NodeId peer, const ContentId& content, ChunkIndex chunk, ServeSourcePtr source);
  void on_peer_left(NodeId peer) { queues_.erase(peer); }

 private:
  struct Wanted {
    ContentId content;
    ChunkIndex chunk;
    ServeSourcePtr source;
  };
  using Queue = std::deque<Wanted>;  // the first one is being read

  void read_next(NodeId peer, const std::shared_ptr<Queue>& queue);

  boost::asio::io_context& control_;
  DiskPool& disk_;
  PeerMesh& mesh_;
  OnFailure failed_;
  // Jobs know their queue, so that nothing is said to a peer that came back meanwhile.
  std::map<NodeId, std::shared_ptr<Queue>> queues_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
