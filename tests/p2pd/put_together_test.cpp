// Chunks that come partly from an old file: Part::put_together().
#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "io/disk/file_io.h"
#include "tests/p2pd/part_fixture.h"

namespace p2p {
namespace {

using test::kFileBytes;
using test::kHoleEnd;

constexpr std::uint64_t kChunk = kMinChunkBytes;
constexpr std::uint64_t kHalf = kChunk / 2;

// Shares by copying, as often as the test says.
struct Sharing final : FileCalls {
  int shares_left = 0;
  bool with_wrong_byte = false;
  Errc write_fails = Errc::unavailable;  // unavailable: it does not
  std::vector<CopyRange> asked;

  Status clone_range(int to, std::uint64_t to_offset, int from, std::uint64_t from_offset,
                     std::uint64_t length, std::string_view name) override {
    asked.push_back({to_offset, from_offset, length});
    if (shares_left-- <= 0) return Error{Errc::io_failed, "share: Operation not supported"};
    std::vector<std::uint8_t> bytes(length);
    if (Status read = read_exactly_at(from, bytes, from_offset, name); !read) return read;
    if (with_wrong_byte) bytes[5] ^= 1;
    return write_all_at(to, bytes, to_offset, name);
  }
  Status write_at(int fd, std::span<const std::uint8_t> bytes, std::uint64_t offset,
                  std::string_view name) override {
    if (write_fails != Errc::unavailable) return Error{write_fails, "write " + std::string(name)};
    written += bytes.size();
    return FileCalls::write_at(fd, bytes, offset, name);
  }
  std::uint64_t written = 0;
};

struct Updating : test::Receiving {
  Sharing sharing;
  PartTools tools_of_part{*privileged, records, sharing};
  std::shared_ptr<Part> part = opened();
  std::uint32_t block = part->block_bytes();

  std::shared_ptr<Part> opened() {
    auto found = Part::open(tools_of_part, order());
    REQUIRE(found);
    return found->part;
  }
  Fd old_file(const std::string& old) const {
    test::put_file(share + "/old", old);
    Fd file(::open((share + "/old").c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(file);
    return file;
  }
  // What of the missing ranges has been fetched.
  void fetch(std::uint32_t chunk, const ChunkPlan& plan) {
    const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
    for (const ByteRange& piece : plan.missing) {
      const std::uint64_t at = chunk * kChunk + piece.offset;
      REQUIRE(part->write({first + at, piece.length}, at));
    }
    sharing.written = 0;
  }
  bool holds(std::uint32_t chunk) const { return part->check(ChunkIndex{chunk}).has_value(); }
  std::string in_part(std::uint64_t offset, std::uint64_t length) const {
    return test::text_of(file_of(*part)).substr(offset, length);
  }
  // The blocks whose hashes are not those of the file.
  std::vector<std::size_t> wrong_blocks(std::uint32_t chunk, const std::vector<Digest>& leaves) {
    std::vector<std::size_t> wrong;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      const std::uint64_t at = chunk * kChunk + i * kBlockBytes;
      const std::string right =
          bytes.substr(at, std::min<std::uint64_t>(kBlockBytes, kFileBytes - at));
      if (sha256(std::string_view(right)) != leaves[i]) wrong.push_back(i);
    }
    return wrong;
  }
};

// 50 bytes in the middle are new, and what stands behind them has moved.
const ChunkPlan kEdited{
    .copies = {{0, 777, 100'000}, {100'050, 100'777, kChunk - 100'050}},
    .missing = {{100'000, 50}},
    .missing_bytes = 50,
    .copied_bytes = static_cast<std::uint32_t>(kChunk) - 50,
};

std::string before_edit(const std::string& bytes) {
  return std::string(777, 'x') + bytes.substr(0, 100'000) + bytes.substr(100'050, kChunk - 100'050);
}

ChunkPlan all_from(std::vector<CopyRange> copies) {
  ChunkPlan plan;
  plan.copies = std::move(copies);
  for (const CopyRange& copy : plan.copies) {
    plan.copied_bytes += static_cast<std::uint32_t>(copy.length);
  }
  return plan;
}

}  // namespace

TEST_CASE("A chunk comes together from an old file and what was fetched", "[p2pd][together]") {
  Updating node;
  const Fd old = node.old_file(before_edit(node.bytes));
  node.fetch(0, kEdited);
  const Part::PutTogether result = node.part->put_together(ChunkIndex{0}, kEdited, old);
  CHECK(result.status);
  CHECK(result.leaves.empty());
  CHECK(result.shared_bytes == 0);
  CHECK(node.sharing.written == kChunk - 50);
  CHECK(node.sharing.asked.empty());
  CHECK(node.holds(0));
}

TEST_CASE("Of a chunk with a wrong byte the leaves are told, and nothing is written",
          "[p2pd][together]") {
  Updating node;
  std::string before = before_edit(node.bytes);
  const auto spoil = [&](std::uint64_t at) { before[at] = static_cast<char>(before[at] ^ 1); };
  std::vector<std::size_t> wrong;
  SECTION("of the old file") {
    spoil(777 + 3 * kBlockBytes);
    wrong = {3};
  }
  SECTION("of the old file, twice") {
    spoil(777);
    spoil(before.size() - 1);
    wrong = {0, kChunk / kBlockBytes - 1};
  }
  SECTION("that was fetched") {
    wrong = {100'010 / kBlockBytes};
  }
  const Fd old = node.old_file(before);
  node.fetch(0, kEdited);
  if (wrong.front() == 100'010 / kBlockBytes) {
    const std::uint8_t byte = 0;
    REQUIRE(node.part->write({&byte, 1}, 100'010));
    node.sharing.written = 0;
  }
  const Part::PutTogether result = node.part->put_together(ChunkIndex{0}, kEdited, old);
  CHECK(test::code_of(result.status) == Errc::corrupt);
  CHECK(node.wrong_blocks(0, result.leaves) == wrong);
  CHECK(node.sharing.written == 0);
  CHECK(node.in_part(0, 100'000) == std::string(100'000, '\0'));
}

TEST_CASE("An old file that has become shorter counts as zeros from there on", "[p2pd][together]") {
  Updating node;
  const Fd old = node.old_file(before_edit(node.bytes).substr(0, 777 + 10 * kBlockBytes));
  node.fetch(0, kEdited);
  const Part::PutTogether result = node.part->put_together(ChunkIndex{0}, kEdited, old);
  CHECK(test::code_of(result.status) == Errc::corrupt);
  CHECK(node.wrong_blocks(0, result.leaves) == std::vector<std::size_t>{10, 11, 12, 13, 14, 15});
  CHECK(node.sharing.written == 0);
}

TEST_CASE("Holes stay holes", "[p2pd][together]") {
  Updating node;
  const std::uint64_t begin = kHoleEnd - 2 * kChunk;  // in chunk 2
  const Fd old = node.old_file(node.bytes);
  const ChunkPlan plan = all_from({{begin, kHoleEnd, kChunk - begin}});
  REQUIRE(node.part->put_together(ChunkIndex{2}, plan, old).status);
  CHECK(node.holds(2));
  const auto data = next_data(node.part->source()->file.get(), 0, "part");
  REQUIRE(data);
  CHECK(*data == ByteRange{kHoleEnd, kChunk - begin});
}

TEST_CASE("The last, short chunk comes together", "[p2pd][together]") {
  Updating node;
  const Fd old = node.old_file("x" + node.bytes.substr(3 * kChunk));
  REQUIRE(node.part->put_together(ChunkIndex{3}, all_from({{0, 1, 100'000}}), old).status);
  CHECK(node.holds(3));
}

TEST_CASE("An old file that cannot be read is told apart from one with wrong bytes",
          "[p2pd][together]") {
  Updating node;
  const Fd folder(::open(node.share.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto result = node.part->put_together(ChunkIndex{3}, all_from({{0, 1, 100'000}}), folder);
  CHECK(test::code_of(result.status) == Errc::io_failed);
  CHECK(result.leaves.empty());
}

TEST_CASE("A chunk that is right and cannot be written has no leaves to compare",
          "[p2pd][together]") {
  Updating node;
  const Fd old = node.old_file(node.bytes);
  const ChunkPlan plan = all_from({{0, 0, kChunk}});
  Errc expected = Errc::corrupt;
  SECTION("no room") {
    node.sharing.write_fails = expected = Errc::exhausted;
  }
  SECTION("the part was deleted") {
    REQUIRE(::unlink(node.file_of(*node.part).c_str()) == 0);
  }
  SECTION("the part was cut") {
    REQUIRE(::truncate(node.file_of(*node.part).c_str(), 1000) == 0);
  }
  const auto result = node.part->put_together(ChunkIndex{0}, plan, old);
  CHECK(test::code_of(result.status) == expected);
  CHECK(result.leaves.empty());
}

TEST_CASE("Whole blocks are shared, and only what is left is written", "[p2pd][together]") {
  Updating node;
  REQUIRE(kHalf % node.block == 0);
  // The first 100 bytes of the chunk are new, the rest stands one block further in the old file.
  const Fd old = node.old_file(std::string(node.block, 'x') + node.bytes.substr(0, kChunk));
  ChunkPlan plan = all_from({{100, node.block + 100, kChunk - 100}});
  plan.missing = {{0, 100}};
  node.fetch(0, plan);
  node.sharing.shares_left = 1;
  const auto result = node.part->put_together(ChunkIndex{0}, plan, old, /*share=*/true);
  REQUIRE(result.status);
  CHECK(node.sharing.asked ==
        std::vector<CopyRange>{{node.block, 2 * node.block, kChunk - node.block}});
  CHECK(result.shared_bytes == kChunk - node.block);
  CHECK(node.sharing.written == node.block - 100);
  CHECK(node.holds(0));
}

TEST_CASE("What the file system does not share is written", "[p2pd][together]") {
  Updating node;
  const std::string gap(node.block, 'x');
  const Fd old =
      node.old_file(gap + node.bytes.substr(0, kHalf) + gap + node.bytes.substr(kHalf, kHalf));
  const ChunkPlan plan = all_from({{0, node.block, kHalf}, {kHalf, kHalf + 2 * node.block, kHalf}});
  const int shared = GENERATE(0, 1, 2);
  node.sharing.shares_left = shared;
  const auto result = node.part->put_together(ChunkIndex{0}, plan, old, /*share=*/true);
  REQUIRE(result.status);
  CHECK(node.holds(0));
  CHECK(result.shared_bytes == shared * kHalf);
  CHECK(node.sharing.written == kChunk - shared * kHalf);
  // It is not tried again within a chunk.
  CHECK(node.sharing.asked.size() == (shared == 0 ? 1 : 2));
}

TEST_CASE("Bytes that have moved by less than a block are written", "[p2pd][together]") {
  Updating node;
  node.sharing.shares_left = 10;
  const Fd old = node.old_file("x" + node.bytes.substr(0, kChunk));
  const auto result =
      node.part->put_together(ChunkIndex{0}, all_from({{0, 1, kChunk}}), old, /*share=*/true);
  REQUIRE(result.status);
  CHECK(node.sharing.asked.empty());
  CHECK(node.sharing.written == kChunk);
}

// The old file may have changed between sharing and looking at it.
TEST_CASE("What is shared is verified where it has got to", "[p2pd][together]") {
  Updating node;
  node.sharing.shares_left = 1;
  node.sharing.with_wrong_byte = true;
  const Fd old = node.old_file(node.bytes.substr(0, kChunk));
  const auto result =
      node.part->put_together(ChunkIndex{0}, all_from({{0, 0, kChunk}}), old, /*share=*/true);
  CHECK(test::code_of(result.status) == Errc::corrupt);
  CHECK(node.wrong_blocks(0, result.leaves) == std::vector<std::size_t>{0});
}

}  // namespace p2p
