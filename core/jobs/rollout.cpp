#include "core/jobs/rollout.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "core/base/check.h"
#include "core/base/text.h"
#include "core/base/units.h"

namespace p2p {
namespace {

constexpr std::uint64_t kMostTargets = 1'000'000'000;
constexpr std::size_t kMostWaveSizes = 64;
constexpr Duration kLongestPause = std::chrono::hours(30 * 24);

using Phase = Rollout::Phase;

bool has_ended(Phase phase) {
  return phase == Phase::good || phase == Phase::bad || phase == Phase::left_out;
}

std::string str(const TargetShare& share) {
  return std::to_string(share.number) + (share.percent ? "%" : "");
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

Error refused(std::string_view option, std::string_view text, std::string_view why) {
  return Error{Errc::invalid_argument,
               std::string(option) + " " + quoted(text, 60) + ": " + std::string(why)};
}

Result<std::vector<TargetShare>> parse_waves(std::string_view text) {
  std::vector<TargetShare> waves;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const auto share = parse_target_share(trimmed(text.substr(at, comma - at)));
    if (!share) return refused("--wave", text, share.error().detail + ", or several: 1,10%,100%");
    if (share->number == 0) return refused("--wave", text, "a wave has at least one target");
    if (waves.size() == kMostWaveSizes) {
      return refused("--wave", text,
                     "more than " + std::to_string(kMostWaveSizes) +
                         " sizes; the last one is repeated until all targets had their turn");
    }
    waves.push_back(*share);
    at = comma + 1;
  }
  return waves;
}

// "20s", "1m 20s": what is begun of a second counts as one.
std::string remaining(Duration time) {
  constexpr Duration kSecond = std::chrono::seconds(1);
  const auto whole = std::max<std::int64_t>(1, (time + kSecond - Duration(1)) / kSecond);
  return whole < 60 ? std::to_string(whole) + "s" : format_duration(std::chrono::seconds(whole));
}

// One past each wave's last target.
std::vector<std::size_t> ends_of_waves(const std::vector<TargetShare>& waves, std::size_t targets) {
  std::vector<std::size_t> ends;
  for (std::size_t i = 0, end = 0; end < targets; ++i) {
    std::size_t size = targets;
    if (!waves.empty()) {
      size = std::max<std::size_t>(1, waves[std::min(i, waves.size() - 1)].of(targets));
    }
    end += std::min(size, targets - end);
    ends.push_back(end);
  }
  return ends;
}

}  // namespace

std::size_t TargetShare::of(std::size_t targets) const {
  if (!percent) return static_cast<std::size_t>(number);
  return static_cast<std::size_t>(static_cast<std::uint64_t>(targets) * number / 100);
}

Result<TargetShare> parse_target_share(std::string_view text) {
  TargetShare share;
  std::string_view digits = text;
  if (digits.ends_with('%')) {
    share.percent = true;
    digits.remove_suffix(1);
  }
  const char* end = digits.data() + digits.size();
  const auto [stop, problem] = std::from_chars(digits.data(), end, share.number);
  const std::uint64_t most = share.percent ? 100 : kMostTargets;
  if (problem != std::errc{} || stop != end || share.number > most) {
    return Error{
        Errc::invalid_argument,
        quoted(text, 20) + " is no number of targets: write 5, or a whole percentage up to 100%"};
  }
  return share;
}

Result<RolloutRules> parse_rollout(const RolloutTexts& texts) {
  RolloutRules rules;
  if (!texts.waves.empty()) {
    auto waves = parse_waves(texts.waves);
    if (!waves) return waves.error();
    rules.waves = std::move(*waves);
  }
  rules.window = static_cast<std::size_t>(texts.window);
  if (texts.pause_between < Duration::zero() || texts.pause_between > kLongestPause) {
    return Error{Errc::invalid_argument, "--pause-between: at most 30 days, such as 30s or 10m"};
  }
  if (texts.pause_between > Duration::zero() && texts.waves.empty()) {
    return Error{Errc::invalid_argument,
                 "--pause-between: there is one wave only; say how large waves are (--wave 10%)"};
  }
  rules.pause_between = texts.pause_between;
  if (!texts.max_fail.empty()) {
    const auto share = parse_target_share(texts.max_fail);
    if (!share) return share.error().within("--max-fail");
    rules.max_fail = *share;
  }
  if (texts.on_max_fail == "pause") {
    rules.on_max_fail = RolloutRules::OnMaxFail::pause;
  } else if (!texts.on_max_fail.empty() && texts.on_max_fail != "stop") {
    return refused("--on-max-fail", texts.on_max_fail, "write stop or pause");
  }
  if (!texts.on_max_fail.empty() && !rules.max_fail) {
    return refused("--on-max-fail", texts.on_max_fail,
                   "say how many may fail before that (--max-fail 5%)");
  }
  return rules;
}

Rollout::Rollout(const RolloutRules& rules, std::size_t targets)
    : Rollout(rules, std::vector<Phase>(targets, Phase::waiting), Memory{}) {}

Rollout::Rollout(const RolloutRules& rules, std::vector<Phase> phases, Memory memory)
    : rules_(rules),
      phases_(std::move(phases)),
      memory_(std::move(memory)),
      wave_ends_(ends_of_waves(rules.waves, phases_.size())) {
  // What has begun may be newer than what is remembered.
  std::size_t wave = wave_ends_.empty() ? 0 : std::min(memory_.wave, wave_ends_.size() - 1);
  for (std::size_t i = 0; i < phases_.size(); ++i) {
    count(phases_[i], 1);
    const bool had_turn =
        phases_[i] == Phase::begun || phases_[i] == Phase::parked || phases_[i] == Phase::good;
    if (had_turn) wave = std::max(wave, wave_of(i));
  }
  if (wave != memory_.wave) memory_.wave_ended.reset();
  enter_wave(wave);
  check_failures();
}

void Rollout::enter_wave(std::size_t wave) {
  memory_.wave = wave;
  in_wave_ = 0;
  const std::size_t end = wave_ends_.empty() ? 0 : wave_ends_[wave];
  for (std::size_t i = wave == 0 ? 0 : wave_ends_[wave - 1]; i < end; ++i) {
    if (phases_[i] == Phase::begun) ++in_wave_;
  }
  pass_over_ended();
}

// A target that did not wait for its turn needs none.
void Rollout::pass_over_ended() {
  while (next_ < phases_.size() && phases_[next_] != Phase::waiting) ++next_;
}

void Rollout::count(Phase phase, int by) {
  const auto add = static_cast<std::size_t>(by);  // wraps around, and back
  if (phase == Phase::begun) begun_ += add;
  if (phase == Phase::bad) bad_ += add;
}

void Rollout::set(std::size_t target, Phase phase, WallTime now) {
  P2P_CHECK(target < phases_.size());
  Phase& known = phases_[target];
  if (known == phase || has_ended(known) || phase == Phase::waiting) return;
  if (known == Phase::waiting && phase == Phase::parked) return;
  if (wave_of(target) == memory_.wave) {
    if (known == Phase::begun) --in_wave_;
    if (phase == Phase::begun) ++in_wave_;
  }
  count(known, -1);
  known = phase;
  count(phase, 1);
  pass_over_ended();
  note_end_of_wave(now);
  if (phase == Phase::bad) check_failures();
}

// One of the wave that comes back takes its end back.
void Rollout::note_end_of_wave(WallTime now) {
  if (!wave_is_over()) {
    memory_.wave_ended.reset();
  } else if (!memory_.wave_ended || *memory_.wave_ended > now) {
    memory_.wave_ended = now;
  }
}

bool Rollout::wave_is_over() const {
  return !wave_ends_.empty() && next_ >= wave_ends_[memory_.wave] && in_wave_ == 0;
}

void Rollout::check_failures() {
  if (!rules_.max_fail || memory_.stopped || memory_.paused) return;
  const std::size_t counted = bad_ - std::min(bad_, memory_.forgiven);
  if (counted <= rules_.max_fail->of(phases_.size())) return;
  const bool stops = rules_.on_max_fail == RolloutRules::OnMaxFail::stop;
  // With nobody left to wait there is nothing to ask about.
  if (!stops && next_ == phases_.size()) return;
  (stops ? memory_.stopped : memory_.paused) = true;
  memory_.why = std::to_string(counted) + (memory_.forgiven > 0 ? " more" : "") + " of " +
                std::to_string(phases_.size()) + " failed (--max-fail " + str(*rules_.max_fail) +
                ")";
}

void Rollout::pause(std::string why) {
  if (memory_.stopped || memory_.paused) return;
  memory_.paused = true;
  memory_.why = std::move(why);
}

void Rollout::resume(WallTime now) {
  if (memory_.stopped) return;
  memory_.paused = false;
  memory_.why.clear();
  memory_.forgiven = bad_;
  note_end_of_wave(now);
}

std::vector<std::size_t> Rollout::take_turns(WallTime now, const May& may) {
  std::vector<std::size_t> turns;
  if (memory_.stopped || memory_.paused) return turns;
  while (next_ < phases_.size()) {
    if (next_ >= wave_ends_[memory_.wave]) {
      note_end_of_wave(now);
      if (!wave_is_over() || now - *memory_.wave_ended < rules_.pause_between) break;
      memory_.wave_ended.reset();
      enter_wave(wave_of(next_));
    }
    if (!has_room() || (may && !may(next_))) break;
    phases_[next_] = Phase::begun;
    count(Phase::begun, 1);
    // After a restart one of an earlier wave may wait again.
    if (wave_of(next_) == memory_.wave) ++in_wave_;
    turns.push_back(next_);
    pass_over_ended();
  }
  return turns;
}

WallTime Rollout::next_deadline() const {
  const bool waits = !memory_.stopped && !memory_.paused && next_ < phases_.size() &&
                     wave_is_over() && memory_.wave_ended;
  return waits ? *memory_.wave_ended + rules_.pause_between : WallTime::max();
}

std::size_t Rollout::wave_of(std::size_t target) const {
  const auto end = std::upper_bound(wave_ends_.begin(), wave_ends_.end(), target);
  return static_cast<std::size_t>(end - wave_ends_.begin());
}

std::string Rollout::text(WallTime now) const {
  if (memory_.stopped || memory_.paused) {
    const std::string state = memory_.stopped ? "stopped" : "paused";
    return state + (memory_.why.starts_with("by ") ? " " : ": ") + memory_.why;
  }
  if (waves() < 2) return {};
  const auto numbered = [&](std::size_t wave) {
    return "wave " + std::to_string(wave + 1) + " of " + std::to_string(waves());
  };
  const WallTime next = next_deadline();
  if (next == WallTime::max() || next <= now) return numbered(memory_.wave);
  return numbered(wave_of(next_)) + " begins in " + remaining(next - now);
}

std::vector<std::size_t> spread_over_racks(const std::vector<std::string>& racks) {
  std::map<std::string, std::size_t> seen;
  std::vector<std::vector<std::size_t>> rounds;  // the first of each rack, the second of each, ...
  for (std::size_t i = 0; i < racks.size(); ++i) {
    const std::size_t round = seen[racks[i]]++;
    if (round == rounds.size()) rounds.emplace_back();
    rounds[round].push_back(i);
  }
  std::vector<std::size_t> order;
  for (const auto& round : rounds) order.insert(order.end(), round.begin(), round.end());
  return order;
}

}  // namespace p2p
