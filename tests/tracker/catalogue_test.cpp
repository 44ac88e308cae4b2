#include "tracker/catalogue.h"

#include <string>

#include "io/content/merkle.h"
#include "io/runtime/wall_clock.h"
#include "tests/tracker/board_fixture.h"

namespace p2p {
namespace {

using Catch::Contains;
using test::must;

constexpr WallTime kNow = from_unix_seconds(1'800'000'000);

FileName name_of(const std::string& text) {
  return must(parse_file_name(text));
}

struct Shelf {
  test::TempFolder folder;
  MemoryStore store;
  Catalogue catalogue = load();

  Catalogue load() { return must(Catalogue::load(store, folder / "manifests")); }
  std::string reserve(const std::string& text) {
    return must(catalogue.reserve(name_of(text))).str();
  }
  Errc refusal(const std::string& text) {
    const auto reserved = catalogue.reserve(name_of(text));
    REQUIRE_FALSE(reserved);
    return reserved.error().code;
  }
  // Reserves and publishes content made of `bytes`; the name with its version.
  std::string publish(const std::string& text, const std::string& bytes) {
    const FileName name = must(catalogue.reserve(name_of(text)));
    StateBatch batch;
    catalogue.publish(name, test::content_record(test::packed("a.img", bytes), "a.img"), "web1",
                      kNow, batch);
    REQUIRE(store.apply(batch));
    return name.str();
  }
  // How many records were changed: of the content, and of its names.
  std::size_t withdraw(const std::string& bytes, const std::string& why) {
    StateBatch batch;
    catalogue.withdraw(test::packed("a.img", bytes).content_id, why, batch);
    if (!batch.changes.empty()) REQUIRE(store.apply(batch));
    return batch.changes.size();
  }
  std::string why_withdrawn(const std::string& text) const {
    const auto* file = catalogue.find(name_of(text));
    REQUIRE(file != nullptr);
    return file->withdrawn();
  }
  std::string version_at(const std::string& text) const {
    const auto* file = catalogue.find(name_of(text));
    return file == nullptr ? "none" : file->version();
  }
};

}  // namespace

TEST_CASE("Versions are counted from 1, and a version of one's own is kept", "[tracker]") {
  Shelf shelf;
  CHECK(shelf.publish("images/base", "a") == "images/base@1");
  CHECK(shelf.publish("images/base", "b") == "images/base@2");
  CHECK(shelf.publish("images/base@rc1", "c") == "images/base@rc1");
  CHECK(shelf.publish("images/base@40", "d") == "images/base@40");
  CHECK(shelf.publish("images/base", "e") == "images/base@41");
  CHECK(shelf.publish("images/other", "f") == "images/other@1");
  CHECK(shelf.publish("other/base", "g") == "other/base@1");
}

TEST_CASE("A version is written once, also across a restart", "[tracker]") {
  Shelf shelf;
  shelf.publish("images/base@1", "a");
  CHECK(shelf.refusal("images/base@1") == Errc::already_exists);
  shelf.catalogue = shelf.load();
  CHECK(shelf.refusal("images/base@1") == Errc::already_exists);
  CHECK_THAT(shelf.catalogue.reserve(name_of("images/base@1")).error().detail,
             Contains("images/base@1 exists already"));
  CHECK(shelf.reserve("images/base") == "images/base@2");
}

TEST_CASE("A version that is promised counts as taken until it is released", "[tracker]") {
  Shelf shelf;
  CHECK(shelf.reserve("images/base") == "images/base@1");
  CHECK(shelf.reserve("images/base") == "images/base@2");
  CHECK(shelf.refusal("images/base@2") == Errc::already_exists);
  shelf.catalogue.release(name_of("images/base@2"));
  CHECK(shelf.reserve("images/base@2") == "images/base@2");
  shelf.catalogue.release(name_of("images/base@1"));
  shelf.catalogue.release(name_of("images/base@1"));
  CHECK(shelf.reserve("images/base@1") == "images/base@1");
  CHECK(shelf.version_at("images/base") == "none");
}

TEST_CASE("A version that was published stays taken when its promise is released", "[tracker]") {
  Shelf shelf;
  shelf.publish("images/base", "a");
  shelf.catalogue.release(name_of("images/base@1"));
  CHECK(shelf.refusal("images/base@1") == Errc::already_exists);
}

TEST_CASE("\"latest\" is no version to publish", "[tracker]") {
  Shelf shelf;
  CHECK(shelf.refusal("images/base@latest") == Errc::invalid_argument);
}

TEST_CASE("The latest version is the last one published, whatever it is called", "[tracker]") {
  Shelf shelf;
  shelf.publish("images/base@9", "a");
  shelf.publish("images/base@2", "b");
  CHECK(shelf.version_at("images/base") == "2");
  CHECK(shelf.version_at("images/base@latest") == "2");
  CHECK(shelf.version_at("images/base@9") == "9");
  CHECK(shelf.version_at("images/base@3") == "none");
  CHECK(shelf.version_at("images/none") == "none");
  CHECK(shelf.catalogue.is_latest(*shelf.catalogue.find(name_of("images/base@2"))));
  CHECK_FALSE(shelf.catalogue.is_latest(*shelf.catalogue.find(name_of("images/base@9"))));

  shelf.catalogue = shelf.load();
  CHECK(shelf.version_at("images/base") == "2");
  shelf.publish("images/base@1", "c");
  CHECK(shelf.version_at("images/base") == "1");
  CHECK(shelf.catalogue.find(name_of("images/base@1"))->published_by() == "web1");
}

TEST_CASE("A version that is withdrawn is not the latest any more, also across a restart",
          "[tracker]") {
  Shelf shelf;
  shelf.publish("images/base", "a");
  shelf.publish("images/base", "b");
  shelf.publish("images/base", "c");
  shelf.publish("images/other", "d");
  shelf.withdraw("c", "withdrawn: changed");
  CHECK(shelf.version_at("images/base") == "2");
  CHECK(shelf.version_at("images/base@latest") == "2");
  CHECK(shelf.version_at("images/base@3") == "3");
  CHECK(shelf.why_withdrawn("images/base@3") == "withdrawn: changed");
  CHECK(shelf.why_withdrawn("images/base@2").empty());
  CHECK(shelf.why_withdrawn("images/other@1").empty());
  CHECK(shelf.catalogue.is_latest(*shelf.catalogue.find(name_of("images/base@2"))));
  CHECK_FALSE(shelf.catalogue.is_latest(*shelf.catalogue.find(name_of("images/base@3"))));

  shelf.catalogue = shelf.load();
  CHECK(shelf.version_at("images/base") == "2");
  CHECK(shelf.why_withdrawn("images/base@3") == "withdrawn: changed");
  CHECK(shelf.reserve("images/base") == "images/base@4");
}

TEST_CASE("When all versions are withdrawn the last one is shown, and none is the latest",
          "[tracker]") {
  Shelf shelf;
  shelf.publish("images/base", "a");
  shelf.publish("images/base", "b");
  shelf.withdraw("b", "withdrawn: changed");
  shelf.withdraw("a", "withdrawn: gone");
  CHECK(shelf.version_at("images/base") == "2");
  CHECK(shelf.why_withdrawn("images/base") == "withdrawn: changed");
  for (const auto* file : shelf.catalogue.files()) CHECK_FALSE(shelf.catalogue.is_latest(*file));
  shelf.publish("images/base", "c");
  CHECK(shelf.version_at("images/base") == "3");
}

TEST_CASE("Every name of a content is withdrawn with it, once, and a new name can be published",
          "[tracker]") {
  Shelf shelf;
  shelf.publish("images/base", "same");
  shelf.publish("images/copy", "same");
  CHECK(shelf.withdraw("same", "withdrawn: first") == 3);
  CHECK(shelf.withdraw("same", "withdrawn: second") == 0);
  CHECK(shelf.withdraw("unknown", "withdrawn: third") == 0);
  CHECK(shelf.why_withdrawn("images/base@1") == "withdrawn: first");
  CHECK(shelf.why_withdrawn("images/copy@1") == "withdrawn: first");
  shelf.publish("images/base", "same");
  CHECK(shelf.why_withdrawn("images/base").empty());
  CHECK(shelf.version_at("images/base") == "2");
}

TEST_CASE("A content that is restored can be pushed by all its names, also after a restart",
          "[tracker]") {
  Shelf shelf;
  const ContentId id = test::packed("a.img", "same").content_id;
  shelf.publish("images/base", "same");
  shelf.publish("images/copy", "same");
  shelf.withdraw("same", "withdrawn: first");
  CHECK(shelf.load().content(id)->withdrawn() == "withdrawn: first");
  StateBatch batch;
  shelf.catalogue.restore(id, batch);
  CHECK(batch.changes.size() == 3);
  REQUIRE(shelf.store.apply(std::exchange(batch, {})));
  shelf.catalogue.restore(id, batch);
  CHECK(batch.changes.empty());
  shelf.catalogue = shelf.load();
  CHECK(shelf.why_withdrawn("images/base").empty());
  CHECK(shelf.why_withdrawn("images/copy").empty());
  CHECK(shelf.catalogue.content(id)->withdrawn().empty());
}

TEST_CASE("The latest sixteen publishers of a content are known, each once", "[tracker]") {
  Shelf shelf;
  proto::ContentRecord content = test::content_record(test::packed("a.img", "same"), "a.img");
  const auto publish = [&](const std::string& node) {
    content.clear_publishers();
    content.add_publishers(node);
    StateBatch batch;
    shelf.catalogue.add_content(content, batch);
    if (!batch.changes.empty()) REQUIRE(shelf.store.apply(batch));
    return batch.changes.size();
  };
  for (int i = 0; i < 20; ++i) CHECK(publish("n" + std::to_string(i)) == 1);
  CHECK(publish("n19") == 0);
  CHECK(publish("n10") == 1);
  shelf.catalogue = shelf.load();
  const auto& known =
      shelf.catalogue.content(test::packed("a.img", "same").content_id)->publishers();
  CHECK(known.size() == 16);
  CHECK(*known.begin() == "n4");
  CHECK(*known.rbegin() == "n10");
  CHECK(std::count(known.begin(), known.end(), "n10") == 1);
}

TEST_CASE("A content is kept once, and named by its newest name", "[tracker]") {
  Shelf shelf;
  const ContentId id = test::packed("a.img", "same").content_id;
  CHECK(shelf.catalogue.content(id) == nullptr);
  CHECK(shelf.catalogue.name_of(id) == nullptr);
  shelf.publish("images/base", "same");
  shelf.publish("images/copy", "same");
  shelf.publish("images/base", "different");
  shelf.catalogue = shelf.load();
  REQUIRE(shelf.catalogue.content(id) != nullptr);
  CHECK(shelf.catalogue.content(id)->total_bytes() == 4);
  REQUIRE(shelf.catalogue.name_of(id) != nullptr);
  CHECK(shelf.catalogue.name_of(id)->name() == "copy");

  StateBatch batch;
  shelf.catalogue.add_content(*shelf.catalogue.content(id), batch);
  CHECK(batch.changes.empty());
}

TEST_CASE("Content without a name is known by its id", "[tracker]") {
  Shelf shelf;
  const auto manifest = test::packed("a.img", "nameless");
  StateBatch batch;
  shelf.catalogue.add_content(test::content_record(manifest, "a.img"), batch);
  REQUIRE(shelf.store.apply(batch));
  shelf.catalogue = shelf.load();
  CHECK(shelf.catalogue.content(manifest.content_id) != nullptr);
  CHECK(shelf.catalogue.files().empty());
}

TEST_CASE("Files are listed by name, their versions as they were published", "[tracker]") {
  Shelf shelf;
  shelf.publish("images/b@2", "a");
  shelf.publish("images/a@1", "b");
  shelf.publish("images/b@1", "c");
  shelf.catalogue = shelf.load();
  std::string listed;
  for (const auto* file : shelf.catalogue.files()) {
    listed += file->name() + "@" + file->version() + " ";
  }
  CHECK(listed == "a@1 b@2 b@1 ");
}

TEST_CASE("A manifest comes back from the disk, and not when it was damaged there", "[tracker]") {
  Shelf shelf;
  const auto manifest = test::packed("a.img", "bytes");
  REQUIRE(shelf.catalogue.write_manifest(manifest.content_id, manifest.root_record_bytes,
                                         manifest.body_bytes));
  CHECK(must(shelf.catalogue.read_root_record(manifest.content_id)) == manifest.root_record_bytes);
  CHECK(must(shelf.catalogue.read_body(manifest.content_id)) == manifest.body_bytes);

  const std::string hex = manifest.content_id.hex();
  test::put_file(shelf.folder / ("manifests/" + hex.substr(0, 2) + "/" + hex + ".root"), "other");
  CHECK(shelf.catalogue.read_root_record(manifest.content_id).error().code == Errc::corrupt);
  const ContentId unknown{sha256(std::string_view("unknown"))};
  CHECK(shelf.catalogue.read_root_record(unknown).error().code == Errc::not_found);
}

TEST_CASE("A damaged record of a file or content stops the start, and is named", "[tracker]") {
  Shelf shelf;
  const std::string key =
      GENERATE(std::string("file/images/base/1"), std::string("content/99/9999"));
  StateBatch batch;
  batch.put(key, "\xff nonsense");
  REQUIRE(shelf.store.apply(batch));
  const auto loaded = Catalogue::load(shelf.store, shelf.folder / "manifests");
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == Errc::corrupt);
  CHECK_THAT(loaded.error().detail, Contains(key));
}

}  // namespace p2p
