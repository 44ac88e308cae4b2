// Who may steer, repeat and see an exec job that somebody has made.
#include "tests/support/catch.h"
#include "tests/tracker/run_fixture.h"

namespace p2p::test {
namespace {

const Caller kAnn{"ann", "id-of-ann", false, {"dev"}};

struct RightsTest {
  Disk disk;
  RunProcess tracker{disk};
  std::int64_t at_ms = 1'700'000'000'000;

  RightsTest() {
    tracker.enrol_online("n1");
    set_account("deploy", "dev", "svc-deploy");
  }
  void set_account(const std::string& name, const std::string& role, const std::string& user) {
    proto::AccountRecord account;
    account.set_name(name);
    account.set_user(user);
    account.add_roles(role);
    account.set_changed_unix_ms(at_ms += 1);
    StateBatch batch;
    REQUIRE(tracker.accounts.set(account, batch));
    REQUIRE(disk.store.apply(batch));
  }
  void remove_account(const std::string& name) {
    StateBatch batch;
    REQUIRE(tracker.accounts.remove(name, batch));
    REQUIRE(disk.store.apply(batch));
  }
  JobId job_of(const Caller& caller, const std::string& account = "deploy") {
    proto::ExecSpec spec = exec_of("n1", {"secret", "--key"});
    spec.set_account(account);
    return must(tracker.try_create(spec, caller));
  }
  bool may_look(JobId job, const Caller& caller) {
    return tracker.board.may_look(tracker.job(job), caller).has_value();
  }
};

TEST_CASE("a job is of the certificate that made it, not of the name in it") {
  RightsTest test;
  const JobId job = test.job_of(kAnn);
  CHECK(test.tracker.steer(&RunBoard::pause, job, kAnn));
  const Caller later{"ann", "id-of-the-next-ann", false, {"dev"}};
  for (const auto how : {&RunBoard::cancel, &RunBoard::pause, &RunBoard::resume}) {
    CHECK(test.tracker.steer(how, job, later).error().code == Errc::denied);
  }
  const JobId of_root = test.job_of(admin());
  const Caller namesake{"root", "id-of-a-user-called-root", false, {"dev"}};
  CHECK(test.tracker.steer(&RunBoard::cancel, of_root, namesake).error().code == Errc::denied);
  CHECK(test.tracker.steer(&RunBoard::cancel, job, kAnn));
}

TEST_CASE("an account that was changed since is not used as it was by a retry") {
  RightsTest test;
  const JobId job = test.job_of(kAnn);
  test.tracker.report(job, "n1", RunState::exited, 1);
  const JobId again = must(test.tracker.retry(job, {}, kAnn));
  test.tracker.report(again, "n1", RunState::exited, 1);
  test.set_account("deploy", "dev", "svc-less");
  for (const JobId old : {job, again}) {
    for (const Caller& caller : {kAnn, admin()}) {
      const auto refused = test.tracker.retry(old, {}, caller);
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == Errc::invalid_argument);
      CHECK(refused.error().detail.find("account deploy was changed") != std::string::npos);
      CHECK(refused.error().detail.find("p2pctl exec") != std::string::npos);
    }
  }
  test.remove_account("deploy");
  CHECK(test.tracker.retry(job, {}, admin()).error().code == Errc::not_found);
  CHECK(test.tracker.retry(job, {}, kAnn).error().code == Errc::denied);
}

TEST_CASE("what a job runs is seen by who made it, and by who may use its account now") {
  RightsTest test;
  const JobId job = test.job_of(kAnn);
  const Caller colleague{"col", "id-of-col", false, {"dev"}};
  const Caller other{"eve", "id-of-eve", false, {"ops"}};
  CHECK(test.may_look(job, admin()));
  CHECK(test.may_look(job, kAnn));
  CHECK(test.may_look(job, colleague));
  CHECK_FALSE(test.may_look(job, other));
  test.set_account("deploy", "ops", "svc-deploy");
  CHECK(test.may_look(job, kAnn));
  CHECK_FALSE(test.may_look(job, colleague));
  CHECK(test.may_look(job, other));
  CHECK_FALSE(test.may_look(test.job_of(admin(), ""), other));
}

TEST_CASE("who may not look at a job is told the same of every account") {
  RightsTest test;
  test.set_account("secret", "ops", "svc-secret");
  const JobId job = test.job_of(admin(), "secret");
  test.tracker.report(job, "n1", RunState::exited, 1);
  const std::string before = test.tracker.retry(job, {}, kAnn).error().detail;
  CHECK(before == test.tracker.board.may_look(test.tracker.job(job), kAnn).error().detail);
  test.remove_account("secret");
  CHECK(test.tracker.retry(job, {}, kAnn).error().detail == before);
  CHECK(before.find("secret") == std::string::npos);
}

TEST_CASE("of a job that is not for the caller there are state and counts only") {
  RightsTest test;
  const JobId job = test.job_of(kAnn);
  proto::Job view = exec_view(test.tracker.job(job), test.tracker.registry, WithRuns::yes);
  REQUIRE(view.runs_size() == 1);
  hide_what_it_runs(view, Error{Errc::denied, "not for you"});
  CHECK(view.id() == job.str());
  CHECK(view.state() == "running");
  CHECK(view.run_counts().at("offered") == 1);
  CHECK(view.exec().targets() == "n1");
  CHECK(view.detail() == "not for you");
  CHECK(view.runs_size() == 0);
  CHECK(view.order_sha256().empty());
  const std::string all = view.SerializeAsString();
  for (const char* hidden : {"secret", "--key", "deploy"}) {
    CHECK(all.find(hidden) == std::string::npos);
  }
}

}  // namespace
}  // namespace p2p::test
