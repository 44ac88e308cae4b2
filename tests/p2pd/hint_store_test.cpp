#include "p2pd/hint_store.h"

#include <chrono>
#include <filesystem>
#include <iterator>
#include <string>
#include <utility>

#include "io/content/manifest_codec.h"
#include "io/content/merkle.h"
#include "io/disk/file_io.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::put_file;
using test::text_of;

// A hint that was made elsewhere.
struct Foreign {
  std::string bytes;
  std::string root_record;
  ContentId id;

  explicit Foreign(std::string text) : bytes(std::move(text)) {
    RootRecord record;
    record.body = tree_of_bytes(bytes);
    root_record = encode_root_record(record);
    id = content_id_of(root_record);
  }
};

struct Store {
  test::TempFolder base;
  std::string folder = base / "hints";
  HintStore hints;

  explicit Store(const HintStoreLimits& limits = {}) : hints(open(limits)) {}
  HintStore open(const HintStoreLimits& limits = {}) const {
    auto opened = HintStore::open(folder, limits);
    REQUIRE(opened);
    return *std::move(opened);
  }
  StoredHint save(const std::string& bytes) const {
    auto saved = hints.save(bytes);
    REQUIRE(saved);
    return *std::move(saved);
  }
  // Makes it this old: files of one test are too close in time to tell.
  ContentId save_of_age(const std::string& bytes, int minutes) const {
    const ContentId id = save(bytes).id;
    fs::last_write_time(path_of(id, ".hint"),
                        fs::file_time_type::clock::now() - std::chrono::minutes(minutes));
    return id;
  }
  void fetch(const Foreign& hint, const std::string& bytes) const {
    const auto file = hints.begin(hint.id);
    REQUIRE(file);
    const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
    REQUIRE(write_all_at(file->get(), {first, bytes.size()}, 0, "hint"));
  }
  std::string path_of(const ContentId& id, const std::string& suffix) const {
    return folder + "/" + id.hex() + suffix;
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {}));
  }
  bool has(const ContentId& id) const { return hints.find(id).has_value(); }
};

std::string bytes_of(const StoredHint& hint) {
  std::string bytes(static_cast<std::size_t>(hint.source->space.size()), '\0');
  const ByteRange all{0, bytes.size()};
  REQUIRE(read_blocking(*hint.source, {&all, 1},
                        {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()}));
  return bytes;
}

Errc why_not(const HintStore& hints, const ContentId& id) {
  const auto found = hints.find(id);
  REQUIRE_FALSE(found);
  return found.error().code;
}

}  // namespace

TEST_CASE("A hint that was saved is found, also by the next process", "[p2pd][hints]") {
  const Store store;
  const std::string bytes = std::string(300'000, 'r') + "end";
  const StoredHint saved = store.save(bytes);
  CHECK(saved.id == Foreign(bytes).id);
  CHECK(saved.root_record == Foreign(bytes).root_record);
  CHECK(bytes_of(saved) == bytes);
  CHECK(saved.source->space.tree() == tree_of_bytes(bytes));
  CHECK_FALSE(saved.source->has_changed());

  const auto loaded = store.open().load();
  REQUIRE(loaded);
  REQUIRE(loaded->size() == 1);
  CHECK(loaded->front().id == saved.id);
  CHECK(loaded->front().root_record == saved.root_record);
  CHECK(bytes_of(loaded->front()) == bytes);
}

TEST_CASE("A hint without bytes is not saved", "[p2pd][hints]") {
  const Store store;
  const auto saved = store.hints.save("");
  REQUIRE_FALSE(saved);
  CHECK(saved.error().code == Errc::invalid_argument);
  CHECK(store.files() == 0);
}

TEST_CASE("A hint that is not here is not found", "[p2pd][hints]") {
  const Store store;
  CHECK(why_not(store.hints, Foreign("x").id) == Errc::not_found);
  CHECK(store.hints.load()->empty());
}

TEST_CASE("A hint counts once all that was fetched of it is kept", "[p2pd][hints]") {
  const Store store;
  const Foreign hint("fetched bytes");
  store.fetch(hint, hint.bytes);
  CHECK(why_not(store.hints, hint.id) == Errc::not_found);
  CHECK(store.hints.load()->empty());
  const auto kept = store.hints.keep(hint.id, hint.root_record);
  REQUIRE(kept);
  CHECK(bytes_of(*kept) == hint.bytes);
  CHECK(store.has(hint.id));
  CHECK(store.files() == 2);
}

TEST_CASE("What was not fetched to its length is no hint", "[p2pd][hints]") {
  const Store store;
  const Foreign hint("fetched bytes");
  store.fetch(hint, "fetched");
  CHECK_FALSE(store.hints.keep(hint.id, hint.root_record));
  CHECK(why_not(store.hints, hint.id) == Errc::corrupt);
  CHECK(store.hints.load()->empty());
  CHECK(store.files() == 0);
}

TEST_CASE("What nobody has begun to fetch cannot be kept", "[p2pd][hints]") {
  const Store store;
  const Foreign hint("bytes");
  const auto kept = store.hints.keep(hint.id, hint.root_record);
  REQUIRE_FALSE(kept);
  CHECK(kept.error().code == Errc::not_found);
  CHECK(store.files() == 0);
}

TEST_CASE("A fetch that begins again begins with nothing", "[p2pd][hints]") {
  const Store store;
  const Foreign hint("new");
  store.fetch(hint, "what an earlier fetch had");
  CHECK_FALSE(store.hints.begin(hint.id));  // that fetch goes on
  REQUIRE(store.hints.give_up(hint.id));
  CHECK(store.files() == 0);
  store.fetch(hint, hint.bytes);
  REQUIRE(store.hints.keep(hint.id, hint.root_record));
  CHECK(text_of(store.path_of(hint.id, ".hint")) == "new");
  REQUIRE(store.hints.give_up(hint.id));
  CHECK(store.has(hint.id));
}

// A node may find out itself what it is fetching.
TEST_CASE("A hint that is saved while it is fetched is whole", "[p2pd][hints]") {
  const Store store;
  const Foreign hint("all of the bytes");
  store.fetch(hint, "all of");
  CHECK(bytes_of(store.save(hint.bytes)) == hint.bytes);
}

TEST_CASE("A removed hint is gone, and removing it again is no error", "[p2pd][hints]") {
  const Store store;
  const StoredHint saved = store.save("some");
  store.fetch(Foreign("some"), "so");
  REQUIRE(store.hints.remove(saved.id));
  CHECK(store.files() == 0);
  CHECK(why_not(store.hints, saved.id) == Errc::not_found);
  REQUIRE(store.hints.remove(saved.id));
  // Whoever has it open reads on.
  CHECK(bytes_of(saved) == "some");
}

TEST_CASE("Unfinished hints are removed when the store is opened", "[p2pd][hints]") {
  const Store store;
  const StoredHint saved = store.save("whole");
  const Foreign hint("unfinished");
  store.fetch(hint, "unfin");
  CHECK(store.files() == 3);
  (void)store.open();
  CHECK(store.files() == 2);
  CHECK(store.has(saved.id));
}

TEST_CASE("A hint that was damaged on disk is removed when hints are loaded", "[p2pd][hints]") {
  const Store store;
  const StoredHint good = store.save("good");
  const StoredHint bad = store.save("to be damaged");
  SECTION("shorter") {
    fs::resize_file(store.path_of(bad.id, ".hint"), 5);
  }
  SECTION("longer") {
    fs::resize_file(store.path_of(bad.id, ".hint"), 50);
  }
  SECTION("its root record is another one's") {
    put_file(store.path_of(bad.id, ".root"), good.root_record);
  }
  SECTION("its root record is none") {
    put_file(store.path_of(bad.id, ".root"), "nonsense");
  }
  SECTION("without a root record") {
    fs::remove(store.path_of(bad.id, ".root"));
  }
  const auto loaded = store.open().load();
  REQUIRE(loaded);
  REQUIRE(loaded->size() == 1);
  CHECK(loaded->front().id == good.id);
  CHECK(store.files() == 2);
}

TEST_CASE("A link in the place of a hint is not followed", "[p2pd][hints]") {
  const Store store;
  const StoredHint saved = store.save("bytes");
  put_file(store.base / "other", "bytes");
  fs::remove(store.path_of(saved.id, ".hint"));
  fs::create_symlink(store.base / "other", store.path_of(saved.id, ".hint"));
  CHECK_FALSE(store.hints.find(saved.id));
}

TEST_CASE("The oldest hints go when there would be too many", "[p2pd][hints]") {
  const Store store({.bytes = 1000, .count = 3});
  const ContentId oldest = store.save_of_age("a", 40);
  const ContentId older = store.save_of_age("b", 30);
  const ContentId old = store.save_of_age("c", 20);
  CHECK(store.has(oldest));
  SECTION("one that is made") {
    CHECK(store.has(store.save("d").id));
  }
  SECTION("one that is fetched") {
    const Foreign hint("e");
    store.fetch(hint, hint.bytes);
    CHECK(store.has(oldest));
    REQUIRE(store.hints.keep(hint.id, hint.root_record));
  }
  CHECK_FALSE(store.has(oldest));
  CHECK(store.has(older));
  CHECK(store.has(old));
  CHECK(store.files() == 6);
}

TEST_CASE("The oldest hints go when their bytes would be too many", "[p2pd][hints]") {
  const Store store({.bytes = 1000, .count = 64});
  const ContentId oldest = store.save_of_age(std::string(400, 'a'), 40);
  const ContentId older = store.save_of_age(std::string(300, 'b'), 30);
  const ContentId old = store.save_of_age(std::string(300, 'c'), 20);
  CHECK(store.has(oldest));
  const ContentId news = store.save(std::string(500, 'd')).id;
  // 600 + 500 are too many still.
  CHECK_FALSE(store.has(oldest));
  CHECK_FALSE(store.has(older));
  CHECK(store.has(old));
  CHECK(store.has(news));
}

TEST_CASE("A hint that is saved again pushes nothing out", "[p2pd][hints]") {
  const Store store({.bytes = 1000, .count = 2});
  const ContentId old = store.save_of_age(std::string(400, 'a'), 40);
  const ContentId same = store.save_of_age(std::string(600, 'b'), 30);
  CHECK(store.save(std::string(600, 'b')).id == same);
  CHECK(store.has(old));
}

}  // namespace p2p
