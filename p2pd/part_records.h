// The checkpoint of a transfer in the agent's store: where its part lies, and which chunks of it
// are durable.
//
// One record for each content. It is written before the part is made, so that there is never a part
// that no record knows. Blocking and thread-safe: call from disk threads.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/ids.h"
#include "core/base/result.h"
#include "io/disk/file_calls.h"
#include "io/privileged/privileged.h"
#include "io/state/state_store.h"

namespace p2p {

// Where a part lies, and for which job.
struct PartPlace {
  std::uint64_t job = 0;
  RootedPath destination;
  std::string part;  // name beside the destination
};

class PartRecords {
 public:
  explicit PartRecords(StateStore& store) : store_(store) {}

  struct Known {
    ContentId content;
    PartPlace place;
    FileState file;  // size, device, inode and birth of when it was begun; inode 0: not begun
  };
  // Nothing when there is no record, or a damaged one.
  Result<std::optional<Known>> find(const ContentId& id) const;
  // All parts on record; damaged records are left out.
  Result<std::vector<Known>> list() const;

  // A part will be made there. Forgets what was on record for this content.
  Status intend(const ContentId& id, const PartPlace& place) const;
  // It was made and has its size: an empty checkpoint of this file.
  Status begin(const ContentId& id, const PartPlace& place, const FileState& file) const;
  // Another job goes on with the part that is on record.
  Status take_over(const ContentId& id, std::uint64_t job) const;

  // The chunks that a restarted transfer need neither fetch nor hash again. None when the record is
  // of another part: another place, size, inode, device or birth, or a wrong checksum.
  Bitfield durable(const ContentId& id, const PartPlace& place, const FileState& file,
                   std::uint32_t chunks) const;
  // The chunks that were right when they were written, whether the disk has them or not.
  Bitfield verified(const ContentId& id, const PartPlace& place, const FileState& file,
                    std::uint32_t chunks) const;
  // Synced. Call it only for chunks whose bytes are durable; `have` is all of them, `news` the new
  // ones, whose pages are written.
  Status record_durable(const ContentId& id, const FileState& file, const Bitfield& have,
                        const std::vector<ChunkIndex>& news) const;
  // Not synced: survives the end of the process, not of the machine.
  Status record_verified(const ContentId& id, const FileState& file, const Bitfield& have,
                         const std::vector<ChunkIndex>& news) const;
  Status erase(const ContentId& id) const;

 private:
  struct Kind;  // of pages of bits
  static const Kind kDurable;
  static const Kind kVerified;

  Bitfield load(const Kind& kind, const ContentId& id, const PartPlace& place,
                const FileState& file, std::uint32_t chunks) const;
  Status record(const Kind& kind, const ContentId& id, const FileState& file, const Bitfield& have,
                const std::vector<ChunkIndex>& news, StateStore::Durability durability) const;

  StateStore& store_;
};

}  // namespace p2p
