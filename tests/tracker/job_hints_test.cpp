// Hints before and during a push: who is asked for which, what is kept, what is offered.
#include "io/identity/ticket.h"
#include "tests/tracker/board_fixture.h"
#include "tests/tracker/hint_fixture.h"

namespace p2p {
namespace {

using Catch::Contains;
using test::connect_with;
using test::content_of_bytes;
using test::Disk;
using test::hint_made;
using test::id_of;
using test::must;
using test::packed;
using test::Process;
using test::publish_of;
using test::publish_version;
using test::push_of;
using test::TrackerIdentity;

const std::string kPath = "/srv/base.img";

// images/base@1 and @2; the source holds both; web1 holds version 1, web2 nothing.
struct Update : Process {
  std::string new_bytes = std::string(2000, 'b');
  proto::ContentRecord v1 = publish_version(*this, std::string(1000, 'a'));
  proto::ContentRecord v2 = publish_version(*this, new_bytes);

  explicit Update(Disk& disk_value, bool source_holds_old = true) : Process(disk_value) {
    for (const char* name : {"source", "web1", "web2"}) enrol(name);
    std::vector<test::HeldFile> held{{v2, "/srv/v2.img"}};
    if (source_holds_old) held.push_back({v1, "/srv/v1.img"});
    connect_with(*this, "source", held);
    connect_with(*this, "web1", {{v1, kPath}});
    connect_with(*this, "web2", {});
    agents.take();
  }
  // The last message of that kind to this node.
  std::optional<proto::PublishTask> asked(const std::string& name) {
    std::optional<proto::PublishTask> task;
    for (const auto& message : sent_to(name)) {
      if (message.has_publish()) task = message.publish();
    }
    return task;
  }
  std::optional<proto::PushTask> offered(const std::string& name) {
    std::optional<proto::PushTask> task;
    for (const auto& message : sent_to(name)) {
      if (message.has_push()) task = message.push();
    }
    return task;
  }
  void say_made(const std::string& name, const proto::HintMade& made) {
    board.on_hint_made(id(name), made, now);
  }
  void say_hashed(const std::string& name, JobId job, const std::string& bytes) {
    proto::TaskUpdate update;
    update.set_job(job.number);
    update.set_state("succeeded");
    update.set_root_record(packed("base.img", bytes).root_record_bytes);
    update.set_original_name("base.img");
    board.on_task_update(id(name), update, now);
  }
  std::vector<ContentId> bases(const proto::PublishTask& task) {
    std::vector<ContentId> list;
    for (const std::string& base : task.bases()) list.push_back(*ContentId::from_raw(base));
    return list;
  }
};

TEST_CASE("A holder of both versions makes the recipe before the targets are told", "[tracker]") {
  Disk disk;
  Update process(disk);
  const JobId job = process.create(push_of("images/base", "web[1-2]"));
  CHECK(process.job(job).record.state() == "preparing");
  const auto asked = process.asked("source");
  REQUIRE(asked);
  CHECK(asked->path() == "/srv/v2.img");
  CHECK(process.bases(*asked) == std::vector{id_of(process.v1)});
  CHECK_FALSE(asked->signature());
  CHECK_FALSE(process.offered("web1"));

  process.say_made("source", hint_made(process.v2, &process.v1, "recipe", 1500));
  process.say_hashed("source", job, process.new_bytes);
  CHECK(process.job(job).record.state() == "running");
  const auto web1 = process.offered("web1");
  REQUIRE(web1);
  REQUIRE(web1->hints_size() == 1);
  CHECK(web1->hints(0).kind() == proto::HINT_RECIPE);
  CHECK(web1->hints(0).old_root() == process.v1.root());
  CHECK(web1->hints(0).old_content() == process.v1.content_id());
  CHECK(web1->hints(0).old_name() == "images/base@1");
  REQUIRE(web1->older_size() == 1);
  CHECK(web1->older(0) == process.v1.content_id());
  StatementVerifier verifier = TrackerIdentity::get().verifier();
  const Ticket ticket = must(verify_ticket(verifier, web1->hints(0).ticket(), process.now));
  CHECK(ticket.node == process.id("web1"));
  CHECK(ticket.content == content_id_of(web1->hints(0).root_record()));
  // Who has nothing that the recipe is from has no use for it.
  const auto web2 = process.offered("web2");
  REQUIRE(web2);
  CHECK(web2->hints_size() == 0);
  CHECK(web2->older_size() == 1);
}

TEST_CASE("What is there already is not made again", "[tracker]") {
  Disk disk;
  Update process(disk);
  const JobId first = process.create(push_of("images/base", "web1"));
  process.say_made("source", hint_made(process.v2, &process.v1, "recipe", 1500));
  process.say_hashed("source", first, process.new_bytes);
  process.agents.take();
  const JobId second = process.create(push_of("images/base", "web1", "/srv/other.img"));
  CHECK(process.job(second).record.state() == "running");
  REQUIRE(process.offered("web1"));
  CHECK(process.offered("web1")->hints_size() == 1);
}

TEST_CASE("Who asked in vain does not ask again", "[tracker]") {
  Disk disk;
  Update process(disk);
  const JobId first = process.create(push_of("images/base", "web1"));
  // It saves next to nothing: not kept.
  process.say_made("source", hint_made(process.v2, &process.v1, "recipe", 150));
  process.say_hashed("source", first, process.new_bytes);
  CHECK(process.hints.size() == 0);
  CHECK(process.job(first).record.state() == "running");
  process.agents.take();
  const JobId second = process.create(push_of("images/base", "web1", "/srv/other.img"));
  const auto asked = process.asked("source");
  REQUIRE(asked);
  CHECK(asked->bases_size() == 0);
  CHECK(asked->signature());
  process.say_made("source", hint_made(process.v2, nullptr, "signature"));
  process.say_hashed("source", second, process.new_bytes);
  const auto offered = process.offered("web1");
  REQUIRE(offered);
  REQUIRE(offered->hints_size() == 1);
  CHECK(offered->hints(0).kind() == proto::HINT_SIGNATURE);
}

TEST_CASE("A recipe that saves nothing is not asked for again, whatever became of its job",
          "[tracker]") {
  Disk disk;
  Update process(disk);
  const JobId first = process.create(push_of("images/base", "web1"));
  process.say_made("source", hint_made(process.v2, &process.v1, "recipe", 150));
  process.report("source", first, TaskState::failed, "no room");
  process.agents.take();
  process.create(push_of("images/base", "web1", "/srv/other.img"));
  const auto asked = process.asked("source");
  REQUIRE(asked);
  CHECK(asked->bases_size() == 0);
}

TEST_CASE("A source without the old version makes a signature", "[tracker]") {
  Disk disk;
  Update process(disk, /*source_holds_old=*/false);
  const JobId job = process.create(push_of("images/base", "web1"));
  const auto asked = process.asked("source");
  REQUIRE(asked);
  CHECK(asked->bases_size() == 0);
  CHECK(asked->signature());
  CHECK(process.job(job).record.state() == "preparing");
}

TEST_CASE("A job never fails for want of hints", "[tracker]") {
  Disk disk;
  Update process(disk);
  const JobId job = process.create(push_of("images/base", "web[1-2]"));
  REQUIRE(process.job(job).record.state() == "preparing");
  SECTION("the maker fails") {
    process.report("source", job, TaskState::failed, "no room");
  }
  SECTION("the maker goes away") {
    process.offline("source");
  }
  SECTION("the maker says nothing any more") {
    process.now = process.now + std::chrono::seconds(9);
    process.report("source", job, TaskState::running);
    process.now = process.now + std::chrono::seconds(9);
    process.board.on_tick(process.now);
    REQUIRE(process.job(job).record.state() == "preparing");
    process.now = process.now + std::chrono::seconds(1);
    process.board.on_tick(process.now);
  }
  SECTION("the file has become another one") {
    process.say_hashed("source", job, std::string(2000, 'c'));
  }
  SECTION("the maker is removed") {
    StateBatch batch;
    process.registry.remove(*process.registry.find("source"), process.now, batch);
    process.board.on_node_removed(process.agents.sent.front().node, process.now);
  }
  CHECK(process.job(job).record.state() == "running");
  for (const char* name : {"web1", "web2"}) {
    REQUIRE(process.offered(name));
    CHECK(process.offered(name)->hints_size() == 0);
  }
  CHECK(process.job(job).record.content_id() == process.v2.content_id());
}

TEST_CASE("Late word of hints is no word of the maker's own copy", "[tracker]") {
  Disk disk;
  Update process(disk);
  const JobId job = process.create(push_of("images/base", "web1 | source"));
  process.offline("source");
  process.online("source");
  CHECK(process.state_of(job, "source") == TaskState::offered);
  process.say_hashed("source", job, process.new_bytes);
  CHECK(process.state_of(job, "source") == TaskState::offered);
}

TEST_CASE("A push that is cancelled while hints are made tells nobody else", "[tracker]") {
  Disk disk;
  Update process(disk);
  const JobId job = process.create(push_of("images/base", "web1"));
  REQUIRE(process.board.cancel(job, process.now));
  CHECK(process.job(job).record.state() == "cancelled");
  CHECK_FALSE(process.offered("web1"));
  CHECK(process.sent_to("source").back().has_cancel());
}

TEST_CASE("A tracker that was restarted while hints were made goes on without them", "[tracker]") {
  Disk disk;
  JobId job;
  {
    Update process(disk);
    job = process.create(push_of("images/base", "web1"));
    CHECK(process.job(job).record.state() == "preparing");
    process.settle();
  }
  Process process(disk);
  CHECK(process.job(job).record.state() == "running");
  process.online("web1");
  REQUIRE(process.sent_to("web1").size() == 1);
  CHECK(process.sent_to("web1").front().has_push());
}

TEST_CASE("A push without delta asks for nothing and offers nothing", "[tracker]") {
  Disk disk;
  Update process(disk);
  auto push = push_of("images/base", "web1");
  push.mutable_push()->set_no_delta(true);
  push.mutable_push()->set_no_reflink(true);
  const JobId job = process.create(push);
  CHECK(process.job(job).record.state() == "running");
  const auto offered = process.offered("web1");
  REQUIRE(offered);
  CHECK(offered->no_delta());
  CHECK(offered->no_reflink());
  CHECK(offered->older_size() == 0);
  push.mutable_push()->set_basis("/srv/old.img");
  CHECK(process.refusal(push).code == Errc::invalid_argument);
}

TEST_CASE("A basis that the operator names is told to each node as a path of its own",
          "[tracker]") {
  Disk disk;
  Update process(disk);
  auto push = push_of("images/base", "web2");
  push.mutable_push()->set_basis("old/{node}.img");
  const JobId job = process.create(push);
  // Nobody knows what it is: a signature will tell.
  const auto asked = process.asked("source");
  REQUIRE(asked);
  CHECK(asked->bases_size() == 0);
  CHECK(asked->signature());
  process.report("source", job, TaskState::failed);
  REQUIRE(process.offered("web2"));
  CHECK(process.offered("web2")->basis() == "/srv/old/web2.img");
  push.mutable_push()->set_basis("/etc/passwd");
  CHECK(process.refusal(push).code == Errc::denied);
}

TEST_CASE("A file at the destination counts as an old version, whatever its name", "[tracker]") {
  Disk disk;
  Update process(disk);
  const auto other = content_of_bytes(std::string(700, 'o'));
  StateBatch batch;
  process.catalogue.add_content(other, batch);
  REQUIRE(disk.store.apply(batch));
  connect_with(process, "web2", {{other, "//srv/base.img"}});
  process.agents.take();
  const JobId job = process.create(push_of("images/base", "web2"));
  const auto asked = process.asked("source");
  REQUIRE(asked);
  CHECK(asked->bases_size() == 0);  // the source does not hold it
  CHECK(asked->signature());
  process.report("source", job, TaskState::failed);
  const auto offered = process.offered("web2");
  REQUIRE(offered);
  REQUIRE(offered->older_size() == 2);
  CHECK(offered->older(1) == other.content_id());
}

TEST_CASE("A path that is pushed is hashed and compared with what lies at the destination",
          "[tracker]") {
  Disk disk;
  Update process(disk);
  const JobId job = process.create(push_of("source:/srv/new.img", "web[1-2]", kPath));
  const auto asked = process.asked("source");
  REQUIRE(asked);
  CHECK(asked->path() == "/srv/new.img");
  CHECK(process.bases(*asked) == std::vector{id_of(process.v1)});
  CHECK_FALSE(asked->signature());
  CHECK(process.job(job).record.state() == "preparing");
}

TEST_CASE("A publication makes recipes from the versions before, and a signature", "[tracker]") {
  Disk disk;
  Update process(disk);
  for (char fill = 'c'; fill < 'f'; ++fill) publish_version(process, std::string(500, fill));
  process.create(publish_of("source", "/srv/new.img", "images/base"));
  auto asked = process.asked("source");
  REQUIRE(asked);
  CHECK(asked->bases_size() == 4);  // the newest four of five
  CHECK(asked->signature());
  CHECK(asked->bases(3) == process.v2.content_id());

  process.create(publish_of("source", "/srv/new.img", "images/other"));
  asked = process.asked("source");
  CHECK(asked->bases_size() == 0);
  CHECK_FALSE(asked->signature());

  auto publish = publish_of("source", "/srv/new.img", "images/other");
  publish.mutable_publish()->set_base("images/base@1");
  process.create(publish);
  asked = process.asked("source");
  CHECK(process.bases(*asked) == std::vector{id_of(process.v1)});
  CHECK(asked->signature());

  publish.mutable_publish()->set_no_delta(true);
  CHECK(process.refusal(publish).code == Errc::invalid_argument);
  publish.mutable_publish()->clear_base();
  publish.mutable_publish()->set_name("images/base");
  process.create(publish);
  asked = process.asked("source");
  CHECK(asked->bases_size() == 0);
  CHECK_FALSE(asked->signature());
  publish.mutable_publish()->set_no_delta(false);
  publish.mutable_publish()->set_base("images/base@77");
  CHECK(process.refusal(publish).code == Errc::not_found);
}

TEST_CASE("Hints that come before their content is known wait for it", "[tracker]") {
  Disk disk;
  Update process(disk);
  const std::string bytes(3000, 'n');
  const PackedManifest manifest = packed("base.img", bytes);
  const auto v3 = content_of_bytes(bytes);
  const JobId job = process.create(publish_of("source", "/srv/new.img", "images/base"));
  process.say_made("source", hint_made(v3, &process.v1, "recipe", 2000));
  // What was copied is not more than there is.
  process.say_made("source", hint_made(v3, &process.v2, "recipe of v2", 3001));
  auto wrong_root = hint_made(v3, nullptr, "signature");
  wrong_root.set_new_root(process.v2.root());
  process.say_made("source", wrong_root);
  CHECK(process.hints.size() == 0);
  proto::BodyPiece piece;
  piece.set_content_id(v3.content_id());
  piece.set_bytes(manifest.body_bytes);
  piece.set_last(true);
  process.board.on_body_piece(process.id("source"), piece);
  process.say_hashed("source", job, bytes);
  REQUIRE(process.run_until([&] { return process.job(job).finished(); }));
  CHECK(process.hints.size() == 1);
  process.settle();
  CHECK(must(Hints::load(disk.store)).of(*Digest::from_raw(v3.root())).size() == 1);
}

TEST_CASE("Hints and blames are taken from those who are concerned, and nobody else", "[tracker]") {
  Disk disk;
  Update process(disk);
  const auto made = hint_made(process.v2, &process.v1, "recipe", 1500);
  process.say_made("web2", made);
  CHECK(process.hints.size() == 0);
  auto push = push_of("images/base", "web1");
  push.mutable_push()->set_no_delta(true);
  process.create(push);
  // A receiver that found out by itself.
  process.say_made("web1", made);
  CHECK(process.hints.size() == 1);

  proto::HintBlame blame;
  const ContentId hint = content_id_of(made.root_record());
  blame.set_hint(std::string(hint.digest.view()));
  blame.set_new_content(process.v2.content_id());
  blame.set_reason("wrong bytes");
  process.board.on_hint_blame(process.id("web2"), blame);
  CHECK(process.hints.find(hint)->blamed_by_size() == 0);
  process.board.on_hint_blame(process.id("web1"), blame);
  CHECK(process.hints.find(hint)->blamed_by_size() == 1);
  blame.set_new_content(process.v1.content_id());
  process.board.on_hint_blame(process.id("web1"), blame);
  CHECK(process.hints.find(hint)->blamed_by_size() == 1);
}

TEST_CASE("Hints that were made during a job are in the offers that follow", "[tracker]") {
  Disk disk;
  Update process(disk, /*source_holds_old=*/false);
  process.enrol("web3");
  connect_with(process, "web3", {{process.v1, kPath}});
  process.offline("web3");
  const JobId job = process.create(push_of("images/base", "web1 | web3"));
  process.report("source", job, TaskState::failed);
  process.say_made("web1", hint_made(process.v2, &process.v1, "recipe", 1500));
  process.agents.take();
  connect_with(process, "web3", {{process.v1, kPath}});
  process.online("web3");
  const auto offered = process.offered("web3");
  REQUIRE(offered);
  REQUIRE(offered->hints_size() == 1);
  // Its maker is among the peers.
  CHECK(std::any_of(offered->peers().begin(), offered->peers().end(),
                    [&](const auto& peer) { return peer.node_id() == process.id("web1").str(); }));
}

TEST_CASE("A file that another one has replaced is not held any more", "[tracker]") {
  Disk disk;
  Update process(disk);
  proto::Holdings landed;
  auto& holding = *landed.add_holdings();
  holding.set_content_id(process.v2.content_id());
  holding.set_complete(true);
  holding.set_path(kPath);
  process.board.on_holdings(process.id("web1"), landed);
  CHECK_FALSE(process.board.swarm_of(id_of(process.v1))->holders().contains(process.id("web1")));
  CHECK(process.board.swarm_of(id_of(process.v2))->holders().contains(process.id("web1")));
  // The source has it still: it can be pushed, and is not withdrawn.
  process.board.on_tick(process.now);
  CHECK(process.catalogue.find({"images", "base", "1"})->withdrawn().empty());
  process.create(push_of("images/base@1", "web2"));
}

TEST_CASE("What was copied, found and written is in the task, also after a restart", "[tracker]") {
  Disk disk;
  JobId job;
  {
    Update process(disk, /*source_holds_old=*/false);
    auto push = push_of("images/base", "web1");
    push.mutable_push()->set_no_delta(true);
    job = process.create(push);
    proto::TaskUpdate update;
    update.set_job(job.number);
    update.set_state("succeeded");
    update.set_bytes_copied(10);
    update.set_bytes_already(20);
    update.set_bytes_written(30);
    update.set_basis("/srv/base.img\n: images/base@1, recipe");
    process.board.on_task_update(process.id("web1"), update, process.now);
    process.settle();
  }
  Process process(disk);
  const TaskStatus& task = process.job(job).shown().tasks().front();
  CHECK(task.bytes_copied == 10);
  CHECK(task.bytes_already == 20);
  CHECK(task.bytes_written == 30);
  CHECK(task.basis == "/srv/base.img?: images/base@1, recipe");
}

}  // namespace
}  // namespace p2p
