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

void copy(proto::Job& job, int index, std::uint64_t fetched, std::uint64_t copied,
          const std::string& basis) {
  proto::Task& task = *job.mutable_tasks(index);
  task.set_bytes_received(fetched);
  task.set_bytes_copied(copied);
  task.set_basis(basis);
}

TEST_CASE("Where old files were used a push says what they spared", "[tools][summary]") {
  proto::Job one = finished_push(1);
  copy(one, 0, 3ull << 20, 253ull << 20, "images/base@1, by recipe");
  CHECK(push_summary(one) ==
        "j7: 1 of 1 node has images/base@2 (256 MiB) in 20.0s, 12.5 MB/s; fetched 3.00 MiB of 256 "
        "MiB, 253 MiB copied from an old file\n");
  proto::Job many = finished_push(3);
  copy(many, 0, 3ull << 20, 253ull << 20, "images/base@1, by recipe");
  copy(many, 1, 3ull << 20, 253ull << 20, "images/base@1, by recipe");
  copy(many, 2, 3ull << 20, 0, "no older version");
  const std::string text = push_summary(many);
  CHECK(text.find("; fetched 3.00 MiB of 256 MiB a node, 169 MiB copied from old files\n") !=
        std::string::npos);
  CHECK(text.find("\nno old file for web03: no older version\n") != std::string::npos);
}

TEST_CASE("A push where nobody had an old file does not explain why", "[tools][summary]") {
  proto::Job job = finished_push(2);
  copy(job, 0, 256ull << 20, 0, "no older version");
  copy(job, 1, 256ull << 20, 0, "no older version");
  CHECK(push_summary(job).find("no older version") == std::string::npos);
  CHECK(basis_lines(job, BasisOf::every_node) == "basis of web[01-02]: no older version\n");
  CHECK(basis_lines(finished_push(2), BasisOf::every_node).empty());
}

}  // namespace
}  // namespace p2p
