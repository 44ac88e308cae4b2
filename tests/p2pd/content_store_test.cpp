#include "p2pd/content_store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "io/content/file_hasher.h"
#include "io/content/manifest_codec.h"
#include "io/content/merkle.h"
#include "io/runtime/wall_clock.h"
#include "io/state/memory_store.h"
#include "tests/io/privileged/node.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::code_of;
using test::put_file;

PackedManifest packed(const std::string& name, const std::string& bytes) {
  FileFacts facts;
  facts.size = bytes.size();
  facts.mode = 0644;
  auto manifest =
      make_file_manifest(name, facts, FileHash{tree_of_bytes(bytes), {ByteRange{0, bytes.size()}}});
  REQUIRE(manifest);
  return pack(*manifest);
}

struct Store {
  test::Node node;
  MemoryStore state;
  std::string folder = node.base / "manifests";
  ContentStore contents = open();

  ContentStore open() {
    auto opened = ContentStore::open(state, folder, *node.privileged);
    REQUIRE(opened);
    return *std::move(opened);
  }
  FileFacts facts_of_file(const std::string& path) const {
    const auto file = node.privileged->open_source(path);
    REQUIRE(file);
    const auto facts = facts_of(*file);
    REQUIRE(facts);
    return *facts;
  }
  std::string manifest_file(const ContentId& id, const std::string& suffix) const {
    return folder + "/" + id.hex().substr(0, 2) + "/" + id.hex() + suffix;
  }
};

// As `touch -d` does: the content changes, the time of modification is put back.
void put_back_mtime(const std::string& path, const FileFacts& facts) {
  const timespec time{facts.mtime_ns / 1'000'000'000, facts.mtime_ns % 1'000'000'000};
  const timespec times[2] = {time, time};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

}  // namespace

TEST_CASE("A manifest that was saved is loaded the same, also by the next process", "[p2pd]") {
  Store store;
  const PackedManifest manifest = packed("a.img", std::string(1000, 'x'));
  REQUIRE(store.contents.save_manifest(manifest.content_id, manifest.root_record_bytes,
                                       manifest.body_bytes));
  const auto loaded = store.open().load_manifest(manifest.content_id);
  REQUIRE(loaded);
  CHECK(loaded->id == manifest.content_id);
  CHECK(loaded->root_record_bytes == manifest.root_record_bytes);
  CHECK(loaded->body_bytes == manifest.body_bytes);
  CHECK(loaded->root_record.total_bytes == 1000);
  CHECK(loaded->file().path == "a.img");
}

TEST_CASE("A manifest that is not what its id says is not saved", "[p2pd]") {
  Store store;
  const PackedManifest one = packed("a.img", "one");
  const PackedManifest two = packed("a.img", "two");
  CHECK(code_of(store.contents.save_manifest(one.content_id, two.root_record_bytes,
                                             two.body_bytes)) == Errc::corrupt);
  CHECK(code_of(store.contents.save_manifest(one.content_id, one.root_record_bytes,
                                             two.body_bytes)) == Errc::corrupt);
  CHECK(code_of(store.contents.save_manifest(one.content_id, one.root_record_bytes, "")) ==
        Errc::corrupt);
  CHECK(fs::is_empty(store.folder));
  CHECK(code_of(store.contents.load_manifest(one.content_id)) == Errc::not_found);
}

TEST_CASE("A manifest that was damaged on disk is not loaded", "[p2pd]") {
  Store store;
  const PackedManifest manifest = packed("a.img", std::string(1000, 'x'));
  REQUIRE(store.contents.save_manifest(manifest.content_id, manifest.root_record_bytes,
                                       manifest.body_bytes));
  SECTION("the body") {
    std::string body = manifest.body_bytes;
    body.back() = static_cast<char>(body.back() ^ 1);
    put_file(store.manifest_file(manifest.content_id, ".body"), body);
  }
  SECTION("a body that ends early") {
    put_file(store.manifest_file(manifest.content_id, ".body"),
             manifest.body_bytes.substr(0, manifest.body_bytes.size() - 1));
  }
  SECTION("the root record") {
    put_file(store.manifest_file(manifest.content_id, ".root"), "nonsense");
  }
  CHECK(code_of(store.contents.load_manifest(manifest.content_id)) == Errc::corrupt);
}

TEST_CASE("A root record without its body, as a crash may leave it, is no manifest", "[p2pd]") {
  Store store;
  const PackedManifest manifest = packed("a.img", "bytes");
  REQUIRE(store.contents.save_manifest(manifest.content_id, manifest.root_record_bytes,
                                       manifest.body_bytes));
  fs::remove(store.manifest_file(manifest.content_id, ".body"));
  CHECK(code_of(store.contents.load_manifest(manifest.content_id)) == Errc::not_found);
}

TEST_CASE("What a node holds is known until it is erased", "[p2pd]") {
  Store store;
  const ContentId one = packed("a", "one").content_id;
  const ContentId two = packed("a", "two").content_id;
  REQUIRE(store.contents.put_holding(holding_record(one, "/srv/one", FileFacts{})));
  REQUIRE(store.contents.put_holding(holding_record(two, "/srv/two", FileFacts{})));
  CHECK(store.contents.holdings()->size() == 2);
  REQUIRE(*store.contents.holding(one));
  CHECK((*store.contents.holding(one))->path() == "/srv/one");

  REQUIRE(store.contents.put_holding(holding_record(one, "/srv/elsewhere", FileFacts{})));
  CHECK(store.contents.holdings()->size() == 2);
  CHECK((*store.contents.holding(one))->path() == "/srv/elsewhere");

  REQUIRE(store.contents.erase_holding(one));
  CHECK_FALSE(*store.contents.holding(one));
  REQUIRE(store.contents.holdings()->size() == 1);
  CHECK(store.contents.holdings()->front().path() == "/srv/two");
}

TEST_CASE("A held file that is lost stays on record as lost, once", "[p2pd]") {
  Store store;
  const std::string path = store.node.root + "/a.img";
  put_file(path, "as it was");
  const ContentId id = packed("a.img", "as it was").content_id;
  REQUIRE(store.contents.put_holding(holding_record(id, path, store.facts_of_file(path))));
  const auto lost_at = [&] { return (**store.contents.holding(id)).lost_unix(); };
  REQUIRE(store.contents.mark_lost(id, from_unix_seconds(1000)));
  CHECK(lost_at() == 0);  // it is what was recorded
  put_file(path, "as it is now");
  REQUIRE(store.contents.mark_lost(id, from_unix_seconds(2000)));
  REQUIRE(store.contents.mark_lost(id, from_unix_seconds(3000)));
  CHECK(lost_at() == 2000);
  // Another copy replaces it.
  put_file(path, "as it was");
  REQUIRE(store.contents.put_landed(id, path, store.facts_of_file(path), 7));
  CHECK(lost_at() == 0);
  REQUIRE(store.contents.mark_lost(packed("b.img", "b").content_id, from_unix_seconds(4000)));
}

TEST_CASE("A record of a holding that cannot be read claims nothing", "[p2pd]") {
  Store store;
  const ContentId id = packed("a", "one").content_id;
  StateBatch batch;
  batch.put("held/" + id.hex().substr(0, 2) + "/" + id.hex(), "\xff nonsense");
  REQUIRE(store.state.apply(batch));
  CHECK(store.contents.holdings()->empty());
  CHECK_FALSE(*store.contents.holding(id));
}

TEST_CASE("A held file is opened only while it is the one that was recorded", "[p2pd]") {
  Store store;
  const std::string path = store.node.share + "/image";
  put_file(path, "the bytes that were hashed");
  const FileFacts facts = store.facts_of_file(path);
  const auto record = holding_record(packed("image", "x").content_id, path, facts);
  {
    const auto file = store.contents.open_held(record);
    REQUIRE(file);
    CHECK(test::read_all(*file) == "the bytes that were hashed");
  }
  SECTION("longer") {
    put_file(path, "the bytes that were hashed, and more");
    CHECK(code_of(store.contents.open_held(record)) == Errc::corrupt);
  }
  SECTION("as long, with the old time of modification") {
    put_file(path, "THE BYTES THAT WERE HASHED");
    put_back_mtime(path, facts);
    const FileFacts now = store.facts_of_file(path);
    REQUIRE(now.size == facts.size);
    REQUIRE(now.mtime_ns == facts.mtime_ns);
    CHECK(code_of(store.contents.open_held(record)) == Errc::corrupt);
  }
  SECTION("another file at its place") {
    put_file(path + ".new", "the bytes that were hashed");
    put_back_mtime(path + ".new", facts);
    fs::rename(path + ".new", path);
    const auto refused = store.contents.open_held(record);
    CHECK(code_of(refused) == Errc::corrupt);
    CHECK_THAT(refused.error().detail, Catch::Contains(path) && Catch::Contains("has changed"));
  }
  SECTION("gone") {
    fs::remove(path);
    CHECK(code_of(store.contents.open_held(record)) == Errc::not_found);
  }
}

TEST_CASE("A held file outside of shares and roots is not opened", "[p2pd]") {
  Store store;
  const auto record =
      holding_record(packed("s", "x").content_id, store.node.outside + "/secret", FileFacts{});
  CHECK(code_of(store.contents.open_held(record)) == Errc::denied);
}

TEST_CASE("A file is not hashed again as long as all facts about it are the same", "[p2pd]") {
  Store store;
  const ContentId id = packed("image", "x").content_id;
  const std::string path = "/srv/image";
  FileFacts facts;
  facts.size = 10;
  facts.mtime_ns = 1;
  facts.ctime_ns = 2;
  facts.inode = 3;
  facts.device = 4;
  CHECK_FALSE(store.contents.cached_content(path, facts));
  REQUIRE(store.contents.remember_hash(path, facts, id));
  CHECK(store.contents.cached_content(path, facts) == id);
  CHECK_FALSE(store.contents.cached_content("/srv/other", facts));
  SECTION("size") {
    facts.size = 11;
  }
  SECTION("time of modification") {
    facts.mtime_ns = 11;
  }
  SECTION("time of change") {
    facts.ctime_ns = 11;
  }
  SECTION("inode") {
    facts.inode = 11;
  }
  SECTION("device") {
    facts.device = 11;
  }
  CHECK_FALSE(store.contents.cached_content(path, facts));
}

TEST_CASE("The latest hash of a path replaces the one before", "[p2pd]") {
  Store store;
  const ContentId one = packed("a", "one").content_id;
  const ContentId two = packed("a", "two").content_id;
  FileFacts before;
  before.inode = 1;
  FileFacts after;
  after.inode = 2;
  REQUIRE(store.contents.remember_hash("/srv/a", before, one));
  REQUIRE(store.contents.remember_hash("/srv/a", after, two));
  CHECK(store.contents.cached_content("/srv/a", after) == two);
  CHECK_FALSE(store.contents.cached_content("/srv/a", before));
}

}  // namespace p2p
