#include "p2pd/part_claims.h"

#include <utility>

#include "io/log/log.h"
#include "p2pd/offload.h"

namespace p2p {

PartClaims::PartClaims(boost::asio::io_context& control, DiskPool& disk, DiskPool::Lane lane,
                       std::shared_ptr<Part> part, Bitfield durable, Owner& owner)
    : control_(control),
      disk_(disk),
      lane_(lane),
      part_(std::move(part)),
      owner_(owner),
      durable_(std::move(durable)),
      verified_(durable_) {}

PartClaims::~PartClaims() {
  *alive_ = false;
}

template <class Work, class Then>
void PartClaims::on_disk(Work work, Then then) {
  offload(disk_, lane_, control_, alive_, std::move(work), std::move(then));
}

void PartClaims::on_chunk_written(ChunkIndex chunk, Time now) {
  if (verified_.set(chunk.value)) verified_news_.push_back(chunk);
  checkpoint_.on_chunk_written(chunk, part_->space().data_bytes_of(chunk), now);
  sync_if_due(now);
}

void PartClaims::on_tick(Time now) {
  if (stopped_) return;
  note_verified();
  sync_if_due(now);
}

// Unsynced: it costs a write to a log in memory, and saves a killed process the look at every
// chunk.
void PartClaims::note_verified() {
  if (verified_news_.empty()) return;
  on_disk(
      [part = part_, verified = verified_, news = std::exchange(verified_news_, {})] {
        return part->record_verified(verified, news);
      },
      [](const Status& noted) {
        // Only what it would save is lost.
        if (!noted) log_warn("checkpoint", "not noted", {{"why", noted.error().detail}});
      });
}

void PartClaims::sync_if_due(Time now) {
  if (stopped_ || recording_ || !checkpoint_.sync_due(now)) return;
  checkpoint_.begin_sync();
  recording_ = true;
  on_disk(
      [part = part_] {
        const Status synced = part->sync();
        if (!synced) part->forget_cache();
        return synced;
      },
      [this](const Status& status) { synced(status); });
}

void PartClaims::synced(const Status& synced) {
  if (stopped_) {
    // A record now would come behind the removal of all the part's records.
    recording_ = false;
    (void)(synced ? checkpoint_.on_synced() : checkpoint_.on_sync_failed());
    return;
  }
  if (!synced) {
    recording_ = false;
    std::vector<ChunkIndex> unknown = checkpoint_.on_sync_failed();
    for (const ChunkIndex chunk : unknown) verified_.reset(chunk.value);
    // Deleted or cut by somebody: there is nothing to go on with.
    const bool hopeless = synced.error().code == Errc::corrupt;
    if (hopeless || std::exchange(last_sync_failed_, true)) {
      return owner_.on_claims_failed(synced.error());
    }
    return owner_.on_chunks_unknown(std::move(unknown), synced.error());
  }
  last_sync_failed_ = false;
  std::vector<ChunkIndex> chunks = checkpoint_.on_synced();
  for (const ChunkIndex chunk : chunks) durable_.set(chunk.value);
  on_disk([part = part_, durable = durable_,
           chunks = std::move(chunks)] { return part->record_durable(durable, chunks); },
          [this](const Status& recorded) {
            recording_ = false;
            if (!recorded) return owner_.on_claims_failed(recorded.error().within("checkpoint"));
            owner_.on_claimed();
          });
}

}  // namespace p2p
