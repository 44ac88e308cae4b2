// Fetches one space (a manifest body or the data) from the mesh into a sink.
//
// The owner of a core Download: feeds it what peers say, carries out its effects, hashes chunks
// together and announces those that are verified. Control thread only.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/byte_range.h"
#include "core/transfer/download.h"
#include "core/transfer/have_batch.h"
#include "core/transfer/upload_slots.h"
#include "p2pd/admission.h"
#include "p2pd/peer_mesh.h"

namespace p2p {

class SpaceFetch {
 public:
  // Where the bytes go. Everything is called on the control thread.
  struct Sink {
    // Writes `data` at its place and calls `done` on the control thread. `pieces`: of a run, where
    // its bytes belong in the chunk.
    virtual void write(ArrivedData data, std::vector<ByteRange> pieces,
                       std::function<void(Status)> done) = 0;
    // All of a shortened chunk has arrived and is written: copies the rest from the old file and
    // calls run_checked() with what came of it. Never called when nothing was shortened.
    virtual void put_together(ChunkIndex) {}
    // The leaves that were asked for, proven; nothing when nobody has told them.
    virtual void on_leaves(ChunkIndex, std::optional<std::vector<Digest>>) {}
    virtual void on_chunk_ready(ChunkIndex chunk) = 0;  // verified and written
    virtual void on_complete() = 0;
    virtual void on_write_failed(const Error& why) = 0;  // the fetch does nothing any more
    virtual void on_bad_peer(NodeId peer, ChunkIndex chunk, const std::string& reason) = 0;

   protected:
    ~Sink() = default;
  };

  SpaceFetch(boost::asio::io_context& control, PeerMesh& mesh, const Admission& admission,
             const SpaceKey& key, const ChunkSpace& space, Sink& sink, Rng rng);
  ~SpaceFetch();

  void restore(ChunkIndex chunk) { download_.on_restored(chunk); }
  // It may be on this node: it is not fetched until on_found() or release(). Before start().
  void hold_back(ChunkIndex chunk) { download_.hold_back(chunk); }
  // It is here, verified by the caller.
  void on_found(ChunkIndex chunk);
  // It is not here.
  void release(ChunkIndex chunk);
  // It was here, and is not any more.
  void on_lost(ChunkIndex chunk);
  // Only these pieces of the chunk are missing: the rest is in an old file. Without pieces it is
  // fetched whole. False when it is too late for that: it is here or under way.
  bool shorten(ChunkIndex chunk, std::vector<ByteRange> pieces);
  // The answer to put_together(). When it is wrong, whoever sent of the run is returned, and the
  // chunk is held back: ask_leaves() says what of it is wrong.
  std::vector<NodeId> run_checked(ChunkIndex chunk, const Status& right);
  // Asks holders of the chunk for the hashes of its blocks, one after the other; on_leaves()
  // follows.
  void ask_leaves(ChunkIndex chunk);
  void on_peer_leaves(NodeId peer, ChunkIndex chunk, std::string_view leaves);
  // From one peer alone, so that the blame for a wrong chunk is certain.
  void fetch_alone(ChunkIndex chunk) { download_.fetch_alone(chunk); }
  // The caller knows that the peer has sent wrong bytes.
  void drop(NodeId peer, ChunkIndex chunk, const std::string& reason);
  // A body that is served while it is fetched; else it is announced once it is whole.
  void announce_chunks() { announces_ = true; }
  // This node's rack, and who else of it wants the content (rack_entry.h). Before start(), and
  // again when the list changes. Without it all peers are alike.
  void stands_in(const std::string& rack, NodeId self, const std::vector<NodeId>& mates);
  // Opens the space towards every peer that is connected. on_complete() may be called at once.
  void start();
  void set_rate(std::optional<std::uint64_t> bytes_per_second);
  void set_accepting(bool accepting);

  void on_peer_up(NodeId peer);
  void on_peer_down(NodeId peer);
  // The peer's Open; what we have is told, and the space opened in return when it is not yet.
  void on_peer_open(NodeId peer, const PeerMesh::Opening& opening);
  void on_peer_offer(NodeId peer, const Offer& offer);
  void on_peer_busy(NodeId peer, const ChunkRange& range);
  // It has nothing to give yet, or any more. Should that change, it opens the space itself.
  void on_peer_close(NodeId peer);
  // The peer may have the content from now on.
  void on_peer_admitted(NodeId peer);
  // The peer may not have the content any more: it is told, and forgotten until it opens again.
  void refuse(NodeId peer, const std::string& why);
  // This node has another ticket: shown to everybody, also to those who refused the old one.
  void on_own_ticket();
  void on_peer_have(NodeId peer, const std::vector<ChunkRun>& runs);
  void on_peer_refusal(NodeId peer, const ChunkRange& range);
  // Requests of this peer are to be sent away for now: it stands in another rack, which gets the
  // same chunks from a seed of ours, and our uplink has no room for them twice.
  bool sends_away(NodeId peer) const;
  void on_peer_data(NodeId peer, ArrivedData data);
  // What it says of a chunk that did not come out right; empty: it cannot tell.

  const SpaceKey& key() const { return key_; }
  const ChunkSpace& space() const { return space_; }
  const Bitfield& have() const { return download_.have(); }
  const Download& download() const { return download_; }

 private:
  struct Assembly {  // a chunk on its way
    std::vector<Digest> leaves;
    std::uint32_t writes_pending = 0;
    bool all_arrived = false;
    bool of_run = false;
  };
  struct LeavesWanted {
    NodeId asked;
    int tries = 0;
    Time since{};
    Time until{};
  };
  struct PeerState {
    bool opened = false;    // we have opened the space towards it
    bool told = false;      // it knows what we have, and hears news
    bool complete = false;  // it has everything: no HAVE of ours interests it, unless
    bool offers = false;    // it hands out chunks and wants to know which are out
    std::string rack;
  };

  Assembly& assembly_of(ChunkIndex chunk);
  void on_written(ChunkIndex chunk, const Status& status);
  void verify(ChunkIndex chunk);
  void became_whole(ChunkIndex chunk);
  void ask_next_for_leaves(ChunkIndex chunk);
  void look_at_leaves(Time now);
  void announce(ChunkIndex chunk);
  void flush_haves();
  void perform();
  void schedule();
  void open_towards(NodeId peer, bool wants);
  bool may_hear(NodeId peer, const PeerState& state) const;
  void tell(NodeId peer);

  boost::asio::io_context& control_;
  PeerMesh& mesh_;
  const Admission& admission_;
  SpaceKey key_;
  ChunkSpace space_;
  Sink& sink_;
  Download download_;
  std::string rack_;
  boost::asio::steady_timer timer_;
  Time armed_for_ = Time::max();
  boost::asio::steady_timer have_timer_;
  HaveBatch news_{HaveSettings{}};
  std::map<ChunkIndex, Assembly> assemblies_;
  std::map<ChunkIndex, std::vector<ByteRange>> runs_;  // pieces of chunks that are shortened
  std::map<ChunkIndex, LeavesWanted> leaves_wanted_;
  // Who has not answered yet, as often as it was asked.
  std::multiset<std::pair<NodeId, ChunkIndex>> asked_for_leaves_;
  bool announces_ = false;
  std::map<NodeId, PeerState> peers_;
  NodeId heard_first_;  // of the last news
  bool started_ = false;
  bool asked_ = false;
  bool failed_ = false;
  bool completed_ = false;
  // Callbacks of disk jobs outlive a fetch that was given up.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
