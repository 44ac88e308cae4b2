#include "core/model/file_name.h"

#include <vector>

#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;

FileName name(std::string_view text) {
  return parse_file_name(text).value();
}
std::string why_not(std::string_view text) {
  return parse_source(text).error().detail;
}
std::string next_after(const std::vector<std::string>& existing) {
  return next_version(existing).value();
}

TEST_CASE("A file name is domain/name with or without @version", "[core][file_name]") {
  CHECK(name("images/web.img") == FileName{"images", "web.img", std::nullopt});
  CHECK(name("images/web.img@1.0-rc_2") == FileName{"images", "web.img", "1.0-rc_2"});
  CHECK(name("a.b-c/X@latest") == FileName{"a.b-c", "X", "latest"});
  CHECK(name("0/" + std::string(128, 'n')).name.size() == 128);
}

TEST_CASE("A file name is printed as it is read", "[core][file_name]") {
  for (const auto* text : {"images/web.img", "images/web.img@7"}) CHECK(name(text).str() == text);
}

TEST_CASE("A file name outside its syntax is refused", "[core][file_name]") {
  for (const std::string& text : std::vector<std::string>{"",
                                                          "web.img",
                                                          "/web.img",
                                                          "images/",
                                                          "Images/web",
                                                          "-a/web",
                                                          ".a/web",
                                                          "a_b/web",
                                                          "images/a/b",
                                                          "images/a b",
                                                          "images/.",
                                                          "images/..",
                                                          "images/@1",
                                                          "images/a@",
                                                          "images/a@1@2",
                                                          "images/a@1/2",
                                                          "images/a@.",
                                                          "images/a@..",
                                                          "images/a@1 2",
                                                          "images/grün",
                                                          std::string("images/a\0b", 10),
                                                          std::string(64, 'd') + "/a",
                                                          "images/" + std::string(129, 'n'),
                                                          "images/a@" + std::string(65, '1')}) {
    INFO(text);
    CHECK_FALSE(parse_file_name(text));
  }
}

TEST_CASE("An error about a file name says which part is wrong", "[core][file_name]") {
  CHECK_THAT(parse_file_name("Images/web").error().detail,
             Contains("\"Images/web\"") && Contains("domain before '/'"));
  CHECK_THAT(parse_file_name("images/a/b").error().detail, Contains("name after '/'"));
  CHECK_THAT(parse_file_name("images/a@").error().detail, Contains("version after '@'"));
}

TEST_CASE("latest is looked up but never published", "[core][file_name]") {
  CHECK(check_publishable(name("images/web")));
  CHECK(check_publishable(name("images/web@1")));
  CHECK(check_publishable(name("images/web@Latest")));
  const Status refused = check_publishable(name("images/web@latest"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::invalid_argument);
  CHECK_THAT(refused.error().detail, Contains("images/web@latest"));
}

TEST_CASE("The next version is one more than the largest number", "[core][file_name]") {
  CHECK(next_after({}) == "1");
  CHECK(next_after({"1.0", "beta", "v9"}) == "1");
  CHECK(next_after({"2", "10", "9", "1.5"}) == "11");
  CHECK(next_after({"0"}) == "1");
  CHECK(next_after({"007", "3"}) == "8");
  CHECK(next_after({"20240131235959", "4"}) == "20240131235960");
  CHECK(next_after({"99999999999999999999"}) == "100000000000000000000");  // beyond 64 bits
}

TEST_CASE("After the largest number that is a version there is none", "[core][file_name]") {
  const std::vector<std::string> full{std::string(64, '9')};
  CHECK(next_version(full).error().code == Errc::exhausted);
}

TEST_CASE("A source is a path on a node, a content id or a file name", "[core][file_name]") {
  const std::string id(64, 'a');
  CHECK(parse_source("web-1:/srv/a:b.img").value() == Source(NodePath{"web-1", "/srv/a:b.img"}));
  CHECK(parse_source(id).value() == Source(*ContentId::from_hex(id)));
  CHECK(parse_source(std::string(64, 'A')).value() == Source(*ContentId::from_hex(id)));
  CHECK(parse_source("images/web@3").value() == Source(FileName{"images", "web", "3"}));
}

TEST_CASE("A source that is none of the three says what to write", "[core][file_name]") {
  CHECK_THAT(why_not("/srv/a"), Contains("NODE:/srv/a"));
  CHECK_THAT(why_not("web1"), Contains("NODE:/path, domain/name[@version] or a content id"));
  CHECK_THAT(why_not(std::string(63, 'a')), Contains("all 64 digits; this has 63"));
  CHECK_THAT(why_not(""), Contains("NODE:/path"));
  CHECK_THAT(why_not("web1:srv/a"), Contains("is not absolute"));
  CHECK_THAT(why_not("web1:/srv/../etc/shadow"), Contains("\"..\" is not allowed"));
  CHECK_THAT(why_not(":/srv/a"), Contains("node name \"\""));
  CHECK_THAT(why_not("we b:/srv/a"), Contains("node name \"we b\""));
  CHECK_THAT(why_not("Images/web"), Contains("domain before '/'"));
}

}  // namespace
}  // namespace p2p
