// What becomes of jobs, and of the version, when a source's file is not what it was any more.
#include <string>
#include <vector>

#include "tests/tracker/board_fixture.h"
#include "tracker/job_board.h"

namespace p2p {
namespace {

using Catch::Contains;
using test::Disk;
using test::Process;
using test::publish_base;
using test::push_of;
using test::say_holding;

// How long receivers must lack something is the core's rule, and tested there.
constexpr SourceLossRules kAtOnce{.settle = Duration{0}};

// web1 and web2 receive images/base from a seed.
struct Receivers : Process {
  PackedManifest manifest = publish_base(*this);
  JobId push;

  explicit Receivers(Disk& disk_value, const SourceLossRules& rules = kAtOnce)
      : Process(disk_value, rules) {
    for (const char* name : {"seed", "web1", "web2"}) enrol_online(name);
    say_holding(*this, "seed", manifest.content_id);
    push = create(push_of("images/base", "web[1-2]"));
    agents.take();
  }
  void lose(const std::string& name, bool changed = true) {
    proto::Holdings holdings;
    auto& holding = *holdings.add_holdings();
    holding.set_content_id(std::string(manifest.content_id.digest.view()));
    holding.set_path("/srv/base.img");
    holding.set_gone(true);
    holding.set_changed(changed);
    board.on_holdings(id(name), holdings);
  }
  void report_lacking(const std::string& name, std::uint32_t chunks) {
    proto::TaskUpdate update;
    update.set_job(push.number);
    update.set_state(std::string(to_string(TaskState::running)));
    update.set_chunks_without_holder(chunks);
    board.on_task_update(id(name), update, now);
  }
  void tick() { board.on_tick(now); }
  std::string detail_of(const std::string& name) {
    const Job& shown = job(push).shown();
    return shown.tasks()[*shown.index_of(id(name))].detail;
  }
  bool is_withdrawn() const {
    return !catalogue.find({"images", "base", "1"})->withdrawn().empty();
  }
};

}  // namespace

TEST_CASE("When the source's file has changed and all receivers lack something, the job fails",
          "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.report_lacking("web1", 3);
  process.report_lacking("web2", 1);
  process.tick();
  CHECK(process.agents.sent.empty());
  process.lose("seed");
  process.report_lacking("web1", 3);
  process.tick();
  CHECK_FALSE(process.job(process.push).finished());
  process.report_lacking("web2", 1);
  process.tick();
  for (const char* name : {"web1", "web2"}) {
    CAPTURE(name);
    CHECK(process.state_of(process.push, name) == TaskState::failed);
    CHECK_THAT(process.detail_of(name), Contains("changed at the source (seed:/srv/base.img)"));
    const auto sent = process.sent_to(name);
    REQUIRE(sent.size() == 1);
    CHECK(sent.front().cancel().job() == process.push.number);
  }
  CHECK(process.job(process.push).record.state() == "failed");
}

TEST_CASE("A source that is gone without a change is called so", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.lose("seed", /*changed=*/false);
  process.report_lacking("web1", 3);
  process.report_lacking("web2", 3);
  process.tick();
  CHECK_THAT(process.detail_of("web1"), Contains("gone from the source (seed:/srv/base.img)"));
}

TEST_CASE("A version that is lost is refused from then on, with the reason, also after a restart",
          "[tracker][loss]") {
  Disk disk;
  {
    Receivers process(disk);
    process.lose("seed");
    process.report_lacking("web1", 3);
    process.report_lacking("web2", 3);
    process.tick();
    for (const char* source : {"images/base", "images/base@1", "images/base@latest"}) {
      CAPTURE(source);
      const Error refusal = process.refusal(push_of(source, "web1"));
      CHECK(refusal.code == Errc::unavailable);
      CHECK_THAT(refusal.detail,
                 Contains("images/base@1 was withdrawn: changed at the source (seed:"));
    }
    process.settle();
  }
  Process process(disk);
  process.online("web1");
  CHECK(process.refusal(push_of("images/base", "web1")).code == Errc::unavailable);
}

TEST_CASE("Losing one source is nothing while another node holds the content whole",
          "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.enrol_online("seed2");
  say_holding(process, "seed2", process.manifest.content_id);
  process.agents.take();
  process.lose("seed");
  process.report_lacking("web1", 3);
  process.report_lacking("web2", 3);
  process.tick();
  CHECK_FALSE(process.job(process.push).finished());
  for (const char* name : {"web1", "web2"}) CHECK(process.sent_to(name).empty());
  CHECK_FALSE(process.is_withdrawn());

  process.lose("seed2");
  process.report_lacking("web1", 3);
  process.report_lacking("web2", 3);
  process.tick();
  CHECK(process.is_withdrawn());
}

TEST_CASE("Losing the source is nothing when everything is out", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.lose("seed");
  process.report_lacking("web1", 0);
  process.report_lacking("web2", 5);
  process.tick();
  CHECK_FALSE(process.job(process.push).finished());
  process.report("web1", process.push, TaskState::succeeded);
  say_holding(process, "web1", process.manifest.content_id);
  process.tick();
  process.report_lacking("web2", 5);
  process.tick();
  CHECK_FALSE(process.job(process.push).finished());
  CHECK_FALSE(process.is_withdrawn());
}

TEST_CASE("A receiver that is away may hold what the others lack, until it is given up",
          "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.report("web2", process.push, TaskState::running);
  process.offline("web2");
  process.lose("seed");
  process.report_lacking("web1", 3);
  process.tick();
  CHECK_FALSE(process.job(process.push).finished());
  process.online("web2");
  process.report_lacking("web2", 2);
  process.tick();
  CHECK(process.job(process.push).finished());
}

TEST_CASE("Receivers must have lacked something for a while", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk, {.settle = std::chrono::hours(1)});
  process.lose("seed");
  process.report_lacking("web1", 3);
  process.report_lacking("web2", 3);
  process.tick();
  CHECK_FALSE(process.job(process.push).finished());
}

TEST_CASE("A job of another content goes on", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  const PackedManifest other = test::packed("other.img", "other bytes");
  REQUIRE(process.catalogue.write_manifest(other.content_id, other.root_record_bytes,
                                           other.body_bytes));
  StateBatch batch;
  process.catalogue.add_content(test::content_record(other, "other.img"), batch);
  REQUIRE(disk.store.apply(batch));
  const JobId going_on =
      process.create(push_of(other.content_id.hex(), "web[1-2]", "/srv/other.img"));
  process.lose("seed");
  process.report_lacking("web1", 3);
  process.report_lacking("web2", 3);
  process.tick();
  CHECK(process.job(process.push).finished());
  CHECK_FALSE(process.job(going_on).finished());
}

TEST_CASE("A node that goes on with a job that nobody knows is told to cancel it",
          "[tracker][loss]") {
  Disk disk;
  Process process(disk);
  process.enrol_online("web1");
  for (const TaskState state : {TaskState::accepted, TaskState::running}) {
    process.report("web1", JobId{99}, state);
    const auto sent = process.sent_to("web1");
    REQUIRE(sent.size() == 1);
    CHECK(sent.front().cancel().job() == 99);
    process.agents.take();
  }
}

TEST_CASE("A node that says how a job ended that nobody knows is told nothing", "[tracker][loss]") {
  Disk disk;
  Process process(disk);
  process.enrol_online("web1");
  for (const TaskState state : {TaskState::succeeded, TaskState::failed, TaskState::cancelled}) {
    process.report("web1", JobId{99}, state);
  }
  CHECK(process.agents.sent.empty());
}

TEST_CASE("A node that goes on with a job of others, or with its own ended task, is told to cancel",
          "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.report("seed", process.push, TaskState::accepted);
  REQUIRE(process.sent_to("seed").size() == 1);
  CHECK(process.sent_to("seed").front().cancel().job() == process.push.number);
  process.report("web1", process.push, TaskState::failed);
  process.agents.take();
  process.report("web1", process.push, TaskState::running);
  REQUIRE(process.sent_to("web1").size() == 1);
  process.agents.take();
  process.report("web2", process.push, TaskState::running);
  CHECK(process.agents.sent.empty());
}

}  // namespace p2p
