// Virtual time: events in order of (time, sequence), nothing else moves the clock.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/base/time.h"

namespace p2p::sim {

// A callable of at most 64 bytes, held in place: a run has a hundred million of them.
class Action {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, Action>)
      Action(F&& callable) {  // NOLINT: converts on purpose
    using Callable = std::remove_cvref_t<F>;
    static_assert(sizeof(Callable) <= sizeof(bytes_) &&
                  alignof(Callable) <= alignof(std::max_align_t) &&
                  std::is_nothrow_move_constructible_v<Callable>);
    new (bytes_) Callable(std::forward<F>(callable));
    kind_ = &kind_of<Callable>;
  }
  Action(Action&& other) noexcept : kind_(other.kind_) { kind_->move(other.bytes_, bytes_); }
  Action& operator=(Action&& other) noexcept {
    if (this == &other) return *this;
    kind_->destroy(bytes_);
    kind_ = other.kind_;
    kind_->move(other.bytes_, bytes_);
    return *this;
  }
  ~Action() { kind_->destroy(bytes_); }
  void operator()() { kind_->call(bytes_); }

 private:
  struct Kind {
    void (*call)(void*);
    void (*move)(void* from, void* to);  // leaves something that can be destroyed
    void (*destroy)(void*);
  };
  template <class Callable>
  static constexpr Kind kind_of{
      [](void* at) { (*static_cast<Callable*>(at))(); },
      [](void* from, void* to) { new (to) Callable(std::move(*static_cast<Callable*>(from))); },
      [](void* at) { std::destroy_at(static_cast<Callable*>(at)); }};

  alignas(std::max_align_t) std::byte bytes_[64];
  const Kind* kind_;
};

class World {
 public:
  Time now() const { return now_; }
  void at(Time when, Action action) {
    std::uint32_t place = 0;
    if (free_.empty()) {
      place = static_cast<std::uint32_t>(actions_.size());
      actions_.push_back(std::move(action));
    } else {
      place = free_.back();
      free_.pop_back();
      actions_[place] = std::move(action);
    }
    events_.push_back({when < now_ ? now_ : when, ++sequence_, place});
    std::push_heap(events_.begin(), events_.end());
  }
  void after(Duration delay, Action action) { at(now_ + delay, std::move(action)); }
  // False when nothing is left to happen.
  bool step() {
    if (events_.empty()) return false;
    std::pop_heap(events_.begin(), events_.end());
    const Event event = events_.back();
    events_.pop_back();
    now_ = event.when;
    ++steps_;
    // The action may add events, and the vector may move: it runs from here.
    Action action = std::move(actions_[event.place]);
    free_.push_back(event.place);
    action();
    return true;
  }
  std::uint64_t steps() const { return steps_; }

 private:
  struct Event {
    Time when;
    std::uint64_t sequence;
    std::uint32_t place;                        // of its action
    bool operator<(const Event& other) const {  // the heap's front is its largest
      return when != other.when ? when > other.when : sequence > other.sequence;
    }
  };

  Time now_{std::chrono::seconds(1)};
  std::uint64_t sequence_ = 0;
  std::uint64_t steps_ = 0;
  std::vector<Event> events_;
  std::vector<Action> actions_;
  std::vector<std::uint32_t> free_;
};

}  // namespace p2p::sim
