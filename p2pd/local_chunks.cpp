#include "p2pd/local_chunks.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace p2p {

LocalChunks::LocalChunks(boost::asio::io_context& control, DiskPool& disk,
                         std::shared_ptr<Part> part, OnLooked on_looked)
    : control_(control), disk_(disk), part_(std::move(part)), on_looked_(std::move(on_looked)) {}

LocalChunks::~LocalChunks() {
  *alive_ = false;
}

void LocalChunks::look_in_part(ChunkIndex chunk) {
  queue_.push_back({chunk, true});
  next();
}

void LocalChunks::copy(ChunkIndex chunk) {
  queue_.push_back({chunk, false});
  next();
}

void LocalChunks::set_paused(bool paused) {
  paused_ = paused;
  next();
}

void LocalChunks::next() {
  if (looking_ || paused_ || queue_.empty()) return;
  looking_ = true;
  const Wanted wanted = queue_.front();
  queue_.pop_front();
  disk_.post([this, alive = alive_, &control = control_, part = part_, copy = copy_, wanted] {
    Status found = Error{Errc::corrupt, "not here"};
    if (wanted.in_part) found = part->check(wanted.chunk);
    const bool copied = !found && copy;
    if (copied) found = part->copy(wanted.chunk, *copy);
    boost::asio::post(control,
                      [this, alive, chunk = wanted.chunk, copied, found = std::move(found)] {
                        if (!*alive) return;
                        looking_ = false;
                        on_looked_(chunk, found, copied);
                        if (*alive) next();
                      });
  });
}

}  // namespace p2p
