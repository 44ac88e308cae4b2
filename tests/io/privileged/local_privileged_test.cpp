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
using test::kPart;
using test::Node;
using test::put_file;
using test::read_all;
using test::TempFolder;
using test::text_of;

TEST_CASE("A part is made beside its destination, private, with the folders that are missing",
          "[io][privileged]") {
  Node node;
  const Result<Fd> part = node.privileged->open_part({0, "a/b/image"}, kPart);
  REQUIRE(part);
  CHECK((facts_at(node.root + "/a/b/" + kPart).st_mode & 07777) == 0600);
  CHECK((facts_at(node.root + "/a").st_mode & 0700) == 0700);
  CHECK((facts_at(node.root + "/a/b").st_mode & 0022) == 0);
  CHECK_FALSE(fs::exists(node.root + "/a/b/image"));
}

TEST_CASE("A part that exists is opened again with its bytes", "[io][privileged]") {
  Node node;
  node.fill_part("image", "half");
  const Result<Fd> again = node.privileged->open_part({0, "image"}, kPart);
  REQUIRE(again);
  CHECK(read_all(*again) == "half");
}

TEST_CASE("A part that a crash left read-only is opened again for writing", "[io][privileged]") {
  Node node;
  node.fill_part("image", "whole");
  REQUIRE(::chmod((node.root + "/" + kPart).c_str(), 0444) == 0);
  const Result<Fd> again = node.privileged->open_part({0, "image"}, kPart);
  REQUIRE(again);
  CHECK(write_all_at(again->get(), std::vector<std::uint8_t>{'W'}, 0, "part"));
  CHECK(text_of(node.root + "/" + kPart) == "Whole");
}

TEST_CASE("A part that is a link, a pipe, a folder or has a second name is refused",
          "[io][privileged]") {
  Node node;
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
  CHECK_FALSE(node.privileged->land({0, "image"}, kPart, {.mode = 0666}));
  CHECK_FALSE(fs::exists(node.root + "/image"));
  CHECK((facts_at(node.outside + "/secret").st_mode & 0022) == 0);
  CHECK(node.is_outside_untouched());
}

TEST_CASE("A destination that is a folder, or below a file, is refused", "[io][privileged]") {
  Node node;
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

TEST_CASE("A destination that became a folder meanwhile stops landing and keeps the part",
          "[io][privileged]") {
  Node node;
  node.fill_part("image", "whole");
  fs::create_directory(node.root + "/image");
  const Status landed = node.privileged->land({0, "image"}, kPart, {});
  CHECK(code_of(landed) == Errc::invalid_argument);
  CHECK_THAT(landed.error().detail, Catch::Contains("is a folder"));
  CHECK(text_of(node.root + "/" + kPart) == "whole");
}

TEST_CASE("Landing replaces the old file as a whole, with mode and time", "[io][privileged]") {
  Node node;
  put_file(node.root + "/image", "old");
  const Result<Fd> before = node.privileged->open_landed({0, "image"});
  REQUIRE(before);
  node.fill_part("image", "new bytes");
  REQUIRE(node.privileged->land({0, "image"}, kPart,
                                {.mode = 0444, .mtime_ns = 1'600'000'000'123'456'789}));

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

TEST_CASE("A time before 1970 lands unchanged", "[io][privileged]") {
  Node node;
  node.fill_part("image", "x");
  REQUIRE(node.privileged->land({0, "image"}, kPart, {.mtime_ns = -1'500'000'000}));
  const Result<Fd> file = node.privileged->open_landed({0, "image"});
  REQUIRE(file);
  const Result<FileFacts> facts = facts_of(*file);
  REQUIRE(facts);
  CHECK(facts->mtime_ns == -1'500'000'000);
}

TEST_CASE("Landing never sets setuid, setgid or sticky bits", "[io][privileged]") {
  Node node;
  node.fill_part("tool", "x");
  REQUIRE(::chmod((node.root + "/" + kPart).c_str(), 06700) == 0);
  REQUIRE(node.privileged->land({0, "tool"}, kPart, {.mode = 07755}));
  CHECK((facts_at(node.root + "/tool").st_mode & 07777) == 0755);
}

TEST_CASE("An unknown owner or group is no error when landing", "[io][privileged]") {
  Node node;
  node.fill_part("image", "x");
  REQUIRE(node.privileged->land(
      {0, "image"}, kPart, {.owner = "no-such-user-here", .group = std::string("root\0x", 6)}));
  CHECK(facts_at(node.root + "/image").st_uid == ::geteuid());
}

TEST_CASE("Landing sets the owner where it may, and its lack of rights is no error",
          "[io][privileged]") {
  const struct passwd* user = ::getpwnam("daemon");
  const struct group* group = ::getgrnam("daemon");
  if (user == nullptr || group == nullptr) return;
  const bool may_give_away = ::geteuid() == 0;
  Node node;
  node.fill_part("image", "x");
  REQUIRE(node.privileged->land({0, "image"}, kPart, {.owner = "daemon", .group = "daemon"}));
  const struct stat facts = facts_at(node.root + "/image");
  CHECK(facts.st_uid == (may_give_away ? user->pw_uid : ::geteuid()));
  if (!may_give_away) return;
  CHECK(facts.st_gid == group->gr_gid);
  const Result<Fd> file = node.privileged->open_landed({0, "image"});
  REQUIRE(file);
  CHECK(facts_of(*file)->owner == "daemon");
  CHECK(facts_of(*file)->group == "daemon");
}

TEST_CASE("A link at the destination that leads out is replaced and not followed",
          "[io][privileged]") {
  Node node;
  fs::create_symlink(node.outside + "/secret", node.root + "/image");
  node.fill_part("image", "new");
  REQUIRE(node.privileged->land({0, "image"}, kPart, {.mode = 0600}));
  CHECK(S_ISREG(facts_at(node.root + "/image").st_mode));
  CHECK(text_of(node.root + "/image") == "new");
  CHECK(node.is_outside_untouched());
}

TEST_CASE("A part that is not there cannot land", "[io][privileged]") {
  Node node;
  put_file(node.root + "/image", "old");
  CHECK(code_of(node.privileged->land({0, "image"}, kPart, {})) == Errc::not_found);
  CHECK(code_of(node.privileged->land({0, "no/image"}, kPart, {})) == Errc::not_found);
  CHECK(text_of(node.root + "/image") == "old");
}

TEST_CASE("Removing a part leaves the destination, and a missing one is no error",
          "[io][privileged]") {
  Node node;
  put_file(node.root + "/image", "old");
  node.fill_part("image", "half");
  CHECK(node.privileged->remove_part({0, "image"}, kPart));
  CHECK_FALSE(fs::exists(node.root + "/" + kPart));
  CHECK(text_of(node.root + "/image") == "old");
  CHECK(node.privileged->remove_part({0, "image"}, kPart));
  CHECK(node.privileged->remove_part({0, "no/such/folder/image"}, kPart));
}

TEST_CASE("Free space is asked where the destination will be, without making folders",
          "[io][privileged]") {
  Node node;
  const Result<std::uint64_t> free = node.privileged->free_bytes({0, "no/such/image"});
  REQUIRE(free);
  const std::uint64_t available = fs::space(node.root).available;
  // Others write to the same disk meanwhile.
  constexpr std::uint64_t kSlack = 1ull << 30;
  CHECK(*free <= available + kSlack);
  CHECK(*free + kSlack >= available);
  CHECK(fs::is_empty(node.root));
}

TEST_CASE("A full file system is exhausted and its free space is none", "[io][privileged]") {
  const TempFolder base;
  if (::mount("tmpfs", base.path().c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=64k") != 0) {
    WARN("not run: mounting a tmpfs needs rights that this user does not have");
    return;
  }
  {
    const auto made = LocalPrivileged::create({base.path()}, {});
    REQUIRE(made);
    const RootedPath to{0, "image"};
    CHECK((*made)->free_bytes(to).value() == 64 * 1024);
    const Result<Fd> part = (*made)->open_part(to, kPart);
    REQUIRE(part);
    const Status full =
        write_all_at(part->get(), std::vector<std::uint8_t>(65 * 1024, 1), 0, "image");
    CHECK(code_of(full) == Errc::exhausted);
    CHECK((*made)->free_bytes(to).value() == 0);
  }
  CHECK(::umount2(base.path().c_str(), MNT_DETACH) == 0);
}

}  // namespace
}  // namespace p2p
