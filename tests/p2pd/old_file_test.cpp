#include "p2pd/old_file.h"

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "io/runtime/wall_clock.h"
#include "tests/p2pd/versions_fixture.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::put_file;

struct Looking : test::Versions {
  OldFileOrder order;

  Looking() {
    order.content.digest.bytes[0] = 1;
    order.root.bytes[0] = 2;
    order.final_path = root + "/a.img";
  }
  OldFileFound find() { return find_old_file(contents, *privileged, order); }
  std::string found() {
    const OldFileFound old = find();
    return old.file ? old.file->path : "none: " + old.why_not;
  }
  const Digest& root_of(const LoadedManifest& manifest) const { return manifest.file().tree.root; }
};

std::string bytes_of(const OldFile& old) {
  std::string bytes(old.facts.size, '\0');
  REQUIRE(read_exactly_at(
      old.file.get(), {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()}, 0, old.path));
  return bytes;
}

}  // namespace

TEST_CASE("On a node with nothing there is no old file", "[p2pd][basis]") {
  Looking node;
  CHECK(node.found() == "none: no older version on this node");
  // What it holds is none as long as nobody says so.
  node.hold(node.share + "/other", "other");
  CHECK(node.found() == "none: no older version on this node");
}

TEST_CASE("An older version counts after the file at the destination, that after the operator's",
          "[p2pd][basis]") {
  Looking node;
  const LoadedManifest oldest = node.hold(node.share + "/v1", "one");
  const LoadedManifest older = node.hold(node.share + "/v2", "two");
  put_file(node.share + "/basis", "the operator's");
  node.order.older = {older.id, oldest.id};
  CHECK(node.found() == node.share + "/v2");
  put_file(node.order.final_path, "at the destination");
  CHECK(node.found() == node.order.final_path);
  node.order.basis = node.share + "/basis";
  CHECK(node.found() == node.share + "/basis");
}

TEST_CASE("A file that a recipe begins with counts before all others", "[p2pd][basis]") {
  Looking node;
  const LoadedManifest other = node.hold(node.share + "/v1", "one");
  const LoadedManifest fits = node.hold(node.share + "/v2", "two");
  put_file(node.share + "/basis", "the operator's");
  put_file(node.order.final_path, "at the destination");
  node.order.basis = node.share + "/basis";
  node.order.recipe_roots = {Digest{}, node.root_of(fits)};
  SECTION("named as an older version") {
    node.order.older = {other.id, fits.id};
  }
  SECTION("anywhere in the inventory") {
    node.order.older = {other.id};
  }
  const OldFileFound found = node.find();
  REQUIRE(found.file);
  CHECK(found.file->path == node.share + "/v2");
  CHECK(found.file->content == fits.id);
  CHECK(found.file->root == node.root_of(fits));
  CHECK(bytes_of(*found.file) == "two");
}

TEST_CASE("The operator's file counts first when a recipe fits it, too", "[p2pd][basis]") {
  Looking node;
  const LoadedManifest one = node.hold(node.share + "/v1", "one");
  const LoadedManifest two = node.hold(node.share + "/v2", "two");
  node.order.recipe_roots = {node.root_of(one), node.root_of(two)};
  node.order.older = {one.id};
  node.order.basis = node.share + "/v2";
  CHECK(node.found() == node.share + "/v2");
}

TEST_CASE("The same bytes under another name are found as what they are", "[p2pd][basis]") {
  Looking node;
  const LoadedManifest same = node.hold(node.share + "/copy", "the very bytes");
  node.order.root = node.root_of(same);
  REQUIRE(node.order.content != same.id);
  const OldFileFound found = node.find();
  REQUIRE(found.file);
  CHECK(found.file->path == node.share + "/copy");
  CHECK(found.file->root == node.order.root);
}

TEST_CASE("A file that was not hashed is one of unknown content", "[p2pd][basis]") {
  Looking node;
  put_file(node.order.final_path, "who knows");
  const OldFileFound found = node.find();
  REQUIRE(found.file);
  CHECK_FALSE(found.file->content);
  CHECK(found.file->facts.size == 9);
  CHECK(found.file->data == std::vector<ByteRange>{{0, 9}});
}

TEST_CASE("A file that was written to since it was hashed is of unknown content", "[p2pd][basis]") {
  Looking node;
  const LoadedManifest held = node.hold(node.order.final_path, "as it was");
  CHECK(node.find().file->content == held.id);
  put_file(node.order.final_path, "as it is now");
  CHECK_FALSE(node.find().file->content);
}

TEST_CASE("A content without its manifest is unknown", "[p2pd][basis]") {
  Looking node;
  node.hold(node.order.final_path, "as it was");
  fs::remove_all(node.base / "manifests");
  const OldFileFound found = node.find();
  REQUIRE(found.file);
  CHECK_FALSE(found.file->content);
}

TEST_CASE("A holding that changed, is lost or gone is passed over", "[p2pd][basis]") {
  Looking node;
  const LoadedManifest older = node.hold(node.share + "/v1", "older");
  const LoadedManifest oldest = node.hold(node.share + "/v0", "oldest");
  node.order.older = {older.id, oldest.id};
  SECTION("changed") {
    put_file(node.share + "/v1", "written to");
  }
  SECTION("gone") {
    fs::remove(node.share + "/v1");
  }
  SECTION("lost on record") {
    put_file(node.share + "/v1", "written to");
    REQUIRE(node.contents.mark_lost(older.id, from_unix_seconds(1000)));
    put_file(node.share + "/v1", "older");
  }
  SECTION("not on record") {
    REQUIRE(node.contents.erase_holding(older.id));
  }
  CHECK(node.found() == node.share + "/v0");
  node.order.older = {older.id};
  node.order.recipe_roots = {node.root_of(older)};
  CHECK(node.found() == "none: no older version on this node");
}

TEST_CASE("An empty file is no old version", "[p2pd][basis]") {
  Looking node;
  put_file(node.order.final_path, "");
  put_file(node.share + "/empty", "");
  node.order.basis = node.share + "/empty";
  const LoadedManifest empty = node.hold(node.share + "/held", "");
  node.order.older = {empty.id};
  CHECK(node.found() == "none: the basis is empty: " + node.order.basis);
  node.order.basis.clear();
  CHECK(node.found() == "none: no older version on this node");
}

TEST_CASE("Why the operator's file cannot be used is said, also when there is another",
          "[p2pd][basis]") {
  Looking node;
  node.order.basis = node.outside + "/secret";
  SECTION("outside of what the agent may read") {}
  SECTION("not there") {
    node.order.basis = node.share + "/not-there";
  }
  SECTION("a folder") {
    node.order.basis = node.share;
  }
  SECTION("a pipe") {
    node.order.basis = node.share + "/pipe";
    REQUIRE(::mkfifo(node.order.basis.c_str(), 0600) == 0);
  }
  const OldFileFound found = node.find();
  CHECK_FALSE(found.file);
  CHECK_THAT(found.why_not,
             Catch::StartsWith("the basis cannot be read: ") && Catch::Contains(node.order.basis));
  put_file(node.order.final_path, "at the destination");
  CHECK(node.found() == node.order.final_path);
  CHECK(node.find().why_not == found.why_not);
}

TEST_CASE("What is a hole in the old file is known", "[p2pd][basis]") {
  Looking node;
  test::put_sparse(node.order.final_path, 3'000'000,
                   {{0, std::string(100, 'a')}, {2'000'000, std::string(1000, 'b')}});
  const OldFileFound found = node.find();
  REQUIRE(found.file);
  REQUIRE(found.file->data.size() == 2);
  CHECK(found.file->data[0].offset == 0);
  CHECK(found.file->data[1].end() < 3'000'000);
}

TEST_CASE("An old file knows whether somebody has written to it since", "[p2pd][basis]") {
  Looking node;
  const std::string& path = node.order.final_path;
  put_file(path, "bytes");
  const auto old = node.find().file;
  REQUIRE(old);
  CHECK(old->unchanged());
  SECTION("longer") {
    put_file(path, "bytes and more");
    CHECK_FALSE(old->unchanged());
  }
  SECTION("as long") {
    fs::last_write_time(path, fs::file_time_type::clock::now() + std::chrono::hours(1));
    CHECK_FALSE(old->unchanged());
  }
  SECTION("another file has taken its name: its bytes are the same") {
    put_file(path + ".new", "others");
    fs::rename(path + ".new", path);
    CHECK(old->unchanged());
    CHECK(bytes_of(*old) == "bytes");
  }
}

}  // namespace p2p
