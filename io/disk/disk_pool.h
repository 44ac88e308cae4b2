// Threads for blocking work on files, with an order where order matters.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace p2p {

// Runs jobs on a fixed number of threads. Jobs of one lane run one at a time in the order in which
// they were posted (the writes and the fdatasync of one part); lanes take turns, and jobs without a
// lane run as soon as a thread is free.
//
// The control thread must never block, so post() always accepts and congested() tells when to stop
// receiving: the queue is bounded by its callers. try_post() is for work that can be left undone.
//
// Thread-safe. A job must not throw, nor wait for another job of the same pool.
class DiskPool {
 public:
  using Job = std::function<void()>;
  // Any number that the callers share, for instance of a transfer. Costs memory only while it has
  // jobs.
  using Lane = std::uint64_t;

  // `threads` must be positive. They are called "NAME-0" and so on in ps and in debuggers, cut to
  // the kernel's 15 characters.
  DiskPool(unsigned threads, std::size_t max_queued, const std::string& name = "disk");
  DiskPool(const DiskPool&) = delete;
  DiskPool& operator=(const DiskPool&) = delete;
  // Stops first.
  ~DiskPool();

  void post(Job job);
  void post(Lane lane, Job job);
  // Does nothing and returns false when max_queued jobs wait already or the pool is stopping.
  bool try_post(Job job);

  // More than max_queued jobs wait.
  bool congested() const;
  // Jobs that wait; those that run are not counted.
  std::size_t queued() const;

  // Runs all that is queued, and what these jobs post, then joins the threads. From this call on
  // only the pool's own jobs may post. Not from a job; a second call does nothing.
  void stop();

 private:
  // One job that may run now. `in_lane` says whether `lane` means anything.
  struct Ready {
    Job job;
    Lane lane = 0;
    bool in_lane = false;
  };

  void run();
  // With mutex_ held.
  void check_open() const;
  // With mutex_ held: the lane's job has run, its next one may.
  void finish_turn(Lane lane);

  const std::size_t max_queued_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Ready> ready_;
  // A lane is here while a job of it is in ready_ or runs; the deque holds those behind it.
  std::unordered_map<Lane, std::deque<Job>> lanes_;
  std::size_t queued_ = 0;
  std::size_t running_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace p2p
