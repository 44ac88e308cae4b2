// Nothing that a request names leads out of the folders that the agent was given.
#include "io/privileged/local_privileged.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "tests/io/privileged/node.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::code_of;
using test::InProcess;
using test::kPart;
using test::put_file;
using test::read_all;
using test::TempFolder;
using test::text_of;
using test::ThroughHelper;

TEMPLATE_TEST_CASE("Roots and shares must be absolute existing folders, and the error names them",
                   "[io][privileged]", InProcess, ThroughHelper) {
  const TempFolder base;
  put_file(base / "file", "x");
  auto relative = TestType::create({"srv"}, {});
  CHECK(code_of(relative) == Errc::invalid_argument);
  CHECK_THAT(relative.error().detail, Catch::StartsWith("root srv: "));
  auto missing = TestType::create({base.path()}, {base / "none"});
  CHECK(code_of(missing) == Errc::not_found);
  CHECK_THAT(missing.error().detail, Catch::StartsWith("share " + (base / "none")));
  auto file = TestType::create({base / "file"}, {});
  CHECK(code_of(file) == Errc::invalid_argument);
  CHECK_THAT(file.error().detail, Catch::Contains("is not a folder"));
}

TEMPLATE_TEST_CASE("Roots keep the order and the names that they were given", "[io][privileged]",
                   InProcess, ThroughHelper) {
  const TempFolder base;
  fs::create_directory(base / "a");
  fs::create_directory_symlink("a", base / "b");
  auto made = TestType::create({base / "b//", base / "a/../a"}, {base / "./a"});
  REQUIRE(made);
  CHECK((*made)->roots() == std::vector<std::string>{base / "b", base / "a"});
  CHECK((*made)->shares() == std::vector<std::string>{base / "a"});
}

TEMPLATE_TEST_CASE("A source is opened below a share or a root", "[io][privileged]", InProcess,
                   ThroughHelper) {
  test::NodeOf<TestType> node;
  put_file(node.share + "/image", "from share");
  put_file(node.root + "/image", "from root");
  const Result<Fd> shared = node.privileged->open_source(node.share + "/image");
  REQUIRE(shared);
  CHECK(read_all(*shared) == "from share");
  const Result<Fd> rooted = node.privileged->open_source(node.root + "//./image");
  REQUIRE(rooted);
  CHECK(read_all(*rooted) == "from root");
}

TEMPLATE_TEST_CASE("A source is found by a share's name and by the name behind its links",
                   "[io][privileged]", InProcess, ThroughHelper) {
  const TempFolder base;
  fs::create_directory(base / "real");
  fs::create_directory_symlink("real", base / "link");
  put_file(base / "real/image", "x");
  auto made = TestType::create({}, {base / "link"});
  REQUIRE(made);
  CHECK((*made)->open_source(base / "link/image"));
  CHECK((*made)->open_source(base / "real/image"));
}

TEMPLATE_TEST_CASE("A share stays the folder that it was at start", "[io][privileged]", InProcess,
                   ThroughHelper) {
  const TempFolder base;
  fs::create_directory(base / "one");
  fs::create_directory(base / "two");
  fs::create_directory_symlink("one", base / "share");
  put_file(base / "two/secret", "x");
  auto made = TestType::create({}, {base / "share"});
  REQUIRE(made);
  fs::remove(base / "share");
  fs::create_directory_symlink("two", base / "share");
  CHECK(code_of((*made)->open_source(base / "share/secret")) == Errc::not_found);
}

TEMPLATE_TEST_CASE("A source outside shares and roots is denied, with the list", "[io][privileged]",
                   InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  for (const std::string& path : {node.outside + "/secret", node.share + "-more/secret",
                                  std::string("/"), std::string("/etc/passwd")}) {
    const Result<Fd> file = node.privileged->open_source(path);
    CHECK(code_of(file) == Errc::denied);
    CHECK_THAT(file.error().detail, Catch::Contains("shares: " + node.share + ";"));
    CHECK_THAT(file.error().detail, Catch::Contains("roots: " + node.root + ";"));
  }
}

TEMPLATE_TEST_CASE("A source that is no absolute, normal path is refused", "[io][privileged]",
                   InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  fs::create_directory(node.share + "/sub");
  put_file(node.share + "/" + kPart, "unfinished");
  const std::vector<std::string> paths = {"",
                                          "image",
                                          "../share/image",
                                          node.share + "/../outside/secret",
                                          node.share + "/sub/..",
                                          node.share + "/" + kPart,
                                          node.share + std::string("/a\0b", 4),
                                          node.share + "/" + std::string(256, 'n'),
                                          node.share + std::string(5000, '/') + "image"};
  for (const std::string& path : paths) {
    CAPTURE(path);
    CHECK(code_of(node.privileged->open_source(path)) == Errc::invalid_argument);
  }
}

TEMPLATE_TEST_CASE("A source must exist and be a regular file, and a pipe does not hang",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  CHECK(code_of(node.privileged->open_source(node.share + "/none")) == Errc::not_found);

  const Result<Fd> folder = node.privileged->open_source(node.share);
  CHECK(code_of(folder) == Errc::invalid_argument);
  CHECK_THAT(folder.error().detail, Catch::Contains(node.share + " is a folder"));

  REQUIRE(::mkfifo((node.share + "/pipe").c_str(), 0600) == 0);
  const Result<Fd> pipe = node.privileged->open_source(node.share + "/pipe");
  CHECK(code_of(pipe) == Errc::invalid_argument);
  CHECK_THAT(pipe.error().detail, Catch::Contains("not a regular file"));

  put_file(node.share + "/file", "x");
  CHECK(code_of(node.privileged->open_source(node.share + "/file/below")) ==
        Errc::invalid_argument);
}

TEMPLATE_TEST_CASE("A link inside a share works, one that leads out is denied", "[io][privileged]",
                   InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  fs::create_directories(node.share + "/v1/deep");
  put_file(node.share + "/v1/image", "x");
  fs::create_directory_symlink("v1", node.share + "/current");
  fs::create_symlink("../image", node.share + "/v1/deep/up");
  CHECK(node.privileged->open_source(node.share + "/current/image"));
  CHECK(node.privileged->open_source(node.share + "/current/deep/up"));

  fs::create_symlink("../outside/secret", node.share + "/climbs");
  fs::create_symlink(node.outside + "/secret", node.share + "/absolute");
  fs::create_directory_symlink(node.outside, node.share + "/folder");
  fs::create_symlink("circle", node.share + "/circle");
  for (const std::string name : {"climbs", "absolute", "folder/secret", "circle"}) {
    const Result<Fd> file = node.privileged->open_source(node.share + "/" + name);
    CAPTURE(name);
    CHECK(code_of(file) == Errc::denied);
    CHECK_THAT(file.error().detail, Catch::Contains("symbolic link"));
  }
}

TEMPLATE_TEST_CASE("Magic links of /proc are not followed", "[io][privileged]", InProcess,
                   ThroughHelper) {
  auto made = TestType::create({}, {"/proc"});
  REQUIRE(made);
  CHECK((*made)->open_source("/proc/self/status"));
  for (const std::string path : {"/proc/self/root/etc/passwd", "/proc/self/exe"}) {
    CAPTURE(path);
    CHECK(code_of((*made)->open_source(path)) == Errc::denied);
  }
}

TEMPLATE_TEST_CASE("A destination in another form than the rules say is refused by every request",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  const std::vector<std::string> paths = {"",
                                          "/etc/passwd",
                                          "..",
                                          "../outside/file",
                                          "a/../../outside/file",
                                          "a/..",
                                          ".",
                                          "./a",
                                          "a//b",
                                          "a/",
                                          std::string("a\0b", 3),
                                          ".p2pd-other/file",
                                          "a/.p2pd-file",
                                          std::string(256, 'n'),
                                          std::string(2100, 'a').replace(1, 1, "/"),
                                          [] {
                                            std::string deep = "f";
                                            for (int i = 0; i < 2100; ++i) deep += "/f";
                                            return deep;
                                          }()};
  for (const std::string& path : paths) {
    CAPTURE(path);
    const RootedPath to{0, path};
    CHECK(code_of(node.privileged->open_part(to, kPart)) == Errc::invalid_argument);
    CHECK(code_of(node.privileged->open_landed(to)) == Errc::invalid_argument);
    CHECK(code_of(node.privileged->land(to, kPart, {}, {})) == Errc::invalid_argument);
    CHECK(code_of(node.privileged->remove_part(to, kPart)) == Errc::invalid_argument);
    CHECK(code_of(node.privileged->free_space(to)) == Errc::invalid_argument);
    if (path != ".") {
      CHECK(code_of(node.privileged->list_folder(0, path, "")) == Errc::invalid_argument);
    }
  }
  CHECK(code_of(node.privileged->open_part({1, "a"}, kPart)) == Errc::invalid_argument);
  CHECK(code_of(node.privileged->list_folder(1, ".", "")) == Errc::invalid_argument);
  CHECK(fs::is_empty(node.root));
  CHECK(node.is_outside_untouched());
}

TEMPLATE_TEST_CASE("A part's name must be a reserved one without a folder", "[io][privileged]",
                   InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  put_file(node.root + "/file", "x");
  for (const std::string& part :
       {std::string(), std::string("file"), std::string("../outside/secret"),
        std::string(".p2pd-/../../outside/secret"), std::string(".p2pd-\0", 7),
        ".p2pd-" + std::string(250, 'n')}) {
    CAPTURE(part);
    CHECK(code_of(node.privileged->open_part({0, "a"}, part)) == Errc::invalid_argument);
    CHECK(code_of(node.privileged->land({0, "a"}, part, {}, {})) == Errc::invalid_argument);
    CHECK(code_of(node.privileged->remove_part({0, "a"}, part)) == Errc::invalid_argument);
  }
  CHECK(text_of(node.root + "/file") == "x");
  CHECK(node.is_outside_untouched());
}

TEMPLATE_TEST_CASE("A link on the way works inside the root and is denied when it leads out",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  fs::create_directories(node.root + "/v1/sub");
  fs::create_directory_symlink("v1", node.root + "/current");
  fs::create_directory_symlink("../../v1", node.root + "/v1/sub/up");
  REQUIRE(node.put("current/new/image", "one", {}));
  CHECK(text_of(node.root + "/v1/new/image") == "one");
  REQUIRE(node.put("v1/sub/up/image", "two", {}));
  CHECK(text_of(node.root + "/v1/image") == "two");

  fs::create_directory_symlink("../outside", node.root + "/climbs");
  fs::create_directory_symlink(node.outside, node.root + "/absolute");
  for (const std::string link : {"climbs", "absolute"}) {
    CAPTURE(link);
    CHECK(code_of(node.privileged->open_part({0, link + "/image"}, kPart)) == Errc::denied);
    CHECK(code_of(node.privileged->open_part({0, link + "/new/image"}, kPart)) == Errc::denied);
    CHECK(code_of(node.privileged->land({0, link + "/image"}, kPart, {}, {})) == Errc::denied);
    CHECK(code_of(node.privileged->remove_part({0, link + "/secret"}, kPart)) == Errc::denied);
    CHECK(code_of(node.privileged->open_landed({0, link + "/secret"})) == Errc::denied);
    CHECK(code_of(node.privileged->free_space({0, link + "/image"})) == Errc::denied);
  }
  CHECK(node.is_outside_untouched());
}

// A tmpfs over a folder, as long as this lives.
class MountedOver {
 public:
  explicit MountedOver(std::string folder)
      : folder_(std::move(folder)),
        is_mounted_(::mount("tmpfs", folder_.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=1m") ==
                    0) {
    if (!is_mounted_) WARN("not run: mounting a tmpfs needs rights that this user does not have");
  }
  MountedOver(const MountedOver&) = delete;
  ~MountedOver() {
    if (is_mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  explicit operator bool() const { return is_mounted_; }

 private:
  std::string folder_;
  bool is_mounted_;
};

TEMPLATE_TEST_CASE("What is mounted below a root before the start is worked in", "[io][privileged]",
                   InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  fs::create_directories(node.root + "/disks/one");
  const MountedOver mounted(node.root + "/disks/one");
  if (!mounted) return;
  auto made = TestType::create({node.root}, {});
  REQUIRE(made);
  const RootedPath to{0, "disks/one/deep/image"};
  CHECK((*made)->open_part(to, kPart));
  CHECK(fs::exists(node.root + "/disks/one/deep/" + kPart));
  CHECK((*made)->open_part({0, "disks/one-beside"}, kPart));
  CHECK((*made)->free_space(to).value().bytes <= 1024 * 1024);
}

TEMPLATE_TEST_CASE("What is mounted below a root after the start is denied, and untouched",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  fs::create_directories(node.root + "/disks/one");
  const MountedOver mounted(node.root + "/disks/one");
  if (!mounted) return;
  CHECK(code_of(node.privileged->open_part({0, "disks/one/image"}, kPart)) == Errc::denied);
  CHECK(code_of(node.privileged->open_part({0, "disks/one/deep/image"}, kPart)) == Errc::denied);
  CHECK(fs::is_empty(node.root + "/disks/one"));
}

TEMPLATE_TEST_CASE("Another mount in the place of a known one is denied", "[io][privileged]",
                   InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  fs::create_directories(node.root + "/disks");
  const MountedOver mounted(node.root + "/disks");
  if (!mounted) return;
  auto made = TestType::create({node.root}, {});
  REQUIRE(made);
  const MountedOver swapped(node.root + "/disks");
  const auto part = (*made)->open_part({0, "disks/image"}, kPart);
  CHECK(code_of(part) == Errc::denied);
  CHECK_THAT(part.error().detail, Catch::Contains("restart the agent"));
}

TEMPLATE_TEST_CASE("A folder that is swapped for a link out at any moment lets nothing out",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  fs::create_directory(node.root + "/dir");
  fs::create_directory_symlink(node.outside, node.root + "/link");
  std::atomic<bool> is_done = false;
  std::thread attacker([&node, &is_done] {
    const std::string dir = node.root + "/dir";
    const std::string link = node.root + "/link";
    while (!is_done) {
      ::renameat2(AT_FDCWD, dir.c_str(), AT_FDCWD, link.c_str(), RENAME_EXCHANGE);
    }
  });
  for (int i = 0; i < 1000; ++i) {
    const std::string path = "dir/sub" + std::to_string(i) + "/image";
    // Any of them may or may not succeed.
    std::ignore = node.privileged->open_part({0, path}, kPart);
    std::ignore = node.privileged->land({0, path}, kPart, {}, {});
    std::ignore = node.privileged->remove_part({0, "dir/secret"}, kPart);
  }
  is_done = true;
  attacker.join();
  CHECK(node.is_outside_untouched());
}

}  // namespace
}  // namespace p2p
