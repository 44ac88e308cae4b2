#include "core/runs/node_rules.h"

#include "core/runs/exec_policy.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using enum RunState;
using std::chrono::hours;
using std::chrono::milliseconds;

const WallTime kNow{milliseconds(1'790'000'000'000)};

RunOffer offer_of_age(Duration age, bool accepted_before = false) {
  return {.id = RunId::make(kNow - age, {}), .accepted_before = accepted_before};
}

// ---- offers ----------------------------------------------------------------------------------

TEST_CASE("A run that nobody here has heard of is begun", "[core][runs]") {
  CHECK(answer_offer(offer_of_age(hours(1)), std::nullopt, kNow) == OfferAnswer::begin);
  // The tracker's clock may be ahead.
  CHECK(answer_offer(offer_of_age(-hours(1)), std::nullopt, kNow) == OfferAnswer::begin);
}

TEST_CASE("A run that the ledger knows is never begun again", "[core][runs]") {
  for (const RunState state : {accepted, running, exited, rejected, timed_out, cancelled, lost}) {
    for (const bool before : {false, true}) {
      for (const Duration age : {Duration(hours(0)), Duration(hours(10'000))}) {
        CHECK(answer_offer(offer_of_age(age, before), state, kNow) == OfferAnswer::say_recorded);
      }
    }
  }
}

TEST_CASE("A run that was accepted and is not in the ledger is lost", "[core][runs]") {
  CHECK(answer_offer(offer_of_age(hours(1), true), std::nullopt, kNow) == OfferAnswer::say_lost);
}

TEST_CASE("A run that may have been forgotten is not begun", "[core][runs]") {
  CHECK(answer_offer(offer_of_age(kRunTooOld), std::nullopt, kNow) == OfferAnswer::begin);
  CHECK(answer_offer(offer_of_age(kRunTooOld + hours(1)), std::nullopt, kNow) ==
        OfferAnswer::say_too_old);
}

TEST_CASE("Only runs that have ended are forgotten, and none that could still be begun",
          "[core][runs]") {
  const RunId old = offer_of_age(kRunForgotten + hours(1)).id;
  CHECK(may_forget(old, exited, kNow));
  CHECK(may_forget(old, lost, kNow));
  CHECK_FALSE(may_forget(old, running, kNow));
  CHECK_FALSE(may_forget(offer_of_age(kRunForgotten).id, exited, kNow));
  // Between the two ages lies room for clocks that differ.
  CHECK(kRunForgotten - kRunTooOld >= hours(24 * 7));
}

// ---- what is found ---------------------------------------------------------------------------

TEST_CASE("A result says how a run ended, whatever else is found", "[core][runs]") {
  const auto with = [](RunEnd end) {
    RunTraces traces{.begun = true, .shim_lives = false, .end = end};
    const RunState state = state_of_run(accepted, traces);
    traces.shim_lives = true;
    CHECK(state_of_run(running, traces) == state);
    return state;
  };
  CHECK(with(RunEnd::by_itself) == exited);
  CHECK(with(RunEnd::not_begun) == rejected);
  CHECK(with(RunEnd::by_timeout) == timed_out);
  CHECK(with(RunEnd::by_cancel) == cancelled);
}

TEST_CASE("A run goes on while its shim lives", "[core][runs]") {
  CHECK(state_of_run(accepted, {.begun = false, .shim_lives = true, .end = {}}) == accepted);
  CHECK(state_of_run(accepted, {.begun = true, .shim_lives = true, .end = {}}) == running);
  CHECK(state_of_run(running, {.begun = false, .shim_lives = true, .end = {}}) == running);
}

TEST_CASE("A run without shim and result is lost, and said to be", "[core][runs]") {
  const RunTraces nothing{};
  const RunTraces begun{.begun = true, .shim_lives = false, .end = {}};
  CHECK(state_of_run(accepted, nothing) == lost);
  CHECK(state_of_run(accepted, begun) == lost);
  CHECK(state_of_run(running, begun) == lost);
  CHECK(why_lost(begun).find("had begun") != std::string_view::npos);
  CHECK(why_lost(nothing).find("whether the command ran is not known") != std::string_view::npos);
}

TEST_CASE("What the ledger says in the end holds against later traces", "[core][runs]") {
  for (const RunState state : {exited, rejected, timed_out, cancelled, lost}) {
    CHECK(state_of_run(state, {.begun = true, .shim_lives = true, .end = {}}) == state);
    CHECK(state_of_run(state, {.begun = true, .shim_lives = false, .end = RunEnd::by_itself}) ==
          state);
  }
}

// ---- the owner's veto ------------------------------------------------------------------------

TEST_CASE("The owner of a node says what may run on it", "[core][runs]") {
  CHECK(permit_run(ExecPolicy::any, RunKind::command));
  CHECK(permit_run(ExecPolicy::any, RunKind::script));
  CHECK(permit_run(ExecPolicy::scripts_only, RunKind::script));
  CHECK_FALSE(permit_run(ExecPolicy::scripts_only, RunKind::command));
  CHECK_FALSE(permit_run(ExecPolicy::off, RunKind::script));
  CHECK_FALSE(permit_run(ExecPolicy::off, RunKind::command));
}

TEST_CASE("A veto names the switch that holds and the one that would help", "[core][runs]") {
  const Error commands = permit_run(ExecPolicy::scripts_only, RunKind::command).error();
  CHECK(commands.code == Errc::denied);
  CHECK(commands.detail ==
        "this node runs scripts of the library only (p2pd run --exec scripts-only); its owner can "
        "allow any command with --exec any");
  const Error all = permit_run(ExecPolicy::off, RunKind::script).error();
  CHECK(all.code == Errc::denied);
  CHECK(all.detail.find("p2pd run --exec off") != std::string::npos);
  CHECK(all.detail.find("--exec scripts-only") != std::string::npos);
}

TEST_CASE("Where only scripts run, no variable may make them run something else", "[core][runs]") {
  for (const char* name : {"BASH_ENV",
                           "ENV",
                           "SHELLOPTS",
                           "BASHOPTS",
                           "PS4",
                           "IFS",
                           "PATH",
                           "HOME",
                           "ZDOTDIR",
                           "LD_PRELOAD",
                           "LD_LIBRARY_PATH",
                           "LD_AUDIT",
                           "BASH_FUNC_ls%%",
                           "PERL5OPT",
                           "PERL5LIB",
                           "PERLLIB",
                           "PYTHONPATH",
                           "PYTHONSTARTUP",
                           "PYTHONINSPECT",
                           "RUBYOPT",
                           "RUBYLIB",
                           "NODE_OPTIONS",
                           "NODE_PATH",
                           "GCONV_PATH",
                           "LUA_INIT",
                           "PHPRC",
                           "JAVA_TOOL_OPTIONS"}) {
    INFO(name);
    const std::string variable = std::string(name) + "=/tmp/x=y";
    const Status permitted = permit_variable(ExecPolicy::scripts_only, variable);
    REQUIRE_FALSE(permitted);
    CHECK(permitted.error().code == Errc::denied);
    CHECK(permitted.error().detail.starts_with(std::string(name) + " "));
    CHECK(permitted.error().detail.find("account") != std::string::npos);
    CHECK(permitted.error().detail.ends_with("--exec any"));
    CHECK(permitted.error().detail.size() < 197);  // the tracker keeps no more
    CHECK(permit_variable(ExecPolicy::any, variable));
  }
  for (const char* variable : {"LANG=C", "STAGE=LD_PRELOAD=x", "P2PD_NODE=n1", "MY_PATH=/x",
                               "ENVIRONMENT=prod", "path=/x", "TERM=vt100", "OLD_LD_PRELOAD=x"}) {
    INFO(variable);
    CHECK(permit_variable(ExecPolicy::scripts_only, variable));
  }
}

TEST_CASE("The veto is one of three words", "[core][runs]") {
  for (const ExecPolicy policy : {ExecPolicy::off, ExecPolicy::scripts_only, ExecPolicy::any}) {
    CHECK(*parse_exec_policy(to_string(policy)) == policy);
  }
  for (const char* wrong : {"", "on", "OFF", "scripts_only", "any "}) {
    INFO(wrong);
    REQUIRE_FALSE(parse_exec_policy(wrong));
    CHECK(parse_exec_policy(wrong).error().detail ==
          std::string("--exec ") + wrong + ": write off, scripts-only or any");
  }
}

}  // namespace
}  // namespace p2p
