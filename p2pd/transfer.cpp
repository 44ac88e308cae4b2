#include "p2pd/transfer.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>

#include "core/base/units.h"
#include "io/content/holes.h"
#include "io/content/manifest_codec.h"
#include "io/disk/file_io.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
struct Transfer::Looked {
  bool already_there = false;
  proto::HoldingRecord record;
  std::optional<LoadedManifest> manifest;
  std::shared_ptr<Fd> local;
};

// Takes a manifest body into memory.
struct Transfer::BodySink final : SpaceFetch::Sink {
  explicit BodySink(Transfer& owner, std::uint64_t size) : transfer(owner), bytes(size, '\0') {}

  void write(ArrivedData data, std::vector<ByteRange>, std::function<void(Status)> done) override {
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

Transfer::Transfer(const TransferParts& parts, Owner& owner, PushOrder order, Rng rng)
    : parts_(parts), owner_(owner), order_(std::move(order)), rng_(rng) {}

Transfer::~Transfer() {
  *alive_ = false;
}

DiskPool::Lane Transfer::steps_lane() const {
  return content_lane(order_.content);
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
  return body_bytes_received_ + (fetch_ ? fetch_->download().bytes_received() : 0) +
         (delta_ ? delta_->bytes_received() : 0);
}

Status Transfer::resolve() {
  auto resolved = resolve_destination(order_.path, parts_.part.privileged.roots(), order_.node_name,
                                      order_.original_name);
  if (!resolved) return resolved.error();
  destination_ = {static_cast<std::uint32_t>(resolved->root_index), resolved->relative_path};
  final_path_ =
      parts_.part.privileged.roots()[resolved->root_index] + "/" + resolved->relative_path;
  return {};
}

void Transfer::wait_for(const Transfer& other) {
  detail_ = "waits for " + other.order().job.str() + ", which writes " +
            (other.final_path() == final_path_ ? "to this path" : "the same content");
}

void Transfer::begin() {
  detail_.clear();
  auto record = decode_root_record_of(order_.content, order_.root_record);
  if (!record) return fail(record.error());
  root_record_ = std::move(*record);
  if (final_path_.empty()) {
    if (const Status resolved = resolve(); !resolved) return fail(resolved.error());
  }
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
  copy_ = std::move(looked.local);
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
  fetch_ = std::make_unique<SpaceFetch>(parts_.control, parts_.mesh, parts_.admission, key,
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

void Transfer::set_rate(std::uint64_t bytes_per_second) {
  order_.bytes_per_second = bytes_per_second;
  if (fetch_ && !fetch_->key().body) fetch_->set_rate(rate());
}

void Transfer::set_rack_mates(std::vector<NodeId> mates) {
  order_.rack_mates = std::move(mates);
  if (fetch_ && !fetch_->key().body) {
    fetch_->stands_in(order_.rack, parts_.self, order_.rack_mates);
  }
}

SpaceFetch* Transfer::fetch_of(const SpaceKey& space) {
  if (fetch_ && fetch_->key() == space) return fetch_.get();
  SpaceFetch* hint = hint_fetch();
  return hint != nullptr && hint->key() == space ? hint : nullptr;
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
  owner_.unshare({order_.content, /*body=*/false});
  // Not part_: it may be about to be opened by a job that is queued before this one.
  parts_.disk.post(steps_lane(),
                   [tools = parts_.part, id = order_.content, job = order_.job.number] {
                     const auto known = tools.records.find(id);
                     if (!known || !*known || (*known)->place.job != job) return;
                     if (const Status removed = Part::remove(tools, **known); !removed) {
                       log_warn("transfer", "a part stays", {{"why", removed.error().detail}});
                     }
                   });
}

void Transfer::let_go_of_files() {
  local_.reset();
  claims_.reset();
  if (delta_) delta_->let_go_of_files();
  let_go(parts_.disk, std::move(part_));
  let_go(parts_.disk, std::move(copy_));
  let_go(parts_.disk, std::move(landed_));
}

std::uint32_t Transfer::chunks_without_holder() const {
  if (!fetch_ || is_final(state_)) return 0;
  return fetch_->download().chunks_without_holder();
}

void Transfer::end(TaskState state) {
  state_ = state;
  if (claims_) claims_->stop();
  owner_.on_transfer_changed(*this);
}

}  // namespace p2p
