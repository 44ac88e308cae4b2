// What is checked before an exec job is made, and what its order says.
#include "tracker/run_plan.h"
#include "tests/support/catch.h"
#include "tests/tracker/run_fixture.h"

namespace p2p::test {
namespace {

using Kind = proto::TrackerMessage;

void set_account(RunProcess& tracker, const std::string& name, const std::string& role,
                 const std::string& nodes = "") {
  proto::AccountRecord account;
  account.set_name(name);
  account.set_user("svc-" + name);
  if (!role.empty()) account.add_roles(role);
  account.set_nodes(nodes);
  account.set_wall_ms(60'000);
  account.set_memory_bytes(1 << 20);
  account.add_environment("STAGE=prod");
  StateBatch batch;
  REQUIRE(tracker.accounts.set(account, batch));
  REQUIRE(tracker.disk.store.apply(batch));
}

std::string put_script(RunProcess& tracker, const std::string& name, const std::string& body) {
  const std::string hash = must(tracker.blobs.put(body));
  proto::ScriptRecord script;
  script.set_name(name);
  script.set_sha256(hash);
  script.set_bytes(body.size());
  StateBatch batch;
  tracker.scripts.put(script, batch);
  REQUIRE(tracker.disk.store.apply(batch));
  return hash;
}

proto::ExecSpec as(const std::string& account, proto::ExecSpec spec) {
  spec.set_account(account);
  return spec;
}

const Caller kUser{"ann", "id-of-ann", false, {"dev"}};

TEST_CASE("who may not use an account learns neither of it nor of scripts and nodes") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  set_account(tracker, "deploy", "ops");
  put_script(tracker, "known", "#!/bin/sh\n");
  std::set<std::string> words;
  for (const char* script : {"known", "unknown"}) {
    for (const char* targets : {"n1", "nobody"}) {
      proto::ExecSpec spec = exec_of(targets, {});
      spec.set_script(script);
      const Error error = tracker.refusal(as("deploy", spec), kUser);
      CHECK(error.code == Errc::denied);
      words.insert(error.detail);
    }
  }
  CHECK(words.size() == 1);
}

TEST_CASE("users name an account that one of their roles may use") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  set_account(tracker, "deploy", "dev");
  CHECK(tracker.refusal(exec_of("n1"), kUser).code == Errc::denied);
  const JobId job = must(tracker.try_create(as("deploy", exec_of("n1")), kUser));
  const proto::RunOrder order = tracker.sent_to("n1", Kind::kRun).front().run().order();
  CHECK(order.account() == "svc-deploy");
  CHECK(order.limits().memory_bytes() == 1 << 20);
  CHECK(order.environment(0) == "STAGE=prod");
  CHECK(order.timeout_ms() == 60'000);
  CHECK(tracker.job(job).record.created_by() == "ann");
}

TEST_CASE("an account's limit of time cannot be raised") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  set_account(tracker, "deploy", "");
  proto::ExecSpec spec = as("deploy", exec_of("n1"));
  spec.set_timeout_ms(60'001);
  CHECK(tracker.refusal(spec).detail.find("--timeout") != std::string::npos);
  spec.set_timeout_ms(60'000);
  CHECK(tracker.try_create(spec));
}

TEST_CASE("an account that is for some nodes is refused on others, by their names") {
  Disk disk;
  RunProcess tracker(disk);
  for (const char* name : {"n1", "n2", "n3"}) tracker.enrol_online(name);
  set_account(tracker, "deploy", "dev", "n1");
  const Error error = tracker.refusal(as("deploy", exec_of("*")), kUser);
  CHECK(error.code == Errc::denied);
  CHECK(error.detail.find("n[2-3]") != std::string::npos);
  CHECK(tracker.try_create(as("deploy", exec_of("n1")), kUser));
}

TEST_CASE("small scripts and inputs are in the order, large ones are asked for by hash") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  tracker.enrol_online("n2");
  put_script(tracker, "small", "#!/bin/sh\necho hi\n");
  const std::string body = "#!/bin/sh\n" + std::string(kMaxInlineBytes, '#');
  const std::string hash = put_script(tracker, "large", body);
  proto::ExecSpec spec = exec_of("n1", {"arg"});
  spec.set_script("small");
  spec.set_input("input");
  tracker.create(spec);
  proto::RunTask task = tracker.sent_to("n1", Kind::kRun).back().run();
  CHECK(task.order().is_script());
  CHECK(task.order().script() == "#!/bin/sh\necho hi\n");
  CHECK(task.order().arguments(0) == "arg");
  CHECK(task.order().input() == "input");

  const std::string input(kMaxInlineBytes + 1, 'i');
  spec.set_script("large");
  spec.set_input(input);
  const JobId job = tracker.create(spec);
  task = tracker.sent_to("n1", Kind::kRun).back().run();
  CHECK(task.order().script().empty());
  CHECK(task.order().is_script());
  CHECK(task.script_sha256() == hash);
  CHECK(task.order().input().empty());

  proto::BlobWanted wanted;
  for (const auto& [name, bytes] :
       {std::pair{task.script_sha256(), body}, std::pair{task.input_sha256(), input}}) {
    wanted.set_sha256(name);
    tracker.board.on_blob_wanted(tracker.id("n1"), wanted);
    tracker.settle();
    CHECK(tracker.sent_to("n1", Kind::kBlob).back().blob().bytes() == bytes);
  }
  // Nobody is given what no run of its own needs, nor when the run is over.
  tracker.board.on_blob_wanted(tracker.id("n2"), wanted);
  CHECK(tracker.sent_to("n2", Kind::kBlob).back().blob().unknown());
  tracker.report(job, "n1", RunState::exited, 0);
  tracker.board.on_blob_wanted(tracker.id("n1"), wanted);
  CHECK(tracker.sent_to("n1", Kind::kBlob).back().blob().unknown());
}

TEST_CASE("only so many blobs are under way, and the next go when one has arrived") {
  Disk disk;
  RunBoardLimits limits = RunProcess::no_patience();
  limits.blobs_under_way = 1;
  RunProcess tracker(disk, limits);
  const std::string hash = put_script(tracker, "large", "#!/bin/sh\n" + std::string(20'000, '#'));
  for (const char* name : {"n1", "n2"}) tracker.enrol_online(name);
  proto::ExecSpec spec = exec_of("*", {});
  spec.set_script("large");
  const JobId job = tracker.create(spec);
  proto::BlobWanted wanted;
  wanted.set_sha256(hash);
  tracker.board.on_blob_wanted(tracker.id("n1"), wanted);
  tracker.board.on_blob_wanted(tracker.id("n2"), wanted);
  tracker.settle();
  CHECK(tracker.sent_to("n1", Kind::kBlob).size() == 1);
  CHECK(tracker.sent_to("n2", Kind::kBlob).empty());
  tracker.report(job, "n1", RunState::accepted);
  CHECK(tracker.sent_to("n2", Kind::kBlob).size() == 1);
}

TEST_CASE("a dry run shows the job and leaves nothing behind") {
  Disk disk;
  RunProcess tracker(disk);
  for (const char* name : {"n1", "n2", "n3"}) tracker.enrol_online(name);
  proto::ExecSpec spec = exec_of("*");
  spec.mutable_rollout()->set_waves("1,100%");
  std::optional<proto::Job> shown;
  tracker.board.create(spec, admin(), true, tracker.now, [&](const Result<const BoardExec*>& job) {
    shown = exec_view(*must(job), tracker.registry, WithRuns::yes);
  });
  REQUIRE(tracker.run_until([&] { return shown.has_value(); }));
  CHECK(shown->id().empty());
  CHECK(shown->waves() == 2);
  CHECK(shown->runs(0).wave() == 1);
  CHECK(shown->runs(2).wave() == 2);
  CHECK(shown->order_sha256().size() == 64);
  CHECK(tracker.agents.sent.empty());
  CHECK(tracker.board.newest_first().empty());
  CHECK(disk.store.keys("exec/").empty());
}

TEST_CASE("turns come by name, or spread over racks") {
  Disk disk;
  RunProcess tracker(disk);
  for (const char* name : {"a1", "a2", "b1", "b2"}) {
    tracker.enrol(name, {{"dc", "x"}, {"rack", std::string(1, name[0])}});
    tracker.online(name);
  }
  const auto names = [&](const std::string& order) {
    proto::ExecSpec spec = exec_of("*");
    spec.mutable_rollout()->set_order(order);
    std::string list;
    for (const RunStatus& run : tracker.job(tracker.create(spec)).job->runs()) {
      list += tracker.registry.name_of(run.node) + " ";
    }
    return list;
  };
  CHECK(names("") == "a1 a2 b1 b2 ");
  CHECK(names("rack-spread") == "a1 b1 a2 b2 ");
  CHECK(names("random").size() == names("name").size());
}

TEST_CASE("what cannot be run is refused with what to do") {
  Disk disk;
  RunProcess tracker(disk);
  tracker.enrol_online("n1");
  const auto says = [&](const proto::ExecSpec& spec, const std::string& word) {
    const Error error = tracker.refusal(spec);
    CAPTURE(error.detail);
    CHECK(error.detail.find(word) != std::string::npos);
  };
  says(exec_of("n1", {}), "nothing to run");
  says(exec_of("", {"true"}), "--to");
  says(exec_of("nobody"), "nobody");
  says(exec_of("n1", {std::string(70'000, 'x')}), "64 KiB");
  proto::ExecSpec spec = exec_of("n1");
  spec.set_input(std::string(600'000, 'x'));
  says(spec, "512 KiB");
  spec = exec_of("n1");
  spec.mutable_rollout()->set_offline("maybe");
  says(spec, "--offline");
  spec.mutable_rollout()->set_offline("");
  spec.mutable_rollout()->set_order("size");
  says(spec, "--order");
  spec = exec_of("n1");
  spec.mutable_rollout()->set_ttl_seconds(31ull * 24 * 3600);
  says(spec, "--ttl");
  spec = exec_of("n1");
  spec.set_folder("tmp");
  says(spec, "absolute");
  spec = exec_of("n1", {});
  spec.set_script("none");
  says(spec, "none");
  says(as("nobody", exec_of("n1")), "nobody");
}

}  // namespace
}  // namespace p2p::test
