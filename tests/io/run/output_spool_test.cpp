#include "io/run/output_spool.h"

#include <fcntl.h>

#include <cerrno>
#include <filesystem>

#include "io/disk/file_io.h"
#include "tests/support/catch.h"
#include "tests/support/power_cut.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

constexpr std::uint64_t kLimit = 16 * 1024;

struct Spooled {
  test::TempFolder temp;
  std::string path = temp / "0190a0a0a0a070008000000000000000";
  Fd folder;
  test::PowerCut calls;
  RunFolders folders{temp.path()};
  RunId id = *RunId::parse("0190a0a0a0a070008000000000000000");
  std::unique_ptr<OutputSpool> spool;

  Spooled() {
    std::filesystem::create_directory(path);
    folder = Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    spool = std::make_unique<OutputSpool>(folder.get(), RunStream::out, kLimit, calls);
  }
  void take(const std::string& text) {
    spool->take({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  }
  OutputPiece read(std::uint64_t from, std::size_t most = 1 << 20) const {
    const auto piece = folders.read_output(id, RunStream::out, from, most);
    REQUIRE(piece);
    return *piece;
  }
};

TEST_CASE("Output can be read while it grows", "[io][run]") {
  Spooled s;
  CHECK(s.read(0).bytes.empty());
  s.take("hello ");
  CHECK(s.read(0).bytes == "hello ");
  s.take("world");
  CHECK(s.read(6).bytes == "world");
  CHECK(s.read(6, 2).bytes == "wo");
  CHECK(s.read(11).bytes.empty());
  CHECK(s.read(11).offset == 11);
}

TEST_CASE("A reader that is behind is told where output goes on", "[io][run]") {
  Spooled s;
  s.take(std::string(100'000, 'x') + "end");
  const auto facts = s.spool->facts();
  CHECK(facts.bytes() == 100'003);
  CHECK(facts.head() == kLimit / 2);
  CHECK(s.read(0).bytes.size() == kLimit / 2);
  const OutputPiece tail = s.read(kLimit / 2);
  CHECK(tail.offset == facts.tail_begin());
  std::string all;
  for (OutputPiece piece = tail; !piece.bytes.empty();
       piece = s.read(piece.offset + piece.bytes.size())) {
    all += piece.bytes;
  }
  CHECK(all.size() == 100'003 - facts.tail_begin());
  CHECK(all.ends_with("xend"));
}

TEST_CASE("Both streams of a run lie beside each other", "[io][run]") {
  Spooled s;
  OutputSpool other(s.folder.get(), RunStream::err, kLimit);
  s.take("out");
  other.take({reinterpret_cast<const std::uint8_t*>("error"), 5});
  CHECK(s.read(0).bytes == "out");
  CHECK(s.folders.read_output(s.id, RunStream::err, 0, 100)->bytes == "error");
}

TEST_CASE("What the disk does not take is counted and said", "[io][run]") {
  Spooled s;
  s.take("kept ");
  s.calls.fail_at(s.calls.calls() + 1, ENOSPC);
  s.take("lost");
  s.take(std::string(100'000, 'x'));
  const auto facts = s.spool->facts();
  CHECK(facts.bytes() == 100'009);
  CHECK(facts.stored() == 5);
  CHECK(facts.head() == 5);
  CHECK(facts.tail_begin() == 5);
  CHECK(facts.problem().find("disk full") != std::string::npos);
  CHECK(s.read(0).bytes == "kept ");
}

TEST_CASE("Output whose sync fails does not count as safe", "[io][run]") {
  Spooled s;
  s.take("text");
  s.calls.fail_at(s.calls.calls() + 1, EIO);
  s.spool->sync();
  CHECK(s.spool->facts().problem().find("sync") != std::string::npos);
}

TEST_CASE("Output that was synced survives a power cut", "[io][run]") {
  Spooled s;
  s.take("text");
  s.spool->sync();
  s.calls.take_back(test::PowerCut::Loss::all);
  CHECK(s.read(0).bytes == "text");
}

}  // namespace
}  // namespace p2p
