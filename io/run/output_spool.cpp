#include "io/run/output_spool.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "io/disk/file_io.h"

namespace p2p {

void OutputSpool::take(std::span<const std::uint8_t> bytes) {
  bytes_ += bytes.size();
  while (!bytes.empty() && problem_.empty()) {
    const OutputSegments::Piece piece = segments_.place(bytes.size());
    if (Status stored = store(bytes.first(piece.count), piece); !stored) {
      return fail(stored.error());
    }
    stored_ += piece.count;
    bytes = bytes.subspan(piece.count);
  }
}

Status OutputSpool::store(std::span<const std::uint8_t> bytes, const OutputSegments::Piece& piece) {
  const std::string name = run_files::segment_name(stream_, piece.segment);
  if (piece.at == 0) {
    if (piece.dropped) {
      const std::string old = run_files::segment_name(stream_, *piece.dropped);
      if (Status removed = calls_.remove(folder_, old, old); !removed) return removed;
      open_.erase(*piece.dropped);
    }
    Fd file(
        ::openat(folder_, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640));
    if (!file) return error_from_errno(errno, "make " + name);
    open_[piece.segment] = std::move(file);
  }
  return calls_.write_at(open_.at(piece.segment).get(), bytes, piece.at, name);
}

void OutputSpool::fail(const Error& why) {
  problem_ = why.detail;
}

void OutputSpool::sync() {
  for (const auto& [begin, file] : open_) {
    const std::string name = run_files::segment_name(stream_, begin);
    const Status synced = calls_.sync_data(file.get(), name);
    if (!synced && problem_.empty()) problem_ = synced.error().detail;
  }
}

proto::RunResult::Stream OutputSpool::facts() const {
  proto::RunResult::Stream facts;
  facts.set_bytes(bytes_);
  facts.set_stored(stored_);
  facts.set_head(std::min(segments_.head(), stored_));
  facts.set_tail_begin(std::min(segments_.tail_begin(), stored_));
  facts.set_problem(problem_);
  return facts;
}

}  // namespace p2p
