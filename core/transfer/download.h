// Fetches one chunk space to one node: decides what to ask of whom, and when it is complete.
//
// Pure state machine: inputs are the on_* calls, outputs are effects. The owner calls
// take_effects() after every input and carries them out in order, and calls on_tick() no later than
// next_deadline(). One thread. Same inputs and same seed, same outputs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/ids.h"
#include "core/base/rng.h"
#include "core/base/time.h"
#include "core/model/manifest.h"
#include "core/transfer/chunk_picker.h"
#include "core/transfer/chunk_range.h"
#include "core/transfer/rack_entry.h"
#include "core/transfer/token_bucket.h"

namespace p2p {

struct DownloadSettings {
  // Chunks that are being fetched at a time: at least `chunks_in_flight_min`, and as many more (up
  // to
  // `_max`) as fit into `bytes_in_flight`. Each one costs a chunk-time at the end, but too few
  // leave the link idle while requests wait in the queues of full links (20 ms each, four times:
  // measured with 16 receivers, 100 Mbit/s, chunks of 256 KiB: 4 chunks 2.6 x the floor).
  std::uint32_t chunks_in_flight_min = 4;
  std::uint32_t chunks_in_flight_max = 10;
  // A node that has little asks for little: this many chunks at first, and one more for every
  // `chunks_for_a_slot` that it has. While few have anything, requests of the quick ones would
  // fill the queues in which those with nothing wait.
  std::uint32_t chunks_in_flight_at_first = 4;
  std::uint32_t chunks_for_a_slot = 3;
  std::uint32_t bytes_in_flight = 4 * 1024 * 1024;
  std::uint32_t chunks_from_one_peer = 2;
  // From this many neighbours on, a seed is asked for one chunk at a time: it has enough to do.
  std::uint32_t neighbours_that_relieve_a_seed = 4;
  // A peer that owes us bytes and sends none for this long is passed over.
  Duration stall_after = std::chrono::seconds(5);
  // Requests that a chunk is asked for with, as far as they are of 64 KiB to 1 MiB; four when a cap
  // has to be paid.
  std::uint32_t requests_for_a_chunk = 1;
  // A busy peer is asked again after this long, and after twice as long when it is busy then, too.
  Duration busy_pause = std::chrono::milliseconds(20);
  // A peer that takes this many times as long for a chunk as the usual one is asked for one chunk
  // at a time, and only for what nobody else can give.
  int slow_times = 3;
  // A passed-over peer may try again after this long.
  Duration forgive_after = std::chrono::seconds(20);
  // A seed that offers and has offered nothing for this long may be asked by a node that has
  // nothing else to do.
  Duration offers_overdue = std::chrono::seconds(3);
  // When every missing chunk is under way: a chunk that is this many times slower than the usual
  // is asked of a second holder, too.
  int hedge_factor = 3;
  Duration hedge_at_least = std::chrono::milliseconds(300);
};

// Bytes that one request asks for: the `parts`-th part of a chunk, between 64 KiB and 1 MiB.
std::uint32_t request_bytes_for(std::uint32_t chunk_bytes, std::uint32_t parts);

class Download {
 public:
  struct SendRequest {
    NodeId peer;
    ChunkRange range;
  };
  struct SendCancel {
    NodeId peer;
    ChunkRange range;
  };
  // Answers an offer: somebody else should have the chunk.
  struct SendDecline {
    NodeId peer;
    ChunkIndex chunk;
  };
  // The peer broke the rules or sent wrong bytes: close it and report it.
  struct DropPeer {
    NodeId peer;
    ChunkIndex chunk;
    std::string reason;
  };
  using Effect = std::variant<SendRequest, SendCancel, SendDecline, DropPeer>;

  // What to do with bytes that arrived.
  enum class Arrival {
    store,           // write them
    store_and_last,  // write them; then the chunk is whole: verify it
    duplicate,       // throw them away: another peer was faster, or they were cancelled
    unsolicited,     // throw them away; the peer is being dropped
  };

  Download(const ChunkSpace& space, const DownloadSettings& settings, Rng rng);

  // A chunk that is here without having been fetched (checkpoint, local copy, hole, bytes of before
  // a crash that were verified again), held back or not.
  void on_restored(ChunkIndex chunk);
  // It may turn out to be here already: it is not asked for until on_restored() or release(). Only
  // for a chunk that is neither here nor under way.
  void hold_back(ChunkIndex chunk);
  // It is not: from now on it is fetched like any other.
  void release(ChunkIndex chunk, Time now);
  // Most of the chunk is in an old file: only a run of the bytes that are missing is asked for, in
  // requests of these lengths (docs/decisions/0009). For a chunk that is neither here nor under
  // way; without lengths it is fetched whole, as at first.
  void shorten(ChunkIndex chunk, std::vector<std::uint32_t> requests);
  // Nobody has been asked for it yet.
  bool may_be_shortened(ChunkIndex chunk) const {
    return !have_.test(chunk.value) && !active_.contains(chunk);
  }
  // It was here, and what the disk holds of it is wrong or unknown now: fetched again.
  void on_lost(ChunkIndex chunk, Time now);

  // From now on chunks enter the rack through its entry nodes. `members` is what the tracker has
  // handed out of this node's rack, `key` differs from content to content (rack_entry.h). Before
  // the first peer; again when the list changes.
  void stands_in_rack(NodeId self, std::uint64_t key, const std::vector<NodeId>& members, Time now);
  // `offers`: it is a seed that says itself which chunk is whose; it is not asked for anything else
  // before it has said that all are out. `far`: it stands in another rack.
  void on_peer_joined(NodeId peer, Time now, bool offers = false, bool far = false);
  // A seed offers a chunk, or nothing: all are out, it may be asked like any relay.
  void on_offer(NodeId peer, std::optional<ChunkIndex> chunk, Time now);
  void on_peer_left(NodeId peer, Time now);
  // Runs outside the chunk space make the peer a liar: it is dropped.
  void on_have(NodeId peer, const std::vector<ChunkRun>& runs, Time now);
  // The peer will not serve this request, now or ever.
  void on_refused(NodeId peer, const ChunkRange& range, Time now);
  // The peer has too much to do: the chunk is asked of others, the peer again a little later.
  void on_busy(NodeId peer, const ChunkRange& range, Time now);
  Arrival on_data(NodeId peer, const ChunkRange& range, Time now);
  void on_chunk_verified(ChunkIndex chunk, Time now);
  // Wrong bytes: thrown away and fetched again. When a single peer sent all of them it is dropped;
  // when several did, the next try is from one peer alone, so that the blame is certain.
  void on_chunk_corrupt(ChunkIndex chunk, Time now);
  // A shortened chunk has arrived and is not right: its run may be, and the old file wrong. Whoever
  // sent of it is returned, and the chunk is held back until the caller knows what is wrong.
  std::vector<NodeId> on_run_wrong(ChunkIndex chunk, Time now);
  // From now on the chunk is fetched from one peer alone, so that the blame is certain.
  void fetch_alone(ChunkIndex chunk) { alone_.set(chunk.value); }
  // A seed has given it away already and, for seconds, does not offer it again: it may be asked
  // without. For a chunk that did not come out right.
  void fetch_again(ChunkIndex chunk) { again_.insert(chunk); }
  // A random one of those that have it; nothing when nobody has.
  std::optional<NodeId> any_holder(ChunkIndex chunk);
  void on_tick(Time now);

  // Bytes per second that may be asked for; nothing: no cap.
  void set_rate(std::optional<std::uint64_t> bytes_per_second, Time now);
  // While false nothing new is asked for (the disk is behind); what is under way goes on.
  void set_accepting(bool accepting, Time now);

  std::vector<Effect> take_effects();
  // Time::max() when nothing is pending.
  Time next_deadline() const;

  // Neither here, under way nor held back.
  bool is_wanted(ChunkIndex chunk) const { return picker_.is_wanted(chunk); }
  bool complete() const { return have_.all(); }
  const Bitfield& have() const { return have_; }
  std::uint64_t bytes_have() const { return bytes_have_; }
  // Payload that arrived, duplicates and corrupt chunks included.
  std::uint64_t bytes_received() const { return bytes_received_; }
  std::uint64_t bytes_duplicate() const { return bytes_duplicate_; }
  std::size_t peer_count() const { return peers_.size(); }
  // Missing chunks that no peer of ours holds: with them alone, this download never ends. Costs a
  // walk over all chunks.
  std::uint32_t chunks_without_holder() const;
  // Fewer than `holders` neighbours have it, seeds apart. With nobody but seeds nothing is rare:
  // nobody lacks it.
  bool is_rare(ChunkIndex chunk, std::uint32_t holders) const {
    const PeerSet others = slots_used_ - origins_;
    return !others.empty() && picker_.count_holders(chunk, others) < holders;
  }
  // A seed in the own rack hands out chunks: its uplink carries them to other racks already, so
  // that this node sends requests from there away for now.
  bool near_seed_offers() const;
  // What the downlink waits for when nothing arrives.
  enum class Waiting {
    nothing,   // complete
    start,     // not a single chunk is here yet
    answers,   // as much is asked for as may be
    holders,   // neighbours have what is wanted, but are busy or asked enough
    news,      // no neighbour has what is wanted and not asked for
    the_tail,  // everything that is missing was asked for
  };
  Waiting waiting_for() const;
  // For tests and the simulator.
  void check_invariants() const;

 private:
  struct Peer {
    PeerSlot slot = 0;
    Bitfield have;
    bool offers = false;         // says itself which chunk is whose
    bool far = false;            // in another rack
    std::uint32_t chunks = 0;    // under way from it
    std::uint32_t requests = 0;  // of these, asked for and not answered in full: what it owes
    Time last_progress{};        // or when it began to owe
    Time last_offer{};
    Time busy_until{};
    int busy_times = 0;
    Duration chunk_time{0};  // from asking for a chunk to having it, averaged
    Time passed_over_until{};
    bool unheard = false;  // not a word since it was last passed over
    // Answers to these may still be in flight; one for each chunk.
    std::vector<ChunkRange> cancelled;
  };
  struct Requester {
    NodeId peer;
    std::uint32_t next = 0;  // offset in the chunk of the next byte that it owes
  };
  struct Range {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
    std::uint32_t arrived = 0;  // a prefix
    std::vector<Requester> requesters;
    bool done() const { return arrived == length; }
  };
  struct Active {
    std::vector<Range> ranges;
    std::vector<NodeId> owners;        // peers that it is asked of
    std::vector<NodeId> contributors;  // peers whose bytes were stored
    Time started{};
    bool all_arrived = false;
    bool of_run = false;
  };

  bool may_fetch(const Peer& peer, ChunkIndex chunk) const;
  void note_holder(NodeId id, const Peer& peer, ChunkIndex chunk, Time now);
  void enter_far_holders(ChunkIndex chunk);
  void look_at_rack(Time now);
  void fill(Time now);
  void look_at_clocks(Time now);
  bool may_ask(const Peer& peer) const;
  void change_load(Peer& peer, int chunks);
  void wake_at(Time time) { wake_ = std::min(wake_, time); }
  std::uint32_t under_way() const {
    return static_cast<std::uint32_t>(active_.size()) - being_verified_;
  }
  std::uint32_t slots_now() const {
    return std::min(
        slots_, settings_.chunks_in_flight_at_first + have_.count() / settings_.chunks_for_a_slot);
  }
  bool start_again(Time now);
  bool start_from_seed(Time now);
  bool start_from_far(Time now);
  bool start_from_relay(Time now);
  bool start_from_one_of(const PeerSet& able, Time now);
  bool start(NodeId id, Peer& peer, ChunkIndex chunk, Time now);
  bool relay_offers(ChunkIndex chunk) const;
  void send_unrequested(Time now);
  bool ask(NodeId id, ChunkIndex chunk, Range& range, Time now);
  bool hedge(Time now);
  Time late_from(const Active& active) const;
  void cancel(NodeId id, const ChunkRange& rest);
  void release(NodeId id, Active& active, ChunkIndex chunk, bool tell_peer);
  void give_up_if_orphaned(ChunkIndex chunk);
  void pass_over(NodeId id, Peer& peer, Time now);
  void drop(NodeId id, ChunkIndex chunk, std::string reason, Time now);
  bool paid_for(std::uint32_t bytes, Time now);
  void finish_chunk_clock(const Active& active, Time now);
  void note_chunk_time(NodeId id, Duration took);

  ChunkSpace space_;
  DownloadSettings settings_;
  std::uint32_t slots_;
  std::uint32_t request_bytes_;
  ChunkPicker picker_;
  Bitfield have_;
  Bitfield held_back_;
  Bitfield alone_;  // chunks that must come from one peer: mixed bytes of theirs were wrong
  std::map<NodeId, Peer> peers_;
  std::vector<NodeId> peer_at_;   // by slot
  std::vector<Peer*> peer_in_;    // the same
  PeerSet slots_used_;            // the peers that are here, and of these
  PeerSet origins_;               // seeds
  PeerSet offering_;              // of these, those that say themselves which chunk is whose
  PeerSet busy_;                  // have said so
  PeerSet passed_over_;           // owe bytes and send none
  std::vector<PeerSet> by_load_;  // by chunks under way from them; the last: no more of it
  PeerSet slow_;                  // take much longer for a chunk than others
  PeerSet far_;
  std::uint32_t far_chunks_ = 0;  // under way from far peers
  NodeId self_;                   // what follows: only in a rack
  std::optional<RackEntry> rack_;
  std::uint64_t rack_version_ = 0;
  Bitfield ours_;     // chunks that this node fetches from outside
  PeerSet replaced_;  // peers whose chunks do not get on
  std::map<ChunkIndex, Active> active_;
  std::map<ChunkIndex, std::vector<std::uint32_t>> shortened_;  // lengths of the requests
  std::set<ChunkIndex> again_;        // of which an offering seed may be asked
  std::uint32_t being_verified_ = 0;  // of active_, those that have arrived
  bool unrequested_ = false;          // a range may have nobody who was asked for it
  Time wake_ = Time::max();           // no peer's clock runs out before this
  std::optional<TokenBucket> bucket_;
  Time wait_for_tokens_ = Time::max();
  Time looked_at_{};  // last time that fill() looked whom to ask
  bool accepting_ = true;
  Duration usual_chunk_time_{0};
  std::uint64_t bytes_have_ = 0;
  std::uint64_t bytes_received_ = 0;
  std::uint64_t bytes_duplicate_ = 0;
  std::vector<Effect> effects_;
};

}  // namespace p2p
