#include "tracker/scripts.h"

#include <string>

#include "io/content/merkle.h"
#include "io/state/memory_store.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"
#include "tracker/blobs.h"

namespace p2p {
namespace {

using Catch::Contains;

struct Shelf {
  MemoryStore store;
  Scripts scripts = load();

  Scripts load() {
    auto loaded = Scripts::load(store);
    REQUIRE(loaded);
    return *std::move(loaded);
  }
  proto::ScriptRecord put(const std::string& name, const std::string& body) {
    proto::ScriptRecord script;
    script.set_name(name);
    script.set_sha256(std::string(sha256(body).view()));
    StateBatch batch;
    auto kept = scripts.put(script, batch);
    if (!batch.changes.empty()) REQUIRE(store.apply(batch));
    return kept;
  }
  std::string refusal(const std::string& ref) {
    const auto found = scripts.find(ref);
    REQUIRE_FALSE(found);
    return found.error().detail;
  }
};

}  // namespace

TEST_CASE("Each other body of a script is its next version, the same body none", "[tracker]") {
  Shelf shelf;
  CHECK(shelf.put("deploy", "a").version() == 1);
  CHECK(shelf.put("deploy", "a").version() == 1);
  CHECK(shelf.put("deploy", "b").version() == 2);
  // An older body again is a new version: what is newest is what was put last.
  CHECK(shelf.put("deploy", "a").version() == 3);
  CHECK(shelf.put("other", "a").version() == 1);
  CHECK(shelf.scripts.list().size() == 4);
}

TEST_CASE("A script is found by its name and version, also after a restart", "[tracker]") {
  Shelf shelf;
  for (int i = 1; i <= 1002; ++i) shelf.put("deploy", std::to_string(i));
  shelf.scripts = shelf.load();
  REQUIRE(shelf.scripts.find("deploy@3"));
  CHECK(shelf.scripts.find("deploy@3")->sha256() == sha256("3").view());
  CHECK(shelf.scripts.find("deploy")->version() == 1002);
  CHECK(shelf.scripts.find("deploy@latest")->version() == 1002);
  CHECK(shelf.put("deploy", "next").version() == 1003);
}

TEST_CASE("No level of the store gets more than 1,000 of a script's versions", "[tracker]") {
  Shelf shelf;
  for (int i = 1; i <= 1001; ++i) shelf.put("deploy", std::to_string(i));
  int first_level = 0;
  REQUIRE(shelf.store.scan("script/deploy/000/", [&](std::string_view, const auto&) {
    ++first_level;
    return true;
  }));
  CHECK(first_level == 999);
}

TEST_CASE("A script that does not exist is refused with what there is", "[tracker]") {
  Shelf shelf;
  shelf.put("deploy", "a");
  CHECK_THAT(shelf.refusal("deploi"), Contains("no script named 'deploi'"));
  CHECK_THAT(shelf.refusal("deploy@2"), Contains("there is 1 only"));
  shelf.put("deploy", "b");
  CHECK_THAT(shelf.refusal("deploy@9"), Contains("1 to 2"));
  CHECK_THAT(shelf.refusal("deploy@0"), Contains("no version of a script"));
  CHECK_THAT(shelf.refusal("deploy@1x"), Contains("no version of a script"));
  CHECK_THAT(shelf.refusal("deploy@"), Contains("no version of a script"));
  CHECK_THAT(shelf.refusal("../x"), Contains("cannot be the name of a script"));
}

TEST_CASE("A 1,001st name of a script is refused, a version of a known one is not", "[tracker]") {
  Shelf shelf;
  for (int i = 0; i < 1000; ++i) shelf.put("s" + std::to_string(i), "a");
  CHECK(shelf.scripts.check_room("s7"));
  const Status room = shelf.scripts.check_room("one-more");
  REQUIRE_FALSE(room);
  CHECK(room.error().code == Errc::exhausted);
}

TEST_CASE("A blob is found by its hash, also by who opens the folder later", "[tracker]") {
  test::TempFolder folder;
  const std::string bytes("#!/bin/sh\n\0binary", 17);
  std::string hash;
  {
    const auto blobs = Blobs::open(folder / "blobs");
    REQUIRE(blobs);
    const auto put = blobs->put(bytes);
    REQUIRE(put);
    hash = *put;
    CHECK(hash == sha256(bytes).view());
    REQUIRE(blobs->put(bytes));
  }
  const auto blobs = Blobs::open(folder / "blobs");
  REQUIRE(blobs);
  const auto got = blobs->get(hash);
  REQUIRE(got);
  CHECK(*got == bytes);
  const auto unknown = blobs->get(std::string(sha256("other").view()));
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code == Errc::not_found);
}

TEST_CASE("A blob that was changed on the disk is not handed out, and put again is good",
          "[tracker]") {
  test::TempFolder folder;
  const auto blobs = Blobs::open(folder / "blobs");
  REQUIRE(blobs);
  const auto hash = blobs->put("rm -r ./build");
  REQUIRE(hash);
  const std::string hex = sha256("rm -r ./build").hex();
  test::put_file(folder / ("blobs/" + hex.substr(0, 2) + "/" + hex), "rm -r / build");
  const auto changed = blobs->get(*hash);
  REQUIRE_FALSE(changed);
  CHECK(changed.error().code == Errc::corrupt);
  REQUIRE(blobs->put("rm -r ./build"));
  CHECK(blobs->get(*hash));
}

TEST_CASE("A blob of 960 KiB is kept, a larger one refused", "[tracker]") {
  test::TempFolder folder;
  const auto blobs = Blobs::open(folder / "blobs");
  REQUIRE(blobs);
  const auto most = blobs->put(std::string(kMaxBlobBytes, 'x'));
  REQUIRE(most);
  CHECK(blobs->get(*most)->size() == kMaxBlobBytes);
  const auto more = blobs->put(std::string(kMaxBlobBytes + 1, 'x'));
  REQUIRE_FALSE(more);
  CHECK(more.error().code == Errc::exhausted);
}

}  // namespace p2p
