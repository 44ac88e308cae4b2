#include "io/privileged/local_privileged.h"

#include <grp.h>
#include <pwd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/disk/file_io.h"
#include "tests/io/privileged/node.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::code_of;
using test::facts_at;
using test::InProcess;
using test::kPart;
using test::put_file;
using test::read_all;
using test::TempFolder;
using test::text_of;
using test::ThroughHelper;

TEMPLATE_TEST_CASE(
    "A part is made beside its destination, private, with the folders that are missing",
    "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  const Result<Fd> part = node.privileged->open_part({0, "a/b/image"}, kPart);
  REQUIRE(part);
  CHECK((facts_at(node.root + "/a/b/" + kPart).st_mode & 07777) == 0600);
  CHECK((facts_at(node.root + "/a").st_mode & 0700) == 0700);
  CHECK((facts_at(node.root + "/a/b").st_mode & 0022) == 0);
  CHECK_FALSE(fs::exists(node.root + "/a/b/image"));
}

TEMPLATE_TEST_CASE("A part that exists is opened again with its bytes", "[io][privileged]",
                   InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  node.fill_part("image", "half");
  const Result<Fd> again = node.privileged->open_part({0, "image"}, kPart);
  REQUIRE(again);
  CHECK(read_all(*again) == "half");
}

TEMPLATE_TEST_CASE("A part that a crash left read-only is opened again for writing",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  node.fill_part("image", "whole");
  REQUIRE(::chmod((node.root + "/" + kPart).c_str(), 0444) == 0);
  const Result<Fd> again = node.privileged->open_part({0, "image"}, kPart);
  REQUIRE(again);
  CHECK(write_all_at(again->get(), std::vector<std::uint8_t>{'W'}, 0, "part"));
  CHECK(text_of(node.root + "/" + kPart) == "Whole");
}

TEMPLATE_TEST_CASE("A part that is a link, a pipe, a folder or has a second name is refused",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  const std::string part = node.root + "/" + kPart;
  Errc expected = Errc::denied;
  SECTION("a link out") {
    fs::create_symlink(node.outside + "/secret", part);
  }
  SECTION("a link to a file that does not exist yet") {
    fs::create_symlink(node.outside + "/new", part);
  }
  SECTION("a link to a file inside") {
    put_file(node.root + "/file", "x");
    fs::create_symlink("file", part);
  }
  SECTION("a second name of a file outside") {
    fs::create_hard_link(node.outside + "/secret", part);
  }
  SECTION("a pipe") {
    REQUIRE(::mkfifo(part.c_str(), 0600) == 0);
    expected = Errc::invalid_argument;
  }
  SECTION("a folder") {
    fs::create_directory(part);
    expected = Errc::io_failed;
  }
  CHECK(code_of(node.privileged->open_part({0, "image"}, kPart)) == expected);
  struct stat facts {};
  REQUIRE(::stat(part.c_str(), &facts) == (fs::exists(part) ? 0 : -1));
  const FileIdentity written{facts.st_dev, facts.st_ino};
  CHECK_FALSE(node.privileged->land({0, "image"}, kPart, written, {.mode = 0666}));
  CHECK_FALSE(fs::exists(node.root + "/image"));
  CHECK((facts_at(node.outside + "/secret").st_mode & 0022) == 0);
  CHECK(node.is_outside_untouched());
}

TEMPLATE_TEST_CASE("A destination that is a folder, or below a file, is refused",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  fs::create_directories(node.root + "/dir");
  fs::create_directory_symlink("dir", node.root + "/link");
  put_file(node.root + "/file", "x");
  for (const std::string name : {"dir", "link"}) {
    const Result<Fd> part = node.privileged->open_part({0, name}, kPart);
    CHECK(code_of(part) == Errc::invalid_argument);
    CHECK_THAT(part.error().detail, Catch::StartsWith(node.root + "/" + name + " is a folder"));
  }
  CHECK(code_of(node.privileged->open_part({0, "file/image"}, kPart)) == Errc::invalid_argument);
  CHECK(code_of(node.privileged->open_part({0, "file/a/image"}, kPart)) == Errc::invalid_argument);
  CHECK(text_of(node.root + "/file") == "x");
}

TEMPLATE_TEST_CASE("A destination that became a folder meanwhile stops landing and keeps the part",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  const FileIdentity written = node.fill_part("image", "whole");
  fs::create_directory(node.root + "/image");
  const Status landed = node.privileged->land({0, "image"}, kPart, written, {});
  CHECK(code_of(landed) == Errc::invalid_argument);
  CHECK_THAT(landed.error().detail, Catch::Contains("is a folder"));
  CHECK(text_of(node.root + "/" + kPart) == "whole");
}

TEMPLATE_TEST_CASE("Landing replaces the old file as a whole, with mode and time",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  put_file(node.root + "/image", "old");
  const Result<Fd> before = node.privileged->open_landed({0, "image"});
  REQUIRE(before);
  REQUIRE(node.put("image", "new bytes", {.mode = 0444, .mtime_ns = 1'600'000'000'123'456'789}));

  CHECK(read_all(*before) == "old");
  CHECK_FALSE(fs::exists(node.root + "/" + kPart));
  const Result<Fd> after = node.privileged->open_landed({0, "image"});
  REQUIRE(after);
  CHECK(read_all(*after) == "new bytes");
  const Result<FileFacts> facts = facts_of(*after);
  REQUIRE(facts);
  CHECK(facts->size == 9);
  CHECK(facts->mode == 0444);
  CHECK(facts->mtime_ns == 1'600'000'000'123'456'789);
}

TEMPLATE_TEST_CASE("A time before 1970 lands unchanged", "[io][privileged]", InProcess,
                   ThroughHelper) {
  test::NodeOf<TestType> node;
  REQUIRE(node.put("image", "x", {.mtime_ns = -1'500'000'000}));
  const Result<Fd> file = node.privileged->open_landed({0, "image"});
  REQUIRE(file);
  const Result<FileFacts> facts = facts_of(*file);
  REQUIRE(facts);
  CHECK(facts->mtime_ns == -1'500'000'000);
}

TEMPLATE_TEST_CASE("Landing never sets setuid, setgid or sticky bits", "[io][privileged]",
                   InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  const FileIdentity written = node.fill_part("tool", "x");
  REQUIRE(::chmod((node.root + "/" + kPart).c_str(), 06700) == 0);
  REQUIRE(node.privileged->land({0, "tool"}, kPart, written, {.mode = 07755}));
  CHECK((facts_at(node.root + "/tool").st_mode & 07777) == 0755);
}

TEMPLATE_TEST_CASE("An unknown owner or group is no error when landing", "[io][privileged]",
                   InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  REQUIRE(
      node.put("image", "x", {.owner = "no-such-user-here", .group = std::string("root\0x", 6)}));
  CHECK(facts_at(node.root + "/image").st_uid == ::geteuid());
}

TEMPLATE_TEST_CASE("Landing sets the owner where it may, and its lack of rights is no error",
                   "[io][privileged]", InProcess, ThroughHelper) {
  const struct passwd* user = ::getpwnam("daemon");
  const struct group* group = ::getgrnam("daemon");
  if (user == nullptr || group == nullptr) return;
  const bool may_give_away = ::geteuid() == 0;
  test::NodeOf<TestType> node;
  REQUIRE(node.put("image", "x", {.owner = "daemon", .group = "daemon"}));
  const struct stat facts = facts_at(node.root + "/image");
  CHECK(facts.st_uid == (may_give_away ? user->pw_uid : ::geteuid()));
  if (!may_give_away) return;
  CHECK(facts.st_gid == group->gr_gid);
  const Result<Fd> file = node.privileged->open_landed({0, "image"});
  REQUIRE(file);
  CHECK(facts_of(*file)->owner == "daemon");
  CHECK(facts_of(*file)->group == "daemon");
}

TEMPLATE_TEST_CASE("A link at the destination that leads out is replaced and not followed",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  fs::create_symlink(node.outside + "/secret", node.root + "/image");
  REQUIRE(node.put("image", "new", {.mode = 0600}));
  CHECK(S_ISREG(facts_at(node.root + "/image").st_mode));
  CHECK(text_of(node.root + "/image") == "new");
  CHECK(node.is_outside_untouched());
}

TEMPLATE_TEST_CASE("A part that is not there cannot land", "[io][privileged]", InProcess,
                   ThroughHelper) {
  test::NodeOf<TestType> node;
  put_file(node.root + "/image", "old");
  CHECK(code_of(node.privileged->land({0, "image"}, kPart, {}, {})) == Errc::not_found);
  CHECK(code_of(node.privileged->land({0, "no/image"}, kPart, {}, {})) == Errc::not_found);
  CHECK(text_of(node.root + "/image") == "old");
}

TEMPLATE_TEST_CASE(
    "A part that was deleted while it was written does not land, and the error says so",
    "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  put_file(node.root + "/image", "old");
  const FileIdentity written = node.fill_part("image", "new");
  fs::remove(node.root + "/" + kPart);
  const Status landed = node.privileged->land({0, "image"}, kPart, written, {});
  CHECK(code_of(landed) == Errc::not_found);
  CHECK_THAT(landed.error().detail, Catch::Contains("was deleted while it was written"));
  CHECK(text_of(node.root + "/image") == "old");
}

TEMPLATE_TEST_CASE(
    "A part that was replaced while it was written does not land, with no change to it",
    "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  put_file(node.root + "/image", "old");
  const Result<Fd> part = node.privileged->open_part({0, "image"}, kPart);
  REQUIRE(part);
  const Result<FileFacts> facts = facts_of(*part);
  REQUIRE(facts);
  const std::string path = node.root + "/" + kPart;
  fs::rename(path, node.root + "/elsewhere");
  put_file(path, "foreign");
  REQUIRE(::chmod(path.c_str(), 0640) == 0);
  const Status landed =
      node.privileged->land({0, "image"}, kPart, facts->identity(), {.mode = 0755});
  CHECK(code_of(landed) == Errc::corrupt);
  CHECK_THAT(landed.error().detail, Catch::Contains("was replaced by another file"));
  CHECK(text_of(node.root + "/image") == "old");
  CHECK(text_of(path) == "foreign");
  CHECK((facts_at(path).st_mode & 07777) == 0640);
}

TEMPLATE_TEST_CASE("Removing a part leaves the destination, and a missing one is no error",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  put_file(node.root + "/image", "old");
  node.fill_part("image", "half");
  CHECK(node.privileged->remove_part({0, "image"}, kPart));
  CHECK_FALSE(fs::exists(node.root + "/" + kPart));
  CHECK(text_of(node.root + "/image") == "old");
  CHECK(node.privileged->remove_part({0, "image"}, kPart));
  CHECK(node.privileged->remove_part({0, "no/such/folder/image"}, kPart));
}

TEMPLATE_TEST_CASE("Free space is asked where the destination will be, without making folders",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  const Result<FreeSpace> free = node.privileged->free_space({0, "no/such/image"});
  REQUIRE(free);
  const std::uint64_t available = fs::space(node.root).available;
  // Others write to the same disk meanwhile.
  constexpr std::uint64_t kSlack = 1ull << 30;
  CHECK(free->bytes <= available + kSlack);
  CHECK(free->bytes + kSlack >= available);
  CHECK(free->inodes > 0);
  CHECK(free->device == facts_at(node.root).st_dev);
  CHECK(fs::is_empty(node.root));
}

// A tmpfs over a folder of its own; not there when mounting needs rights that this user lacks.
class SmallFileSystem {
 public:
  explicit SmallFileSystem(const char* options)
      : is_mounted_(
            ::mount("tmpfs", folder_.path().c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options) == 0) {
    if (!is_mounted_) WARN("not run: mounting a tmpfs needs rights that this user does not have");
  }
  ~SmallFileSystem() {
    if (is_mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  explicit operator bool() const { return is_mounted_; }
  const std::string& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
  bool is_mounted_;
};

TEMPLATE_TEST_CASE("A full file system is exhausted and its free space is none", "[io][privileged]",
                   InProcess, ThroughHelper) {
  const SmallFileSystem small("size=64k");
  if (!small) return;
  auto made = TestType::create({small.path()}, {});
  REQUIRE(made);
  const RootedPath to{0, "image"};
  CHECK((*made)->free_space(to).value().bytes == 64 * 1024);
  const Result<Fd> part = (*made)->open_part(to, kPart);
  REQUIRE(part);
  const Status full =
      write_all_at(part->get(), std::vector<std::uint8_t>(65 * 1024, 1), 0, "image");
  CHECK(code_of(full) == Errc::exhausted);
  CHECK((*made)->free_space(to).value().bytes == 0);
}

TEMPLATE_TEST_CASE("A file system without inodes left is told apart from one without space",
                   "[io][privileged]", InProcess, ThroughHelper) {
  const SmallFileSystem small("size=1m,nr_inodes=2");
  if (!small) return;
  auto made = TestType::create({small.path()}, {});
  REQUIRE(made);
  CHECK((*made)->free_space({0, "image"}).value().inodes == 1);
  REQUIRE((*made)->open_part({0, "image"}, kPart));
  CHECK((*made)->free_space({0, "image"}).value().inodes == 0);
  for (const std::string name : {"image", "folder/image"}) {
    const Result<Fd> second = (*made)->open_part({0, name}, ".p2pd-second");
    CHECK(code_of(second) == Errc::exhausted);
    CHECK_THAT(second.error().detail, Catch::Contains("no inodes left"));
  }
}

TEMPLATE_TEST_CASE("A file system that does not count inodes has no limit of them",
                   "[io][privileged]", InProcess, ThroughHelper) {
  const SmallFileSystem small("size=1m,nr_inodes=0");
  if (!small) return;
  auto made = TestType::create({small.path()}, {});
  REQUIRE(made);
  CHECK((*made)->free_space({0, "image"}).value().inodes == UINT64_MAX);
}

TEMPLATE_TEST_CASE("A read-only file system is denied, with what to do", "[io][privileged]",
                   InProcess, ThroughHelper) {
  const SmallFileSystem small("size=1m,ro");
  if (!small) return;
  auto made = TestType::create({small.path()}, {});
  REQUIRE(made);
  for (const std::string name : {"image", "folder/image"}) {
    const Result<Fd> part = (*made)->open_part({0, name}, kPart);
    CHECK(code_of(part) == Errc::denied);
    CHECK_THAT(part.error().detail, Catch::Contains("Read-only file system; mount it writable"));
  }
}

TEMPLATE_TEST_CASE("The ready file is replaced as a whole and readable for everybody",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  const std::string path = node.base / "ready";
  put_file(path, "what an agent wrote that is gone");
  REQUIRE(node.privileged->write_ready_file("{}\n"));
  CHECK(text_of(path) == "{}\n");
  CHECK((facts_at(path).st_mode & 07777) == 0644);
}

TEMPLATE_TEST_CASE("A ready file is small, and refused when none was named at start",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  CHECK(node.privileged->write_ready_file(std::string(4096, 'x')));
  CHECK(code_of(node.privileged->write_ready_file(std::string(4097, 'y'))) ==
        Errc::invalid_argument);
  CHECK(text_of(node.base / "ready") == std::string(4096, 'x'));
  auto without = TestType::create({}, {});
  REQUIRE(without);
  CHECK(code_of((*without)->write_ready_file("x")) == Errc::invalid_argument);
}

}  // namespace
}  // namespace p2p
