// A file gets its name: publications, and pushes from a node that is no more than a path.
#include <string>

#include "tests/tracker/board_fixture.h"
#include "tracker/job_board.h"

namespace p2p {
namespace {

using Catch::Contains;
using test::Disk;
using test::must;
using test::packed;
using test::Process;
using test::publish_of;
using test::push_of;

void send_body(Process& process, const std::string& name, const ContentId& id,
               const std::string& body, std::size_t piece_bytes = 64) {
  for (std::size_t at = 0; at < body.size(); at += piece_bytes) {
    proto::BodyPiece piece;
    piece.set_content_id(std::string(id.digest.view()));
    piece.set_offset(at);
    piece.set_bytes(body.substr(at, piece_bytes));
    piece.set_last(at + piece_bytes >= body.size());
    process.board.on_body_piece(process.id(name), piece);
  }
}

void send_hashed(Process& process, const std::string& name, JobId job,
                 const PackedManifest& manifest, const std::string& original_name = "a.img") {
  proto::TaskUpdate update;
  update.set_job(job.number);
  update.set_state("succeeded");
  update.set_root_record(manifest.root_record_bytes);
  update.set_original_name(original_name);
  process.board.on_task_update(process.id(name), update, process.now);
}

bool run_to_end(Process& process, JobId job) {
  return process.run_until([&] { return process.job(job).finished(); });
}

std::string reserve_next(Process& process) {
  return must(process.catalogue.reserve({"images", "a", std::nullopt})).str();
}

// Publishes images/a from web1 and stops before anything was hashed.
struct Publishing : Process {
  JobId job;
  PackedManifest manifest = packed("a.img", std::string(5000, 'a'));

  explicit Publishing(Disk& disk_value) : Process(disk_value) {
    enrol_online("web1");
    job = create(publish_of("web1", "/srv/a.img", "images/a"));
  }
};

}  // namespace

TEST_CASE("A publication asks its node for the path, and no other", "[tracker]") {
  Disk disk;
  Process process(disk);
  process.enrol_online("web1");
  process.enrol_online("web2");
  const JobId job = process.create(publish_of("web1", "/srv/a:/b.img", "images/a"));
  REQUIRE(process.agents.sent.size() == 1);
  const auto messages = process.sent_to("web1");
  REQUIRE(messages.size() == 1);
  CHECK(messages.front().publish().job() == job.number);
  CHECK(messages.front().publish().path() == "/srv/a:/b.img");
  CHECK(process.agents.sent_too_early == 0);
  CHECK(process.job(job).record.state() == "preparing");
}

TEST_CASE("A file has its name once its manifest is stored, and then the job succeeds",
          "[tracker]") {
  Disk disk;
  ContentId id;
  {
    Publishing process(disk);
    id = process.manifest.content_id;
    send_body(process, "web1", id, process.manifest.body_bytes);
    send_hashed(process, "web1", process.job, process.manifest);
    send_hashed(process, "web1", process.job, process.manifest);
    REQUIRE(run_to_end(process, process.job));
    CHECK(process.Process::job(process.job).record.state() == "succeeded");
    CHECK(process.Process::job(process.job).record.file_name() == "images/a@1");
    process.settle();
  }
  Process process(disk);
  const auto* file = process.catalogue.find({"images", "a", std::nullopt});
  REQUIRE(file != nullptr);
  CHECK(file->version() == "1");
  CHECK(file->published_by() == "web1");
  CHECK(file->content_id() == id.digest.view());
  REQUIRE(process.catalogue.content(id) != nullptr);
  CHECK(process.catalogue.content(id)->total_bytes() == 5000);
  CHECK(process.catalogue.content(id)->original_name() == "a.img");
  CHECK(must(process.catalogue.read_body(id)).size() > 0);
  CHECK(process.board.running() == 0);
}

TEST_CASE("A version is promised to one publication at a time, and free again when it fails",
          "[tracker]") {
  Disk disk;
  Publishing process(disk);
  CHECK(process.refusal(publish_of("web1", "/srv/b.img", "images/a@1")).code ==
        Errc::already_exists);
  process.report("web1", process.job, TaskState::failed, "the file has changed");
  CHECK(process.Process::job(process.job).record.state() == "failed");
  CHECK(reserve_next(process) == "images/a@1");
}

TEST_CASE("A promise outlives the tracker's process", "[tracker]") {
  Disk disk;
  { Publishing process(disk); }
  Process process(disk);
  CHECK(reserve_next(process) == "images/a@2");
  process.online("web1");
  REQUIRE(process.sent_to("web1").size() == 1);
  CHECK(process.sent_to("web1").front().publish().path() == "/srv/a.img");
}

TEST_CASE("A version is free again when its job could not be stored", "[tracker]") {
  Disk disk;
  Process process(disk);
  process.enrol_online("web1");
  disk.store.fail_keys_that_end_with("/head");
  const Error refused = process.refusal(publish_of("web1", "/srv/a.img", "images/a"));
  CHECK(refused.code == Errc::exhausted);
  CHECK(process.board.newest_first().empty());
  CHECK(process.agents.sent.empty());
  CHECK(reserve_next(process) == "images/a@1");
}

TEST_CASE("A manifest that is not what its id says gets no name", "[tracker]") {
  Disk disk;
  Publishing process(disk);
  const auto& manifest = process.manifest;
  SECTION("another body") {
    send_body(process, "web1", manifest.content_id, packed("b.img", "b").body_bytes);
  }
  SECTION("a body that lacks its end") {
    send_body(process, "web1", manifest.content_id,
              manifest.body_bytes.substr(0, manifest.body_bytes.size() - 1));
  }
  SECTION("a body with a gap") {
    proto::BodyPiece piece;
    piece.set_content_id(std::string(manifest.content_id.digest.view()));
    piece.set_offset(1);
    piece.set_bytes(manifest.body_bytes.substr(1));
    process.board.on_body_piece(process.id("web1"), piece);
  }
  SECTION("somebody else's body") {
    process.enrol_online("web2");
    send_body(process, "web2", manifest.content_id, manifest.body_bytes);
  }
  SECTION("no body") {}
  send_hashed(process, "web1", process.job, manifest);
  REQUIRE(run_to_end(process, process.job));
  const BoardJob& job = process.Process::job(process.job);
  CHECK(job.record.state() == "failed");
  CHECK_THAT(job.source->tasks().front().detail, Contains("the tracker refused the manifest"));
  CHECK(process.catalogue.find({"images", "a", std::nullopt}) == nullptr);
  CHECK(process.catalogue.content(manifest.content_id) == nullptr);
}

TEST_CASE("A root record that is none fails the publication", "[tracker]") {
  Disk disk;
  Publishing process(disk);
  process.manifest.root_record_bytes = GENERATE("", "\xff nonsense");
  send_hashed(process, "web1", process.job, process.manifest);
  REQUIRE(run_to_end(process, process.job));
  CHECK(process.Process::job(process.job).record.state() == "failed");
}

TEST_CASE("A node cannot give its file a name that is none", "[tracker]") {
  Disk disk;
  Publishing process(disk);
  const std::string name = GENERATE(std::string("../../etc/passwd"), std::string(".."),
                                    std::string("a/b"), std::string(), std::string(256, 'a'));
  send_body(process, "web1", process.manifest.content_id, process.manifest.body_bytes);
  send_hashed(process, "web1", process.job, process.manifest, name);
  REQUIRE(run_to_end(process, process.job));
  CHECK(process.Process::job(process.job).record.state() == "failed");
  CHECK(process.catalogue.content(process.manifest.content_id) == nullptr);
}

TEST_CASE("A node has at most 64 manifests on their way", "[tracker]") {
  Disk disk;
  Publishing process(disk);
  for (int i = 0; i < 64; ++i) {
    send_body(process, "web1", ContentId{sha256(std::string_view(std::to_string(i)))}, "piece");
  }
  send_body(process, "web1", process.manifest.content_id, process.manifest.body_bytes);
  send_hashed(process, "web1", process.job, process.manifest);
  REQUIRE(run_to_end(process, process.job));
  CHECK(process.Process::job(process.job).record.state() == "failed");
}

TEST_CASE("A body may be sent again from its beginning", "[tracker]") {
  Disk disk;
  Publishing process(disk);
  const auto& manifest = process.manifest;
  send_body(process, "web1", manifest.content_id, manifest.body_bytes.substr(0, 50));
  send_body(process, "web1", manifest.content_id, manifest.body_bytes);
  send_hashed(process, "web1", process.job, manifest);
  REQUIRE(run_to_end(process, process.job));
  CHECK(process.Process::job(process.job).record.state() == "succeeded");
}

TEST_CASE("A publication whose name was stored just before a crash is over after it", "[tracker]") {
  Disk disk;
  JobId job;
  {
    Publishing process(disk);
    job = process.job;
    process.board.on_tick(process.now);
    process.settle();
    // The batch that holds name and content, and nothing after it.
    StateBatch batch;
    process.catalogue.publish({"images", "a", "1"}, test::content_record(process.manifest, "a.img"),
                              "web1", process.now, batch);
    proto::JobRecord record = process.Process::job(job).record;
    record.set_content_id(std::string(process.manifest.content_id.digest.view()));
    put_job(record, batch);
    REQUIRE(disk.store.apply(batch));
  }
  Process process(disk);
  process.online("web1");
  if (!process.job(job).finished()) {
    send_body(process, "web1", packed("a.img", std::string(5000, 'a')).content_id,
              packed("a.img", std::string(5000, 'a')).body_bytes);
    send_hashed(process, "web1", job, packed("a.img", std::string(5000, 'a')));
    process.pool.stop();
    process.settle();
    process.settle();
  }
  CHECK(process.job(job).record.state() == "succeeded");
}

TEST_CASE("A push from a path is hashed first, then offered to its targets", "[tracker]") {
  Disk disk;
  Process process(disk);
  for (const char* name : {"seed", "web1"}) process.enrol_online(name);
  const auto manifest = packed("a.img", std::string(5000, 'a'));
  const JobId job = process.create(push_of("seed:/srv/a.img", "web1", "/srv/copies/"));
  REQUIRE(process.agents.sent.size() == 1);
  CHECK(process.sent_to("seed").front().publish().path() == "/srv/a.img");
  SECTION("a target that reconnects is told nothing yet") {
    process.offline("web1");
    process.online("web1");
    CHECK(process.sent_to("web1").empty());
  }
  process.agents.take();
  send_body(process, "seed", manifest.content_id, manifest.body_bytes);
  send_hashed(process, "seed", job, manifest);
  REQUIRE(process.run_until([&] { return !process.agents.sent.empty(); }));
  REQUIRE(process.sent_to("web1").size() == 1);
  CHECK(process.sent_to("web1").front().push().root_record() == manifest.root_record_bytes);
  CHECK(process.sent_to("web1").front().push().original_name() == "a.img");
  CHECK(process.agents.sent_too_early == 0);
  process.report("web1", job, TaskState::succeeded);
  CHECK(process.job(job).record.state() == "succeeded");
  CHECK(process.catalogue.files().empty());
}

TEST_CASE("A push whose source cannot be hashed fails for all targets, with the reason",
          "[tracker]") {
  Disk disk;
  JobId job;
  {
    Process process(disk);
    for (const char* name : {"seed", "web1"}) process.enrol_online(name);
    job = process.create(push_of("seed:/srv/a.img", "web1"));
    process.agents.take();
    const std::string reason = GENERATE(std::string("no such file"), std::string(100'000, 'x'));
    process.report("seed", job, TaskState::failed, reason);
    CHECK(process.job(job).record.state() == "failed");
    CHECK_THAT(process.job(job).record.detail(),
               Contains("the source could not be published: " + reason.substr(0, 12)));
    CHECK(process.state_of(job, "web1") == TaskState::failed);
    CHECK(process.sent_to("web1").empty());
    process.settle();
  }
  Process process(disk);
  CHECK(process.job(job).record.state() == "failed");
}

TEST_CASE("A push that was being hashed when the tracker ended is hashed after its restart",
          "[tracker]") {
  Disk disk;
  JobId job;
  const auto manifest = packed("a.img", std::string(5000, 'a'));
  {
    Process process(disk);
    for (const char* name : {"seed", "web1"}) process.enrol_online(name);
    job = process.create(push_of("seed:/srv/a.img", "web1"));
  }
  Process process(disk);
  process.online("web1");
  CHECK(process.agents.sent.empty());
  process.online("seed");
  REQUIRE(process.sent_to("seed").size() == 1);
  send_body(process, "seed", manifest.content_id, manifest.body_bytes);
  send_hashed(process, "seed", job, manifest);
  REQUIRE(process.run_until([&] { return !process.sent_to("web1").empty(); }));
  CHECK(process.sent_to("web1").front().push().job() == job.number);
}

}  // namespace p2p
