// Virtual time: events in order of (time, sequence), nothing else moves the clock.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "core/base/time.h"

namespace p2p::sim {

class World {
 public:
  using Action = std::function<void()>;

  Time now() const { return now_; }
  void at(Time when, Action action) {
    events_.push({when < now_ ? now_ : when, ++sequence_, std::move(action)});
  }
  void after(Duration delay, Action action) { at(now_ + delay, std::move(action)); }
  // False when nothing is left to happen.
  bool step() {
    if (events_.empty()) return false;
    // The queue is emptied through its top; the action may add events.
    Event event = std::move(const_cast<Event&>(events_.top()));
    events_.pop();
    now_ = event.when;
    ++steps_;
    event.action();
    return true;
  }
  std::uint64_t steps() const { return steps_; }

 private:
  struct Event {
    Time when;
    std::uint64_t sequence;
    Action action;
    bool operator<(const Event& other) const {  // the queue's top is its largest
      return when != other.when ? when > other.when : sequence > other.sequence;
    }
  };

  Time now_{std::chrono::seconds(1)};
  std::uint64_t sequence_ = 0;
  std::uint64_t steps_ = 0;
  std::priority_queue<Event> events_;
};

}  // namespace p2p::sim
