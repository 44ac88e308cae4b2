#include "io/content/holes.h"

#include <string>
#include <vector>

#include "io/content/merkle.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

constexpr std::uint64_t kChunk = kMinChunkBytes;
constexpr std::uint64_t kTail = 100'001;  // no whole number of blocks

// Four chunks and a short one: data in 0 and in the second half of 2, the rest is holes.
ChunkSpace space_of(const std::string& bytes) {
  return {tree_of_bytes(bytes), {{0, kChunk}, {2 * kChunk + kChunk / 2, kChunk / 2}}};
}
std::string bytes_with_holes() {
  std::string bytes(4 * kChunk + kTail, '\0');
  bytes.replace(0, kChunk, kChunk, 'a');
  bytes.replace(2 * kChunk + kChunk / 2, kChunk / 2, kChunk / 2, 'b');
  return bytes;
}

std::vector<bool> bits_of(const Bitfield& bits) {
  std::vector<bool> values;
  for (std::uint32_t i = 0; i < bits.size(); ++i) values.push_back(bits.test(i));
  return values;
}

}  // namespace

TEST_CASE("Chunks that are one hole are done, those with any data are not", "[io][content]") {
  Bitfield done(5);
  REQUIRE(take_holes(space_of(bytes_with_holes()), done));
  CHECK(bits_of(done) == std::vector<bool>{false, true, false, true, true});
}

TEST_CASE("What was done before stays so", "[io][content]") {
  Bitfield done(5);
  done.set(0);
  done.set(1);
  REQUIRE(take_holes(space_of(bytes_with_holes()), done));
  CHECK(bits_of(done) == std::vector<bool>{true, true, false, true, true});
}

TEST_CASE("A hole for which the manifest expects other bytes than zeros is corrupt, and named",
          "[io][content]") {
  const std::uint32_t wrong = GENERATE(1u, 3u, 4u);
  std::string bytes = bytes_with_holes();
  bytes[wrong * kChunk + 70'000] = 'x';
  Bitfield done(5);
  const Status taken = take_holes(space_of(bytes), done);
  REQUIRE_FALSE(taken);
  CHECK(taken.error().code == Errc::corrupt);
  CHECK_THAT(taken.error().detail, Catch::Contains("chunk " + std::to_string(wrong) + " "));
  CHECK_FALSE(done.test(wrong));
}

TEST_CASE("A file of one short chunk may be one hole", "[io][content]") {
  const std::uint64_t size = GENERATE(+kMinHoleBytes, +kTail, +kChunk);
  CAPTURE(size);
  Bitfield done(1);
  CHECK(take_holes({tree_of_bytes(std::string(size, '\0')), {}}, done));
  CHECK(done.all());
  Bitfield none(1);
  CHECK_FALSE(take_holes({tree_of_bytes(std::string(size, 'x')), {}}, none));
  CHECK(none.none());
}

TEST_CASE("An empty file has no chunks and no holes", "[io][content]") {
  Bitfield done(0);
  CHECK(take_holes(ChunkSpace(tree_of_bytes("")), done));
}

}  // namespace p2p
