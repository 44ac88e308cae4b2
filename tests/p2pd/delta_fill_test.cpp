// A new version that is put together from an old one and a neighbour's bytes, in one process.
#include "p2pd/delta_fill.h"

#include <filesystem>
#include <string>
#include <vector>

#include "tests/p2pd/update_fixture.h"

namespace p2p {
namespace {

using test::put_file;
using test::random_bytes;
using test::Updating;

constexpr std::uint64_t kChunk = kMinChunkBytes;
constexpr std::uint32_t kChunks = 8;
constexpr std::uint64_t kBytes = kChunks * kChunk;

// The new version differs from the old one in a byte of each of these chunks, and the recipe says
// nothing of it.
struct Misled {
  Updating at;
  ContentId hint;

  explicit Misled(std::uint32_t chunks) {
    const std::string old_bytes = random_bytes(kBytes, 1);
    std::string bytes = old_bytes;
    for (std::uint32_t i = 0; i < chunks; ++i) {
      char& byte = bytes[i * kChunk + 5 * kBlockBytes + 7];
      byte = static_cast<char>(byte ^ 1);
    }
    at.set(old_bytes, bytes);
    hint = at.know_hint(/*recipe=*/true, at.recipe_of({{0, 0, kBytes}}));
  }
};

}  // namespace

TEST_CASE("What a recipe knows is copied, and only the rest is fetched", "[p2pd][delta]") {
  Updating at;
  const std::string old_bytes = random_bytes(kBytes, 1);
  const std::string inserted = random_bytes(1000, 2);
  at.set(old_bytes, old_bytes.substr(0, 700'000) + inserted + old_bytes.substr(700'000));
  const bool is_here = GENERATE(true, false);
  const std::string recipe = at.recipe_of({{0, 0, 700'000}, {701'000, 700'000, kBytes - 700'000}});
  const ContentId hint = at.know_hint(/*recipe=*/true, recipe, is_here);
  at.begin();
  at.lands();
  CHECK(at.holder.owner.run_bytes_asked == 1000);
  CHECK(at.holder.owner.chunk_bytes_asked == 0);
  CHECK(at.transfer->bytes_received() == 1000 + (is_here ? 0 : recipe.size()));
  CHECK(at.transfer->bytes_copied() == kBytes);
  CHECK(at.transfer->bytes_written() == kBytes + 1000);
  CHECK_THAT(at.transfer->basis(),
             Catch::StartsWith("recipe from") && Catch::Contains(at.old_path()));
  CHECK(at.node.hints.find(hint));
  CHECK(at.shared.contains({hint, true}) != is_here);
  CHECK(at.wrong_hints.empty());
  CHECK(at.bad_peers.empty());
  CHECK(at.recipes.empty());
  CHECK((test::text_of(at.old_path()) == old_bytes));
}

TEST_CASE("A file that is all in an old one needs no neighbour", "[p2pd][delta]") {
  Updating at;
  const std::string old_bytes = random_bytes(kBytes, 1);
  SECTION("with a recipe") {
    at.set(old_bytes, old_bytes.substr(1000) + old_bytes.substr(0, 1000));
    at.know_hint(/*recipe=*/true,
                 at.recipe_of({{0, 1000, kBytes - 1000}, {kBytes - 1000, 0, 1000}}));
  }
  SECTION("the same bytes under another name") {
    at.set(old_bytes, old_bytes);
    REQUIRE(at.old_version->id != at.new_version->id);
  }
  at.begin(/*with_neighbour=*/false);
  at.lands();
  CHECK(at.transfer->bytes_received() == 0);
  CHECK(at.transfer->bytes_copied() == kBytes);
}

TEST_CASE("Of a wrong chunk only the wrong blocks are fetched", "[p2pd][delta]") {
  Misled misled(2);
  Updating& at = misled.at;
  at.begin();
  at.lands();
  CHECK(at.holder.owner.run_bytes_asked == 2 * kBlockBytes);
  CHECK(at.holder.owner.chunk_bytes_asked == 0);
  CHECK(at.transfer->bytes_received() == 2 * kBlockBytes);
  CHECK(at.holder.owner.leaves_asked == 2);
  CHECK(at.wrong_hints.empty());
  CHECK(at.bad_peers.empty());
}

TEST_CASE("A hint that has led astray three times is blamed, once", "[p2pd][delta]") {
  Misled misled(kChunks);
  Updating& at = misled.at;
  at.begin();
  at.lands();
  REQUIRE(at.wrong_hints.size() == 1);
  CHECK(at.wrong_hints.front().first == misled.hint);
  CHECK_THAT(at.transfer->basis(), Catch::Contains("is not used any more"));
  CHECK(at.holder.owner.run_bytes_asked >= 3 * kBlockBytes);
  CHECK(at.transfer->bytes_received() <= kBytes);
  CHECK(at.bad_peers.empty());
}

TEST_CASE("An old file that somebody has written to is nobody's fault", "[p2pd][delta]") {
  Misled misled(kChunks);
  Updating& at = misled.at;
  at.holder.owner.on_leaves_asked = [&](NodeId peer, ChunkIndex chunk, int before) {
    if (before == 0) put_file(at.old_path(), "rewritten");
    at.holder.owner.tell_leaves(peer, chunk);
  };
  at.begin();
  at.lands();
  CHECK(at.wrong_hints.empty());
  CHECK(at.bad_peers.empty());
}

TEST_CASE("When nobody tells leaves, wrong chunks are fetched whole", "[p2pd][delta]") {
  Misled misled(2);
  Updating& at = misled.at;
  at.holder.owner.on_leaves_asked = [&](NodeId peer, ChunkIndex chunk, int) {
    at.holder.mesh.send_leaves(peer, at.order.content, chunk, "");
  };
  at.begin();
  at.lands();
  CHECK(at.transfer->bytes_received() == 2 * kChunk);
  CHECK(at.holder.owner.run_bytes_asked == 0);
  CHECK(at.wrong_hints.empty());
  CHECK(at.bad_peers.empty());
}

// It was asked again meanwhile, and answers both.
TEST_CASE("Who is slow to tell leaves has broken no rule", "[p2pd][delta]") {
  Misled misled(1);
  Updating& at = misled.at;
  at.holder.owner.on_leaves_asked = [&](NodeId peer, ChunkIndex chunk, int before) {
    if (before == 0) return;
    at.holder.owner.tell_leaves(peer, chunk);
    at.holder.owner.tell_leaves(peer, chunk);
  };
  at.begin();
  at.lands();
  CHECK(at.bad_peers.empty());
  CHECK(at.transfer->bytes_received() == kBlockBytes);
}

TEST_CASE("Who tells leaves that nobody asked for is dropped", "[p2pd][delta]") {
  Misled misled(1);
  Updating& at = misled.at;
  at.holder.owner.on_leaves_asked = [&](NodeId peer, ChunkIndex chunk, int) {
    at.holder.owner.tell_leaves(peer, ChunkIndex{chunk.value + 1});
  };
  at.begin();
  REQUIRE(at.loop.run_until([&] { return !at.bad_peers.empty(); }));
  CHECK(at.bad_peers.front() == "sent leaves that nobody asked for");
}

TEST_CASE("Who tells wrong leaves is dropped", "[p2pd][delta]") {
  Misled misled(1);
  Updating& at = misled.at;
  at.holder.owner.on_leaves_asked = [&](NodeId peer, ChunkIndex chunk, int) {
    at.holder.mesh.send_leaves(peer, at.order.content, chunk,
                               std::string(16 * sizeof(Digest::bytes), 'x'));
  };
  at.begin();
  REQUIRE(at.loop.run_until([&] { return !at.bad_peers.empty(); }));
  CHECK(at.bad_peers.front() == "sent wrong leaves");
}

TEST_CASE("A hint that nobody has holds nothing up for good", "[p2pd][delta]") {
  Updating at;
  at.set(random_bytes(kBytes, 1), random_bytes(kBytes, 2));
  const ContentId hint =
      at.know_hint(/*recipe=*/true, at.recipe_of({{0, 0, kBytes}}), /*is_here=*/false);
  at.holder.owner.spaces.erase({hint, true});
  at.begin();
  at.lands();
  CHECK(at.transfer->bytes_received() == kBytes);
  CHECK_THAT(at.transfer->basis(), Catch::Contains("nobody who is connected has it"));
  CHECK_FALSE(at.shared.contains({hint, true}));
}

TEST_CASE("What is no recipe is not used, and blamed", "[p2pd][delta]") {
  Updating at;
  at.set(random_bytes(kBytes, 1), random_bytes(kBytes, 2));
  ContentId hint;
  SECTION("nonsense") {
    hint = at.know_hint(/*recipe=*/true, "nonsense");
  }
  SECTION("of other files") {
    Recipe other;
    other.old_file = {kBytes, at.new_version->file().tree.root};
    other.new_file = {kBytes, at.old_version->file().tree.root};
    other.copies = {{0, 0, kBytes}};
    hint = at.know_hint(/*recipe=*/true, encode_recipe(other));
  }
  at.begin();
  at.lands();
  CHECK(at.transfer->bytes_received() == kBytes);
  CHECK_THAT(at.transfer->basis(), Catch::Contains("the recipe is wrong"));
  REQUIRE(at.wrong_hints.size() == 1);
  CHECK(at.wrong_hints.front().first == hint);
}

}  // namespace p2p
