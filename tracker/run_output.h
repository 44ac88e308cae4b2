// What the runs of an exec job have written: one log for each job, to which pieces are appended as
// they arrive. A position in the log is the cursor of those who read along.
//
// A record: magic u32, run u32, offset u64 (top bit: standard error), length u32, 0 u32, checksum
// u64 (XXH3 of all but itself, seeded with the position), bytes. Little-endian.
//
// Blocking: for disk threads and for start-up.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "io/disk/fd.h"
#include "io/disk/file_calls.h"

namespace p2p {

inline constexpr std::size_t kOutputHeaderBytes = 32;
inline constexpr std::size_t kMaxOutputPieceBytes = 64 * 1024;

struct OutputPieceAt {
  std::uint32_t run = 0;
  bool err = false;
  std::uint64_t offset = 0;  // in the stream; below 2^63
};

// Appends the record to `out`, which will stand at `position` when it is written.
void append_output_record(std::string& out, std::uint64_t position, const OutputPieceAt& piece,
                          std::string_view bytes);

// The log of one job while it grows. One call at a time.
class OutputLog {
 public:
  // `calls` outlives the object. Nothing is opened before the first write.
  explicit OutputLog(std::string path, FileCalls& calls = FileCalls::system())
      : path_(std::move(path)), calls_(calls) {}

  // `records` at `position`, the end of what was written before. After an error nothing more is
  // taken: what was written stays, the rest is cut off.
  Status append(std::uint64_t position, const std::string& records);
  // After an error nothing is known of what was written since the last success.
  Status sync();
  const std::string& path() const { return path_; }

 private:
  Status open();

  std::string path_;
  FileCalls& calls_;
  Fd file_;
  bool name_synced_ = false;
  std::optional<Error> failed_;
};

// Visits every record of a log; what does not read well at its end (a crash in between) is cut off.
// Where the log ends; 0 when there is none.
using OutputVisitor = std::function<void(const OutputPieceAt& piece, std::size_t bytes)>;
Result<std::uint64_t> recover_output(const std::string& path, const OutputVisitor& visit,
                                     FileCalls& calls = FileCalls::system());

struct OutputChunk {
  struct Piece {
    OutputPieceAt at;
    std::string bytes;
  };
  std::vector<Piece> pieces;
  std::uint64_t next = 0;  // cursor behind them
  bool more = false;
};
struct OutputWish {
  std::uint64_t from = 0;
  std::optional<std::uint64_t> end;  // of what may be read; nothing: the file's
  std::optional<std::uint32_t> run;  // only its pieces
  std::size_t bytes_max = 512 * 1024;
};
// not_found: there is no log. invalid_argument: `from` is no cursor of this log. corrupt: damaged.
Result<OutputChunk> read_output(const std::string& path, const OutputWish& wish);

}  // namespace p2p
