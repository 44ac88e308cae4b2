// The checkpoint of a transfer in the agent's store: which chunks of a part are durable.
//
// Blocking and thread-safe: call from disk threads.
#pragma once

#include <string>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/ids.h"
#include "core/base/result.h"
#include "io/privileged/privileged.h"
#include "io/state/state_store.h"

namespace p2p {

class PartRecords {
 public:
  explicit PartRecords(StateStore& store) : store_(store) {}

  struct Place {
    std::uint64_t job = 0;
    RootedPath destination;
    std::string part;  // name beside the destination
  };
  // The chunks that a restarted transfer need not fetch or hash again. None when there is no
  // record, or when it is of another part: another place, inode or size, or a wrong checksum.
  Bitfield load(const ContentId& id, const Place& place, const FileFacts& facts,
                std::uint32_t chunks) const;
  // A new, empty record for this part.
  Status begin(const ContentId& id, const Place& place, const FileFacts& facts) const;
  // Synced. Call it only for chunks whose bytes are durable; `have` is all of them, `pages_of` the
  // new ones, whose pages are written.
  Status record(const ContentId& id, const FileFacts& facts, const Bitfield& have,
                const std::vector<ChunkIndex>& pages_of) const;
  Status erase(const ContentId& id) const;

 private:
  StateStore& store_;
};

}  // namespace p2p
