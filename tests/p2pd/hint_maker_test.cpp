#include "p2pd/hint_maker.h"

#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "io/content/recipe_codec.h"
#include "io/log/log.h"
#include "librsyncwrap/signature_builder.h"
#include "tests/p2pd/versions_fixture.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::put_sparse;
using test::random_bytes;
using test::span_of;

constexpr std::uint64_t kOldBytes = 1'000'000;
constexpr std::uint64_t kEditAt = 300'000;
constexpr std::uint64_t kInserted = 1000;

// Its edges differ from their neighbours, so that the copies around it cannot be longer.
std::string inserted_into(const std::string& old) {
  std::string bytes = random_bytes(kInserted, 2);
  bytes.front() = static_cast<char>(old[kEditAt] ^ 1);
  bytes.back() = static_cast<char>(old[kEditAt - 1] ^ 1);
  return bytes;
}

struct Publishing : test::Versions {
  std::string old_bytes = random_bytes(kOldBytes, 1);
  std::string new_bytes =
      old_bytes.substr(0, kEditAt) + inserted_into(old_bytes) + old_bytes.substr(kEditAt);
  LoadedManifest old_version = hold(share + "/v1", old_bytes);
  LoadedManifest new_version = hold(share + "/v2", new_bytes);

  Publishing() {
    set_log_sink([](std::string_view) {});
  }
  ~Publishing() { set_log_sink({}); }

  std::vector<MadeHint> make(
      const HintOrder& order, const std::function<bool()>& go_on = [] { return true; }) const {
    return make(new_version, share + "/v2", order, go_on);
  }
  std::vector<MadeHint> make(
      const LoadedManifest& manifest, const std::string& path, const HintOrder& order,
      const std::function<bool()>& go_on = [] { return true; }) const {
    return make_hints(contents, hints, manifest, opened(path), order, go_on);
  }
  std::size_t stored() const { return hints.load()->size(); }
};

std::string raw(const Digest& digest) {
  return std::string(digest.view());
}

std::string signature_head(std::uint64_t file_bytes, std::uint32_t block) {
  const auto header =
      rsync::encode_signature_header(*rsync::SignatureLayout::of(file_bytes, block));
  return {header.begin(), header.end()};
}

std::string taken(rsync::SignatureBuilder& builder) {
  REQUIRE(builder.finish());
  const std::vector<std::uint8_t> records = builder.take();
  return {records.begin(), records.end()};
}

}  // namespace

TEST_CASE("A recipe says exactly what was inserted where", "[p2pd][hints]") {
  const Publishing node;
  const auto made = node.make({.bases = {node.old_version.id}});
  REQUIRE(made.size() == 1);
  const std::string bytes = test::bytes_of(*made[0].stored.source);
  const auto recipe = decode_recipe(bytes);
  REQUIRE(recipe);
  CHECK(
      recipe->copies ==
      std::vector<CopyRange>{{0, 0, kEditAt}, {kEditAt + kInserted, kEditAt, kOldBytes - kEditAt}});
  CHECK(recipe->old_file == FileVersion{kOldBytes, node.old_version.file().tree.root});
  CHECK(recipe->new_file == FileVersion{kOldBytes + kInserted, node.new_version.file().tree.root});

  const proto::HintMade& message = made[0].message;
  CHECK(message.kind() == proto::HINT_RECIPE);
  CHECK(message.old_content() == raw(node.old_version.id.digest));
  CHECK(message.new_content() == raw(node.new_version.id.digest));
  CHECK(message.old_root() == raw(node.old_version.file().tree.root));
  CHECK(message.new_root() == raw(node.new_version.file().tree.root));
  CHECK(message.root_record() == made[0].stored.root_record);
  CHECK(message.bytes() == bytes.size());
  CHECK(message.copied_bytes() == kOldBytes);
  CHECK(node.hints.find(made[0].stored.id));
}

// What is copied of a chunk for less than a 16th of it is fetched.
TEST_CASE("Copied bytes are those that receivers will not fetch", "[p2pd][hints]") {
  const Publishing node;
  const std::string piece = node.old_bytes.substr(5000, 6'000);  // below 1/32 of the chunk
  const LoadedManifest manifest =
      node.hold(node.share + "/v3", random_bytes(100'000, 7) + piece + random_bytes(100'000, 8));
  const auto made = node.make(manifest, node.share + "/v3", {.bases = {node.old_version.id}});
  REQUIRE(made.size() == 1);
  const auto recipe = decode_recipe(test::bytes_of(*made[0].stored.source));
  REQUIRE(recipe);
  CHECK(recipe->copies.size() == 1);
  CHECK(made[0].message.copied_bytes() == 0);
}

TEST_CASE("A signature is the one of the whole file, holes and all", "[p2pd][hints]") {
  const Publishing node;
  const std::string path = node.share + "/sparse";
  const std::string begin = random_bytes(100'000, 3);
  const std::string end = random_bytes(70'001, 4);
  put_sparse(path, 3'070'001, {{0, begin}, {3'000'000, end}});
  const LoadedManifest manifest = node.hold(path);
  REQUIRE(manifest.file().data.size() == 2);
  const auto made = node.make(manifest, path, {.signature = true});
  REQUIRE(made.size() == 1);

  rsync::SignatureBuilder builder(1024);
  REQUIRE(builder.feed(span_of(test::text_of(path))));
  const std::string expected = signature_head(3'070'001, 1024) + taken(builder);
  CHECK(test::bytes_of(*made[0].stored.source) == expected);
  const proto::HintMade& message = made[0].message;
  CHECK(message.kind() == proto::HINT_SIGNATURE);
  CHECK(message.new_content() == raw(manifest.id.digest));
  CHECK(message.new_root() == raw(manifest.file().tree.root));
  CHECK(message.old_root().empty());
  CHECK(message.root_record() == made[0].stored.root_record);
  CHECK(message.bytes() == expected.size());
}

// Stretches of 256 MiB are summed by different threads.
TEST_CASE("The stretches of a large file's signature fit together", "[p2pd][hints]") {
  const Publishing node;
  constexpr std::uint64_t kStretch = 256ull << 20;
  constexpr std::uint64_t kSize = 2 * kStretch + 50'000;
  const std::string path = node.share + "/large";
  const std::string across = random_bytes(100'000, 3);
  const std::string last = random_bytes(30'000, 4);
  put_sparse(path, kSize, {{kStretch - 40'000, across}, {kSize - last.size(), last}});
  const LoadedManifest manifest = node.hold(path);
  const auto made = node.make(manifest, path, {.signature = true});
  REQUIRE(made.size() == 1);

  const std::uint32_t block = rsync::block_bytes_for(kSize);
  rsync::SignatureBuilder builder(block);
  REQUIRE(builder.feed_zeros(kStretch - 40'000));
  REQUIRE(builder.feed(span_of(across)));
  REQUIRE(builder.feed_zeros(kSize - last.size() - (kStretch - 40'000) - across.size()));
  REQUIRE(builder.feed(span_of(last)));
  CHECK(test::bytes_of(*made[0].stored.source) == signature_head(kSize, block) + taken(builder));
}

TEST_CASE("What cannot be made is left out, and the rest is made", "[p2pd][hints]") {
  const Publishing node;
  HintOrder order{.bases = {node.old_version.id}, .signature = true};
  SECTION("a base that this node does not hold") {
    REQUIRE(node.contents.erase_holding(node.old_version.id));
  }
  SECTION("a base that was written to") {
    test::put_file(node.share + "/v1", node.old_bytes + "more");
  }
  SECTION("a base that is gone") {
    fs::remove(node.share + "/v1");
  }
  SECTION("a base that is the file itself") {
    order.bases = {node.new_version.id};
  }
  const auto made = node.make(order);
  REQUIRE(made.size() == 1);
  CHECK(made[0].message.kind() == proto::HINT_SIGNATURE);
  CHECK(node.stored() == 1);
}

TEST_CASE("A base that is written to while it is compared makes no recipe", "[p2pd][hints]") {
  const Publishing node;
  const auto made = node.make({.bases = {node.old_version.id}}, [&] {
    test::put_file(node.share + "/v1", node.old_bytes + "more");
    return true;
  });
  CHECK(made.empty());
  CHECK(node.stored() == 0);
}

TEST_CASE("A file that is written to while hints are made of it has none", "[p2pd][hints]") {
  const Publishing node;
  const auto made = node.make({.bases = {node.old_version.id}, .signature = true}, [&] {
    test::put_file(node.share + "/v2", node.new_bytes + "more");
    return true;
  });
  CHECK(made.empty());
  CHECK(node.stored() == 0);
}

TEST_CASE("Hints that nobody waits for are not made", "[p2pd][hints]") {
  const Publishing node;
  const int asked_most = GENERATE(0, 1, 2);
  int asked = 0;
  const auto made = node.make({.bases = {node.old_version.id}, .signature = true},
                              [&] { return asked++ < asked_most; });
  CHECK(made.empty());
  CHECK(node.stored() == 0);
}

TEST_CASE("An empty file has no hints", "[p2pd][hints]") {
  const Publishing node;
  const LoadedManifest empty = node.hold(node.share + "/empty", "");
  CHECK(node.make(empty, node.share + "/empty", {.bases = {node.old_version.id}, .signature = true})
            .empty());
  CHECK(node.make(node.new_version, node.share + "/v2", {}).empty());
}

TEST_CASE("A recipe that leaves its files is not kept", "[p2pd][hints]") {
  const Publishing node;
  Recipe recipe;
  recipe.old_file = {100, node.old_version.file().tree.root};
  recipe.new_file = {100, node.new_version.file().tree.root};
  recipe.copies = {{0, 50, 51}};
  const auto kept = keep_recipe(node.hints, node.old_version.id, node.new_version.id, recipe);
  REQUIRE_FALSE(kept);
  CHECK(kept.error().code == Errc::invalid_argument);
  CHECK(node.stored() == 0);
}

}  // namespace p2p
