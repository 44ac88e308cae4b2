#include "io/disk/file_calls.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/disk/fd.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::put_file;
using test::text_of;

constexpr std::uint64_t kBlock = 64 * 1024;

// A folder with one open file in it.
struct Opened {
  test::TempFolder folder;
  std::string path = folder / "a";
  Fd file{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  Fd directory{::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  FileCalls& calls = FileCalls::system();

  Opened() {
    REQUIRE(file);
    REQUIRE(directory);
  }
  int fd() const { return file.get(); }
  void write(const std::string& text, std::uint64_t offset) const {
    const auto* first = reinterpret_cast<const std::uint8_t*>(text.data());
    REQUIRE(calls.write_at(fd(), {first, text.size()}, offset, path));
  }
  FileState state() const {
    const auto state = state_of(fd(), path);
    REQUIRE(state);
    return *state;
  }
  std::optional<ByteRange> data_from(std::uint64_t offset) const {
    const auto run = next_data(fd(), offset, path);
    REQUIRE(run);
    return *run;
  }
};

Errc code_of(const Status& status) {
  REQUIRE_FALSE(status);
  return status.error().code;
}

}  // namespace

TEST_CASE("A file grows with zeros and shrinks to what was asked", "[io][disk]") {
  const Opened opened;
  opened.write("abc", 0);
  REQUIRE(opened.calls.set_size(opened.fd(), 5, "a"));
  CHECK(text_of(opened.path) == std::string("abc\0\0", 5));
  REQUIRE(opened.calls.set_size(opened.fd(), 2, "a"));
  CHECK(text_of(opened.path) == "ab");
}

TEST_CASE("A size that no file system holds is called that, and not a failure of the disk",
          "[io][disk]") {
  const Opened opened;
  const Status sized = opened.calls.set_size(opened.fd(), 1ull << 62, "a");
  CHECK(code_of(sized) == Errc::invalid_argument);
  CHECK_THAT(sized.error().detail, Catch::Contains("holds no file of that size"));
}

TEST_CASE("A file that cannot be written to cannot be sized or allocated", "[io][disk]") {
  const Opened opened;
  const Fd reader(::open(opened.path.c_str(), O_RDONLY | O_CLOEXEC));
  CHECK_FALSE(opened.calls.set_size(reader.get(), 5, "a"));
  CHECK_FALSE(opened.calls.allocate(reader.get(), 5, "a"));
  CHECK_FALSE(opened.calls.write_at(reader.get(), std::vector<std::uint8_t>(1), 0, "a"));
}

TEST_CASE("An allocated file has a place for every byte, and what it had before", "[io][disk]") {
  const Opened opened;
  opened.write("abc", 0);
  REQUIRE(opened.calls.set_size(opened.fd(), kBlock, "a"));
  CHECK(opened.state().allocated < kBlock);
  REQUIRE(opened.calls.allocate(opened.fd(), kBlock, "a"));
  CHECK(opened.state().allocated >= kBlock);
  CHECK(opened.state().size == kBlock);
  CHECK(text_of(opened.path) == "abc" + std::string(kBlock - 3, '\0'));
  CHECK(opened.calls.allocate(opened.fd(), 0, "a"));
}

TEST_CASE("More than the disk has cannot be allocated, and takes nothing", "[io][disk]") {
  const Opened opened;
  const std::uint64_t free = fs::space(opened.folder.path()).free;
  const Status allocated = opened.calls.allocate(opened.fd(), 2 * free, "a");
  CHECK(code_of(allocated) == Errc::exhausted);
  CHECK(fs::file_size(opened.path) == 0);
}

TEST_CASE("Runs of data are found in order, and nothing behind the last one", "[io][disk]") {
  const Opened opened;
  REQUIRE(opened.calls.set_size(opened.fd(), 16 * kBlock, "a"));
  CHECK_FALSE(opened.data_from(0));
  opened.write(std::string(kBlock, 'x'), 2 * kBlock);
  opened.write(std::string(2 * kBlock, 'y'), 8 * kBlock);
  CHECK(opened.data_from(0) == ByteRange{2 * kBlock, kBlock});
  CHECK(opened.data_from(2 * kBlock + 4096) == ByteRange{2 * kBlock + 4096, kBlock - 4096});
  CHECK(opened.data_from(3 * kBlock) == ByteRange{8 * kBlock, 2 * kBlock});
  CHECK_FALSE(opened.data_from(10 * kBlock));
  CHECK_FALSE(opened.data_from(16 * kBlock));
  CHECK_FALSE(opened.data_from(17 * kBlock));
}

TEST_CASE("Data that was not synced yet is found too", "[io][disk]") {
  const Opened opened;
  opened.write(std::string(kBlock, 'x'), 0);
  CHECK(opened.data_from(0) == ByteRange{0, kBlock});
  REQUIRE(opened.calls.sync_data(opened.fd(), "a"));
  drop_cache(opened.fd());
  CHECK(opened.data_from(0) == ByteRange{0, kBlock});
  CHECK(text_of(opened.path) == std::string(kBlock, 'x'));
}

TEST_CASE("Data cannot be looked for in what is no file", "[io][disk]") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const Fd reader(ends[0]);
  const Fd writer(ends[1]);
  CHECK_FALSE(next_data(reader.get(), 0, "pipe"));
}

TEST_CASE("The state of a file tells it from another, and whether it has a name", "[io][disk]") {
  const Opened opened;
  opened.write("abc", 0);
  struct stat facts {};
  REQUIRE(::stat(opened.path.c_str(), &facts) == 0);
  const FileState first = opened.state();
  CHECK(first.size == 3);
  CHECK(first.inode == facts.st_ino);
  CHECK(first.device == facts.st_dev);
  CHECK(first.links == 1);
  const Opened other;
  CHECK(other.state().inode != first.inode);

  fs::create_hard_link(opened.path, opened.folder / "b");
  CHECK(opened.state().links == 2);
  fs::remove(opened.folder / "b");
  fs::remove(opened.path);
  put_file(opened.path, "another file");
  CHECK(opened.state().links == 0);
  CHECK(opened.state().inode == first.inode);
  CHECK(opened.state().birth_ns == first.birth_ns);
  CHECK_FALSE(state_of(-1, "a"));
}

TEST_CASE("A file takes the place of another one of its folder", "[io][disk]") {
  const Opened opened;
  opened.write("new", 0);
  put_file(opened.folder / "b", "old");
  REQUIRE(opened.calls.rename(opened.directory.get(), "a", "b", "b"));
  CHECK(text_of(opened.folder / "b") == "new");
  CHECK_FALSE(fs::exists(opened.path));
  REQUIRE(opened.calls.sync_folder(opened.directory.get(), "folder"));
  CHECK(code_of(opened.calls.rename(opened.directory.get(), "a", "b", "b")) == Errc::not_found);
  fs::create_directory(opened.folder / "c");
  CHECK_FALSE(opened.calls.rename(opened.directory.get(), "b", "c", "c"));
  CHECK(text_of(opened.folder / "b") == "new");
}

TEST_CASE("Removing what is gone already is no error, and a folder is not removed", "[io][disk]") {
  const Opened opened;
  CHECK(opened.calls.remove(opened.directory.get(), "a", "a"));
  CHECK_FALSE(fs::exists(opened.path));
  CHECK(opened.calls.remove(opened.directory.get(), "a", "a"));
  fs::create_directory(opened.folder / "b");
  CHECK_FALSE(opened.calls.remove(opened.directory.get(), "b", "b"));
  CHECK(fs::exists(opened.folder / "b"));
}

}  // namespace p2p
