#include "core/jobs/rollout.h"

#include <numeric>

#include "core/base/rng.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;
using std::chrono::seconds;
using Phase = Rollout::Phase;
using enum Rollout::Phase;

using Turns = std::vector<std::size_t>;

RolloutTexts texts_of(const std::string& waves, const std::string& max_fail = "") {
  RolloutTexts texts;
  texts.waves = waves;
  texts.max_fail = max_fail;
  return texts;
}

Turns from_to(std::size_t first, std::size_t last) {
  Turns turns(last - first + 1);
  std::iota(turns.begin(), turns.end(), first);
  return turns;
}

class RolloutTest {
 public:
  RolloutTest(const RolloutTexts& texts, std::size_t targets)
      : rules(*parse_rollout(texts)), rollout(rules, targets) {}

  Turns turns() { return rollout.take_turns(now); }
  void all(const Turns& targets, Phase phase) {
    for (const std::size_t target : targets) rollout.set(target, phase, now);
  }
  std::string text() const { return rollout.text(now); }
  // The tracker ends and starts again.
  void restart(std::size_t targets) {
    std::vector<Phase> phases;
    for (std::size_t i = 0; i < targets; ++i) phases.push_back(rollout.phase(i));
    rollout = Rollout(rules, std::move(phases), rollout.memory());
  }

  WallTime now{std::chrono::hours(500'000)};
  RolloutRules rules;
  Rollout rollout;
};

TEST_CASE("Without rules everybody's turn has come at once", "[core][rollout]") {
  RolloutTest test({}, 3);
  CHECK_FALSE(test.rules.limits_anything());
  CHECK(test.turns() == Turns{0, 1, 2});
  CHECK(test.turns().empty());
  CHECK(test.text().empty());
  CHECK(test.rollout.next_deadline() == WallTime::max());
}

TEST_CASE("A wave begins when all of the one before have ended; the last size is repeated",
          "[core][rollout]") {
  RolloutTest test(texts_of("1,20%"), 10);
  CHECK(test.rollout.waves() == 6);  // 1, 2, 2, 2, 2, 1
  CHECK(test.turns() == Turns{0});
  CHECK(test.turns().empty());
  CHECK(test.text() == "wave 1 of 6");
  test.all({0}, good);
  CHECK(test.turns() == Turns{1, 2});
  test.all({1}, good);
  CHECK(test.turns().empty());
  test.all({2}, bad);
  CHECK(test.turns() == Turns{3, 4});
  CHECK(test.text() == "wave 3 of 6");
}

TEST_CASE("Every target has one wave, and each wave at least one target", "[core][rollout]") {
  const RolloutTest test(texts_of("1%,10%,100%"), 30);
  CHECK(test.rollout.waves() == 3);  // 0.3 of a target is one
  CHECK(test.rollout.wave_of(0) == 0);
  CHECK(test.rollout.wave_of(1) == 1);
  CHECK(test.rollout.wave_of(3) == 1);
  CHECK(test.rollout.wave_of(4) == 2);
  CHECK(test.rollout.wave_of(29) == 2);
  CHECK(RolloutTest(texts_of("5"), 0).rollout.waves() == 0);
}

TEST_CASE("Between two waves there is a pause, that counts from the end of the first",
          "[core][rollout]") {
  RolloutTexts texts = texts_of("1");
  texts.pause_between = seconds(30);
  RolloutTest test(texts, 2);
  CHECK(test.turns() == Turns{0});
  CHECK(test.rollout.next_deadline() == WallTime::max());
  test.now = test.now + seconds(100);
  test.all({0}, good);
  const WallTime ended = test.now;
  CHECK(test.rollout.next_deadline() == ended + seconds(30));
  test.now = ended + seconds(10);
  CHECK(test.turns().empty());
  CHECK(test.text() == "wave 2 of 2 begins in 20s");
  test.restart(2);
  CHECK(test.rollout.next_deadline() == ended + seconds(30));
  test.now = ended + seconds(30);
  CHECK(test.turns() == Turns{1});
  CHECK(test.rollout.next_deadline() == WallTime::max());
}

TEST_CASE("A clock that was put back does not make the pause longer", "[core][rollout]") {
  RolloutTexts texts = texts_of("1");
  texts.pause_between = seconds(30);
  RolloutTest test(texts, 2);
  (void)test.turns();
  test.all({0}, good);
  test.now = test.now - std::chrono::hours(5);
  CHECK(test.turns().empty());
  CHECK(test.rollout.next_deadline() == test.now + seconds(30));
}

TEST_CASE("A window bounds how many are under way, whatever the wave", "[core][rollout]") {
  RolloutTexts texts;
  texts.window = 2;
  RolloutTest test(texts, 5);
  CHECK(test.turns() == Turns{0, 1});
  test.all({1}, good);
  CHECK(test.turns() == Turns{2});
  test.all({0, 2}, bad);
  CHECK(test.turns() == Turns{3, 4});
}

TEST_CASE("A window may be smaller than a wave", "[core][rollout]") {
  RolloutTexts texts = texts_of("3");
  texts.window = 2;
  RolloutTest test(texts, 6);
  CHECK(test.turns() == Turns{0, 1});
  test.all({0}, good);
  CHECK(test.turns() == Turns{2});
  test.all({1}, good);
  CHECK(test.turns().empty());  // there is room, but 2 is not done
  test.all({2}, good);
  CHECK(test.turns() == Turns{3, 4});
}

TEST_CASE("A target that cannot be reached holds neither the wave nor the window",
          "[core][rollout]") {
  RolloutTexts texts = texts_of("2");
  texts.window = 2;
  RolloutTest test(texts, 6);
  CHECK(test.turns() == Turns{0, 1});
  test.all({0}, good);
  test.all({1}, parked);
  CHECK(test.turns() == Turns{2, 3});
  test.all({1}, begun);  // it is back: more than the window for once
  test.all({2}, good);
  CHECK(test.turns().empty());
  test.all({3}, good);
  CHECK(test.turns() == Turns{4});  // of the earlier wave: it does not hold this one
  test.all({1}, bad);
  CHECK(test.rollout.failures() == 1);
  CHECK(test.turns() == Turns{5});
}

TEST_CASE("One that comes back before the next wave begins is waited for", "[core][rollout]") {
  RolloutTexts texts = texts_of("1");
  texts.pause_between = seconds(30);
  RolloutTest test(texts, 2);
  (void)test.turns();
  test.all({0}, parked);
  test.now = test.now + seconds(29);
  test.all({0}, begun);
  test.now = test.now + seconds(60);
  CHECK(test.turns().empty());
  test.all({0}, good);
  test.now = test.now + seconds(29);
  CHECK(test.turns().empty());
  test.now = test.now + seconds(1);
  CHECK(test.turns() == Turns{1});
}

TEST_CASE("More failures than the limit stop all that wait, and nothing that has begun",
          "[core][rollout]") {
  RolloutTest test(texts_of("10", "5%"), 40);
  (void)test.turns();
  test.all({0, 1}, bad);
  CHECK_FALSE(test.rollout.stopped());  // 2 of 40 is 5 %, not more
  test.all({2}, bad);
  CHECK(test.rollout.stopped());
  CHECK(test.text() == "stopped: 3 of 40 failed (--max-fail 5%)");
  test.all(from_to(3, 9), good);
  CHECK(test.turns().empty());
  test.rollout.resume(test.now);
  test.rollout.pause("by anna");
  CHECK(test.turns().empty());
  CHECK(test.text() == "stopped: 3 of 40 failed (--max-fail 5%)");
  test.restart(40);
  CHECK(test.rollout.stopped());
  CHECK(test.turns().empty());
}

TEST_CASE("With a limit of 0 one failure is too many", "[core][rollout]") {
  RolloutTest test(texts_of("1", "0"), 2);
  (void)test.turns();
  test.all({0}, bad);
  CHECK(test.rollout.stopped());
  CHECK(test.text() == "stopped: 1 of 2 failed (--max-fail 0)");
}

TEST_CASE("Who was left out is no failure", "[core][rollout]") {
  RolloutTest test(texts_of("2", "0"), 4);
  (void)test.turns();
  test.all({0, 1}, left_out);
  CHECK_FALSE(test.rollout.stopped());
  CHECK(test.turns() == Turns{2, 3});
}

TEST_CASE("Instead of stopping a job may pause; who resumes it forgives what has failed",
          "[core][rollout]") {
  RolloutTexts texts = texts_of("2", "1");
  texts.on_max_fail = "pause";
  RolloutTest test(texts, 8);
  (void)test.turns();
  test.all({0, 1}, bad);
  CHECK(test.rollout.paused());
  CHECK_FALSE(test.rollout.stopped());
  CHECK(test.text() == "paused: 2 of 8 failed (--max-fail 1)");
  CHECK(test.turns().empty());
  test.restart(8);
  CHECK(test.rollout.paused());
  test.rollout.resume(test.now);
  CHECK(test.turns() == Turns{2, 3});
  test.restart(8);
  CHECK(test.text() == "wave 2 of 4");
  test.all({2}, bad);
  CHECK_FALSE(test.rollout.paused());
  test.all({3}, bad);
  CHECK(test.text() == "paused: 2 more of 8 failed (--max-fail 1)");
}

TEST_CASE("A job in which nobody waits any more does not pause", "[core][rollout]") {
  RolloutTexts texts = texts_of("", "0");
  texts.on_max_fail = "pause";
  RolloutTest test(texts, 2);
  (void)test.turns();
  test.all({0}, bad);
  CHECK_FALSE(test.rollout.paused());
}

TEST_CASE("An operator's pause lets go on what has begun", "[core][rollout]") {
  RolloutTest test(texts_of("2"), 4);
  (void)test.turns();
  test.rollout.pause("by anna");
  CHECK(test.text() == "paused by anna");
  test.all({0}, good);
  test.all({1}, good);
  CHECK(test.turns().empty());
  CHECK(test.rollout.next_deadline() == WallTime::max());
  test.rollout.pause("by bob");  // it is paused already
  CHECK(test.text() == "paused by anna");
  test.rollout.resume(test.now);
  CHECK(test.turns() == Turns{2, 3});
}

TEST_CASE("What has ended stays as it is", "[core][rollout]") {
  RolloutTest test(texts_of("", "0"), 1);
  (void)test.turns();
  test.all({0}, good);
  for (const Phase later : {waiting, begun, parked, bad, left_out}) test.all({0}, later);
  CHECK(test.rollout.phase(0) == good);
  CHECK(test.rollout.failures() == 0);
}

TEST_CASE("A target may end without its turn, and never gets one", "[core][rollout]") {
  RolloutTest test(texts_of("2"), 5);
  test.all({1, 2}, left_out);
  test.all({3}, bad);
  CHECK(test.turns() == Turns{0});
  test.all({0}, good);
  CHECK(test.turns() == Turns{4});  // of the second wave nobody is left
  CHECK(test.rollout.memory().wave == 2);
}

TEST_CASE("Waves that are empty cost no pause of their own", "[core][rollout]") {
  RolloutTexts texts = texts_of("1");
  texts.pause_between = seconds(10);
  RolloutTest test(texts, 4);
  (void)test.turns();
  test.all({1, 2}, left_out);
  test.all({0}, good);
  test.now = test.now + seconds(10);
  CHECK(test.turns() == Turns{3});
}

TEST_CASE("After a restart it goes on where it was", "[core][rollout]") {
  RolloutTest test(texts_of("2"), 6);
  (void)test.turns();
  test.all({0, 1}, good);
  (void)test.turns();
  test.all({2}, good);
  test.restart(6);
  CHECK(test.turns().empty());
  CHECK(test.rollout.memory().wave == 1);
  test.all({3}, parked);
  test.restart(6);
  CHECK(test.turns() == Turns{4, 5});
}

TEST_CASE("What has begun counts more than what was remembered of it", "[core][rollout]") {
  // The states were stored, and the tracker ended before the rest was.
  const RolloutRules rules = *parse_rollout(texts_of("1", "0"));
  Rollout second(rules, {good, begun, waiting}, {});
  CHECK(second.memory().wave == 1);
  CHECK(second.take_turns(WallTime{}).empty());
  Rollout again(rules, {waiting, begun, waiting}, {});  // the first was not reached
  CHECK(again.take_turns(WallTime{}) == Turns{0});
  again.set(0, parked, WallTime{});
  CHECK(again.take_turns(WallTime{}).empty());
  again.set(1, good, WallTime{});
  CHECK(again.take_turns(WallTime{}) == Turns{2});
  const Rollout failed(rules, {bad, waiting, waiting}, {});
  CHECK(failed.stopped());
}

TEST_CASE("Turns that spread racks: the first of each, then the second of each",
          "[core][rollout]") {
  CHECK(spread_over_racks({"a", "a", "a", "b", "", "b", ""}) == Turns{0, 3, 4, 1, 5, 6, 2});
  CHECK(spread_over_racks({}).empty());
}

TEST_CASE("The options of a rollout and what is wrong with them", "[core][rollout]") {
  const auto rules = parse_rollout(texts_of("1, 10% ,100%", "5%"));
  REQUIRE(rules);
  CHECK(rules->waves == std::vector<TargetShare>{{1, false}, {10, true}, {100, true}});
  CHECK(rules->max_fail == TargetShare{5, true});
  CHECK(rules->limits_anything());
  const auto why_not = [](const RolloutTexts& texts) {
    return parse_rollout(texts).error().detail;
  };
  for (const char* waves : {"1,", ",", "ten", "-1", "1 0", "101%", "%", "1.5", "+3", "1,,2"}) {
    INFO(waves);
    CHECK_THAT(why_not(texts_of(waves)), Contains("--wave") && Contains("1,10%,100%"));
  }
  CHECK_THAT(why_not(texts_of("1,0")), Contains("--wave \"1,0\": a wave has at least one"));
  CHECK_THAT(why_not(texts_of("0%")), Contains("at least one"));
  std::string many = "1";
  while (many.size() < 200) many += ",1";
  CHECK_THAT(why_not(texts_of(many)), Contains("more than 64 sizes"));
  CHECK_THAT(why_not(texts_of("", "5 %")), Contains("--max-fail: \"5 %\" is no number"));
  RolloutTexts texts;
  texts.on_max_fail = "ask";
  CHECK_THAT(why_not(texts), Contains("--on-max-fail \"ask\": write stop or pause"));
  texts.on_max_fail = "pause";
  CHECK_THAT(why_not(texts), Contains("--max-fail 5%"));
  texts = RolloutTexts{};
  texts.pause_between = seconds(5);
  CHECK_THAT(why_not(texts), Contains("--wave 10%"));
  texts.waves = "1";
  texts.pause_between = std::chrono::hours(24 * 365);
  CHECK_THAT(why_not(texts), Contains("at most 30 days"));
}

TEST_CASE("Whatever happens, a wave never begins before its time and nobody is forgotten",
          "[core][rollout]") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    INFO("seed " << seed);
    Rng rng(seed);
    const std::size_t targets = 1 + static_cast<std::size_t>(rng.below(40));
    RolloutTexts texts = texts_of(rng.chance(1, 2) ? "1,20%,50%" : "");
    if (rng.chance(1, 2)) texts.window = 1 + rng.below(8);
    if (!texts.waves.empty() && rng.chance(1, 2)) texts.pause_between = seconds(rng.below(20));
    RolloutTest test(texts, targets);
    std::vector<bool> had_turn(targets);
    std::size_t ended = 0;
    for (int step = 0; ended < targets; ++step) {
      REQUIRE(step < 20'000);
      for (const std::size_t turn : test.turns()) {
        REQUIRE_FALSE(had_turn[turn]);
        had_turn[turn] = true;
        for (std::size_t i = 0; i < targets; ++i) {
          if (test.rollout.wave_of(i) >= test.rollout.wave_of(turn)) break;
          REQUIRE(had_turn[i]);
        }
      }
      std::size_t under_way = 0;
      for (std::size_t i = 0; i < targets; ++i) under_way += test.rollout.phase(i) == begun;
      if (texts.window > 0) REQUIRE(under_way <= texts.window);
      const auto target = static_cast<std::size_t>(rng.below(targets));
      const Phase phase = test.rollout.phase(target);
      if (phase == parked) test.rollout.set(target, rng.chance(1, 2) ? begun : bad, test.now);
      if (phase == begun) {
        const bool parks = texts.window == 0 && rng.chance(1, 8);
        test.rollout.set(target, parks ? parked : rng.chance(1, 2) ? good : bad, test.now);
      }
      ended = 0;
      for (std::size_t i = 0; i < targets; ++i) {
        const Phase now = test.rollout.phase(i);
        ended += now == good || now == bad ? 1 : 0;
      }
      if (rng.chance(1, 10)) test.restart(targets);
      test.now = test.now + seconds(rng.below(3));
    }
  }
}

}  // namespace
}  // namespace p2p
