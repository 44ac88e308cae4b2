#include "io/disk/file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "io/disk/fd.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

using test::put_file;
using test::TempFolder;
using test::text_of;

using Bytes = std::vector<std::uint8_t>;

Fd open_new(const std::string& path) {
  return Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
}

TEST_CASE("A full disk is told apart from other failures and names the file", "[io][disk]") {
  for (const int error : {ENOSPC, EDQUOT}) {
    const Error full = error_from_errno(error, "write /srv/a");
    CHECK(full.code == Errc::exhausted);
    CHECK_THAT(full.detail, Catch::StartsWith("write /srv/a: disk full"));
  }
  CHECK(error_from_errno(ENOENT, "open /srv/a").code == Errc::not_found);
  const Error other = error_from_errno(EIO, "write /srv/a");
  CHECK(other.code == Errc::io_failed);
  CHECK(other.detail == "write /srv/a: Input/output error");
}

TEST_CASE("A lack of rights is denied and says what to do", "[io][disk]") {
  for (const int error : {EACCES, EPERM, EROFS}) {
    const Error denied = error_from_errno(error, "write /srv/a");
    CHECK(denied.code == Errc::denied);
    CHECK_THAT(denied.detail, Catch::StartsWith("write /srv/a: ") && Catch::Contains("; "));
  }
  CHECK_THAT(error_from_errno(EROFS, "write /srv/a").detail, Catch::Contains("mount it writable"));
}

TEST_CASE("A write to a full device is exhausted", "[io][disk]") {
  const Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  REQUIRE(full);
  const Bytes bytes(4096, 7);
  const Status status = write_all_at(full.get(), bytes, 0, "/dev/full");
  REQUIRE_FALSE(status);
  CHECK(status.error().code == Errc::exhausted);
  CHECK_THAT(status.error().detail, Catch::StartsWith("write /dev/full at 0: disk full"));
}

TEST_CASE("What is written at an offset is read back there", "[io][disk]") {
  const TempFolder folder;
  const Fd file = open_new(folder / "a");
  const Bytes written{1, 2, 3, 4, 5};
  REQUIRE(write_all_at(file.get(), written, 1000, "a"));
  REQUIRE(sync_data(file.get(), "a"));

  Bytes back(5);
  REQUIRE(read_exactly_at(file.get(), back, 1000, "a"));
  CHECK(back == written);
  Bytes before(3, 9);
  REQUIRE(read_exactly_at(file.get(), before, 997, "a"));
  CHECK(before == Bytes{0, 0, 0});
}

TEST_CASE("A read stops at the end of the file, and an exact one fails there", "[io][disk]") {
  const TempFolder folder;
  const Fd file = open_new(folder / "a");
  REQUIRE(write_all_at(file.get(), Bytes{1, 2, 3}, 0, "a"));

  Bytes into(10);
  const Result<std::size_t> some = read_at(file.get(), into, 1, "a");
  REQUIRE(some);
  CHECK(*some == 2);
  const Result<std::size_t> none = read_at(file.get(), into, 3, "a");
  REQUIRE(none);
  CHECK(*none == 0);
  const Status exact = read_exactly_at(file.get(), into, 1, "a");
  REQUIRE_FALSE(exact);
  CHECK(exact.error().code == Errc::corrupt);
  CHECK_THAT(exact.error().detail, Catch::Contains("after 2 of 10 bytes"));
}

TEST_CASE("A failed write, read and sync say which file", "[io][disk]") {
  Bytes bytes(1);
  CHECK_THAT(write_all_at(-1, bytes, 8, "/srv/a").error().detail,
             Catch::StartsWith("write /srv/a at 8: "));
  CHECK_THAT(read_at(-1, bytes, 8, "/srv/a").error().detail,
             Catch::StartsWith("read /srv/a at 8: "));
  CHECK_THAT(sync_data(-1, "/srv/a").error().detail, Catch::StartsWith("sync data of /srv/a: "));
  CHECK_THAT(sync_all(-1, "/srv/a").error().detail, Catch::StartsWith("sync /srv/a: "));
}

TEST_CASE("An atomic write replaces the file, sets the mode and leaves nothing else",
          "[io][disk]") {
  const TempFolder folder;
  put_file(folder / "key", "old and longer");
  REQUIRE(write_file_atomically(folder / "key", "new", 0640));

  CHECK(text_of(folder / "key") == "new");
  struct stat facts {};
  REQUIRE(::stat((folder / "key").c_str(), &facts) == 0);
  CHECK((facts.st_mode & 07777) == 0640);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("An atomic write gives the path a new file: an open one keeps its bytes", "[io][disk]") {
  const TempFolder folder;
  put_file(folder / "key", "old");
  const Fd before(::open((folder / "key").c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(write_file_atomically(folder / "key", "new", 0600));
  Bytes bytes(3);
  REQUIRE(read_exactly_at(before.get(), bytes, 0, "key"));
  CHECK(bytes == Bytes{'o', 'l', 'd'});
}

TEST_CASE("An atomic write that fails leaves the old state and no temporary file", "[io][disk]") {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "taken/by");
  CHECK_FALSE(write_file_atomically(folder / "taken", "new", 0600));
  CHECK(std::filesystem::is_directory(folder / "taken/by"));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);

  const Status missing = write_file_atomically(folder / "no/such", "new", 0600);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Errc::not_found);
}

TEST_CASE("A file is read whole up to the limit and refused above it", "[io][disk]") {
  const TempFolder folder;
  const std::string text(200'000, 'x');
  put_file(folder / "a", text);
  const Result<std::string> fits = read_file(folder / "a", text.size());
  REQUIRE(fits);
  CHECK(*fits == text);

  const Result<std::string> is_long = read_file(folder / "a", text.size() - 1);
  REQUIRE_FALSE(is_long);
  CHECK(is_long.error().code == Errc::invalid_argument);
  CHECK_THAT(is_long.error().detail, Catch::Contains("199999"));

  const Result<std::string> missing = read_file(folder / "b", 10);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Errc::not_found);
  CHECK_THAT(missing.error().detail, Catch::Contains(folder / "b"));
}

TEST_CASE("A pipe can be read like a file", "[io][disk]") {
  const TempFolder folder;
  const std::string path = folder / "pipe";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  std::thread writer([&path] { put_file(path, "token"); });
  const Result<std::string> text = read_file(path, 100);
  writer.join();
  REQUIRE(text);
  CHECK(*text == "token");
}

TEST_CASE("Folders are made down to the last, and existing ones are no error", "[io][disk]") {
  const TempFolder folder;
  CHECK(make_folders(folder / "a/b/c"));
  CHECK(std::filesystem::is_directory(folder / "a/b/c"));
  CHECK(make_folders(folder / "a/b/c"));

  put_file(folder / "file", "x");
  const Status blocked = make_folders(folder / "file/below");
  REQUIRE_FALSE(blocked);
  CHECK_THAT(blocked.error().detail, Catch::Contains(folder / "file/below"));
  CHECK_FALSE(make_folders(folder / "file"));
  CHECK_FALSE(make_folders(folder / "file/"));
}

}  // namespace
}  // namespace p2p
