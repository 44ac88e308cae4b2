// One output stream of a command on its way to the disk: head and tail are kept.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "core/base/result.h"
#include "core/runs/output_segments.h"
#include "io/disk/fd.h"
#include "io/disk/file_calls.h"
#include "io/run/run_files.h"
#include "proto/run.pb.h"

namespace p2p {

// When the disk takes no more, the rest of the stream is counted and thrown away: a command is
// never held up by its output. Used by one thread.
class OutputSpool {
 public:
  // `folder` stays the caller's; `calls` outlives the object. `limit`: bytes to keep.
  OutputSpool(int folder, RunStream stream, std::uint64_t limit,
              FileCalls& calls = FileCalls::system())
      : folder_(folder), stream_(stream), segments_(limit), calls_(calls) {}

  void take(std::span<const std::uint8_t> bytes);
  // What is kept is on stable storage, or the facts say why it is not.
  void sync();
  proto::RunResult::Stream facts() const;

 private:
  Status store(std::span<const std::uint8_t> bytes, const OutputSegments::Piece& piece);
  void fail(const Error& why);

  int folder_;
  RunStream stream_;
  OutputSegments segments_;
  FileCalls& calls_;
  std::map<std::uint64_t, Fd> open_;  // by where they begin
  std::uint64_t bytes_ = 0;
  std::uint64_t stored_ = 0;
  std::string problem_;
};

}  // namespace p2p
