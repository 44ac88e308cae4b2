#include "tools/p2pctl/pause_question.h"

#include <vector>

#include "tests/support/catch.h"

namespace p2p {
namespace {

using Act = PauseQuestion::Act;

proto::Job paused_job(bool paused = true) {
  proto::Job job;
  job.set_id("j7");
  job.set_paused(paused);
  job.set_rollout_state("paused: 3 of 40 failed (--max-fail 5%)");
  return job;
}

TEST_CASE("A job that pauses is asked about once, and a yes goes on", "[tools][pause_question]") {
  std::vector<std::string> asked;
  PauseQuestion question([&](const std::string& text) {
    asked.push_back(text);
    return std::optional<std::string>("y");
  });
  CHECK(question.on_state(paused_job(false), 5) == Act::nothing);
  CHECK(question.on_state(paused_job(), 5) == Act::resume);
  CHECK(question.on_state(paused_job(), 5) == Act::nothing);
  REQUIRE(asked.size() == 1);
  CHECK(asked[0] == "j7: paused: 3 of 40 failed (--max-fail 5%): continue? [y/N] ");
  CHECK(question.on_state(paused_job(false), 5) == Act::nothing);
  CHECK(question.on_state(paused_job(), 5) == Act::resume);
  CHECK(asked.size() == 2);
}

TEST_CASE("After a no what has begun may end before the rest is cancelled",
          "[tools][pause_question]") {
  PauseQuestion question([](const std::string&) { return std::optional<std::string>(""); });
  CHECK(question.on_state(paused_job(), 2) == Act::nothing);
  CHECK(question.on_state(paused_job(), 1) == Act::nothing);
  CHECK(question.on_state(paused_job(), 0) == Act::cancel);
  CHECK(question.on_state(paused_job(), 0) == Act::nothing);
}

TEST_CASE("Without an answer a paused job stays paused", "[tools][pause_question]") {
  PauseQuestion question([](const std::string&) { return std::nullopt; });
  CHECK(question.on_state(paused_job(), 0) == Act::nothing);
  CHECK(question.on_state(paused_job(), 0) == Act::nothing);
}

}  // namespace
}  // namespace p2p
