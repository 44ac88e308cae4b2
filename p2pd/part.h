// The file that a transfer writes beside its destination, from its first byte to its final name.
//
// The order in which it does things is what a crash may rely on (docs/storage.md): the record
// before the file, bytes before claims, claims only of what a sync covered, the name last.
//
// Everything here blocks: call it from disk threads. write(), check() and copy() may run at any
// time; the rest one after the other.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bitfield.h"
#include "core/delta/chunk_plan.h"
#include "core/model/manifest.h"
#include "io/disk/disk_pool.h"
#include "p2pd/part_records.h"
#include "p2pd/serve_source.h"

namespace p2p {

// What a part is written with; all of it outlives the part.
struct PartTools {
  Privileged& privileged;
  const PartRecords& records;
  FileCalls& files;
};

// ".p2pd-CONTENT-JOB-NODE.part": several agents of a machine may have one root.
std::string part_name(const ContentId& content, JobId job, NodeId node);

// Everything that is done about a content's part on disk threads is done in this lane, so that a
// transfer never meets the removal of a part half-way. Even; the odd number behind it is for the
// writes of a transfer that runs.
DiskPool::Lane content_lane(const ContentId& content);
// The same from a part's name; nothing when it is none.
std::optional<DiskPool::Lane> content_lane(std::string_view part_name);

class Part {
 public:
  struct Order {
    ContentId content;
    PartPlace place;  // the name counts when there is no part of this content there yet
    ChunkSpace space;
    std::string final_path;     // for error texts
    std::int64_t mtime_ns = 0;  // of the file as it was published
    bool allocate = false;      // every byte gets a place on the disk, holes too
  };
  struct Found {
    std::shared_ptr<Part> part;  // nothing when it has landed
    Bitfield durable;            // neither fetched nor looked at again
    Bitfield doubtful;           // may be there: check() tells
    std::uint64_t needed = 0;    // bytes that the file system must still have room for
    FreeSpace free;
    // A crash came between the last rename and its record: the file is there, under its name.
    std::optional<FileFacts> landed;
  };

  // Finds the part of this content at the destination, of whatever job, or makes one. A part of the
  // same content for another destination is removed: there is one record for each content.
  static Result<Found> open(const PartTools& tools, Order order);

  const PartPlace& place() const { return order_.place; }
  const ChunkSpace& space() const { return order_.space; }
  // For those who serve from it while it is written.
  ServeSourcePtr source() const { return source_; }
  // The same for the finished file, which nobody should change any more.
  Result<ServeSourcePtr> source_of_landed() const;
  // Takes the room of the whole file.
  Status allocate();

  // corrupt: somebody has deleted the part or changed its size.
  Status write(std::span<const std::uint8_t> bytes, std::uint64_t offset);
  // Does the part hold this chunk? corrupt: no. Holes are taken for zeros, as open() has seen to.
  Status check(ChunkIndex chunk);
  // Copies a chunk from another file on this node, provided that its bytes are the right ones
  // there; corrupt when they are not.
  Status copy(ChunkIndex chunk, const Fd& from);

  // Puts a chunk together: copies from the old file, and what the part holds of the missing ranges.
  // corrupt: the chunk is not right; `leaves` are then what it came to. An old file that has become
  // shorter counts as zeros from there on. With `share`, stretches of whole blocks are shared with
  // the old file (reflink) where the file system does that, before anything is verified.
  struct PutTogether {
    Status status;
    std::vector<Digest> leaves;
    std::uint32_t shared_bytes = 0;
  };
  PutTogether put_together(ChunkIndex chunk, const ChunkPlan& plan, const Fd& old_file,
                           bool share = false);
  // Of the file system, for sharing blocks. 0: not known.
  std::uint32_t block_bytes() const;

  // Makes durable what was written before the call. corrupt: somebody has deleted the part or
  // changed its size. After an error nothing is known of what was written since the last success:
  // forget_cache(), then check() says what the disk has.
  Status sync();
  void forget_cache();
  // Synced; only chunks that a successful sync() covered. `durable` is all of them.
  Status record_durable(const Bitfield& durable, const std::vector<ChunkIndex>& news);
  Status record_verified(const Bitfield& verified, const std::vector<ChunkIndex>& news);

  // Metadata, fsync, rename, fsync of the folder: the path holds the old file or the whole new one.
  Result<FileFacts> land(const FileMetadata& metadata);
  // Nobody will go on with it.
  Status remove();
  // The same for one that only the records know.
  static Status remove(const PartTools& tools, const PartRecords::Known& known);

 private:
  Part(const PartTools& tools, Order order) : tools_(tools), order_(std::move(order)) {}
  Status make();
  Status size_up();
  Status check_size() const;
  void share_blocks(std::uint64_t start, const Fd& old_file, std::vector<CopyRange>& copies,
                    std::vector<ByteRange>& here, std::uint32_t& shared_bytes);
  Result<Bitfield> look(const Bitfield& durable, bool on_record);
  Result<bool> only_zeros(const ByteRange& range);
  const std::string& name() const { return order_.final_path; }
  int fd() const { return source_->file.get(); }

  PartTools tools_;
  Order order_;
  FileState state_;
  std::shared_ptr<ServeSource> source_;
};

}  // namespace p2p
