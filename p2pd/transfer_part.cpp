// The part of a transfer that deals with its file: found again or made, filled, landed.
#include <algorithm>
#include <utility>

#include "core/base/units.h"
#include "io/content/holes.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "p2pd/transfer.h"

namespace p2p {
namespace {

// Payload that waits for a disk thread; more, and nothing new is asked for until it has shrunk.
constexpr std::uint64_t kBeingWrittenMax = 32ull * 1024 * 1024;

// A file lies whole under its name: that is on record before its checkpoint goes.
Result<proto::HoldingRecord> remember(const TransferParts& parts, const ContentId& id,
                                      const std::string& path, const FileFacts& facts,
                                      std::uint64_t job) {
  auto record = parts.contents.put_landed(id, path, facts, job);
  if (!record) return record;
  if (const Status erased = parts.part.records.erase(id); !erased) return erased.error();
  return record;
}

}  // namespace

struct Transfer::Prepared {
  std::optional<Error> error;
  Part::Found found;
  std::optional<proto::HoldingRecord> landed;  // a crash had come before this record
};

void Transfer::prepare() {
  Part::Order order;
  order.content = order_.content;
  order.place = {order_.job.number, destination_,
                 part_name(order_.content, order_.job, parts_.self)};
  order.space = ChunkSpace(manifest_->file().tree, manifest_->file().data);
  order.final_path = final_path_;
  order.mtime_ns = manifest_->file().mtime_ns;
  order.allocate = order_.allocate;
  on_disk(
      [parts = parts_, order = std::move(order), path = final_path_] {
        Prepared prepared;
        auto found = Part::open(parts.part, order);
        if (!found) {
          prepared.error = found.error();
          return prepared;
        }
        prepared.found = std::move(*found);
        if (!prepared.found.landed) return prepared;
        auto record = remember(parts, order.content, path, *prepared.found.landed, order.place.job);
        if (record) {
          prepared.landed = std::move(*record);
        } else {
          prepared.error = record.error();
        }
        return prepared;
      },
      [this](Prepared prepared) { this->prepared(std::move(prepared)); });
}

void Transfer::prepared(Prepared prepared) {
  if (prepared.error) return fail(prepared.error->within(final_path_));
  if (prepared.landed) {
    log_info("transfer", "had landed before the end of the last process",
             {{"job", order_.job.str()}, {"path", final_path_}});
    owner_.on_landed(*this, *prepared.landed);
    return end(TaskState::succeeded);
  }
  part_ = prepared.found.part;
  if (const Status room = check_room(prepared.found); !room) {
    return fail(room.error().within(final_path_));
  }
  device_ = prepared.found.free.device;
  needed_ = prepared.found.needed;
  if (!order_.allocate) return start_fetch(prepared.found);
  on_disk([part = part_] { return part->allocate(); },
          [this, found = std::move(prepared.found)](const Status& allocated) {
            if (!allocated) return fail(allocated.error());
            start_fetch(found);
          });
}

Status Transfer::check_room(const Part::Found& found) const {
  const std::uint64_t others = owner_.promised_to_others(*this, found.free.device);
  if (found.free.bytes >= found.needed && found.free.bytes - found.needed >= others) return {};
  std::string why = "disk full: " + format_bytes(found.needed) + " are still needed, " +
                    format_bytes(found.free.bytes) + " are free";
  if (others > 0) why += ", of which other transfers will take " + format_bytes(others);
  return Error{Errc::exhausted, why + "; make room, then push again"};
}

void Transfer::start_fetch(const Part::Found& found) {
  const SpaceKey key{order_.content, /*body=*/false};
  const ChunkSpace& space = part_->space();
  Bitfield durable = found.durable;
  const std::uint32_t resumed = durable.count();
  SpaceFetch::Sink& sink = *this;
  fetch_ = std::make_unique<SpaceFetch>(parts_.control, parts_.mesh, parts_.admission, key, space,
                                        sink, rng_.split());
  fetch_->stands_in(order_.rack, parts_.self, order_.rack_mates);
  if (const Status right = take_holes(space, durable); !right) return fail(right.error());
  for (std::uint32_t i = durable.find(0, true); i < space.count(); i = durable.find(i + 1, true)) {
    fetch_->restore(ChunkIndex{i});
  }
  PartClaims::Owner& claims_owner = *this;
  claims_ = std::make_unique<PartClaims>(parts_.control, parts_.disk, steps_lane(), part_,
                                         std::move(durable), claims_owner);
  local_ = std::make_unique<LocalChunks>(parts_.control, parts_.disk, part_,
                                         [this](ChunkIndex chunk, const Status& status,
                                                bool copied) { on_looked(chunk, status, copied); });
  local_->set_copy(std::exchange(copy_, nullptr));
  const bool copying = local_->has_copy();
  std::uint32_t doubtful = 0;
  Bitfield looked_at = fetch_->have();
  for (std::uint32_t i = fetch_->have().find(0, false); i < space.count();
       i = fetch_->have().find(i + 1, false)) {
    const ChunkIndex chunk{i};
    const bool in_part = found.doubtful.test(i);
    if (!in_part && !copying) continue;
    fetch_->hold_back(chunk);
    looked_at.set(i);
    doubtful += in_part ? 1 : 0;
    if (in_part) {
      local_->look_in_part(chunk);
    } else {
      local_->copy(chunk);
    }
  }
  if (resumed > 0 || doubtful > 0) {
    log_info("transfer", "resumed",
             {{"job", order_.job.str()},
              {"path", final_path_},
              {"chunks", resumed},
              {"to_check", doubtful},
              {"of", space.count()}});
  }
  had_ = fetch_->download().bytes_have();
  if (order_.delta && !copying) {
    look_for_old_file(looked_at);
  } else {
    basis_ = copying ? "the same content is on this node" : "old files are not to be used";
  }
  owner_.share(key, part_->source(), &fetch_->have());
  owner_.on_transfer_changed(*this);
  fetch_->set_rate(rate());
  // Peers are met at once, also when nothing is asked of them yet: a HAVE that nobody listens to is
  // not repeated.
  accept_if_able();
  fetch_->start();
  if (delta_) delta_->start();
}

// A chunk that may be on this node has been looked at.
void Transfer::on_looked(ChunkIndex chunk, const Status& found, bool copied) {
  if (is_final(state_) || landing_) return;
  const bool was_here = fetch_->have().test(chunk.value);  // before a sync failed
  if (found) {
    const std::uint32_t bytes = part_->space().data_bytes_of(chunk);
    if (copied) {
      copied_whole_ += bytes;
    } else if (!was_here) {
      had_ += bytes;
    }
    if (was_here) {
      on_chunk_ready(chunk);
    } else {
      fetch_->on_found(chunk);
    }
  } else if (found.error().code == Errc::exhausted) {
    return fail(found.error());
  } else {
    if (found.error().code != Errc::corrupt) {
      log_warn("transfer", "a chunk that is here cannot be used; it is fetched",
               {{"path", final_path_}, {"why", found.error().detail}});
    }
    if (was_here) {
      fetch_->on_lost(chunk);
    } else {
      not_here(chunk);
    }
  }
  if (!is_final(state_)) land_if_able();
}

// Nothing new is asked for or copied while the disk is behind.
void Transfer::accept_if_able() {
  if (!fetch_ || !claims_ || is_final(state_)) return;
  const bool able = !claims_->must_pause() && bytes_being_written_ <= kBeingWrittenMax;
  if (able == accepting_) return;
  accepting_ = able;
  local_->set_paused(!able);
  if (delta_) delta_->set_paused(!able);
  fetch_->set_accepting(able);
}

void Transfer::write(ArrivedData data, std::vector<ByteRange> pieces,
                     std::function<void(Status)> done) {
  auto shared = std::make_shared<ArrivedData>(std::move(data));
  bytes_being_written_ += shared->range.length;
  accept_if_able();
  // A lane of its own: two threads that write one file only wait for each other inside the kernel.
  parts_.disk.post(writes_lane(), [this, alive = alive_, part = part_, shared,
                                   pieces = std::move(pieces), done = std::move(done),
                                   &control = parts_.control] {
    const std::uint64_t start = part->space().offset_of(shared->range.chunk);
    Status written;
    if (!shared->range.of_run) {
      written = part->write(shared->payload(), start + shared->range.offset);
    }
    std::size_t at = 0;
    for (const ByteRange& piece : pieces) {
      if (!written) break;
      written = part->write(shared->payload().subspan(at, piece.length), start + piece.offset);
      at += piece.length;
    }
    boost::asio::post(
        control, [this, alive, done, length = shared->range.length, written = std::move(written)] {
          if (!*alive) return;
          bytes_being_written_ -= length;
          if (written) bytes_written_ += length;
          done(written);
          if (*alive && !is_final(state_)) accept_if_able();
        });
  });
}

void Transfer::on_chunk_ready(ChunkIndex chunk) {
  claims_->on_chunk_written(chunk, monotonic_now());
  accept_if_able();
  owner_.on_transfer_changed(*this);
}

void Transfer::on_tick(Time now) {
  if (claims_ && !is_final(state_)) claims_->on_tick(now);
}

void Transfer::on_complete() {
  boost::asio::post(parts_.control, [this, alive = alive_] {
    if (*alive && !is_final(state_)) land_if_able();
  });
}

void Transfer::on_claimed() {
  accept_if_able();
  if (!is_final(state_)) land_if_able();
}

void Transfer::on_chunks_unknown(std::vector<ChunkIndex> chunks, const Error& why) {
  log_warn("transfer", "a sync failed; what it covered is read back from the disk",
           {{"job", order_.job.str()},
            {"path", final_path_},
            {"why", why.detail},
            {"chunks", chunks.size()}});
  doubt(chunks);
}

void Transfer::doubt(const std::vector<ChunkIndex>& chunks) {
  for (const ChunkIndex chunk : chunks) local_->look_in_part(chunk);
}

// Everything is here, nothing is doubted, and no sync is under way that may yet give reason to.
void Transfer::land_if_able() {
  if (landing_ || !fetch_ || fetch_->key().body || !fetch_->download().complete()) return;
  if (!local_->idle() || (delta_ && !delta_->idle()) || claims_->busy()) return;
  landing_ = true;
  claims_->stop();
  on_disk(
      [parts = parts_, part = part_, metadata = metadata(), id = order_.content, path = final_path_,
       job = order_.job.number]() -> Result<proto::HoldingRecord> {
        auto facts = part->land(metadata);
        if (!facts) return facts.error();
        return remember(parts, id, path, *facts, job);
      },
      [this](const Result<proto::HoldingRecord>& record) { landed(record); });
}

void Transfer::landed(const Result<proto::HoldingRecord>& record) {
  if (!record) {
    // The last sync failed: what no earlier one covered is read back, once.
    if (record.error().code != Errc::io_failed || std::exchange(landing_failed_once_, true)) {
      return fail(record.error());
    }
    log_warn("transfer", "landing failed; what was not durable is read back from the disk",
             {{"path", final_path_}, {"why", record.error().detail}});
    landing_ = false;
    claims_->go_on();
    part_->forget_cache();
    std::vector<ChunkIndex> unknown;
    const Bitfield& durable = claims_->durable();
    for (std::uint32_t i = durable.find(0, false); i < durable.size();
         i = durable.find(i + 1, false)) {
      unknown.push_back(ChunkIndex{i});
    }
    doubt(unknown);
    return land_if_able();
  }
  log_info("transfer", "landed",
           {{"job", order_.job.str()},
            {"path", final_path_},
            {"bytes", root_record_->total_bytes},
            {"received", bytes_received()},
            {"copied", bytes_copied()},
            {"duplicate", fetch_->download().bytes_duplicate()}});
  if (auto source = part_->source_of_landed()) landed_ = std::move(*source);
  owner_.on_landed(*this, *record);
  if (delta_) {
    if (const auto recipe = delta_->found_recipe()) {
      owner_.on_recipe_found(*delta_->old_file()->content, order_.content, *recipe);
    }
  }
  end(TaskState::succeeded);
}

std::uint64_t Transfer::promised(std::uint64_t device) const {
  if (device != device_ || !fetch_ || is_final(state_)) return 0;
  const std::uint64_t done = bytes_done() - std::min(bytes_done(), had_);
  return order_.allocate ? 0 : needed_ - std::min(needed_, done);
}

FileMetadata Transfer::metadata() const {
  const ManifestEntry& entry = manifest_->file();
  return {entry.mode, entry.mtime_ns, entry.owner, entry.group};
}

}  // namespace p2p
