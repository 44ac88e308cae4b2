// Blocking work on a disk thread, and its result on the control thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <memory>
#include <utility>

#include "io/disk/disk_pool.h"

namespace p2p {

// Runs `work()` in the lane and then, on the control thread, `then(result)`, unless `*alive` is
// false by that time: the owner's destructor says so. `work` must own or outlive what it uses;
// `then` may use the owner.
template <class Work, class Then>
void offload(DiskPool& disk, DiskPool::Lane lane, boost::asio::io_context& control,
             std::shared_ptr<bool> alive, Work work, Then then) {
  disk.post(lane, [&control, alive = std::move(alive), work = std::move(work),
                   then = std::move(then)]() mutable {
    auto result = std::make_shared<decltype(work())>(work());
    boost::asio::post(control,
                      [alive = std::move(alive), result, then = std::move(then)]() mutable {
                        if (*alive) then(std::move(*result));
                      });
  });
}

// Lets go of an open file on a disk thread: when it has lost its last name, closing it frees its
// blocks, and that takes a file system seconds when they are many and scattered.
template <class Held>
void let_go(DiskPool& disk, std::shared_ptr<Held> held) {
  if (held) disk.post([held = std::move(held)] {});
}

}  // namespace p2p
