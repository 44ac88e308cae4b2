#include "io/wire/proto_json.h"

#include <string>

#include "proto/api.pb.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;

Error refusal(const std::string& text) {
  proto::CreateJobRequest request;
  const Status status = from_json(text, request);
  INFO(text.substr(0, 100));
  REQUIRE_FALSE(status);
  CHECK(status.error().code == Errc::invalid_argument);
  CHECK_THAT(status.error().detail, Contains("CreateJobRequest"));
  return status.error();
}

}  // namespace

TEST_CASE("What was written as JSON is read back the same", "[io][wire]") {
  proto::Job job;
  job.set_id("j17");
  job.set_total_bytes(18'446'744'073'709'551'615ull);
  job.set_seconds(1.5);
  job.mutable_push()->set_source("images/base@3");
  job.mutable_push()->set_path("/srv/\"quoted\"\n\\ \xc3\xa4");
  proto::Task* task = job.add_tasks();
  task->set_node("web1");
  task->set_durable(true);
  proto::Job again;
  REQUIRE(from_json(to_json(job), again));
  CHECK(again.SerializeAsString() == job.SerializeAsString());
}

TEST_CASE("JSON is one line with every field present, named as in the .proto files", "[io][wire]") {
  const std::string text = to_json(proto::Node{});
  CHECK(text.find('\n') == std::string::npos);
  CHECK_THAT(text, Contains("\"files_held\":0") && Contains("\"online\":false") &&
                       Contains("\"last_seen\":\"\"") && Contains("\"roots\":[]") &&
                       Contains("\"labels\":{}"));
}

TEST_CASE("Text that is no UTF-8 becomes JSON without ending the process", "[io][wire]") {
  proto::Task task;
  task.set_detail("write /srv/\xff\xfe: no space\x01");
  CHECK_THAT(to_json(task), Contains("\"detail\":\"write /srv/"));
}

TEST_CASE("Fields may be left out, and have both spellings", "[io][wire]") {
  proto::CreateJobRequest request;
  REQUIRE(from_json(R"({"push":{"limit_bytes_per_second":"5","offlineTtlSeconds":60}})", request));
  CHECK(request.push().limit_bytes_per_second() == 5);
  CHECK(request.push().offline_ttl_seconds() == 60);
  CHECK_FALSE(request.has_publish());
}

TEST_CASE("What is not such an object is refused, with the reason", "[io][wire]") {
  refusal("");
  refusal("{");
  refusal("nonsense");
  refusal("[]");
  refusal("\"text\"");
  refusal(R"({"push":{"source":"a"}} trailing)");
  refusal(R"({"push":{"source":["a"]}})");
  refusal(R"({"push":{"limit_bytes_per_second":-1}})");
  refusal(R"({"push":{"limit_bytes_per_second":18446744073709551616}})");
  refusal(R"({"push":{"limit_bytes_per_second":"fast"}})");
  refusal("{\"push\":{\"source\":\"\xff\xfe\"}}");
  CHECK_THAT(refusal(R"({"push":{"sauce":"a"}})").detail, Contains("sauce"));
}

TEST_CASE("Deep nesting is refused before it can exhaust the stack", "[io][wire]") {
  refusal(std::string(500'000, '['));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"push\":";
  refusal(objects);
}

}  // namespace p2p
