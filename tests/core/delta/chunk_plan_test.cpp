// Which bytes of a chunk are copied from an old file and which are fetched.
#include "core/delta/chunk_plan.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

constexpr std::uint64_t kChunk = kMinChunkBytes;

// Two chunks and a half, without holes or with these data extents.
ChunkSpace space_with(std::vector<ByteRange> data) {
  HashTree tree;
  tree.size = 2 * kChunk + kChunk / 2;
  tree.layer.resize(3);
  return ChunkSpace(tree, std::move(data));
}

ChunkSpace full() {
  return space_with({{0, 2 * kChunk + kChunk / 2}});
}

TEST_CASE("what an old file has is copied, the rest of the chunk is fetched", "[core][delta]") {
  // One page of the middle chunk was overwritten.
  const std::vector<CopyRange> copies{{0, 0, kChunk + 8192},
                                      {kChunk + 12288, kChunk + 12288, kChunk}};
  const ChunkPlan plan = plan_chunk(full(), ChunkIndex{1}, copies);
  CHECK(plan.missing == std::vector<ByteRange>{{8192, 4096}});
  CHECK(plan.copies ==
        std::vector<CopyRange>{{0, kChunk, 8192}, {12288, kChunk + 12288, kChunk - 12288}});
  CHECK(plan.missing_bytes == 4096);
  CHECK(plan.copied_bytes == kChunk - 4096);
}

TEST_CASE("a chunk that is all in the old file needs no neighbour, wherever its bytes are",
          "[core][delta]") {
  const std::vector<CopyRange> copies{{0, 999, kChunk / 2}, {kChunk / 2, 5, kChunk}};
  const ChunkPlan plan = plan_chunk(full(), ChunkIndex{0}, copies);
  CHECK(plan.missing.empty());
  CHECK(plan.copies == std::vector<CopyRange>{{0, 999, kChunk / 2}, {kChunk / 2, 5, kChunk / 2}});
}

TEST_CASE("a chunk that the old file has nothing or little of is fetched whole", "[core][delta]") {
  CHECK(plan_chunk(full(), ChunkIndex{2}, std::vector<CopyRange>{{0, 0, kChunk}}).copies.empty());
  CHECK(plan_chunk(full(), ChunkIndex{0}, {}).missing.empty());
  const std::uint64_t little = kChunk / 32 - 1;
  CHECK(plan_chunk(full(), ChunkIndex{0}, std::vector<CopyRange>{{0, 0, little}}).copies.empty());
  const std::vector<CopyRange> enough{{0, 0, little + 1}};
  CHECK(plan_chunk(full(), ChunkIndex{0}, enough).missing_bytes == kChunk - little - 1);
}

TEST_CASE("holes stay holes: copies that reach into them are cut", "[core][delta]") {
  const ChunkSpace space = space_with({{65536, 65536}, {2 * kChunk, 16384}});
  const std::vector<CopyRange> copies{{0, 4096, 2 * kChunk}};
  const ChunkPlan plan = plan_chunk(space, ChunkIndex{0}, copies);
  CHECK(plan.copies == std::vector<CopyRange>{{65536, 69632, 65536}});
  CHECK(plan.missing.empty());
  CHECK(plan_chunk(space, ChunkIndex{1}, copies).copies.empty());
}

TEST_CASE("a few bytes between two missing ranges are fetched with them", "[core][delta]") {
  const std::vector<CopyRange> copies{
      {0, 0, 1000}, {1016, 1016, 16}, {2000, 2000, 17}, {4000, 4000, kChunk}};
  const ChunkPlan plan = plan_chunk(full(), ChunkIndex{0}, copies);
  CHECK(plan.missing == std::vector<ByteRange>{{1000, 1000}, {2017, 1983}});
  // At the ends of what is known nothing is gained by it.
  const std::vector<CopyRange> end{{0, 0, kChunk - 100}, {kChunk - 10, 7, 10}};
  CHECK(plan_chunk(full(), ChunkIndex{0}, end).missing ==
        std::vector<ByteRange>{{kChunk - 100, 90}});
}

TEST_CASE("a part of a run is the pieces that its bytes are", "[core][delta]") {
  const std::vector<ByteRange> pieces{{100, 10}, {200, 20}, {300, 30}};
  CHECK(part_of_run(pieces, 0, 60) == pieces);
  CHECK(part_of_run(pieces, 5, 10) == std::vector<ByteRange>{{105, 5}, {200, 5}});
  CHECK(part_of_run(pieces, 10, 20) == std::vector<ByteRange>{{200, 20}});
  CHECK(part_of_run(pieces, 29, 2) == std::vector<ByteRange>{{219, 1}, {300, 1}});
  CHECK(part_of_run(pieces, 60, 1).empty());
}

TEST_CASE("a run is asked for in requests of few enough bytes and pieces", "[core][delta]") {
  const std::vector<ByteRange> pieces{{0, 10}, {20, 10}, {40, 10}, {60, 100}};
  CHECK(requests_for_run(pieces, 1000, 1000) == std::vector<std::uint32_t>{130});
  CHECK(requests_for_run(pieces, 1000, 3) == std::vector<std::uint32_t>{30, 100});
  CHECK(requests_for_run(pieces, 64, 1000) == std::vector<std::uint32_t>{64, 64, 2});
  CHECK(requests_for_run({}, 64, 1000).empty());
}

}  // namespace
}  // namespace p2p
