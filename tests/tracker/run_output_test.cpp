// The log of what an exec job's runs have written.
#include "tracker/run_output.h"

#include <fcntl.h>

#include <filesystem>

#include "core/base/rng.h"
#include "io/disk/file_io.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

struct LogTest {
  test::TempFolder folder;
  std::string path = folder / "output";
  std::uint64_t end = 0;

  // Returns where the record behind these begins.
  std::uint64_t add(OutputLog& log, const OutputPieceAt& at, const std::string& bytes) {
    std::string records;
    append_output_record(records, end, at, bytes);
    REQUIRE(log.append(end, records));
    return end += records.size();
  }
  std::string recovered() {
    std::string said;
    const auto found = recover_output(path, [&](const OutputPieceAt& at, std::size_t bytes) {
      said += std::to_string(at.run) + (at.err ? "e" : "o") + std::to_string(at.offset) + "+" +
              std::to_string(bytes) + " ";
    });
    REQUIRE(found);
    end = *found;
    return said;
  }
};

TEST_CASE("a log gives back its pieces, bytes of any value, and goes on from a cursor") {
  LogTest test;
  OutputLog log(test.path);
  const std::string binary("\0\xff\n\r\x1b", 5);
  const std::uint64_t second = test.add(log, {0, false, 0}, binary);
  test.add(log, {7, true, std::uint64_t{1} << 40}, "behind a gap");
  REQUIRE(log.sync());
  const auto all = read_output(test.path, {});
  REQUIRE(all);
  REQUIRE(all->pieces.size() == 2);
  CHECK(all->pieces[0].bytes == binary);
  CHECK_FALSE(all->pieces[0].at.err);
  CHECK(all->pieces[1].at.run == 7);
  CHECK(all->pieces[1].at.err);
  CHECK(all->pieces[1].at.offset == std::uint64_t{1} << 40);
  CHECK(all->next == test.end);
  CHECK_FALSE(all->more);
  const auto rest = read_output(test.path, {second, {}, {}, 1024});
  REQUIRE(rest);
  REQUIRE(rest->pieces.size() == 1);
  CHECK(rest->pieces[0].bytes == "behind a gap");
}

TEST_CASE("pages are bounded, and none is ever empty while there is more") {
  LogTest test;
  OutputLog log(test.path);
  for (unsigned i = 0; i < 100; ++i) {
    test.add(log, {i, false, 0}, std::string(i % 5 == 0 ? 60'000 : 10, 'x'));
  }
  std::size_t seen = 0;
  OutputWish wish;
  wish.bytes_max = 1000;
  for (bool more = true; more;) {
    const auto chunk = read_output(test.path, wish);
    REQUIRE(chunk);
    REQUIRE_FALSE(chunk->pieces.empty());
    for (const auto& piece : chunk->pieces) CHECK(piece.at.run == seen++);
    wish.from = chunk->next;
    more = chunk->more;
  }
  CHECK(seen == 100);
}

TEST_CASE("of one run, only its pieces, and the cursor passes over the others") {
  LogTest test;
  OutputLog log(test.path);
  for (unsigned i = 0; i < 10; ++i) test.add(log, {i % 2, false, i}, "abc");
  OutputWish wish;
  wish.run = 1;
  const auto chunk = read_output(test.path, wish);
  REQUIRE(chunk);
  CHECK(chunk->pieces.size() == 5);
  CHECK(chunk->next == test.end);
}

TEST_CASE("what has not been written yet is not read") {
  LogTest test;
  OutputLog log(test.path);
  const std::uint64_t first = test.add(log, {0, false, 0}, "abc");
  test.add(log, {0, false, 3}, "def");
  OutputWish wish;
  wish.end = first;
  const auto chunk = read_output(test.path, wish);
  REQUIRE(chunk);
  CHECK(chunk->pieces.size() == 1);
  CHECK(chunk->next == first);
}

TEST_CASE("a cursor that is none is said to be none") {
  LogTest test;
  OutputLog log(test.path);
  test.add(log, {0, false, 0}, "abcdef");
  for (const std::uint64_t from : {std::uint64_t{1}, std::uint64_t{33}, test.end + 1}) {
    const auto chunk = read_output(test.path, {from, {}, {}, 1024});
    REQUIRE_FALSE(chunk);
    CHECK(chunk.error().code == Errc::invalid_argument);
  }
  CHECK(read_output(test.folder / "none", {}).error().code == Errc::not_found);
}

TEST_CASE("after a crash, whole pieces stay and a torn end is cut off, wherever it was torn") {
  for (std::uint64_t cut = 1; cut < kOutputHeaderBytes + 5; ++cut) {
    LogTest test;
    std::uint64_t good = 0;
    {
      OutputLog log(test.path);
      test.add(log, {1, false, 0}, "first");
      good = test.add(log, {2, true, 9}, "second");
      test.add(log, {3, false, 0}, "third");
    }
    std::filesystem::resize_file(test.path, test.end - cut);
    CHECK(test.recovered() == "1o0+5 2e9+6 ");
    CHECK(test.end == good);
    CHECK(std::filesystem::file_size(test.path) == good);
    // It goes on from there.
    OutputLog again(test.path);
    test.add(again, {3, false, 0}, "third");
    CHECK(test.recovered() == "1o0+5 2e9+6 3o0+5 ");
  }
}

TEST_CASE("bytes that a power cut has turned to others are not taken for output") {
  LogTest test;
  OutputLog log(test.path);
  const std::uint64_t good = test.add(log, {1, false, 0}, "first");
  test.add(log, {2, false, 0}, std::string(5000, 'y'));
  const int fd = ::open(test.path.c_str(), O_RDWR);
  const std::uint8_t zeros[512] = {};
  REQUIRE(write_all_at(fd, zeros, good + 1000, test.path));
  ::close(fd);
  CHECK(test.recovered() == "1o0+5 ");
  CHECK(test.end == good);
}

TEST_CASE("a record that stands elsewhere than it was written for is not good") {
  LogTest test;
  OutputLog log(test.path);
  std::string twice;
  append_output_record(twice, 0, {0, false, 0}, "abc");
  append_output_record(twice, 0, {0, false, 3}, "def");
  REQUIRE(log.append(0, twice));
  CHECK(test.recovered() == "0o0+3 ");
}

struct FullDisk final : FileCalls {
  std::uint64_t room = 0;
  Status write_at(int fd, std::span<const std::uint8_t> bytes, std::uint64_t offset,
                  std::string_view name) override {
    const std::size_t fits = std::min<std::size_t>(bytes.size(), room);
    room -= fits;
    REQUIRE(FileCalls::write_at(fd, bytes.first(fits), offset, name));
    if (fits == bytes.size()) return {};
    return Error{Errc::exhausted, "write " + std::string(name) + ": disk full"};
  }
};

TEST_CASE("when the disk is full nothing more is taken, and what was written can be read") {
  LogTest test;
  FullDisk disk;
  disk.room = 60;
  OutputLog log(test.path, disk);
  const std::uint64_t good = test.add(log, {0, false, 0}, "abc");
  std::string more;
  append_output_record(more, good, {0, false, 3}, "defghi");
  CHECK(log.append(good, more).error().code == Errc::exhausted);
  disk.room = 1000;
  CHECK(log.append(good, more).error().code == Errc::exhausted);
  CHECK(std::filesystem::file_size(test.path) == good);
  const auto all = read_output(test.path, {});
  REQUIRE(all);
  CHECK(all->pieces.size() == 1);
}

}  // namespace
}  // namespace p2p
