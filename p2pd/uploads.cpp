#include "p2pd/uploads.h"

#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "core/model/place.h"
#include "core/transfer/rack_entry.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "p2pd/offload.h"

namespace p2p {
namespace {

constexpr Duration kSweepEvery = std::chrono::seconds(10);
// An offer that is not answered for so long is made to somebody else (OfferSettings).
constexpr std::uint32_t kOfferMilliseconds = 1000;
constexpr Duration kIdleAfter = std::chrono::seconds(60);

}  // namespace

struct Uploads::Opened {
  ServeSourcePtr body, data;
  std::optional<Error> error;
};

Uploads::Uploads(boost::asio::io_context& control, DiskPool& disk, PeerMesh& mesh, NodeId self,
                 const ContentStore& contents, Owner& owner, Rng rng)
    : control_(control),
      disk_(disk),
      mesh_(mesh),
      contents_(contents),
      owner_(owner),
      self_(self),
      rng_(rng),
      leaves_(
          control, disk, mesh,
          [this](const ServeSourcePtr& source, const Error& why) { on_serve_failed(source, why); }),
      timer_(control),
      sweep_timer_(control) {}

Uploads::~Uploads() {
  *alive_ = false;
}

void Uploads::share(const SpaceKey& space, ServeSourcePtr source, const Bitfield* have) {
  Shared& shared = shared_[space];
  if (shared.source != source) let_go(disk_, std::move(shared.source));
  shared = {std::move(source), have, monotonic_now()};
  sweep_later();
}

void Uploads::unshare(const SpaceKey& space) {
  if (const auto found = shared_.find(space); found != shared_.end()) {
    let_go(disk_, std::move(found->second.source));
    shared_.erase(found);
  }
  if (!space.body) offers_.erase(space.content);
  for (const UploadSlots::Grant& request : slots_.on_space_closed(space)) {
    mesh_.send_refusal(request.peer, request.space, request.range);
  }
}

void Uploads::on_peer_open(NodeId peer, const SpaceKey& space, bool wants) {
  if (!wants) return;
  if (shared_.contains(space)) return answer(peer, space);
  if (!held_.contains(space.content)) {
    return mesh_.send_close(peer, space, "not here");
  }
  auto& waiting = waiting_[space.content];
  waiting.emplace_back(peer, space);
  if (waiting.size() == 1) open_held(space.content);
}

void Uploads::open_held(const ContentId& content) {
  disk_.post([this, alive = alive_, &contents = contents_, &control = control_, content] {
    auto found = std::make_shared<Opened>();
    auto holding = contents.holding(content);
    auto manifest = contents.load_manifest(content);
    if (!holding || !*holding) {
      found->error = Error{Errc::not_found, "no record of " + content.short_hex()};
    } else if (!manifest) {
      found->error = manifest.error();
    } else if (auto file = contents.open_held(**holding); !file) {
      found->error = file.error();
    } else {
      auto data = std::make_shared<ServeSource>();
      data->space = ChunkSpace(manifest->file().tree, manifest->file().data);
      data->file = std::move(*file);
      data->name = (*holding)->path();
      data->look_at_file_system();
      data->watch();
      auto body = std::make_shared<ServeSource>();
      body->space = ChunkSpace(manifest->root_record.body);
      body->memory = std::move(manifest->body_bytes);
      body->name = "manifest";
      found->data = std::move(data);
      found->body = std::move(body);
    }
    boost::asio::post(control, [this, alive, content, found] {
      if (*alive) opened(content, std::move(*found));
    });
  });
}

void Uploads::opened(const ContentId& content, Opened found) {
  const auto waiting = std::exchange(waiting_[content], {});
  waiting_.erase(content);
  if (found.error) {
    log_warn("uploads", "a file that was held cannot be served any more",
             {{"content", content.short_hex()}, {"why", found.error->detail}});
    held_.erase(content);
    seeds_.erase(content);
    owner_.on_content_gone(content, *found.error);
  } else {
    const SpaceKey body{content, true};
    const SpaceKey data{content, false};
    if (!shared_.contains(body)) share(body, found.body, nullptr);
    if (!shared_.contains(data)) {
      share(data, found.data, nullptr);
      make_offers(content, found.data->space.count());
    }
  }
  for (const auto& [peer, space] : waiting) {
    if (shared_.contains(space)) {
      answer(peer, space);
    } else {
      mesh_.send_close(peer, space, "not here any more");
    }
  }
}

void Uploads::make_offers(const ContentId& content, std::uint32_t chunks) {
  SeedOffers& offers =
      offers_.emplace(content, SeedOffers(chunks, OfferSettings{}, rng_.split())).first->second;
  offers.stands_in(rack_, rack_key(content));
  if (const auto seeds = seeds_.find(content); seeds != seeds_.end()) {
    offers.set_seeds(self_, seeds->second);
  }
}

void Uploads::set_seeds(const ContentId& content, std::vector<NodeId> seeds) {
  if (!held_.contains(content)) return;
  if (SeedOffers* offers = offers_of({content, false})) offers->set_seeds(self_, seeds);
  seeds_[content] = std::move(seeds);
}

void Uploads::on_peer_place(NodeId peer, const std::string& rack) {
  racks_[peer] = rack;
  if (stand_apart(rack_, rack)) slots_.set_far(peer);
}

void Uploads::answer(NodeId peer, const SpaceKey& space) {
  const Shared& shared = shared_.at(space);
  SeedOffers* offers = offers_of(space);
  PeerMesh::Opening opening;
  opening.offers = offers != nullptr;
  opening.rack = rack_;
  mesh_.send_open(peer, space, opening);
  const std::uint32_t count = shared.source->space.count();
  if (shared.have == nullptr) {
    if (count > 0) mesh_.send_have(peer, space, {{0, count}});
  } else {
    mesh_.send_have(peer, space, runs_of(*shared.have));
  }
  if (offers == nullptr) return;
  const auto rack = racks_.find(peer);
  offers->on_peer_joined(peer, rack == racks_.end() ? std::string() : rack->second);
  offer();
}

SeedOffers* Uploads::offers_of(const SpaceKey& space) {
  const auto found = space.body ? offers_.end() : offers_.find(space.content);
  return found == offers_.end() ? nullptr : &found->second;
}

void Uploads::on_peer_have(NodeId peer, const SpaceKey& space, const std::vector<ChunkRun>& runs) {
  if (SeedOffers* offers = offers_of(space)) {
    offers->on_have(peer, runs, monotonic_now());
    offer();
  }
}

void Uploads::on_peer_has_some(NodeId peer, const SpaceKey& space) {
  slots_.on_have(peer, space);
}

void Uploads::on_peer_decline(NodeId peer, const SpaceKey& space, ChunkIndex chunk) {
  if (SeedOffers* offers = offers_of(space)) {
    offers->on_declined(peer, chunk, monotonic_now());
    offer();
  }
}

void Uploads::offer() {
  for (auto& [content, offers] : offers_) {
    for (const SeedOffers::Offer& made : offers.take_offers(monotonic_now())) {
      const std::uint32_t chunk = made.chunk ? made.chunk->value : Offer::kAllOut;
      mesh_.send_offer(made.peer, {content, false}, {chunk, kOfferMilliseconds});
    }
  }
  schedule();
}

// Nothing when the chunk is not here.
const Uploads::Shared* Uploads::holding(const SpaceKey& space, ChunkIndex chunk) const {
  const auto found = shared_.find(space);
  if (found == shared_.end() || chunk.value >= found->second.source->space.count()) return nullptr;
  const Bitfield* have = found->second.have;
  return have == nullptr || have->test(chunk.value) ? &found->second : nullptr;
}

void Uploads::on_peer_run_request(NodeId peer, const SpaceKey& space, const ChunkRange& range,
                                  std::vector<ByteRange> pieces) {
  const Shared* holding = this->holding(space, range.chunk);
  const std::uint32_t size = holding == nullptr ? 0 : holding->source->space.size_of(range.chunk);
  const bool here = range.end() <= size && (pieces.empty() || pieces.back().end() <= size);
  SeedOffers* offers = offers_of(space);
  const bool offered = offers != nullptr && !offers->all_out();
  if (here && !offered && slots_.busy_for(peer, space, range.chunk)) {
    return mesh_.send_busy(peer, space, range);
  }
  if (here && offered) offers->on_requested(peer, range.chunk, monotonic_now());
  if (!here || !slots_.on_request(peer, space, range, offered, std::move(pieces))) {
    return mesh_.send_refusal(peer, space, range);
  }
  shared_.at(space).last_request = monotonic_now();
  grant();
}

void Uploads::on_peer_leaves_wanted(NodeId peer, const ContentId& content, ChunkIndex chunk) {
  const Shared* holding = this->holding({content, false}, chunk);
  leaves_.on_wanted(peer, content, chunk, holding == nullptr ? nullptr : holding->source);
}

void Uploads::on_peer_cancel(NodeId peer, const SpaceKey& space, const ChunkRange& range) {
  slots_.on_cancel(peer, space, range);
  grant();
}

void Uploads::on_peer_sent(NodeId peer, std::uint32_t payload_bytes) {
  slots_.on_sent(peer, payload_bytes, monotonic_now());
  grant();
}

void Uploads::forget(NodeId peer, const SpaceKey& space) {
  if (SeedOffers* offers = offers_of(space)) offers->on_peer_left(peer);
  offer();
}

void Uploads::on_peer_down(NodeId peer) {
  slots_.on_peer_left(peer);
  leaves_.on_peer_left(peer);
  racks_.erase(peer);
  for (auto& [content, offers] : offers_) offers.on_peer_left(peer);
  for (auto& [content, waiting] : waiting_) {
    std::erase_if(waiting, [&](const auto& entry) { return entry.first == peer; });
  }
  grant();
}

void Uploads::on_serve_failed(const ServeSourcePtr& source, const Error& why) {
  for (const auto& [space, shared] : shared_) {
    if (shared.source != source) continue;
    const ContentId content = space.content;
    log_warn("uploads", "reading what is served failed",
             {{"content", content.short_hex()}, {"why", why.detail}});
    unshare({content, false});
    held_.erase(content);
    seeds_.erase(content);
    // Whoever counts on this node for a chunk must know at once that it has none any more.
    for (const NodeId peer : mesh_.peers_up()) {
      mesh_.send_close(peer, {content, false}, "not here any more");
    }
    owner_.on_content_gone(content, why);
    return;
  }
}

void Uploads::sweep_later() {
  if (std::exchange(sweeping_, true)) return;
  sweep_timer_.expires_after(kSweepEvery);
  sweep_timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive) sweep();
  });
}

// Looks which of the files that nobody asks for have lost their last name.
void Uploads::sweep() {
  sweeping_ = false;
  std::vector<std::pair<SpaceKey, ServeSourcePtr>> idle;
  const Time now = monotonic_now();
  for (const auto& [space, shared] : shared_) {
    if (shared.source->in_memory() || shared.have != nullptr) continue;
    if (now - shared.last_request >= kIdleAfter) idle.emplace_back(space, shared.source);
  }
  if (!shared_.empty()) sweep_later();
  if (idle.empty()) return;
  disk_.post([this, alive = alive_, &control = control_, idle = std::move(idle)] {
    for (const auto& [space, source] : idle) {
      struct stat facts {};
      if (::fstat(source->file.get(), &facts) != 0 || facts.st_nlink > 0) continue;
      boost::asio::post(control, [this, alive, space = space, source = source] {
        if (*alive) close_deleted(space, source);
      });
    }
  });
}

void Uploads::close_deleted(const SpaceKey& space, const ServeSourcePtr& source) {
  const auto found = shared_.find(space);
  if (found == shared_.end() || found->second.source != source) return;
  if (monotonic_now() - found->second.last_request < kIdleAfter) return;
  log_info("uploads", "a file that was served is deleted; closed", {{"path", source->name}});
  unshare(space);
  unshare({space.content, /*body=*/true});
  // Another copy may be on record; if not, this says that the content is gone.
  open_held(space.content);
}

void Uploads::grant() {
  bool denied = true;
  // What one that is denied leaves may be another one's turn.
  while (std::exchange(denied, false)) {
    for (UploadSlots::Grant& grant : slots_.take_grants(monotonic_now())) {
      denied = !serve(std::move(grant)) || denied;
    }
  }
  offer();
}

// False when the peer may not have it any more.
bool Uploads::serve(UploadSlots::Grant grant) {
  const auto found = shared_.find(grant.space);
  if (found == shared_.end()) return true;
  if (!owner_.may_have(grant.peer, grant.space.content)) {
    deny(grant);
    return false;
  }
  if (!grant.space.body) bytes_sent_[grant.space.content] += grant.range.length;
  if (SeedOffers* offers = offers_of(grant.space)) {
    const ChunkIndex chunk = grant.range.chunk;
    if (!grant.range.of_run) {
      offers->on_served(grant.peer, chunk, grant.range.length,
                        found->second.source->space.data_bytes_of(chunk), monotonic_now());
    } else if (slots_.all_granted(grant.peer, grant.space, chunk)) {
      offers->on_part_served(grant.peer, chunk, monotonic_now());
    }
  }
  mesh_.serve(grant.peer, grant.space, found->second.source, grant.range, std::move(grant.pieces));
  return true;
}

void Uploads::deny(const UploadSlots::Grant& grant) {
  slots_.on_sent(grant.peer, grant.range.length, monotonic_now());
  mesh_.send_refusal(grant.peer, grant.space, grant.range);
  for (const auto& queued : slots_.on_peer_denied(grant.peer, grant.space.content)) {
    mesh_.send_refusal(queued.peer, queued.space, queued.range);
  }
  owner_.on_not_admitted(grant.peer, grant.space);
}

void Uploads::schedule() {
  Time next = slots_.next_deadline();
  for (const auto& [content, offers] : offers_) next = std::min(next, offers.next_deadline());
  if (next == Time::max()) return;
  timer_.expires_after(std::max(next - monotonic_now(), Duration(std::chrono::milliseconds(1))));
  timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive) grant();
  });
}

}  // namespace p2p
