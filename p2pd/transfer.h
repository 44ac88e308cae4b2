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
#include "core/transfer/checkpoint.h"
#include "p2pd/content_store.h"
#include "p2pd/part_records.h"
#include "p2pd/space_fetch.h"

namespace p2p {

// What transfers share: all of it outlives them and the disk pool's jobs, which hold a copy of
// this.
struct TransferParts {
  boost::asio::io_context& control;
  DiskPool& disk;
  PeerMesh& mesh;
  const ContentStore& contents;
  const PartRecords& parts;
  Privileged& privileged;
};

struct PushOrder {
  JobId job;
  ContentId content;
  std::string root_record;
  std::string path;  // as the operator gave it
  std::string original_name;
  std::string node_name;
  std::uint64_t bytes_per_second = 0;  // 0: no cap
};

class Transfer final : private SpaceFetch::Sink {
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

   protected:
    ~Owner() = default;
  };

  Transfer(const TransferParts& parts, Owner& owner, PushOrder order, Rng rng);
  ~Transfer();

  void begin();
  // Removes what was written of it.
  void cancel();
  void set_rate(std::uint64_t bytes_per_second);
  // Every 100 ms or so: checkpoints.
  void on_tick(Time now);
  // The fetch of a space, while there is one: events of the mesh go there.
  SpaceFetch* fetch_of(const SpaceKey& space);
  SpaceFetch* fetch() { return fetch_.get(); }

  const PushOrder& order() const { return order_; }
  TaskState state() const { return state_; }
  const std::string& detail() const { return detail_; }
  Errc error_code() const { return error_code_; }
  std::uint64_t bytes_done() const;
  std::uint64_t bytes_total() const { return root_record_ ? root_record_->data_bytes : 0; }
  std::uint64_t bytes_received() const;
  // Absolute; empty before it is resolved.
  const std::string& final_path() const { return final_path_; }
  bool durable() const { return state_ == TaskState::succeeded; }
  // The file, open; nothing when it was there already.
  ServeSourcePtr source() const { return part_; }

 private:
  struct Looked;
  struct Prepared;
  struct BodySink;

  // Runs `work` on a disk thread and `then` with its result on the control thread, unless this
  // transfer is gone or over by then.
  template <class Work, class Then>
  void on_disk(Work work, Then then);

  void look();
  void looked(Looked looked);
  void fetch_body();
  void body_fetched();
  void share_body(std::string bytes);
  void prepare();
  void prepared(Prepared prepared);
  void copy_next(std::uint32_t from);
  void accept_if_able();
  void sync_if_due(Time now);
  void land();
  void fail(const Error& why);
  void end(TaskState state);
  void remove_part();
  std::optional<std::uint64_t> rate() const;
  DiskPool::Lane steps_lane() const { return 2 * order_.job.number; }
  DiskPool::Lane writes_lane() const { return 2 * order_.job.number + 1; }

  void write(ArrivedData data, std::function<void(Status)> done) override;
  void on_chunk_ready(ChunkIndex chunk) override;
  void on_complete() override;
  void on_write_failed(const Error& why) override { fail(why); }
  void on_bad_peer(NodeId peer, ChunkIndex chunk, const std::string& reason) override;

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
  std::string part_name_;
  std::unique_ptr<BodySink> body_sink_;
  std::unique_ptr<SpaceFetch> fetch_;
  std::shared_ptr<ServeSource> part_;  // the part, open for reading and writing
  std::shared_ptr<Fd> local_;          // an unchanged copy elsewhere on this node
  FileFacts part_facts_;
  Checkpoint checkpoint_{CheckpointSettings{}};
  Bitfield durable_;
  std::uint64_t bytes_being_written_ = 0;
  bool accepting_ = true;
  bool recording_ = false;
  bool landing_ = false;
  std::uint64_t body_bytes_received_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
