// The folder of runs, and what lies in the folder of one: how the shim keeps what whoever looks
// later will find, also after the agent and the launcher have died (docs/storage.md).
//
// DATA/runs belongs to the launcher's user (root, where p2pd is started as root) and its group is
// the agent's, which only reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/runs/node_rules.h"
#include "core/runs/run_id.h"
#include "io/disk/fd.h"
#include "proto/run.pb.h"

namespace p2p {

enum class RunStream { out, err };

namespace run_files {

inline constexpr const char* kLock = "lock";        // its lock is held as long as the shim lives
inline constexpr const char* kControl = "control";  // a FIFO: a byte in it cancels the run
inline constexpr const char* kBegun = "begun";      // RunBegun
inline constexpr const char* kResult = "result";    // RunResult
inline constexpr const char* kResultRoom = "result.new";
inline constexpr const char* kNewPrefix = ".new-";  // a folder that no shim has been given yet

// "out." or "err." and 16 hexadecimal digits: the offset in the stream at which it begins.
std::string segment_name(RunStream stream, std::uint64_t begin);
// Nothing when `name` is no segment of this stream.
std::optional<std::uint64_t> segment_begin(RunStream stream, const std::string& name);

// Names in a folder, without "." and "..", in byte order.
Result<std::vector<std::string>> names_in(int folder);

// The lock of open file descriptions: whoever inherits the descriptor holds it too.
Status lock(int file);
// Whether somebody holds the lock of the run in `folder`. Without a lock nobody does; an error:
// nothing is known, and a run that may live is neither lost nor removed.
Result<bool> is_held(int folder);

// Replaces `name` in the folder, not synced.
Status put(int folder, const char* name, const std::string& bytes);
// Nothing when there is none. corrupt: more than 64 KiB.
Result<std::optional<std::string>> get(int folder, const char* name);

}  // namespace run_files

// What is to be seen of one run.
struct RunSight {
  RunTraces traces;
  std::optional<proto::RunBegun> begun;
  std::optional<proto::RunResult> result;
};

struct OutputPiece {
  std::uint64_t offset = 0;  // of the first byte; more than was asked for: what lay between is gone
  std::string bytes;         // empty: there is nothing at or behind the offset yet
};

// For the agent: reads, writes nothing. Blocking and thread-safe.
class RunFolders {
 public:
  // `path`: the folder of runs. It need not exist yet.
  explicit RunFolders(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string path_of(const RunId& id) const { return path_ + "/" + id.hex(); }

  // All that have a folder.
  Result<std::vector<RunId>> list() const;
  // A run without a folder has no traces. A result that cannot be read counts as none.
  Result<RunSight> look(const RunId& id) const;
  // Up to `bytes_max` of what is kept, from `offset` on; fewer at the end of a segment. Also while
  // the run goes on.
  Result<OutputPiece> read_output(const RunId& id, RunStream stream, std::uint64_t offset,
                                  std::size_t bytes_max) const;

 private:
  std::string path_;
};

}  // namespace p2p
