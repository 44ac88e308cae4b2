#include "io/net/http_message.h"

#include <string>

#include "tests/support/catch.h"

namespace p2p {
namespace {

HttpRequest parsed(const std::string& target) {
  HttpRequest request;
  request.target = target;
  const Status ok = parse_target(request);
  if (!ok) FAIL(ok.error().detail);
  return request;
}

TEST_CASE("A request target is split and decoded") {
  const HttpRequest request = parsed("/v1/files/a%2Fb+c?limit=5&name=x+y%26z&flag&=e&&");
  CHECK(request.path == "/v1/files/a/b+c");
  CHECK(request.query == std::map<std::string, std::string, std::less<>>{
                             {"limit", "5"}, {"name", "x y&z"}, {"flag", ""}, {"", "e"}});
  CHECK(parsed("/").query.empty());
  CHECK(parsed("/a?").query.empty());
}

TEST_CASE("A bad request target is refused") {
  for (const char* target :
       {"", "*", "http://host/", "/a%2", "/a%zz", "/a%00", "/?a=%", "/?a=1&a=2"}) {
    CAPTURE(target);
    HttpRequest request;
    request.target = target;
    CHECK_FALSE(parse_target(request));
  }
}

TEST_CASE("What is percent-encoded decodes to the same bytes") {
  std::string every_byte;
  for (int i = 1; i < 256; ++i) every_byte.push_back(static_cast<char>(i));
  const std::string encoded = percent_encode(every_byte);
  CHECK(encoded.find_first_of(" /?&#+=") == std::string::npos);
  const Result<std::string> decoded = percent_decode(encoded);
  REQUIRE(decoded);
  CHECK(*decoded == every_byte);
}

TEST_CASE("A NUL is refused, however it is written") {
  for (const std::string& text :
       {std::string("%00"), std::string(1, '\0'), std::string("a\0b", 3)}) {
    const Result<std::string> decoded = percent_decode(text);
    REQUIRE_FALSE(decoded);
    CHECK(decoded.error().code == Errc::invalid_argument);
  }
}

TEST_CASE("An error body is JSON whatever the detail holds") {
  CHECK(error_body({Errc::not_found, "no \"a\\b\"\n\xff here"}) ==
        R"({"error":{"code":"not_found","detail":"no \"a\\b\"?? here"}})");
}

}  // namespace
}  // namespace p2p
