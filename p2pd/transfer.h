// One push on this node, from the tracker's word to the file under its final name.
//
//   look (is it here already? is the manifest?) → fetch the manifest → prepare the part → fetch the
//   data, checkpointing → land
//
// Control thread only; everything that blocks runs on the disk pool and comes back as a value.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/jobs/task_state.h"
#include "core/model/destination.h"
#include "p2pd/content_store.h"
#include "p2pd/delta_fill.h"
#include "p2pd/local_chunks.h"
#include "p2pd/offload.h"
#include "p2pd/part.h"
#include "p2pd/part_claims.h"
#include "p2pd/space_fetch.h"
#include "p2pd/transfer_parts.h"

namespace p2p {

struct PushOrder {
  JobId job;
  ContentId content;
  std::string root_record;
  std::string path;  // as the operator gave it
  std::string original_name;
  std::string node_name;
  std::uint64_t bytes_per_second = 0;  // 0: no cap
  bool allocate = false;               // no holes: every byte gets a place on the disk
  std::string rack;                    // this node's (core/model/place.h)
  std::vector<NodeId> rack_mates;      // who else of it wants the content
  bool delta = true;                   // look at old files
  bool reflink = true;                 // share blocks with them where that is possible
  std::string basis;                   // one that the operator has named; empty: none
  std::vector<ContentId> older;        // likely older versions, the likeliest first
  std::vector<KnownHint> hints;
};

class Transfer final : private SpaceFetch::Sink,
                       private PartClaims::Owner,
                       private DeltaFill::Owner {
 public:
  struct Owner {
    // State, bytes or detail changed; report it when it suits.
    virtual void on_transfer_changed(Transfer& transfer) = 0;
    // A space may be served from now on, as far as `have` goes; both live until it is unshared.
    virtual void share(const SpaceKey& space, ServeSourcePtr source, const Bitfield* have) = 0;
    virtual void unshare(const SpaceKey& space) = 0;
    // The content lies whole under its name, with this record.
    virtual void on_landed(Transfer& transfer, const proto::HoldingRecord& record) = 0;
    virtual void on_bad_peer(const ContentId& content, NodeId peer, ChunkIndex chunk,
                             const std::string& reason) = 0;
    virtual void on_hint_wrong(const ContentId& hint, const ContentId& content,
                               const std::string& why) = 0;
    // A scan has found out what others need not: worth a recipe, when nobody has made one.
    virtual void on_recipe_found(const ContentId& old_content, const ContentId& content,
                                 const Recipe& recipe) = 0;
    // Bytes that other transfers will still take of this file system.
    virtual std::uint64_t promised_to_others(const Transfer& transfer,
                                             std::uint64_t device) const = 0;

   protected:
    ~Owner() = default;
  };

  Transfer(const TransferParts& parts, Owner& owner, PushOrder order, Rng rng);
  ~Transfer();

  // Where the file will be; an error when it can be nowhere. Before begin().
  Status resolve();
  // Says why begin() is not called yet.
  void wait_for(const Transfer& other);
  void begin();
  // Removes what was written of it.
  void cancel();
  // Closes its files on a disk thread. It is over and nothing else is called any more.
  void let_go_of_files();
  void set_rate(std::uint64_t bytes_per_second);
  void set_rack_mates(std::vector<NodeId> mates);
  // Every 100 ms or so: checkpoints.
  void on_tick(Time now);
  // The fetch of a space, while there is one: events of the mesh go there.
  SpaceFetch* fetch_of(const SpaceKey& space);
  SpaceFetch* fetch() { return fetch_.get(); }
  // The fetch of a hint, beside that of the data.
  SpaceFetch* hint_fetch() { return delta_ ? delta_->hint_fetch() : nullptr; }

  const PushOrder& order() const { return order_; }
  TaskState state() const { return state_; }
  const std::string& detail() const { return detail_; }
  Errc error_code() const { return error_code_; }
  std::uint64_t bytes_done() const;
  std::uint64_t bytes_total() const { return root_record_ ? root_record_->data_bytes : 0; }
  std::uint64_t bytes_received() const;
  // From an old file on this node; there before the fetch began, whatever of it; and written.
  std::uint64_t bytes_copied() const;
  std::uint64_t bytes_already() const;
  std::uint64_t bytes_written() const;
  const std::string& basis() const { return basis_; }
  // Absolute; empty before it is resolved.
  const std::string& final_path() const { return final_path_; }
  bool durable() const { return state_ == TaskState::succeeded; }
  // The file, open, for serving it from now on; nothing when it was there already.
  ServeSourcePtr source() const { return landed_; }
  // Missing chunks that nobody holds whom this node is connected with.
  std::uint32_t chunks_without_holder() const;
  // What it will still take of the file system.
  std::uint64_t promised(std::uint64_t device) const;

 private:
  struct Looked;
  struct Prepared;
  struct BodySink;

  // Runs `work` on a disk thread and `then` with its result on the control thread, unless this
  // transfer is gone or over by then.
  template <class Work, class Then>
  void on_disk(Work work, Then then) {
    offload(parts_.disk, steps_lane(), parts_.control, alive_, std::move(work),
            [this, then = std::move(then)](auto result) mutable {
              if (!is_final(state_)) then(std::move(result));
            });
  }

  void look();
  void looked(Looked looked);
  void fetch_body();
  void body_fetched();
  void share_body(std::string bytes);
  void prepare();
  void prepared(Prepared prepared);
  Status check_room(const Part::Found& found) const;
  void start_fetch(const Part::Found& found);
  void on_looked(ChunkIndex chunk, const Status& found, bool copied);
  void look_for_old_file(const Bitfield& looked_at);
  void not_here(ChunkIndex chunk);
  void accept_if_able();
  void land_if_able();
  void landed(const Result<proto::HoldingRecord>& record);
  void doubt(const std::vector<ChunkIndex>& chunks);
  void fail(const Error& why);
  void end(TaskState state);
  void remove_part();
  FileMetadata metadata() const;
  std::optional<std::uint64_t> rate() const;
  // By content and not by job: a job that goes on with another's part comes behind its removal.
  DiskPool::Lane steps_lane() const;
  DiskPool::Lane writes_lane() const { return steps_lane() + 1; }

  void write(ArrivedData data, std::vector<ByteRange> pieces,
             std::function<void(Status)> done) override;
  void put_together(ChunkIndex chunk) override { delta_->put_together(chunk); }
  void on_leaves(ChunkIndex chunk, std::optional<std::vector<Digest>> leaves) override {
    delta_->on_leaves(chunk, leaves);
  }
  void on_chunk_ready(ChunkIndex chunk) override;
  void on_complete() override;
  void on_write_failed(const Error& why) override { fail(why); }
  void on_bad_peer(NodeId peer, ChunkIndex chunk, const std::string& reason) override;
  void on_claimed() override;
  void on_chunks_unknown(std::vector<ChunkIndex> chunks, const Error& why) override;
  void on_claims_failed(const Error& why) override { fail(why); }
  void on_delta_moved() override;
  void on_delta_failed(const Error& why) override { fail(why); }
  void share_hint(const ContentId& hint, ServeSourcePtr source, const Bitfield* have) override;
  void unshare_hint(const ContentId& hint) override;
  void on_hint_wrong(const ContentId& hint, const std::string& why) override;

  TransferParts parts_;
  Owner& owner_;
  PushOrder order_;
  Rng rng_;
  TaskState state_ = TaskState::accepted;
  std::string detail_;
  Errc error_code_ = Errc::io_failed;
  std::optional<RootRecord> root_record_;
  std::optional<LoadedManifest> manifest_;
  RootedPath destination_;
  std::string final_path_;
  std::unique_ptr<BodySink> body_sink_;
  std::unique_ptr<SpaceFetch> fetch_;
  std::shared_ptr<Part> part_;
  std::unique_ptr<PartClaims> claims_;
  std::unique_ptr<LocalChunks> local_;
  std::unique_ptr<DeltaFill> delta_;  // goes before the fetch that it fills
  std::string basis_;
  std::shared_ptr<Fd> copy_;  // an unchanged copy elsewhere on this node
  ServeSourcePtr landed_;
  std::uint64_t device_ = 0;
  std::uint64_t needed_ = 0;  // bytes of the file system, when the fetch began
  std::uint64_t had_ = 0;     // bytes of the file, when the fetch began
  std::uint64_t bytes_being_written_ = 0;
  std::uint64_t bytes_written_ = 0;  // that were fetched, or copied from a whole copy
  std::uint64_t copied_whole_ = 0;   // of the latter
  bool accepting_ = true;
  bool landing_ = false;
  bool landing_failed_once_ = false;
  std::uint64_t body_bytes_received_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
