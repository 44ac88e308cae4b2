#include "p2pd/space_fetch.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "core/base/check.h"
#include "core/delta/chunk_plan.h"
#include "core/model/place.h"
#include "core/transfer/seed_offers.h"
#include "io/content/merkle.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
SpaceFetch::SpaceFetch(boost::asio::io_context& control, PeerMesh& mesh, const Admission& admission,
                       const SpaceKey& key, const ChunkSpace& space, Sink& sink, Rng rng)
    : control_(control),
      mesh_(mesh),
      admission_(admission),
      key_(key),
      space_(space),
      sink_(sink),
      download_(space, DownloadSettings{}, rng),
      timer_(control),
      have_timer_(control),
      announces_(!key.body) {}

SpaceFetch::~SpaceFetch() {
  *alive_ = false;
  if (!started_ || completed_) return;
  // Peers forget this fetch, so that a later one is answered like a first one.
  for (const auto& [peer, state] : peers_) {
    if (state.opened) mesh_.send_close(peer, key_, "given up");
  }
}

void SpaceFetch::stands_in(const std::string& rack, NodeId self, const std::vector<NodeId>& mates) {
  if (rack.empty()) return;
  rack_ = rack;
  download_.stands_in_rack(self, rack_key(key_.content), mates, monotonic_now());
  if (started_) perform();
}

void SpaceFetch::start() {
  started_ = true;
  for (const NodeId peer : mesh_.peers_up()) on_peer_up(peer);
  perform();
}

void SpaceFetch::set_rate(std::optional<std::uint64_t> rate) {
  download_.set_rate(rate, monotonic_now());
  perform();
}

void SpaceFetch::set_accepting(bool accepting) {
  download_.set_accepting(accepting, monotonic_now());
  perform();
}

void SpaceFetch::open_towards(NodeId peer, bool wants) {
  PeerState& state = peers_[peer];
  if (state.opened) return;
  state.opened = true;
  PeerMesh::Opening opening;
  opening.wants = wants;
  opening.ticket = admission_.own(key_.content);
  opening.rack = rack_;
  mesh_.send_open(peer, key_, opening);
  tell(peer);
}

// What this node has is news for who may have the content, and for a seed, which needs no ticket to
// give and has to know which chunks are out.
bool SpaceFetch::may_hear(NodeId peer, const PeerState& state) const {
  return state.offers || admission_.admits(peer, key_.content, wall_now());
}

void SpaceFetch::tell(NodeId peer) {
  PeerState& state = peers_[peer];
  if (!state.opened || state.told || !may_hear(peer, state)) return;
  state.told = true;
  if (!have().none()) mesh_.send_have(peer, key_, runs_of(have()));
}

void SpaceFetch::on_peer_admitted(NodeId peer) {
  if (started_ && peers_.contains(peer)) tell(peer);
}

void SpaceFetch::refuse(NodeId peer, const std::string& why) {
  mesh_.send_no_ticket(peer, key_, why);
  on_peer_close(peer);
}

void SpaceFetch::on_own_ticket() {
  if (!started_) return;
  for (const NodeId peer : mesh_.peers_up()) {
    const auto known = peers_.find(peer);
    if (known != peers_.end() && known->second.opened) {
      mesh_.send_ticket(peer, key_.content, admission_.own(key_.content));
    } else {
      open_towards(peer, /*wants=*/true);
    }
  }
}

void SpaceFetch::on_peer_up(NodeId peer) {
  if (started_) open_towards(peer, /*wants=*/true);
}

void SpaceFetch::on_peer_down(NodeId peer) {
  peers_.erase(peer);
  std::erase_if(asked_for_leaves_, [&](const auto& asked) { return asked.first == peer; });
  download_.on_peer_left(peer, monotonic_now());
  perform();
}

void SpaceFetch::on_peer_open(NodeId peer, const PeerMesh::Opening& opening) {
  if (!started_) return;
  peers_[peer].offers = opening.offers;
  peers_[peer].rack = opening.rack;
  open_towards(peer, /*wants=*/false);
  tell(peer);
  download_.on_peer_joined(peer, monotonic_now(), opening.offers, stand_apart(rack_, opening.rack));
  perform();
}

bool SpaceFetch::sends_away(NodeId peer) const {
  const auto found = peers_.find(peer);
  if (found == peers_.end() || !stand_apart(rack_, found->second.rack)) return false;
  if (!download_.near_seed_offers()) return false;
  std::set<std::string_view> others;
  for (const auto& [id, state] : peers_) {
    if (stand_apart(rack_, state.rack)) others.insert(state.rack);
  }
  return others.size() >= OfferSettings{}.racks_that_relieve;
}

void SpaceFetch::on_peer_offer(NodeId peer, const Offer& offer) {
  std::optional<ChunkIndex> chunk;
  if (offer.chunk != Offer::kAllOut) {
    chunk = ChunkIndex{offer.chunk};
  } else {
    peers_[peer].offers = false;
  }
  download_.on_offer(peer, chunk, monotonic_now());
  perform();
}

void SpaceFetch::on_peer_busy(NodeId peer, const ChunkRange& range) {
  download_.on_busy(peer, range, monotonic_now());
  perform();
}

void SpaceFetch::on_peer_close(NodeId peer) {
  // What it was told before is forgotten there: its Open is answered with everything again.
  peers_.erase(peer);
  download_.on_peer_left(peer, monotonic_now());
  perform();
}

void SpaceFetch::on_peer_have(NodeId peer, const std::vector<ChunkRun>& runs) {
  if (runs.size() == 1 && runs.front().first == 0 && runs.front().count == space_.count()) {
    peers_[peer].complete = true;
  }
  download_.on_have(peer, runs, monotonic_now());
  perform();
}

void SpaceFetch::on_peer_refusal(NodeId peer, const ChunkRange& range) {
  download_.on_refused(peer, range, monotonic_now());
  perform();
}

void SpaceFetch::on_peer_data(NodeId peer, ArrivedData data) {
  if (failed_) return;
  const ChunkRange range = data.range;
  // What is not a range of this space is unsolicited, whatever else it may be.
  const auto run = runs_.find(range.chunk);
  const bool inside = range.of_run || (range.chunk.value < space_.count() &&
                                       range.end() <= space_.size_of(range.chunk));
  const Download::Arrival arrival =
      inside ? download_.on_data(peer, range, monotonic_now()) : Download::Arrival::unsolicited;
  if (!inside) {
    const std::string reason = "sent bytes outside of the file";
    sink_.on_bad_peer(peer, range.chunk, reason);
    mesh_.drop(peer, reason);
  }
  if (arrival == Download::Arrival::store || arrival == Download::Arrival::store_and_last) {
    Assembly& assembly = assembly_of(range.chunk);
    assembly.of_run = range.of_run;
    std::vector<ByteRange> pieces;
    if (range.of_run) {
      P2P_CHECK(run != runs_.end());
      pieces = part_of_run(run->second, range.offset, range.length);
    } else {
      std::copy(data.leaves.begin(), data.leaves.end(),
                assembly.leaves.begin() + range.offset / kBlockBytes);
    }
    assembly.all_arrived = arrival == Download::Arrival::store_and_last;
    ++assembly.writes_pending;
    sink_.write(std::move(data), std::move(pieces),
                [this, alive = alive_, chunk = range.chunk](const Status& status) {
                  if (*alive) on_written(chunk, status);
                });
  }
  perform();
}

// Starts with the hashes of blocks in holes: those are not fetched.
SpaceFetch::Assembly& SpaceFetch::assembly_of(ChunkIndex chunk) {
  const auto found = assemblies_.find(chunk);
  if (found != assemblies_.end()) return found->second;
  Assembly& assembly = assemblies_[chunk];
  assembly.leaves.resize(space_.leaves_of(chunk));
  if (space_.data_bytes_of(chunk) < space_.size_of(chunk)) {
    for (std::uint32_t i = 0; i < assembly.leaves.size(); ++i) {
      assembly.leaves[i] =
          zero_block_digest(std::min(kBlockBytes, space_.size_of(chunk) - i * kBlockBytes));
    }
  }
  return assembly;
}

void SpaceFetch::on_written(ChunkIndex chunk, const Status& status) {
  if (failed_) return;
  if (!status) {
    failed_ = true;
    sink_.on_write_failed(status.error());
    return;
  }
  const auto found = assemblies_.find(chunk);
  if (found == assemblies_.end()) return;
  --found->second.writes_pending;
  if (!found->second.all_arrived || found->second.writes_pending > 0) return;
  if (found->second.of_run) {
    assemblies_.erase(found);
    sink_.put_together(chunk);
  } else {
    verify(chunk);
  }
}

void SpaceFetch::verify(ChunkIndex chunk) {
  const auto found = assemblies_.find(chunk);
  const Status right = verify_chunk(space_, chunk, found->second.leaves);
  assemblies_.erase(found);
  const Time now = monotonic_now();
  if (!right) {
    download_.on_chunk_corrupt(chunk, now);
    return perform();
  }
  became_whole(chunk);
}

void SpaceFetch::became_whole(ChunkIndex chunk) {
  download_.on_chunk_verified(chunk, monotonic_now());
  runs_.erase(chunk);
  announce(chunk);
  sink_.on_chunk_ready(chunk);
  perform();
}

void SpaceFetch::on_found(ChunkIndex chunk) {
  if (have().test(chunk.value)) return;
  download_.on_restored(chunk);
  runs_.erase(chunk);
  announce(chunk);
  sink_.on_chunk_ready(chunk);
  perform();
}

void SpaceFetch::release(ChunkIndex chunk) {
  download_.release(chunk, monotonic_now());
  perform();
}

void SpaceFetch::on_lost(ChunkIndex chunk) {
  download_.on_lost(chunk, monotonic_now());
  completed_ = false;
  perform();
}

void SpaceFetch::announce(ChunkIndex chunk) {
  const Time now = monotonic_now();
  const Time due = news_.next_deadline();
  news_.on_chunk_ready(chunk, now, download_.is_rare(chunk, HaveSettings{}.rare_holders));
  // A manifest body is served from the moment it is whole, and announced then.
  if (news_.next_deadline() >= due || !announces_) return;
  have_timer_.expires_after(news_.next_deadline() - now);
  have_timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive) flush_haves();
  });
}

void SpaceFetch::flush_haves() {
  const std::vector<ChunkRun> runs = news_.take();
  if (runs.empty() || peers_.empty()) return;
  // Others have turns at being the first to hear.
  auto next = peers_.upper_bound(heard_first_);
  if (next == peers_.end()) next = peers_.begin();
  heard_first_ = next->first;
  for (std::size_t i = 0; i < peers_.size(); ++i, ++next) {
    if (next == peers_.end()) next = peers_.begin();
    const auto& [peer, state] = *next;
    if (state.told && (!state.complete || state.offers) && may_hear(peer, state)) {
      mesh_.send_have(peer, key_, runs);
    }
  }
}

void SpaceFetch::perform() {
  for (const Download::Effect& effect : download_.take_effects()) {
    if (const auto* request = std::get_if<Download::SendRequest>(&effect)) {
      if (!std::exchange(asked_, true)) {
        log_debug(
            "transfer", "first request",
            {{"space", key_.body ? "manifest" : "data"}, {"chunk", request->range.chunk.value}});
      }
      const ChunkRange& range = request->range;
      if (range.of_run) {
        mesh_.send_run_request(request->peer, key_, range,
                               part_of_run(runs_.at(range.chunk), range.offset, range.length));
      } else {
        mesh_.send_request(request->peer, key_, range);
      }
    } else if (const auto* cancel = std::get_if<Download::SendCancel>(&effect)) {
      mesh_.send_cancel(cancel->peer, key_, cancel->range);
    } else if (const auto* decline = std::get_if<Download::SendDecline>(&effect)) {
      mesh_.send_offer(decline->peer, key_, {decline->chunk.value, 0});
    } else if (const auto* drop = std::get_if<Download::DropPeer>(&effect)) {
      sink_.on_bad_peer(drop->peer, drop->chunk, drop->reason);
      mesh_.drop(drop->peer, drop->reason);
    }
  }
  if (download_.complete() && started_ && !completed_) {
    completed_ = true;
    // First, so that what is announced is there when somebody asks for it.
    sink_.on_complete();
    flush_haves();
    return;
  }
  schedule();
}

void SpaceFetch::schedule() {
  Time next = download_.next_deadline();
  for (const auto& [chunk, wanted] : leaves_wanted_) next = std::min(next, wanted.until);
  if (next >= armed_for_) return;  // the timer looks again when it fires
  armed_for_ = next;
  timer_.expires_after(std::max(next - monotonic_now(), Duration(std::chrono::milliseconds(1))));
  timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (error || !*alive) return;
    armed_for_ = Time::max();
    download_.on_tick(monotonic_now());
    look_at_leaves(monotonic_now());
    perform();
  });
}

}  // namespace p2p
