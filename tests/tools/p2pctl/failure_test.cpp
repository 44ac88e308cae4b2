#include "proto/api.pb.h"
#include "tests/support/catch.h"
#include "tools/p2pctl/api_client.h"
#include "tools/p2pctl/output.h"

namespace p2p {
namespace {

constexpr const char* kNotFound = R"({"error":{"code":"not_found","detail":"no job j9"}})";

TEST_CASE("An answer of 401 or 403 exits with 6, others with 1", "[tools][api]") {
  CHECK(failure_from_answer(403, "{}").exit_code == ExitCode::not_authorised);
  CHECK(failure_from_answer(401, "{}").exit_code == ExitCode::not_authorised);
  CHECK(failure_from_answer(404, kNotFound).exit_code == ExitCode::usage_or_internal);
}

TEST_CASE("The tracker's own words are the error", "[tools][api]") {
  const Failure failure = failure_from_answer(404, kNotFound);
  CHECK(failure.error.code == Errc::not_found);
  CHECK(failure.error.detail == "no job j9");
  CHECK_FALSE(failure.may_pass);
}

TEST_CASE("An answer that is no error of ours is shown as it is", "[tools][api]") {
  const Failure failure = failure_from_answer(502, "<html>Bad Gateway");
  CHECK(failure.error.detail.find("502") != std::string::npos);
  CHECK(failure.error.detail.find("<html>Bad Gateway") != std::string::npos);
  CHECK(failure.may_pass);
}

TEST_CASE("A refused certificate exits with 6, an absent tracker with 7", "[tools][api]") {
  CHECK(failure_from_connection({Errc::denied, "x"}).exit_code == ExitCode::not_authorised);
  CHECK_FALSE(failure_from_connection({Errc::denied, "x"}).may_pass);
  CHECK(failure_from_connection({Errc::unavailable, "x"}).exit_code == ExitCode::no_tracker);
  CHECK(failure_from_connection({Errc::unavailable, "x"}).may_pass);
  CHECK(failure_from_connection({Errc::timed_out, "x"}).exit_code == ExitCode::no_tracker);
}

TEST_CASE("Fields of a newer tracker are no error, JSON that is broken is", "[tools][api]") {
  proto::Job job;
  CHECK(read_answer(R"({"id":"j7","moon_phase":"full","bytes_done":"12"})", job));
  CHECK(job.id() == "j7");
  CHECK(job.bytes_done() == 12);
  CHECK_FALSE(read_answer(R"({"id":)", job));
}

TEST_CASE("JSON has the field names of the API and every plain field", "[tools][output]") {
  proto::Holder holder;
  holder.set_node("web01");
  CHECK(json_text(holder, JsonStyle::one_line) ==
        "{\"node\":\"web01\",\"online\":false,\"complete\":false,\"bytes\":\"0\",\"path\":\"\"}\n");
}

}  // namespace
}  // namespace p2p
