// What becomes of jobs when a source's file is not what it was any more, or the source is away.
#include <string>
#include <vector>

#include "tests/tracker/loss_fixture.h"
#include "tracker/job_board.h"

namespace p2p {
namespace {

using Catch::Contains;
using test::Disk;
using test::kAtOnce;
using test::Process;
using test::push_of;
using test::Receivers;
using test::say_holding;
using test::say_lacking;
using test::say_lost;
using test::say_nothing_held;

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
  Receivers process(disk, {.settle = std::chrono::hours(1), .after_start = Duration{0}});
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

TEST_CASE("A receiver that is back is heard before anything is withdrawn", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.report("web2", process.push, TaskState::running);
  process.lose("seed");
  process.report_lacking("web2", 3);
  process.offline("web2");
  process.online("web2");
  process.report_lacking("web1", 3);
  process.tick();
  CHECK_FALSE(process.job(process.push).finished());
  process.report_lacking("web2", 3);
  process.tick();
  CHECK(process.job(process.push).finished());
}

TEST_CASE("A receiver that waits for another job does not say what it lacks", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.lose("seed");
  process.report_lacking("web1", 3);
  process.report("web2", process.push, TaskState::accepted);
  process.tick();
  CHECK_FALSE(process.job(process.push).finished());
}

TEST_CASE("What nobody has begun to receive fails when its only holder is lost",
          "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  for (const char* name : {"web3", "web4"}) process.enrol(name);
  const JobId waiting = process.create(push_of("images/base", "web[3-4]"));
  REQUIRE(process.board.cancel(process.push, process.now));
  process.lose("seed");
  process.tick();
  CHECK(process.job(waiting).finished());
  CHECK(process.state_of(waiting, "web3") == TaskState::failed);
  const std::string& why = process.job(waiting).shown().tasks().front().detail;
  CHECK_THAT(why, Contains("images/base@1 was withdrawn: changed at the source (seed:"));
  CHECK_THAT(why, Contains("publish it again"));
}

TEST_CASE("A holder that is only offline is waited for, and the job says for whom",
          "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.report_lacking("web1", 3);
  CHECK(process.board.waits_for(process.job(process.push)).empty());
  process.offline("seed");
  process.all_lack();
  CHECK_FALSE(process.job(process.push).finished());
  CHECK_THAT(process.board.waits_for(process.job(process.push)), Contains("waits for seed"));
  say_holding(process, "seed", process.manifest.content_id);
  process.online("seed");
  CHECK(process.board.waits_for(process.job(process.push)).empty());
  // Another one is lost meanwhile: still somebody may come back.
  process.offline("seed");
  process.enrol_online("seed2");
  say_holding(process, "seed2", process.manifest.content_id);
  process.lose("seed2");
  process.all_lack();
  CHECK_FALSE(process.job(process.push).finished());
}

TEST_CASE("Another holder that stays away is waited for as long as a target", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.enrol_online("seed2");
  say_holding(process, "seed2", process.manifest.content_id);
  process.lose("seed");
  process.offline("seed2");
  process.now = process.now + std::chrono::seconds(599);
  process.all_lack();
  CHECK_FALSE(process.job(process.push).finished());
  process.now = process.now + std::chrono::seconds(1);
  process.all_lack();
  CHECK(process.job(process.push).finished());
  CHECK(process.is_withdrawn());
  // It comes back after all.
  say_holding(process, "seed2", process.manifest.content_id);
  process.online("seed2");
  CHECK_FALSE(process.is_withdrawn());
}

TEST_CASE("A source that is back without the content is lost", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.offline("seed");
  process.all_lack();
  say_nothing_held(process, "seed");
  process.all_lack();
  CHECK(process.job(process.push).finished());
  CHECK_THAT(process.detail_of("web1"), Contains("gone from the source (seed)"));
}

TEST_CASE("A holder that is back and still counts up what it has is not lost", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  process.enrol_online("seed2");
  say_holding(process, "seed2", process.manifest.content_id);
  process.lose("seed");
  process.offline("seed2");
  process.all_lack();
  proto::Holdings beginning;
  beginning.set_first(true);
  process.board.on_holdings(process.id("seed2"), beginning);
  process.tick();
  CHECK_FALSE(process.job(process.push).finished());
  proto::Holdings end;
  end.set_last(true);
  process.board.on_holdings(process.id("seed2"), end);
  process.all_lack();
  CHECK(process.job(process.push).finished());
}

TEST_CASE("After a restart of the tracker a changed source comes to the same end",
          "[tracker][loss]") {
  Disk disk;
  JobId push;
  ContentId content;
  {
    Receivers process(disk);
    push = process.push;
    content = process.manifest.content_id;
    process.report_lacking("web1", 3);
    process.report_lacking("web2", 3);
    process.tick();
    process.settle();
  }
  Process process(disk, kAtOnce);
  for (const char* name : {"web1", "web2"}) {
    say_nothing_held(process, name);
    say_lacking(process, push, name);
  }
  process.board.on_tick(process.now);
  CHECK_FALSE(process.job(push).finished());
  CHECK_THAT(process.board.waits_for(process.job(push)), Contains("waits for seed"));
  say_lost(process, "seed", content);
  for (const char* name : {"web1", "web2"}) say_lacking(process, push, name);
  process.board.on_tick(process.now);
  CHECK(process.job(push).finished());
  CHECK_THAT(process.job(push).shown().tasks().front().detail,
             Contains("changed at the source (seed:/srv/base.img)"));
}

TEST_CASE("After a restart of the tracker a removed source comes to the same end",
          "[tracker][loss]") {
  Disk disk;
  JobId push;
  {
    Receivers process(disk);
    push = process.push;
    process.report("web1", push, TaskState::running);
    process.report("web2", push, TaskState::running);
    process.tick();
    StateBatch batch;
    process.registry.remove(*process.registry.find("seed"), process.now, batch);
    process.journal.commit(std::move(batch));
    process.settle();
  }
  Process process(disk, kAtOnce);
  for (const char* name : {"web1", "web2"}) {
    say_nothing_held(process, name);
    say_lacking(process, push, name);
  }
  process.board.on_tick(process.now);
  CHECK(process.job(push).finished());
  CHECK_THAT(process.job(push).shown().tasks().front().detail,
             Contains("removed from the cluster (seed)"));
}

TEST_CASE("An agent that says again what it lost changes nothing", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk, {.settle = std::chrono::milliseconds(50), .after_start = Duration{0}});
  process.lose("seed");
  process.report_lacking("web1", 3);
  process.report_lacking("web2", 3);
  // Again and again, so that a clock that began anew each time would never get there.
  const auto end = std::chrono::steady_clock::now() + test::kHangSeconds;
  while (!process.job(process.push).finished() && std::chrono::steady_clock::now() < end) {
    process.lose("seed");
    process.all_lack();
    process.settle();
  }
  CHECK(process.job(process.push).finished());
}

TEST_CASE("A tracker that has just started calls nothing lost", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk, {.settle = Duration{0}, .after_start = std::chrono::hours(1)});
  process.lose("seed");
  process.all_lack();
  CHECK_FALSE(process.job(process.push).finished());
  REQUIRE(process.board.cancel(process.push, process.now));
  CHECK(process.try_create(push_of("images/base", "web1")));
}

}  // namespace p2p
