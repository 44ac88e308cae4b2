#include <signal.h>
#include <sys/resource.h>
#include <filesystem>

#include <fstream>
#include <iterator>

#include "io/state/leveldb_store.h"
#include "io/state/memory_store.h"
#include "tests/io/state/conformance.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<LevelDbStore> must_open(const std::string& folder) {
  Result<std::unique_ptr<LevelDbStore>> store = LevelDbStore::open(folder);
  if (!store) FAIL(store.error().detail);
  return std::move(*store);
}

Error must_fail_to_open(const std::string& folder) {
  const Result<std::unique_ptr<LevelDbStore>> store = LevelDbStore::open(folder);
  REQUIRE_FALSE(store);
  CHECK(store.error().detail.find(folder) != std::string::npos);
  return store.error();
}

struct OpenMemory {
  std::unique_ptr<StateStore> operator()() { return std::make_unique<MemoryStore>(); }
};

struct OpenLevelDb {
  test::TempFolder folder;
  std::unique_ptr<StateStore> operator()() { return must_open(folder / "state"); }
};

void flip_one_byte(const fs::path& file, std::streamoff at) {
  std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
  bytes.seekg(at);
  const char old = static_cast<char>(bytes.get());
  bytes.seekp(at);
  bytes.put(static_cast<char>(old ^ 0x40));
  REQUIRE(bytes.good());
}

fs::path only_file_with(const fs::path& folder, const std::string& extension) {
  std::vector<fs::path> found;
  for (const fs::directory_entry& file : fs::directory_iterator(folder)) {
    if (file.path().extension() == extension) found.push_back(file.path());
  }
  REQUIRE(found.size() == 1);
  return found.front();
}

TEST_CASE("The memory store keeps the rules of a state store") {
  test::check_conformance<OpenMemory>();
}

TEST_CASE("The LevelDB store keeps the rules of a state store") {
  test::check_conformance<OpenLevelDb>();
}

TEST_CASE("The LevelDB store has its records and versions again after it is opened anew") {
  const test::TempFolder folder;
  {
    const auto store = must_open(folder / "state");
    REQUIRE(store->apply(StateBatch().put("a", "one").put("b", "gone")));
    REQUIRE(
        store->apply(StateBatch().put("a", "two").erase("b"), StateStore::Durability::unsynced));
  }
  const auto store = must_open(folder / "state");
  CHECK(test::entry_of(*store, "a").value == "two");
  CHECK(test::entry_of(*store, "a").version == 2);
  CHECK(test::entry_of(*store, "b").version == 0);
}

TEST_CASE("A LevelDB store that is open elsewhere is said to be in use") {
  const test::TempFolder folder;
  const auto store = must_open(folder / "state");
  const Error error = must_fail_to_open(folder / "state");
  CHECK(error.code == Errc::unavailable);
  CHECK(error.detail.find("in use") != std::string::npos);
}

TEST_CASE("A LevelDB store makes its own folder but not the one above") {
  const test::TempFolder folder;
  CHECK(must_fail_to_open(folder / "missing/state").code == Errc::not_found);
  must_open(folder / "state");
  const auto others = fs::perms::group_all | fs::perms::others_all;
  CHECK((fs::status(folder / "state").permissions() & others) == fs::perms::none);
}

TEST_CASE("A file where a LevelDB store should be is refused") {
  const test::TempFolder folder;
  std::ofstream(folder / "state") << "not a folder";
  CHECK(must_fail_to_open(folder / "state").code == Errc::invalid_argument);
}

TEST_CASE("A damaged LevelDB store does not open with fewer records") {
  const test::TempFolder folder;
  const fs::path state = folder / "state";
  {
    const auto store = must_open(state);
    for (int i = 0; i < 50; ++i) {
      REQUIRE(store->apply(StateBatch().put("k/" + std::to_string(i), std::string(1000, 'v')),
                           StateStore::Durability::unsynced));
    }
  }
  SECTION("its log") {
    flip_one_byte(only_file_with(state, ".log"), 20000);
  }
  SECTION("its CURRENT holds something else") {
    std::ofstream(state / "CURRENT") << "garbage";
  }
  SECTION("its CURRENT is missing") {
    fs::remove(state / "CURRENT");
  }
  CHECK(must_fail_to_open(state).code == Errc::corrupt);
}

TEST_CASE("A LevelDB table that is shorter than it was is damage") {
  const std::uintmax_t bytes = GENERATE(0, 10, 100);
  CAPTURE(bytes);
  const test::TempFolder folder;
  const fs::path state = folder / "state";
  REQUIRE(must_open(state)->apply(StateBatch().put("k/1", std::string(1000, 'v'))));
  must_open(state);  // the log becomes a table
  fs::resize_file(only_file_with(state, ".ldb"), bytes);
  const auto read = must_open(state)->get("k/1");
  REQUIRE_FALSE(read);
  CHECK(read.error().code == Errc::corrupt);
}

TEST_CASE("Behind a failed write a LevelDB store takes none until it is opened again") {
  const test::TempFolder folder;
  const fs::path state = folder / "state";
  const auto largest_file = [](rlim_t bytes) {
    const rlimit limit{bytes, RLIM_INFINITY};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  };
  {
    const auto store = must_open(state);
    REQUIRE(store->apply(StateBatch().put("first", "kept")));
    const auto before = ::signal(SIGXFSZ, SIG_IGN);
    largest_file(fs::file_size(only_file_with(state, ".log")) + 100);  // the disk is full
    const Status torn = store->apply(StateBatch().put("second", std::string(1000, 'v')));
    largest_file(RLIM_INFINITY);  // and has room again
    ::signal(SIGXFSZ, before);
    REQUIRE_FALSE(torn);
    CHECK_FALSE(store->apply(StateBatch().put("third", "behind a torn record")));
    CHECK(test::entry_of(*store, "first").value == "kept");
  }
  const auto store = must_open(state);
  CHECK(test::entry_of(*store, "first").value == "kept");
  CHECK(test::entry_of(*store, "third").version == 0);
  CHECK(store->apply(StateBatch().put("third", "kept")));
}

TEST_CASE("A LevelDB log that a crash cut short opens with what came before") {
  const test::TempFolder folder;
  const fs::path state = folder / "state";
  {
    const auto store = must_open(state);
    REQUIRE(store->apply(StateBatch().put("first", "kept")));
    REQUIRE(store->apply(StateBatch().put("second", std::string(1000, 'v')),
                         StateStore::Durability::unsynced));
  }
  const fs::path log = only_file_with(state, ".log");
  fs::resize_file(log, fs::file_size(log) - 500);
  const auto store = must_open(state);
  CHECK(test::entry_of(*store, "first").value == "kept");
  CHECK(test::entry_of(*store, "second").version == 0);
}

}  // namespace
}  // namespace p2p
