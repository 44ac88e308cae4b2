#include "io/disk/disk_pool.h"

#include <pthread.h>

#include <array>
#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace p2p {
namespace {

// Holds one thread of a pool until it is opened.
class Barrier {
 public:
  DiskPool::Job job() {
    return [this] {
      reached_.set_value();
      open_.get_future().wait();
    };
  }
  void wait_until_reached() { reached_.get_future().wait(); }
  void open() { open_.set_value(); }

 private:
  std::promise<void> reached_;
  std::promise<void> open_;
};

TEST_CASE("Jobs of one lane run one at a time in the order of posting", "[io][disk]") {
  constexpr int kLanes = 8;
  constexpr int kJobs = 500;
  struct LaneLog {
    std::atomic<int> inside{0};
    bool overlapped = false;
    std::vector<int> order;
  };
  std::array<LaneLog, kLanes> logs;
  {
    DiskPool pool(4, 100);
    for (int job = 0; job < kJobs; ++job) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        pool.post(lane, [&log = logs[lane], job] {
          if (log.inside.fetch_add(1) != 0) log.overlapped = true;
          log.order.push_back(job);
          log.inside.fetch_sub(1);
        });
      }
    }
  }
  std::vector<int> expected(kJobs);
  std::iota(expected.begin(), expected.end(), 0);
  for (const LaneLog& log : logs) {
    CHECK_FALSE(log.overlapped);
    CHECK(log.order == expected);
  }
}

TEST_CASE("A lane that is held up does not hold up others", "[io][disk]") {
  Barrier barrier;
  std::promise<void> other_ran;
  DiskPool pool(2, 10);
  pool.post(1, barrier.job());
  pool.post(1, [] {});
  pool.post(2, [&other_ran] { other_ran.set_value(); });
  other_ran.get_future().wait();
  barrier.open();
}

TEST_CASE("A busy lane takes turns with the others", "[io][disk]") {
  Barrier barrier;
  std::string order;
  {
    DiskPool pool(1, 10);
    pool.post(barrier.job());
    barrier.wait_until_reached();
    for (int i = 0; i < 3; ++i) pool.post(1, [&order] { order += 'a'; });
    pool.post(2, [&order] { order += 'b'; });
    barrier.open();
  }
  CHECK(order == "abaa");
}

TEST_CASE("A pool counts what waits and says when that is too much", "[io][disk]") {
  Barrier barrier;
  DiskPool pool(1, 2);
  pool.post(barrier.job());
  barrier.wait_until_reached();
  CHECK(pool.queued() == 0);

  CHECK(pool.try_post([] {}));
  pool.post(7, [] {});
  CHECK(pool.queued() == 2);
  CHECK_FALSE(pool.congested());
  std::atomic<bool> ran = false;
  CHECK_FALSE(pool.try_post([&ran] { ran = true; }));

  pool.post(7, [] {});
  CHECK(pool.queued() == 3);
  CHECK(pool.congested());

  barrier.open();
  pool.stop();
  CHECK(pool.queued() == 0);
  CHECK_FALSE(pool.congested());
  CHECK_FALSE(ran);
}

TEST_CASE("A pool that stops runs what is queued and what that posts", "[io][disk]") {
  Barrier barrier;
  std::atomic<int> ran = 0;
  DiskPool pool(2, 10);
  pool.post(3, barrier.job());
  barrier.wait_until_reached();
  for (int i = 0; i < 20; ++i) pool.post([&ran] { ++ran; });
  for (int i = 0; i < 20; ++i) {
    pool.post(3, [&pool, &ran] {
      ++ran;
      pool.post(4, [&ran] { ++ran; });
    });
  }
  barrier.open();
  pool.stop();
  CHECK(ran == 60);
  CHECK_FALSE(pool.try_post([] {}));
}

TEST_CASE("What a job owns is gone before the next job of its lane", "[io][disk]") {
  std::weak_ptr<int> seen;
  bool was_gone = false;
  {
    DiskPool pool(2, 10);
    auto owned = std::make_shared<int>(1);
    seen = owned;
    pool.post(1, [owned = std::move(owned)] {});
    pool.post(1, [&seen, &was_gone] { was_gone = seen.expired(); });
  }
  CHECK(was_gone);
}

TEST_CASE("Threads of a pool are named after it", "[io][disk]") {
  std::promise<std::string> name;
  DiskPool pool(1, 10, "a-very-long-pool-name");
  pool.post([&name] {
    std::array<char, 16> text{};
    pthread_getname_np(pthread_self(), text.data(), text.size());
    name.set_value(text.data());
  });
  CHECK(name.get_future().get() == "a-very-long-p-0");
}

}  // namespace
}  // namespace p2p
