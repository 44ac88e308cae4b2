#include "core/runs/run_state.h"

#include <vector>

#include "core/runs/run_id.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using enum RunState;
using std::chrono::milliseconds;

const std::vector<RunState> kAll{queued,        offered, accepted,  running,   exited, rejected,
                                 undeliverable, expired, timed_out, cancelled, lost,   skipped};

std::vector<RunState> may_come_after(RunState from) {
  std::vector<RunState> found;
  for (const RunState to : kAll) {
    if (may_follow(from, to)) found.push_back(to);
  }
  return found;
}

TEST_CASE("Every state of a run has a name that leads back to it", "[core][runs]") {
  CHECK(kAll.size() == kRunStates);
  for (const RunState state : kAll) CHECK(run_state_from(to_string(state)) == state);
  CHECK(to_string(timed_out) == "timed_out+killed");
  CHECK_FALSE(run_state_from("failed").has_value());
}

TEST_CASE("A run goes forward, also past states that nobody reported", "[core][runs]") {
  CHECK(may_come_after(queued) == std::vector{offered, undeliverable, expired, cancelled, skipped});
  CHECK(may_come_after(offered) == std::vector{accepted, running, exited, rejected, undeliverable,
                                               expired, timed_out, cancelled, lost, skipped});
}

TEST_CASE("A run that the node has accepted is the node's to end", "[core][runs]") {
  CHECK(may_come_after(accepted) ==
        std::vector{running, exited, rejected, timed_out, cancelled, lost});
}

TEST_CASE("A run that has begun cannot be rejected any more", "[core][runs]") {
  CHECK(may_come_after(running) == std::vector{exited, timed_out, cancelled, lost});
}

TEST_CASE("A final state of a run never changes", "[core][runs]") {
  for (const RunState state : kAll) {
    if (is_final(state)) CHECK(may_come_after(state).empty());
  }
  CHECK_FALSE(is_final(running));
  CHECK(is_final(exited));
}

TEST_CASE("The id of a run says when it was made", "[core][runs]") {
  std::array<std::uint8_t, 16> random{};
  random.fill(0xff);
  const WallTime now{milliseconds(1'790'000'000'123)};
  const RunId id = RunId::make(now, random);
  CHECK(id.made() == now);
  CHECK(id.hex() == "01a0c4506c7b7fffbfffffffffffffff");
  CHECK(RunId::parse(id.hex()) == id);
  CHECK(RunId::from_raw(id.raw()) == id);
}

TEST_CASE("Nothing but one spelling is the id of a run", "[core][runs]") {
  const std::string good = RunId::make(WallTime{milliseconds(1'790'000'000'123)}, {}).hex();
  REQUIRE(RunId::parse(good));
  std::string capital = good;
  capital[2] = 'A';
  std::string version_4 = good;
  version_4[12] = '4';
  std::string variant = good;
  variant[16] = 'c';
  for (const std::string& text : {std::string(), good + "0", good.substr(1), capital, version_4,
                                  variant, "fffffffffff" + good.substr(11), std::string(32, '/')}) {
    INFO(text);
    CHECK_FALSE(RunId::parse(text).has_value());
  }
  CHECK_FALSE(RunId::from_raw("short").has_value());
}

}  // namespace
}  // namespace p2p
