#include "core/model/destination.h"

#include <vector>

#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;

const std::vector<std::string> kRoots{"/srv", "/data/", "/srv/images"};

// "ROOT INDEX:relative path", or the error.
std::string resolved(std::string_view dest, const std::vector<std::string>& roots = kRoots,
                     std::string_view base_name = "web.img") {
  const Result<ResolvedDestination> result = resolve_destination(dest, roots, "web03", base_name);
  if (!result) return result.error().detail;
  return std::to_string(result->root_index) + ":" + result->relative_path;
}

TEST_CASE("A relative destination lies below the first root", "[core][destination]") {
  CHECK(resolved("a.img") == "0:a.img");
  CHECK(resolved("images/a.img") == "0:images/a.img");
}

TEST_CASE("An absolute destination lies below the longest root that fits", "[core][destination]") {
  CHECK(resolved("/srv/a.img") == "0:a.img");
  CHECK(resolved("/data/x/a.img") == "1:x/a.img");
  CHECK(resolved("/srv/images/a.img") == "2:a.img");
  CHECK(resolved("/srv/images2/a.img") == "0:images2/a.img");
  CHECK(resolved("/etc/passwd", {"/"}) == "0:etc/passwd");
  CHECK(resolved("/data/a", {"/", "/data"}) == "1:a");
}

TEST_CASE("A destination below no root is denied and the roots are listed", "[core][destination]") {
  CHECK(resolved("/etc/x", {"/srv", "/data"}) ==
        "/etc/x is not below a root of web03 (roots: /srv, /data): start p2pd with --root or "
        "choose another --path");
  CHECK(resolve_destination("/srv2/x", kRoots, "web03", "a").error().code == Errc::denied);
}

TEST_CASE("A node without roots receives nothing and says so", "[core][destination]") {
  for (const auto* dest : {"a.img", "/srv/a.img"}) {
    CHECK(resolved(dest, {}) ==
          "web03 receives nothing, because it has no roots: start p2pd there with --root DIR");
  }
}

TEST_CASE("{node} stands for the node's name", "[core][destination]") {
  CHECK(resolved("/srv/{node}/{node}.img") == "0:web03/web03.img");
  CHECK(resolved("{node}/") == "0:web03/web.img");
  CHECK(resolved("/{node}/a", {"/web03"}) == "0:a");
}

TEST_CASE("Another lower-case word in braces is refused, other braces are kept",
          "[core][destination]") {
  CHECK_THAT(resolved("/srv/{host}.img"), Contains("{host} has no meaning here"));
  CHECK_THAT(resolved("/srv/{nodes}"), Contains("{nodes} has no meaning here"));
  CHECK(resolved("/srv/{A1-F2}.img") == "0:{A1-F2}.img");
  CHECK(resolved("/srv/{}{{node}") == "0:{}{web03");
  CHECK(resolved("/srv/{node") == "0:{node");
}

TEST_CASE("A trailing slash keeps the source's own name", "[core][destination]") {
  CHECK(resolved("/srv/") == "0:web.img");
  CHECK(resolved("/srv/new//") == "0:new/web.img");
  CHECK(resolved("new/") == "0:new/web.img");
  CHECK(resolved("/srv/", kRoots, "{node}.img") == "0:{node}.img");
}

TEST_CASE("A source's own name that is no plain name is refused", "[core][destination]") {
  for (const std::string& name :
       std::vector<std::string>{"", ".", "..", "../a", "a/b", "/", ".p2pd-a",
                                std::string("a\0b", 3), std::string(256, 'n')}) {
    INFO(name);
    CHECK_THAT(resolved("/srv/", kRoots, name), Contains("source's own name"));
  }
}

TEST_CASE("A root itself is no destination", "[core][destination]") {
  CHECK(resolved("/srv") ==
        "/srv is a root of web03 itself: add a name, or a trailing '/' to keep the source's own");
  CHECK_THAT(resolved("/srv/images"), Contains("is a root of web03 itself"));
}

TEST_CASE("Repeated slashes count as one", "[core][destination]") {
  CHECK(resolved("//srv///x//a.img") == "0:x/a.img");
  CHECK(resolved("x//a.img") == "0:x/a.img");
}

TEST_CASE("Dots, zero bytes and reserved names are refused wherever they stand",
          "[core][destination]") {
  for (const auto* dest : {"../a", "a/../b", "a/..", "/srv/../etc/x", "..", "../"}) {
    INFO(dest);
    CHECK_THAT(resolved(dest), Contains("\"..\" is not allowed"));
  }
  for (const auto* dest : {"./a", "a/./b", "/srv/.", "."}) {
    INFO(dest);
    CHECK_THAT(resolved(dest), Contains("\".\" is not allowed"));
  }
  for (const auto* dest : {".p2pd-x", "/srv/.p2pd-1/a", "a/.p2pd-{node}"}) {
    INFO(dest);
    CHECK_THAT(resolved(dest), Contains("reserved for p2pd"));
  }
  CHECK_THAT(resolved(std::string_view("a\0b", 3)), Contains("zero byte"));
  CHECK(resolved("/srv/..a/.p2pd/...") == "0:..a/.p2pd/...");
  CHECK_THAT(resolved(""), Contains("no destination"));
}

TEST_CASE("A component has at most 255 bytes and the whole path 4095", "[core][destination]") {
  CHECK(resolved("/srv/" + std::string(255, 'a')) == "0:" + std::string(255, 'a'));
  CHECK_THAT(resolved("/srv/" + std::string(256, 'a')), Contains("a name of 256 bytes"));

  std::string longest = "/srv";
  while (longest.size() + 200 <= 4095) longest += "/" + std::string(199, 'a');
  longest += "/" + std::string(4095 - longest.size() - 1, 'b');
  CHECK(resolved(longest).starts_with("0:aaa"));
  CHECK_THAT(resolved(longest + "b"), Contains("a path of 4096 bytes; at most 4095"));
  CHECK_THAT(resolved(longest.substr(5) + "b"), Contains("a path of 4096 bytes; at most 4095"));
}

TEST_CASE("The name of a node is checked before it becomes a part of a path",
          "[core][destination]") {
  CHECK_FALSE(resolve_destination("{node}", kRoots, "../x", "a"));
  CHECK_FALSE(resolve_destination("{node}", kRoots, "", "a"));
}

TEST_CASE("A source path is absolute and plain", "[core][destination]") {
  for (const auto* path : {"/srv/a.img", "//srv//a", "/srv/tree/", "/a..b/...", "/srv/ä\n"}) {
    INFO(path);
    CHECK(check_source_path(path));
  }
  for (const std::string& path : std::vector<std::string>{
           "", "srv/a", "/", "//", "/srv/../etc", "/srv/./a", "/..", "/srv/.p2pd-part",
           std::string("/a\0b", 4), "/" + std::string(256, 'a'), "/" + std::string(4095, '/')}) {
    INFO(path);
    CHECK_FALSE(check_source_path(path));
  }
}

TEST_CASE("The base name of a path is its last component", "[core][destination]") {
  CHECK(base_name_of("/srv/a.img") == "a.img");
  CHECK(base_name_of("/srv/tree//") == "tree");
  CHECK(base_name_of("/") == "");
}

TEST_CASE("A node reads below its shares and its roots, and nowhere else", "[core][destination]") {
  const std::vector<std::string> shares{"/srv/files"};
  const std::vector<std::string> roots{"/data"};
  CHECK(check_readable("/srv/files/a.img", shares, roots, "web1"));
  CHECK(check_readable("/data/a.img", shares, roots, "web1"));
  CHECK_FALSE(check_readable("/srv/files2/a.img", shares, roots, "web1"));
  CHECK_FALSE(check_readable("/srv/files/../secret", shares, roots, "web1"));
  const Status outside = check_readable("/etc/passwd", shares, {}, "web1");
  REQUIRE_FALSE(outside);
  CHECK(outside.error().code == Errc::denied);
  CHECK(outside.error().detail ==
        "/etc/passwd is not below a folder that web1 may read (shares: /srv/files; roots: none): "
        "start p2pd with --share to publish from elsewhere");
}

TEST_CASE("An old file is named as a destination is, and may lie in a share", "[core][model]") {
  const std::vector<std::string> shares{"/data"};
  const std::vector<std::string> roots{"/srv//a/", "/srv"};
  const auto basis = [&](std::string_view text) {
    const auto path = resolve_basis(text, shares, roots, "web1", "base.img");
    return path ? *path : std::string(to_string(path.error().code));
  };
  CHECK(basis("old/{node}.img") == "/srv/a/old/web1.img");
  CHECK(basis("/srv//old/{node}.img") == "/srv/old/web1.img");
  CHECK(basis("/data/") == "/data/base.img");
  CHECK(basis("/data/x") == "/data/x");
  CHECK(basis("/etc/passwd") == "denied");
  CHECK(basis("/data/../etc/passwd") == "invalid_argument");
  CHECK(basis("{rack}.img") == "invalid_argument");
  CHECK(basis("") == "invalid_argument");
}

TEST_CASE("A resolved destination has one text, however its root was written", "[core][model]") {
  const std::vector<std::string> roots{"/srv//a/", "/"};
  const auto path = [&](std::string_view text) {
    const auto resolved = resolve_destination(text, roots, "web1", "base.img");
    return resolved ? absolute_path(*resolved, roots) : std::string();
  };
  CHECK(path("x//y") == "/srv/a/x/y");
  CHECK(path("/srv/a/x/y") == "/srv/a/x/y");
  CHECK(path("/etc/x") == "/etc/x");
  CHECK(normal_path("//srv/a//x/") == "/srv/a/x");
}

}  // namespace
}  // namespace p2p
