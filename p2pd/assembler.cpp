#include "p2pd/assembler.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace p2p {
namespace {

// Of the pool's four threads: the others write what arrives. Memory: a chunk each.
constexpr int kAtOnce = 2;

}  // namespace

Assembler::Assembler(boost::asio::io_context& control, DiskPool& disk, std::shared_ptr<Part> part,
                     std::shared_ptr<const Fd> old_file)
    : control_(control), disk_(disk), part_(std::move(part)), old_file_(std::move(old_file)) {}

Assembler::~Assembler() {
  *alive_ = false;
}

void Assembler::add(ChunkIndex chunk, ChunkPlan plan, Done done) {
  Wanted wanted{chunk, std::move(plan), std::move(done)};
  if (wanted.plan.missing.empty()) {
    queue_.push_back(std::move(wanted));
  } else {
    queue_.push_front(std::move(wanted));
  }
  next();
}

void Assembler::set_paused(bool paused) {
  paused_ = paused;
  next();
}

void Assembler::next() {
  while (working_ < kAtOnce && !paused_ && !queue_.empty()) {
    ++working_;
    auto wanted = std::make_shared<Wanted>(std::move(queue_.front()));
    queue_.pop_front();
    disk_.post([this, alive = alive_, &control = control_, part = part_, old = old_file_,
                share = share_, wanted] {
      auto result = std::make_shared<Part::PutTogether>(
          part->put_together(wanted->chunk, wanted->plan, *old, share));
      boost::asio::post(control, [this, alive, wanted, result] {
        if (!*alive) return;
        --working_;
        wanted->done(std::move(*result));
        if (*alive) next();
      });
    });
  }
}

}  // namespace p2p
