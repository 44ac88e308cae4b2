#include "p2pd/serve_source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

// A finished file that is served.
struct Served {
  test::TempFolder folder;
  std::string path = folder / "a.img";
  ServeSource source;

  Served() {
    test::put_file(path, "0123456789");
    // Far from now, so that any write changes it, however coarse the file system's clock is.
    const timespec times[2] = {{1'700'000'000, 5}, {1'700'000'000, 5}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
    source.file = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(source.file);
    source.watch();
  }
};

}  // namespace

TEST_CASE("A file that nobody touches has not changed, however often it is read", "[p2pd][serve]") {
  Served served;
  CHECK_FALSE(served.source.in_memory());
  CHECK_FALSE(served.source.has_changed());
  CHECK(test::text_of(served.path) == "0123456789");
  CHECK_FALSE(served.source.has_changed());
}

TEST_CASE("A write to a served file is noticed, also one that keeps its size", "[p2pd][serve]") {
  Served served;
  const Fd writer(::open(served.path.c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(writer);
  REQUIRE(::pwrite(writer.get(), "x", 1, 3) == 1);
  CHECK(served.source.has_changed());
}

TEST_CASE("A change of a served file's size is noticed, also with its time put back",
          "[p2pd][serve]") {
  Served served;
  fs::resize_file(served.path, GENERATE(0, 9, 11));
  const timespec times[2] = {{1'700'000'000, 5}, {1'700'000'000, 5}};
  REQUIRE(::utimensat(AT_FDCWD, served.path.c_str(), times, 0) == 0);
  CHECK(served.source.has_changed());
}

TEST_CASE("A new time is a change, even one nanosecond off", "[p2pd][serve]") {
  Served served;
  const timespec times[2] = {{1'700'000'000, 6}, {1'700'000'000, 6}};
  REQUIRE(::utimensat(AT_FDCWD, served.path.c_str(), times, 0) == 0);
  CHECK(served.source.has_changed());
}

TEST_CASE("A new mode, name, link or no name at all changes no byte", "[p2pd][serve]") {
  Served served;
  SECTION("mode") {
    REQUIRE(::chmod(served.path.c_str(), 0600) == 0);
  }
  SECTION("name") {
    fs::rename(served.path, served.folder / "b.img");
  }
  SECTION("link") {
    fs::create_hard_link(served.path, served.folder / "b.img");
  }
  SECTION("another file under its name") {
    test::put_file(served.folder / "new", "other");
    fs::rename(served.folder / "new", served.path);
  }
  CHECK_FALSE(served.source.has_changed());
}

TEST_CASE("What is not watched has not changed: a part, and what is in memory", "[p2pd][serve]") {
  Served served;
  ServeSource part;
  part.file = Fd(::open(served.path.c_str(), O_RDONLY | O_CLOEXEC));
  fs::resize_file(served.path, 3);
  CHECK_FALSE(part.has_changed());
  ServeSource memory;
  memory.memory = "bytes";
  CHECK(memory.in_memory());
  CHECK_FALSE(memory.has_changed());
}

TEST_CASE("Ranges near and far are read one behind the other", "[p2pd][serve]") {
  std::string text(200'000, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 + i / 251);
  test::TempFolder folder;
  ServeSource source;
  SECTION("of a file") {
    test::put_file(folder / "a.img", text);
    source.file = Fd(::open((folder / "a.img").c_str(), O_RDONLY | O_CLOEXEC));
    source.look_at_file_system();
  }
  SECTION("of memory") {
    source.memory = text;
  }
  std::vector<ByteRange> ranges = {{0, 1}, {1, 5}, {4102, 7}, {8206, 100}, {90'000, 20'000}};
  // More than one call takes, close together.
  for (std::uint64_t at = 120'000; at < 121'000; at += 10) ranges.push_back({at, 3});
  ranges.push_back({199'999, 1});
  std::string wanted;
  for (const ByteRange& range : ranges) wanted += text.substr(range.offset, range.length);
  std::string got(wanted.size(), '\0');
  const std::span into(reinterpret_cast<std::uint8_t*>(got.data()), got.size());
  REQUIRE(read_blocking(source, ranges, into));
  CHECK(got == wanted);
  // Just written: cached.
  got.assign(wanted.size(), '\0');
  REQUIRE(read_if_cached(source, ranges, into));
  CHECK(got == wanted);
  ranges.back().offset = 200'000;
  CHECK_FALSE(read_blocking(source, ranges, into));
  CHECK_FALSE(read_if_cached(source, ranges, into));
}

}  // namespace p2p
