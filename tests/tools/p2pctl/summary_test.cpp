#include "tools/p2pctl/summary.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

proto::Job finished_push(int nodes) {
  proto::Job job;
  job.set_id("j7");
  job.set_kind("push");
  job.set_state("succeeded");
  job.set_finished(true);
  job.set_file_name("images/base@2");
  job.set_total_bytes(256ull << 20);
  job.set_data_bytes(256ull << 20);
  job.set_seconds(20);
  job.set_bytes_done(static_cast<std::uint64_t>(nodes) * 250'000'000);
  for (int i = 1; i <= nodes; ++i) {
    proto::Task& task = *job.add_tasks();
    task.set_node("web0" + std::to_string(i));
    task.set_state("succeeded");
  }
  job.mutable_counts()->set_succeeded(static_cast<std::uint32_t>(nodes));
  return job;
}

void fail(proto::Job& job, int index, const std::string& state, const std::string& why) {
  job.mutable_tasks(index)->set_state(state);
  job.mutable_tasks(index)->set_detail(why);
  job.mutable_counts()->set_succeeded(job.counts().succeeded() - 1);
}

TEST_CASE("A push that went well is one line", "[tools][summary]") {
  proto::Job job = finished_push(4);
  job.set_source_bytes_sent(279'172'874);
  CHECK(push_summary(job) ==
        "j7: 4 of 4 nodes have images/base@2 (256 MiB each) in 20.0s, 50.0 MB/s together; source "
        "sent 1.04x the file\n");
}

TEST_CASE("A push to one node speaks of one node", "[tools][summary]") {
  CHECK(push_summary(finished_push(1)) ==
        "j7: 1 of 1 node has images/base@2 (256 MiB) in 20.0s, 12.5 MB/s\n");
}

TEST_CASE("Nodes that failed for the same reason share a line, the largest group first",
          "[tools][summary]") {
  proto::Job job = finished_push(6);
  job.set_state("failed");
  fail(job, 0, "expired", "not seen for 10m");
  fail(job, 2, "failed", "disk full");
  fail(job, 3, "failed", "disk full");
  fail(job, 4, "failed", "disk full");
  const std::string text = push_summary(job);
  CHECK(text.find("j7: 2 of 6 nodes have images/base@2") == 0);
  const auto full = text.find("\nfailed web[03-05]: disk full\n");
  const auto expired = text.find("\nexpired web01: not seen for 10m\n");
  REQUIRE(full != std::string::npos);
  REQUIRE(expired != std::string::npos);
  CHECK(full < expired);
}

TEST_CASE("A job that failed as a whole says why first", "[tools][summary]") {
  proto::Job job = finished_push(2);
  job.set_state("failed");
  job.set_detail("web01:/srv/a.img: no such file");
  CHECK(push_summary(job).find("j7: failed: web01:/srv/a.img: no such file\n") == 0);
}

TEST_CASE("Content without a name is called by the beginning of its id", "[tools][summary]") {
  proto::Job job = finished_push(2);
  job.clear_file_name();
  job.set_content_id(std::string(64, 'a'));
  CHECK(content_name(job) == "content aaaaaaaaaaaa");
}

}  // namespace
}  // namespace p2p
