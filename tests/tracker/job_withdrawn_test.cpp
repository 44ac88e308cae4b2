// What can be had from nobody is refused, until somebody has it again; jobs that are over are told
// so.
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
using test::say_lost;

}  // namespace

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

TEST_CASE("A withdrawn version can be pushed again when somebody has it whole", "[tracker][loss]") {
  Disk disk;
  ContentId content;
  {
    Receivers process(disk);
    content = process.manifest.content_id;
    process.lose("seed");
    process.all_lack();
    REQUIRE(process.is_withdrawn());
    process.enrol_online("copy");
    say_holding(process, "copy", content);
    CHECK_FALSE(process.is_withdrawn());
    CHECK(process.try_create(push_of("images/base", "web1")));
    process.settle();
  }
  Process process(disk, kAtOnce);
  CHECK(process.catalogue.find({"images", "base", "1"})->withdrawn().empty());
  CHECK(process.catalogue.content(content)->withdrawn().empty());
}

TEST_CASE("A withdrawn content is refused by its id too, also after a restart", "[tracker][loss]") {
  Disk disk;
  ContentId content;
  {
    Receivers process(disk);
    content = process.manifest.content_id;
    process.lose("seed");
    process.all_lack();
    process.settle();
  }
  Process process(disk, kAtOnce);
  const Error refusal = process.refusal(push_of(content.hex(), "web1"));
  CHECK(refusal.code == Errc::unavailable);
  CHECK_THAT(refusal.detail, Contains("images/base@1 was withdrawn: changed at the source"));
  CHECK_THAT(refusal.detail, Contains("publish it again"));
}

TEST_CASE("A push of what was lost while nobody wanted it is refused at once", "[tracker][loss]") {
  Disk disk;
  Receivers process(disk);
  REQUIRE(process.board.cancel(process.push, process.now));
  process.lose("seed");
  const Error refusal = process.refusal(push_of("images/base", "web1"));
  CHECK(refusal.code == Errc::unavailable);
  CHECK_THAT(refusal.detail, Contains("images/base@1 can be had from nobody: changed at the "
                                      "source (seed:/srv/base.img); publish it again"));
  say_holding(process, "seed", process.manifest.content_id);
  CHECK(process.try_create(push_of("images/base", "web1")));
}

TEST_CASE("Holdings of a content that nobody published are not kept", "[tracker][loss]") {
  Disk disk;
  Process process(disk);
  process.enrol_online("web1");
  const ContentId unknown{sha256(std::string_view("unknown"))};
  say_holding(process, "web1", unknown);
  say_lost(process, "web1", unknown);
  CHECK(process.board.swarm_of(unknown) == nullptr);
}

}  // namespace p2p
