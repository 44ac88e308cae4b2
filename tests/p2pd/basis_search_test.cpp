// What an old file has of a new version when there is a signature of the new one.
#include "p2pd/basis_search.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "librsyncwrap/signature_builder.h"
#include "tests/p2pd/update_fixture.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::random_bytes;
using test::Updating;

constexpr std::uint64_t kBytes = 8 * std::uint64_t{kMinChunkBytes};

std::string signature_of(const std::string& bytes, std::uint32_t block) {
  const auto header =
      rsync::encode_signature_header(*rsync::SignatureLayout::of(bytes.size(), block));
  rsync::SignatureBuilder builder(block);
  REQUIRE(builder.feed(test::span_of(bytes)));
  REQUIRE(builder.finish());
  std::string signature(header.begin(), header.end());
  for (const std::uint8_t byte : builder.take()) signature += static_cast<char>(byte);
  return signature;
}

// A byte in the middle of the fourth KiB of the third chunk is new.
struct Edited {
  Updating at;
  std::string old_bytes = random_bytes(kBytes, 1);

  Edited() {
    std::string bytes = old_bytes;
    char& byte = bytes[2 * std::uint64_t{kMinChunkBytes} + 3500];
    byte = static_cast<char>(byte ^ 1);
    at.set(old_bytes, bytes);
  }
};

void touch(const std::string& path) {
  fs::last_write_time(path, fs::file_time_type::clock::now() + std::chrono::hours(1));
}

}  // namespace

TEST_CASE("What a signature finds in an old file is not fetched, and worth a recipe",
          "[p2pd][delta]") {
  Edited edited;
  Updating& at = edited.at;
  const bool is_here = GENERATE(true, false);
  const std::string signature = signature_of(at.new_bytes, 1024);
  at.know_hint(/*recipe=*/false, signature, is_here);
  at.lets_the_search_end();
  at.lands();
  CHECK(at.holder.owner.run_bytes_asked == 1024);
  CHECK(at.transfer->bytes_received() == 1024 + (is_here ? 0 : signature.size()));
  CHECK_THAT(at.transfer->basis(), Catch::StartsWith("signature against " + at.old_path()));
  REQUIRE(at.recipes.size() == 1);
  const std::uint64_t edit = 2 * std::uint64_t{kMinChunkBytes} + 3 * 1024;
  CHECK(at.recipes.front().copies ==
        std::vector<CopyRange>{{0, 0, edit}, {edit + 1024, edit + 1024, kBytes - edit - 1024}});
  CHECK(at.recipes.front().old_file == FileVersion{kBytes, at.old_version->file().tree.root});
}

// Of a file that changes nobody knows what its ranges were.
TEST_CASE("An old file that was written to makes no recipe", "[p2pd][delta]") {
  Edited edited;
  Updating& at = edited.at;
  const ContentId hint =
      at.know_hint(/*recipe=*/false, signature_of(at.new_bytes, 1024), /*is_here=*/false);
  at.holder.owner.on_request = [&](const SpaceKey& space) {
    if (space.content == hint) touch(at.old_path());
  };
  at.lets_the_search_end();
  at.lands();
  CHECK_THAT(at.transfer->basis(), Catch::StartsWith("signature against " + at.old_path()));
  CHECK(at.recipes.empty());
}

TEST_CASE("An old file with nothing in common is left alone", "[p2pd][delta]") {
  Updating at;
  at.set(random_bytes(kBytes, 1), random_bytes(kBytes, 2));
  at.know_hint(/*recipe=*/false, signature_of(at.new_bytes, 1024));
  at.begin();
  at.lands();
  CHECK(at.transfer->bytes_received() == kBytes);
  CHECK_THAT(at.transfer->basis(), Catch::Contains("nothing in common"));
  CHECK(at.recipes.empty());
}

TEST_CASE("A signature that is none is not used", "[p2pd][delta]") {
  Edited edited;
  Updating& at = edited.at;
  std::string signature = signature_of(at.new_bytes, 1024);
  SECTION("of another file") {
    signature = signature_of(at.new_bytes.substr(1), 1024);
    signature.pop_back();
  }
  SECTION("with blocks of no bytes") {
    std::fill(signature.begin() + 4, signature.begin() + 8, '\0');
  }
  SECTION("cut short") {
    signature.resize(10);
  }
  at.know_hint(/*recipe=*/false, signature);
  at.begin();
  at.lands();
  CHECK(at.transfer->bytes_received() == kBytes);
  CHECK_THAT(at.transfer->basis(), Catch::Contains("is not used"));
}

// Of a large one a part tells whether the rest is worth fetching.
TEST_CASE("After a wrong recipe a large signature is used", "[p2pd][delta]") {
  Updating at;
  constexpr std::uint64_t kSize = 70ull << 20;
  const std::string begin = random_bytes(1 << 20, 1);
  const std::string end = random_bytes(1 << 20, 2);
  const auto put = [&](const std::string& path, const std::string& first) {
    test::put_sparse(path, kSize, {{0, first}, {kSize - end.size(), end}});
  };
  std::string edited = begin;
  edited[100'000] = static_cast<char>(edited[100'000] ^ 1);
  put(at.old_path(), begin);
  put(at.node.share + "/new", edited);
  at.set_files();
  at.know_hint(/*recipe=*/true, "nonsense");
  const std::string signature = signature_of(at.new_bytes, 512);
  REQUIRE(signature.size() > 4 * std::uint64_t{kMinChunkBytes});
  at.know_hint(/*recipe=*/false, signature, /*is_here=*/false);
  at.begin();
  at.lands();
  CHECK_THAT(at.transfer->basis(), Catch::StartsWith("signature against " + at.old_path()));
  CHECK(at.holder.owner.run_bytes_asked == 512);
  CHECK(at.transfer->bytes_received() == 512 + signature.size());
}

TEST_CASE("A large signature of an unrelated file is fetched in part", "[p2pd][delta]") {
  Updating at;
  constexpr std::uint64_t kSize = 70ull << 20;
  test::put_sparse(at.old_path(), kSize, {{0, random_bytes(1 << 20, 1)}});
  test::put_sparse(at.node.share + "/new", kSize, {{0, random_bytes(1 << 20, 2)}});
  at.set_files();
  const std::string signature = signature_of(at.new_bytes, 512);
  const ContentId hint = at.know_hint(/*recipe=*/false, signature, /*is_here=*/false);
  at.begin();
  at.lands();
  CHECK_THAT(at.transfer->basis(), Catch::Contains("nothing in common"));
  CHECK(at.transfer->bytes_received() == (1 << 20) + kMinChunkBytes);
  CHECK_FALSE(at.shared.contains({hint, true}));
  CHECK_FALSE(at.node.hints.find(hint));
}

TEST_CASE("A transfer may end while it looks for old blocks", "[p2pd][delta]") {
  Edited edited;
  Updating& at = edited.at;
  const bool is_here = GENERATE(true, false);
  at.know_hint(/*recipe=*/false, signature_of(at.new_bytes, 1024), is_here);
  const int turns = GENERATE(0, 1, 3, 6, 10, 15, 20);
  at.begin();
  for (int i = 0; i < turns && !is_final(at.transfer->state()); ++i) at.loop.io.run_one();
  if (is_final(at.transfer->state())) return;
  at.transfer->cancel();
  at.self.owner.transfer = nullptr;
  at.transfer->let_go_of_files();
  at.transfer.reset();
  at.self.mesh.stop();
  at.self.disk.stop();
  at.loop.io.poll();
  CHECK_FALSE(fs::exists(at.new_path()));
  CHECK(std::distance(fs::directory_iterator(at.node.root), {}) == 0);
  for (const auto& entry : fs::directory_iterator(at.node.base / "hints")) {
    CHECK(entry.path().extension() != ".part");
  }
}

}  // namespace p2p
