// Whose turn it is: how many targets of a job may begin at a time, in which waves, and when so many
// have failed that no more may.
//
// Pure, like everything in core: facts come in, turns go out. Targets are numbers from 0, in the
// order of their turns, which the owner has chosen and frozen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"

namespace p2p {

// "5" or "10%" of all targets.
struct TargetShare {
  std::uint64_t number = 0;
  bool percent = false;

  // Of so many targets: rounded down, so that "more than 5 %" means it.
  std::size_t of(std::size_t targets) const;
  friend bool operator==(const TargetShare&, const TargetShare&) = default;
};
// A number, or a percentage up to 100.
Result<TargetShare> parse_target_share(std::string_view text);

struct RolloutRules {
  enum class OnMaxFail { stop, pause };

  // How many each wave has (at least one), the last again until all have had their turn. Empty: one
  // wave of all.
  std::vector<TargetShare> waves;
  std::size_t window = 0;               // at most so many under way; 0: no limit
  Duration pause_between{};             // from the end of a wave to the beginning of the next
  std::optional<TargetShare> max_fail;  // more failures than this
  OnMaxFail on_max_fail = OnMaxFail::stop;

  bool limits_anything() const { return !waves.empty() || window > 0 || max_fail.has_value(); }
  friend bool operator==(const RolloutRules&, const RolloutRules&) = default;
};

// The texts of p2pctl's options, empty ones at their defaults. invalid_argument, with the option's
// name and how to write it.
struct RolloutTexts {
  std::string waves, max_fail, on_max_fail;
  std::uint64_t window = 0;
  Duration pause_between{};
};
Result<RolloutRules> parse_rollout(const RolloutTexts& texts);

class Rollout {
 public:
  enum class Phase {
    waiting,   // its turn has not come
    begun,     // its turn has come
    parked,    // its turn has come, it cannot be reached, and nobody waits for it
    good,      // ended
    bad,       // ended, and counts as a failure
    left_out,  // ended, and counts as neither: skipped, cancelled
  };

  // What has to survive a restart beside the phases, which follow from the states of the targets.
  struct Memory {
    bool paused = false;
    bool stopped = false;
    std::string why;                     // of either
    std::size_t forgiven = 0;            // failures before the last resume
    std::size_t wave = 0;                // that was begun last, from 0
    std::optional<WallTime> wave_ended;  // the time at which that wave was over
    friend bool operator==(const Memory&, const Memory&) = default;
  };

  Rollout(const RolloutRules& rules, std::size_t targets);
  // Goes on where another one was. `phases`: one for each target.
  Rollout(const RolloutRules& rules, std::vector<Phase> phases, Memory memory);

  // Says what has become of a target whose turn has come (or, of a target that was left out or
  // failed before: without its turn). A target that has ended stays as it is.
  void set(std::size_t target, Phase phase, WallTime now);

  // An operator's words. A pause lets go on what has begun; `why` is for people, "by NAME" or a
  // reason. A resume forgives all failures so far. Neither changes anything once it is stopped.
  void pause(std::string why);
  void resume(WallTime now);

  // Targets whose turn has come since the last call, rising; they are `begun` from now on. One that
  // `may` not have it yet is asked for again with the next call, and those behind it wait.
  using May = std::function<bool(std::size_t)>;
  std::vector<std::size_t> take_turns(WallTime now, const May& may = nullptr);
  // One more may be under way.
  bool has_room() const { return rules_.window == 0 || begun_ < rules_.window; }
  // When take_turns() should be asked again without any other fact.
  WallTime next_deadline() const;

  // Stopped: no further target gets a turn, ever; those that wait are the owner's to leave out.
  bool stopped() const { return memory_.stopped; }
  bool paused() const { return memory_.paused; }
  const Memory& memory() const { return memory_; }
  Phase phase(std::size_t target) const { return phases_[target]; }
  std::size_t failures() const { return bad_; }

  // Wave of a target, from 0, and how many there are.
  std::size_t wave_of(std::size_t target) const;
  std::size_t waves() const { return wave_ends_.size(); }
  // "wave 2 of 3", "wave 2 of 3 begins in 20s", "paused: 3 of 40 failed (--max-fail 5%)",
  // "stopped: ...", for people; empty while there is nothing to say.
  std::string text(WallTime now) const;

 private:
  void count(Phase phase, int by);
  void enter_wave(std::size_t wave);
  void pass_over_ended();
  bool wave_is_over() const;
  void note_end_of_wave(WallTime now);
  void check_failures();

  RolloutRules rules_;
  std::vector<Phase> phases_;
  Memory memory_;
  std::vector<std::size_t> wave_ends_;  // one past each wave's last target
  std::size_t next_ = 0;                // the first target that waits for its turn
  std::size_t begun_ = 0;
  std::size_t bad_ = 0;
  std::size_t in_wave_ = 0;  // of the current wave, begun and not ended or parked
};

// The order of turns that spreads racks: the first of each rack, then the second of each, ...
// `racks`: of each target; targets of an empty one count as a rack of their own together. Returns
// indices.
std::vector<std::size_t> spread_over_racks(const std::vector<std::string>& racks);

}  // namespace p2p
