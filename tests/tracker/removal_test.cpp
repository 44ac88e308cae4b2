#include "tracker/removal.h"

#include "tests/tracker/board_fixture.h"

namespace p2p {
namespace {

using test::Disk;
using test::must;
using test::Process;
using test::publish_base;
using test::publish_of;
using test::push_of;
using test::say_holding;
using test::TrackerIdentity;

constexpr Duration kDay = std::chrono::hours(24);

// A tracker's process that can remove nodes, and notes what agents are told and in which order.
struct Remover final : Removal::Agents {
  explicit Remover(Process& process_value) : process(process_value) {}

  Process& process;
  std::vector<std::string> lists;
  std::vector<NodeId> ended;
  int told_too_early = 0;
  Removal removal{TrackerIdentity::get().signer(),
                  TrackerIdentity::get().cluster.id,
                  process.registry,
                  process.board,
                  process.journal,
                  *this};

  std::uint32_t send_to_all(const proto::TrackerMessage& message) override {
    REQUIRE(message.kind_case() == proto::TrackerMessage::kDenyList);
    told_too_early += removals_stored() == 0 ? 1 : 0;
    lists.push_back(message.deny_list());
    return 3;
  }
  void end_removed(NodeId node) override {
    ended.push_back(node);
    process.board.on_agent_offline(node, process.now);
  }
  std::size_t removals_stored() {
    std::size_t count = 0;
    REQUIRE(process.disk.store.scan("node/", [&](std::string_view, const auto& entry) {
      proto::NodeRecord record;
      REQUIRE(record.ParseFromString(entry.value));
      count += record.removed() ? 1 : 0;
      return true;
    }));
    return count;
  }
  Result<proto::RemovedNode> try_remove(const std::string& node) {
    std::optional<Result<proto::RemovedNode>> done;
    removal.remove(node, process.now,
                   [&](Result<proto::RemovedNode> result) { done = std::move(result); });
    REQUIRE(process.run_until([&] { return done.has_value(); }));
    return *done;
  }
  proto::RemovedNode remove(const std::string& node) { return must(try_remove(node)); }
  DenyList read(const std::string& statement) {
    StatementVerifier verifier = TrackerIdentity::get().verifier();
    return must(verify_deny_list(verifier, statement, process.now));
  }
};

const TaskStatus& task_of(Process& process, JobId job, NodeId node) {
  const Job& shown = process.job(job).shown();
  return shown.tasks()[*shown.index_of(node)];
}

TEST_CASE("A removed node is on the signed list before anybody hears that it is removed",
          "[tracker]") {
  Disk disk;
  Process process(disk);
  Remover remover(process);
  process.enrol_online("web1");
  process.enrol_online("web2");
  const NodeId web1 = process.id("web1");
  const proto::RemovedNode removed = remover.remove("web1");
  CHECK(removed.id() == web1.str());
  CHECK(removed.name() == "web1");
  CHECK_FALSE(removed.already());
  CHECK(removed.agents_told() == 3);
  CHECK(remover.ended == std::vector{web1});
  CHECK(remover.told_too_early == 0);
  REQUIRE(remover.lists.size() == 1);
  CHECK(remover.read(remover.lists.front()).nodes == std::set<NodeId>{web1});
}

TEST_CASE("A removed node is not found, not selected, and its name is free again", "[tracker]") {
  Disk disk;
  Process process(disk);
  Remover remover(process);
  process.enrol("web1", {{"dc", "bj"}});
  const NodeId before = process.id("web1");
  remover.remove("web1");
  CHECK(process.registry.find("web1") == nullptr);
  CHECK(process.registry.find(before) == nullptr);
  CHECK(process.registry.candidates().empty());
  CHECK(process.registry.name_of(before) == "web1");
  process.enrol("web1");
  CHECK(process.id("web1") != before);
  CHECK(process.registry.candidates().front().labels.empty());
}

TEST_CASE("Removing a node again says when it was removed, and an unknown one is an error",
          "[tracker]") {
  Disk disk;
  Process process(disk);
  Remover remover(process);
  process.enrol("web1");
  const proto::RemovedNode first = remover.remove("web1");
  for (const std::string& name : {std::string("web1"), first.id()}) {
    const proto::RemovedNode again = remover.remove(name);
    CHECK(again.already());
    CHECK(again.id() == first.id());
    CHECK(again.removed_at() == first.removed_at());
  }
  CHECK(remover.lists.size() == 1);
  const auto unknown = remover.try_remove("web9");
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code == Errc::not_found);
  CHECK_THAT(unknown.error().detail, Catch::Contains("node list"));
  // A node that joined with the name of a removed one is another node.
  process.enrol("web1");
  CHECK(remover.remove("web1").id() != first.id());
  CHECK(remover.remove("web1").already());
}

TEST_CASE("A removal of which the list was never sent sends it when it is repeated", "[tracker]") {
  Disk disk;
  {
    Process process(disk);
    process.enrol("web1");
    // As if the tracker ended, or could not sign, right after the removal was stored.
    StateBatch batch;
    process.registry.remove(*process.registry.find("web1"), process.now, batch);
    process.journal.commit(std::move(batch));
    process.settle();
  }
  Process process(disk);
  Remover remover(process);
  const proto::RemovedNode again = remover.remove("web1");
  CHECK(again.already());
  CHECK(again.agents_told() == 3);
  CHECK(remover.lists.size() == 1);
  remover.remove("web1");
  CHECK(remover.lists.size() == 1);
}

TEST_CASE("A removal that cannot be stored tells nobody", "[tracker]") {
  Disk disk;
  Process process(disk);
  Remover remover(process);
  process.enrol("web1");
  disk.store.fail_keys_that_end_with(process.id("web1").str());
  CHECK_FALSE(remover.try_remove("web1"));
  CHECK(remover.lists.empty());
  CHECK(remover.ended.empty());
}

TEST_CASE("Tasks of a removed node fail, those of others go on, and jobs end", "[tracker]") {
  Disk disk;
  Process process(disk);
  Remover remover(process);
  process.enrol_online("n1");
  process.enrol_online("n2");
  publish_base(process);
  const JobId job = process.create(push_of("images/base", "n1 | n2"));
  const NodeId n1 = process.id("n1");
  process.report("n1", job, TaskState::running);
  process.report("n2", job, TaskState::running);
  process.agents.take();
  CHECK(remover.remove("n1").tasks_failed() == 1);
  CHECK(task_of(process, job, n1).state == TaskState::failed);
  CHECK(task_of(process, job, n1).detail == "the node was removed from the cluster");
  CHECK(process.state_of(job, "n2") == TaskState::running);
  CHECK_FALSE(process.job(job).finished());
  // It does not hear of the job any more, whatever it says.
  proto::TaskUpdate late;
  late.set_job(job.number);
  late.set_state("succeeded");
  process.board.on_task_update(n1, late, process.now);
  CHECK(task_of(process, job, n1).state == TaskState::failed);
  process.report("n2", job, TaskState::succeeded);
  CHECK(process.job(job).finished());
  CHECK(process.job(job).record.state() == "failed");
}

TEST_CASE("A job of removed nodes alone ends at once", "[tracker]") {
  Disk disk;
  Process process(disk);
  Remover remover(process);
  process.enrol("n1");  // never online
  publish_base(process);
  const JobId job = process.create(push_of("images/base", "n1"));
  CHECK(remover.remove("n1").tasks_failed() == 1);
  CHECK(process.job(job).finished());
}

TEST_CASE("A publish of a removed node fails, and a push that waited for it", "[tracker]") {
  Disk disk;
  Process process(disk);
  Remover remover(process);
  process.enrol_online("n0");
  process.registry.find("n0")->shares = {"/srv"};
  process.enrol_online("n1");
  const JobId publish = process.create(publish_of("n0", "/srv/a", "images/a"));
  const JobId push = process.create(push_of("n0:/srv/a", "n1"));
  CHECK(remover.remove("n0").tasks_failed() == 2);
  CHECK(process.job(publish).finished());
  CHECK(process.job(push).finished());
  CHECK_THAT(process.job(push).record.detail(), Catch::Contains("removed from the cluster"));
}

TEST_CASE("Receivers that lack what only a removed node had do not wait for ever", "[tracker]") {
  Disk disk;
  Process process(disk, SourceLossRules{.settle = Duration{0}, .after_start = Duration{0}});
  Remover remover(process);
  process.enrol_online("n0");
  process.enrol_online("n1");
  const auto manifest = publish_base(process);
  say_holding(process, "n0", manifest.content_id);
  const JobId job = process.create(push_of("images/base", "n1"));
  process.report("n1", job, TaskState::running);
  remover.remove("n0");
  CHECK(process.board.swarm_of(manifest.content_id)->holders().empty());
  CHECK_FALSE(process.job(job).finished());
  proto::TaskUpdate lacking;
  lacking.set_job(job.number);
  lacking.set_state("running");
  lacking.set_chunks_without_holder(1);
  const NodeId n1 = process.id("n1");
  REQUIRE(process.run_until([&] {
    process.board.on_task_update(n1, lacking, process.now);
    process.board.on_tick(process.now);
    process.settle();
    return process.job(job).finished();
  }));
  CHECK_THAT(task_of(process, job, n1).detail, Catch::Contains("n0"));
}

TEST_CASE("A removal survives a restart, and tasks that it left unfinished fail then",
          "[tracker]") {
  Disk disk;
  JobId job;
  NodeId n1;
  std::uint64_t version = 0;
  {
    Process process(disk);
    process.enrol_online("n1");
    process.enrol_online("n2");
    publish_base(process);
    job = process.create(push_of("images/base", "n1 | n2"));
    n1 = process.id("n1");
    // As if the tracker ended right after the removal was stored.
    StateBatch batch;
    process.registry.remove(*process.registry.find("n1"), process.now, batch);
    process.journal.commit(std::move(batch));
    process.settle();
    version = process.registry.deny_version();
  }
  Process process(disk);
  CHECK(process.registry.find(n1) == nullptr);
  CHECK(process.registry.deny_version() == version);
  CHECK(process.registry.deny_list(process.now).nodes.contains(n1));
  CHECK(task_of(process, job, n1).state == TaskState::failed);
  CHECK(process.state_of(job, "n2") != TaskState::failed);
}

TEST_CASE("The version of the deny-list rises, also when the clock goes back", "[tracker]") {
  Disk disk;
  Process process(disk);
  for (const char* name : {"a", "b", "c"}) process.enrol(name);
  StateBatch batch;
  CHECK(process.registry.deny_version() == 0);
  process.registry.remove(*process.registry.find("a"), process.now, batch);
  const std::uint64_t first = process.registry.deny_version();
  process.registry.remove(*process.registry.find("b"), process.now - 10 * kDay, batch);
  const std::uint64_t second = process.registry.deny_version();
  CHECK(second == first + 1);
  // At least the time: a tracker that forgot some removals does not repeat their versions.
  process.registry.remove(*process.registry.find("c"), process.now + kDay, batch);
  CHECK(process.registry.deny_version() ==
        static_cast<std::uint64_t>(unix_millis(process.now + kDay)));
}

TEST_CASE("A node leaves the deny-list when its certificate has surely run out", "[tracker]") {
  Disk disk;
  Process process(disk);
  process.enrol("a");
  const NodeId a = process.id("a");
  StateBatch batch;
  process.registry.remove(*process.registry.find("a"), process.now, batch);
  CHECK(process.registry.deny_list(process.now + kAgentCertificateLife).nodes.contains(a));
  const DenyList later =
      process.registry.deny_list(process.now + kAgentCertificateLife + 2 * kClockSkewAllowance);
  CHECK(later.nodes.empty());
  CHECK(later.version == process.registry.deny_version());
}

TEST_CASE("An agent with an older deny-list is given the present one, and no other", "[tracker]") {
  Disk disk;
  Process process(disk);
  Remover remover(process);
  process.enrol("a");
  CHECK(remover.removal.newer_than(0, process.now).empty());
  remover.remove("a");
  const std::uint64_t version = process.registry.deny_version();
  const std::string list = remover.removal.newer_than(version - 1, process.now);
  CHECK(remover.read(list).version == version);
  CHECK(remover.removal.newer_than(version, process.now).empty());
  CHECK(remover.removal.newer_than(version + 1, process.now).empty());
}

}  // namespace
}  // namespace p2p
