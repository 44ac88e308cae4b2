#include "p2pd/transfer.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>

#include "core/base/units.h"
#include "io/content/file_hasher.h"
#include "io/content/manifest_codec.h"
#include "io/content/merkle.h"
#include "io/disk/file_io.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

// Payload that waits for a disk thread; more, and nothing new is asked for until it has shrunk.
constexpr std::uint64_t kBeingWrittenMax = 64ull * 1024 * 1024;

// What a chunk of zeros comes to.
Digest root_of_hole(const ChunkSpace& space, ChunkIndex chunk) {
  std::vector<Digest> leaves(space.leaves_of(chunk), zero_block_digest(kBlockBytes));
  const std::uint32_t tail = space.size_of(chunk) % kBlockBytes;
  if (tail != 0) leaves.back() = zero_block_digest(tail);
  return merkle_root(leaves, space.padded_leaves_of(chunk));
}

}  // namespace

struct Transfer::Looked {
  bool already_there = false;
  proto::HoldingRecord record;
  std::optional<LoadedManifest> manifest;
  std::shared_ptr<Fd> local;
};

struct Transfer::Prepared {
  std::optional<Error> error;
  Fd file;
  FileFacts facts;
  Bitfield have;
};

// Takes a manifest body into memory.
struct Transfer::BodySink final : SpaceFetch::Sink {
  explicit BodySink(Transfer& owner, std::uint64_t size) : transfer(owner), bytes(size, '\0') {}

  void write(ArrivedData data, std::function<void(Status)> done) override {
    const auto payload = data.payload();
    const std::uint64_t at =
        transfer.fetch_->space().offset_of(data.range.chunk) + data.range.offset;
    std::memcpy(bytes.data() + at, payload.data(), payload.size());
    boost::asio::post(transfer.parts_.control, [done = std::move(done)] { done({}); });
  }
  void on_chunk_ready(ChunkIndex) override {}
  void on_complete() override {
    // Others can have it from here while it is being saved.
    transfer.share_body(bytes);
    boost::asio::post(transfer.parts_.control, [alive = transfer.alive_, this] {
      if (*alive) transfer.body_fetched();
    });
  }
  void on_write_failed(const Error& why) override { transfer.fail(why); }
  void on_bad_peer(NodeId peer, ChunkIndex chunk, const std::string& reason) override {
    transfer.on_bad_peer(peer, chunk, reason);
  }

  Transfer& transfer;
  std::string bytes;
};

template <class Work, class Then>
void Transfer::on_disk(Work work, Then then) {
  // One lane for each job: what is done about a part on disk is done in order.
  parts_.disk.post(steps_lane(), [this, alive = alive_, &control = parts_.control,
                                  work = std::move(work), then = std::move(then)]() mutable {
    auto result = std::make_shared<decltype(work())>(work());
    boost::asio::post(control, [this, alive, result, then = std::move(then)]() mutable {
      if (*alive && !is_final(state_)) then(std::move(*result));
    });
  });
}

Transfer::Transfer(const TransferParts& parts, Owner& owner, PushOrder order, Rng rng)
    : parts_(parts), owner_(owner), order_(std::move(order)), rng_(rng) {}

Transfer::~Transfer() {
  *alive_ = false;
}

std::optional<std::uint64_t> Transfer::rate() const {
  if (order_.bytes_per_second == 0) return std::nullopt;
  return order_.bytes_per_second;
}

std::uint64_t Transfer::bytes_done() const {
  if (state_ == TaskState::succeeded) return bytes_total();
  return fetch_ && !fetch_->key().body ? fetch_->download().bytes_have() : 0;
}

std::uint64_t Transfer::bytes_received() const {
  return body_bytes_received_ + (fetch_ ? fetch_->download().bytes_received() : 0);
}

void Transfer::begin() {
  auto record = decode_root_record_of(order_.content, order_.root_record);
  if (!record) return fail(record.error());
  root_record_ = std::move(*record);
  auto resolved = resolve_destination(order_.path, parts_.privileged.roots(), order_.node_name,
                                      order_.original_name);
  if (!resolved) return fail(resolved.error());
  destination_ = {static_cast<std::uint32_t>(resolved->root_index), resolved->relative_path};
  final_path_ = parts_.privileged.roots()[resolved->root_index] + "/" + resolved->relative_path;
  part_name_ = ".p2pd-" + order_.content.hex().substr(0, 16) + "-" + order_.job.str() + ".part";
  look();
}

void Transfer::look() {
  on_disk(
      [&contents = parts_.contents, id = order_.content, path = final_path_] {
        Looked looked;
        if (auto manifest = contents.load_manifest(id)) looked.manifest = std::move(*manifest);
        auto holding = contents.holding(id);
        if (!holding || !*holding || !looked.manifest) return looked;
        auto file = contents.open_held(**holding);
        if (!file) return looked;
        looked.already_there = (*holding)->path() == path;
        looked.record = **holding;
        looked.local = std::make_shared<Fd>(std::move(*file));
        return looked;
      },
      [this](Looked looked) { this->looked(std::move(looked)); });
}

void Transfer::looked(Looked looked) {
  manifest_ = std::move(looked.manifest);
  if (looked.already_there) {
    detail_ = "already there";
    owner_.on_landed(*this, looked.record);
    return end(TaskState::succeeded);
  }
  local_ = std::move(looked.local);
  state_ = TaskState::running;
  owner_.on_transfer_changed(*this);
  if (manifest_) {
    share_body(manifest_->body_bytes);
    prepare();
  } else {
    fetch_body();
  }
}

void Transfer::fetch_body() {
  const SpaceKey key{order_.content, /*body=*/true};
  body_sink_ = std::make_unique<BodySink>(*this, root_record_->body.size);
  fetch_ = std::make_unique<SpaceFetch>(parts_.control, parts_.mesh, key,
                                        ChunkSpace(root_record_->body), *body_sink_, rng_.split());
  fetch_->start();
}

void Transfer::body_fetched() {
  if (is_final(state_) || manifest_ || !fetch_) return;
  body_bytes_received_ = fetch_->download().bytes_received();
  fetch_.reset();
  on_disk(
      [&contents = parts_.contents, id = order_.content, root = order_.root_record,
       body = std::move(body_sink_->bytes)]() -> Result<LoadedManifest> {
        if (const Status saved = contents.save_manifest(id, root, body); !saved) {
          return saved.error();
        }
        return contents.load_manifest(id);
      },
      [this](Result<LoadedManifest> manifest) {
        if (!manifest) return fail(manifest.error().within("manifest"));
        manifest_ = std::move(*manifest);
        prepare();
      });
}

void Transfer::share_body(std::string bytes) {
  auto body = std::make_shared<ServeSource>();
  body->space = ChunkSpace(root_record_->body);
  body->memory = std::move(bytes);
  body->name = "manifest";
  owner_.share({order_.content, /*body=*/true}, std::move(body), nullptr);
}

void Transfer::prepare() {
  const ChunkSpace space(manifest_->file().tree, manifest_->file().data);
  PartRecords::Place place{order_.job.number, destination_, part_name_};
  on_disk(
      [parts = parts_, place, space, id = order_.content] {
        Prepared result;
        auto file = parts.privileged.open_part(place.destination, place.part);
        if (!file) {
          result.error = file.error();
          return result;
        }
        auto facts = facts_of(*file);
        if (facts && facts->size != space.size()) {
          if (::ftruncate(file->get(), static_cast<off_t>(space.size())) != 0) {
            result.error = error_from_errno(errno, "set the size of " + place.part);
            return result;
          }
          facts = facts_of(*file);
        }
        if (!facts) {
          result.error = facts.error();
          return result;
        }
        result.have = parts.parts.load(id, place, *facts, space.count());
        if (result.have.none()) {
          // Whatever an older part holds is not known: what stays a hole must read as zeros.
          if (::ftruncate(file->get(), 0) != 0 ||
              ::ftruncate(file->get(), static_cast<off_t>(space.size())) != 0) {
            result.error = error_from_errno(errno, "set the size of " + place.part);
            return result;
          }
          if (const Status begun = parts.parts.begin(id, place, *facts); !begun) {
            result.error = begun.error();
            return result;
          }
        }
        std::uint64_t needed = 0;
        for (std::uint32_t i = 0; i < space.count(); ++i) {
          if (!result.have.test(i)) needed += space.data_bytes_of(ChunkIndex{i});
        }
        auto free = parts.privileged.free_bytes(place.destination);
        if (free && *free < needed) {
          result.error =
              Error{Errc::exhausted, "disk full: " + format_bytes(needed) + " are still needed, " +
                                         format_bytes(*free) + " are free"};
        }
        result.file = std::move(*file);
        result.facts = *facts;
        return result;
      },
      [this](Prepared prepared) { this->prepared(std::move(prepared)); });
}

void Transfer::prepared(Prepared prepared) {
  if (prepared.error) return fail(prepared.error->within(final_path_));
  part_ = std::make_shared<ServeSource>();
  part_->space = ChunkSpace(manifest_->file().tree, manifest_->file().data);
  part_->file = std::move(prepared.file);
  part_->name = final_path_;
  part_->look_at_file_system();
  part_facts_ = prepared.facts;
  durable_ = prepared.have;

  const SpaceKey key{order_.content, /*body=*/false};
  SpaceFetch::Sink& sink = *this;
  fetch_ = std::make_unique<SpaceFetch>(parts_.control, parts_.mesh, key, part_->space, sink,
                                        rng_.split());
  const ChunkSpace& space = part_->space;
  std::optional<Digest>
      whole_hole;  // of a chunk at full length: there may be hundreds of thousands
  for (std::uint32_t i = 0; i < space.count(); ++i) {
    const ChunkIndex chunk{i};
    if (space.data_bytes_of(chunk) == 0) {
      // All hole: nothing is fetched, and a fresh part reads as zeros there.
      const bool whole = space.size_of(chunk) == space.chunk_bytes();
      const Digest root = whole && whole_hole ? *whole_hole : root_of_hole(space, chunk);
      if (whole) whole_hole = root;
      if (root != space.expected(chunk)) {
        return fail(Error{Errc::corrupt, "manifest: chunk " + std::to_string(i) +
                                             " is a hole that is not zeros; publish the file "
                                             "again"});
      }
      durable_.set(i);
    }
    if (durable_.test(i)) fetch_->restore(chunk);
  }
  if (!prepared.have.none()) {
    log_info("transfer", "resumed",
             {{"job", order_.job.str()},
              {"path", final_path_},
              {"chunks", prepared.have.count()},
              {"of", space.count()}});
  }
  owner_.share(key, part_, &fetch_->have());
  owner_.on_transfer_changed(*this);
  fetch_->set_rate(rate());
  // Peers are met at once, also when nothing is asked of them before the local copy has been used:
  // a HAVE that nobody listens to is not repeated.
  accept_if_able();
  fetch_->start();
  if (local_) copy_next(0);
}

// Copies chunk after chunk from this node's own file, as far as its bytes are still right.
void Transfer::copy_next(std::uint32_t from) {
  const std::uint32_t index = fetch_->have().find(from, false);
  if (index >= part_->space.count()) {
    local_.reset();
    return accept_if_able();
  }
  const ChunkIndex chunk{index};
  on_disk(
      [part = part_, local = local_, chunk]() -> Status {
        const ChunkSpace& space = part->space;
        Buffer bytes(space.size_of(chunk));
        const std::uint64_t offset = space.offset_of(chunk);
        if (Status read = read_exactly_at(local->get(), bytes.span(), offset, "local copy");
            !read) {
          return read;
        }
        std::vector<Digest> leaves(space.leaves_of(chunk));
        hash_leaves(bytes.span(), leaves.data());
        if (Status right = verify_chunk(space, chunk, leaves); !right) return right;
        for (const ByteRange& range : space.ranges_of(chunk, kMaxChunkBytes)) {
          const auto piece = bytes.span().subspan(range.offset, range.length);
          if (Status written =
                  write_all_at(part->file.get(), piece, offset + range.offset, part->name);
              !written) {
            return written;
          }
        }
        return {};
      },
      [this, chunk](const Status& copied) {
        if (copied) {
          fetch_->on_copied(chunk);
        } else if (copied.error().code == Errc::exhausted) {
          return fail(copied.error());
        } else {
          log_warn("transfer", "a chunk of this node's own copy is not usable; it is fetched",
                   {{"path", final_path_}, {"why", copied.error().detail}});
        }
        copy_next(chunk.value + 1);
      });
}

// Nothing is asked of peers while the local copy is being used, or while the disk is behind.
void Transfer::accept_if_able() {
  const bool able =
      !local_ && !checkpoint_.must_pause() && bytes_being_written_ <= kBeingWrittenMax;
  if (!fetch_ || able == accepting_) return;
  accepting_ = able;
  fetch_->set_accepting(able);
}

void Transfer::set_rate(std::uint64_t bytes_per_second) {
  order_.bytes_per_second = bytes_per_second;
  if (fetch_ && !fetch_->key().body) fetch_->set_rate(rate());
}

SpaceFetch* Transfer::fetch_of(const SpaceKey& space) {
  return fetch_ && fetch_->key() == space ? fetch_.get() : nullptr;
}

void Transfer::write(ArrivedData data, std::function<void(Status)> done) {
  auto shared = std::make_shared<ArrivedData>(std::move(data));
  bytes_being_written_ += shared->range.length;
  accept_if_able();
  // A lane of its own: two threads that write one file only wait for each other inside the kernel.
  parts_.disk.post(writes_lane(), [this, alive = alive_, part = part_, shared,
                                   done = std::move(done), &control = parts_.control] {
    const std::uint64_t offset = part->space.offset_of(shared->range.chunk) + shared->range.offset;
    Status written = write_all_at(part->file.get(), shared->payload(), offset, part->name);
    boost::asio::post(
        control, [this, alive, done, length = shared->range.length, written = std::move(written)] {
          if (!*alive) return;
          bytes_being_written_ -= length;
          done(written);
          if (*alive && !is_final(state_)) accept_if_able();
        });
  });
}

void Transfer::on_chunk_ready(ChunkIndex chunk) {
  const Time now = monotonic_now();
  checkpoint_.on_chunk_written(chunk, part_->space.data_bytes_of(chunk), now);
  sync_if_due(now);
  accept_if_able();
  owner_.on_transfer_changed(*this);
}

void Transfer::on_tick(Time now) {
  if (part_ && !is_final(state_) && !landing_) sync_if_due(now);
}

void Transfer::sync_if_due(Time now) {
  if (recording_ || !checkpoint_.sync_due(now)) return;
  checkpoint_.begin_sync();
  recording_ = true;
  on_disk([part = part_] { return sync_data(part->file.get(), part->name); },
          [this](const Status& synced) {
            if (!synced) {
              checkpoint_.on_sync_failed();
              return fail(synced.error());
            }
            const std::vector<ChunkIndex> chunks = checkpoint_.on_synced();
            for (const ChunkIndex chunk : chunks) durable_.set(chunk.value);
            on_disk(
                [&parts = parts_.parts, id = order_.content, facts = part_facts_,
                 durable = durable_, chunks] { return parts.record(id, facts, durable, chunks); },
                [this](const Status& recorded) {
                  recording_ = false;
                  if (!recorded) return fail(recorded.error().within("checkpoint"));
                  accept_if_able();
                });
          });
}

void Transfer::on_complete() {
  boost::asio::post(parts_.control, [this, alive = alive_] {
    if (*alive) land();
  });
}

void Transfer::land() {
  if (is_final(state_) || landing_) return;
  landing_ = true;
  const ManifestEntry& entry = manifest_->file();
  const FileMetadata metadata{entry.mode, entry.mtime_ns, entry.owner, entry.group};
  on_disk(
      [parts = parts_, part = part_, destination = destination_, name = part_name_, metadata,
       id = order_.content, path = final_path_,
       job = order_.job.number]() -> Result<proto::HoldingRecord> {
        if (const Status landed = parts.privileged.land(destination, name, metadata); !landed) {
          return landed.error();
        }
        auto facts = facts_of(part->file);
        if (!facts) return facts.error();
        proto::HoldingRecord record = holding_record(id, path, *facts);
        record.set_landed(true);
        record.set_job(job);
        if (const Status put = parts.contents.put_holding(record); !put) return put.error();
        if (const Status hashed = parts.contents.remember_hash(path, *facts, id); !hashed) {
          return hashed.error();
        }
        if (const Status erased = parts.parts.erase(id); !erased) return erased.error();
        return record;
      },
      [this](Result<proto::HoldingRecord> record) {
        if (!record) return fail(record.error());
        log_info("transfer", "landed",
                 {{"job", order_.job.str()},
                  {"path", final_path_},
                  {"bytes", root_record_->total_bytes},
                  {"received", bytes_received()},
                  {"duplicate", fetch_->download().bytes_duplicate()}});
        owner_.on_landed(*this, *record);
        end(TaskState::succeeded);
      });
}

void Transfer::on_bad_peer(NodeId peer, ChunkIndex chunk, const std::string& reason) {
  owner_.on_bad_peer(order_.content, peer, chunk, reason);
}

void Transfer::fail(const Error& why) {
  if (is_final(state_)) return;
  log_warn("transfer", "failed",
           {{"job", order_.job.str()}, {"path", final_path_}, {"why", why.detail}});
  error_code_ = why.code;
  detail_ = why.detail;
  remove_part();
  end(TaskState::failed);
}

void Transfer::cancel() {
  // What is being renamed cannot be called back: it ends as landed.
  if (is_final(state_) || landing_) return;
  detail_ = "cancelled";
  remove_part();
  end(TaskState::cancelled);
}

// Nobody will go on with it, so its space is given back.
void Transfer::remove_part() {
  if (part_name_.empty()) return;
  owner_.unshare({order_.content, /*body=*/false});
  parts_.disk.post(steps_lane(), [parts = parts_, destination = destination_, name = part_name_,
                                  id = order_.content] {
    const Status removed = parts.privileged.remove_part(destination, name);
    const Status erased = parts.parts.erase(id);
    if (!removed) log_warn("transfer", "a part stays", {{"why", removed.error().detail}});
    if (!erased) log_warn("transfer", "a checkpoint stays", {{"why", erased.error().detail}});
  });
}

void Transfer::end(TaskState state) {
  state_ = state;
  owner_.on_transfer_changed(*this);
}

}  // namespace p2p
