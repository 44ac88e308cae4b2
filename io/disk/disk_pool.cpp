#include "io/disk/disk_pool.h"

#include <pthread.h>

#include <utility>

#include "core/base/check.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxThreadNameBytes = 15;

std::string thread_name(const std::string& name, unsigned index) {
  const std::string suffix = "-" + std::to_string(index);
  return name.substr(0, kMaxThreadNameBytes - suffix.size()) + suffix;
}

}  // namespace

DiskPool::DiskPool(unsigned threads, std::size_t max_queued, const std::string& name)
    : max_queued_(max_queued) {
  P2P_CHECK(threads > 0);
  threads_.reserve(threads);
  for (unsigned i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { run(); });
    pthread_setname_np(threads_.back().native_handle(), thread_name(name, i).c_str());
  }
}

DiskPool::~DiskPool() {
  stop();
}

void DiskPool::post(Job job) {
  {
    const std::lock_guard lock(mutex_);
    check_open();
    ready_.push_back({.job = std::move(job)});
    ++queued_;
  }
  wake_.notify_one();
}

void DiskPool::post(Lane lane, Job job) {
  {
    const std::lock_guard lock(mutex_);
    check_open();
    ++queued_;
    const auto [place, is_idle] = lanes_.try_emplace(lane);
    if (!is_idle) {
      place->second.push_back(std::move(job));
      return;
    }
    ready_.push_back({.job = std::move(job), .lane = lane, .in_lane = true});
  }
  wake_.notify_one();
}

bool DiskPool::try_post(Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || queued_ >= max_queued_) return false;
    ready_.push_back({.job = std::move(job)});
    ++queued_;
  }
  wake_.notify_one();
  return true;
}

bool DiskPool::congested() const {
  return queued() > max_queued_;
}

std::size_t DiskPool::queued() const {
  const std::lock_guard lock(mutex_);
  return queued_;
}

void DiskPool::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void DiskPool::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !ready_.empty(); });
    // Jobs that wait behind one of their lane are left to the thread that runs that one.
    if (ready_.empty()) return;
    Ready next = std::move(ready_.front());
    ready_.pop_front();
    --queued_;
    ++running_;
    lock.unlock();
    next.job();
    // What the job owns (buffers, descriptors) goes before the lane's next job, and unlocked.
    next.job = nullptr;
    lock.lock();
    --running_;
    if (next.in_lane) finish_turn(next.lane);
  }
}

void DiskPool::check_open() const {
  // A running job's thread looks at the queue again, so nothing that is posted meanwhile is lost.
  P2P_CHECK(!stopping_ || running_ > 0);
}

void DiskPool::finish_turn(Lane lane) {
  const auto place = lanes_.find(lane);
  P2P_CHECK(place != lanes_.end());
  if (place->second.empty()) {
    lanes_.erase(place);
    return;
  }
  // At the back: a busy lane must not starve the others. The calling thread takes one job at once,
  // so the number of jobs that need another thread has not risen and nobody is woken.
  ready_.push_back({.job = std::move(place->second.front()), .lane = lane, .in_lane = true});
  place->second.pop_front();
}

}  // namespace p2p
