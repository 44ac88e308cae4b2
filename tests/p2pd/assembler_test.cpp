#include "p2pd/assembler.h"

#include <fcntl.h>

#include <memory>
#include <string>

#include "tests/p2pd/part_fixture.h"

namespace p2p {
namespace {

using test::Indices;

struct Assembling : test::Receiving {
  test::Threads threads;
  std::shared_ptr<Part> part = open_part();
  Indices right, wrong;
  std::unique_ptr<Assembler> assembler =
      std::make_unique<Assembler>(threads.control, threads.disk, part, old_file());

  // The file itself, but for a byte of chunk 3.
  std::shared_ptr<const Fd> old_file() const {
    std::string old = bytes;
    old.back() = static_cast<char>(old.back() ^ 1);
    test::put_file(share + "/old", old);
    auto file = std::make_shared<Fd>(::open((share + "/old").c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(*file);
    return file;
  }
  // `fetched`: one byte of it came from a neighbour.
  ChunkPlan plan_for(std::uint32_t index, bool fetched) const {
    const ChunkIndex chunk{index};
    ChunkPlan plan;
    for (const ByteRange& range : space.ranges_of(chunk, kMaxChunkBytes)) {
      plan.copies.push_back({range.offset, space.offset_of(chunk) + range.offset, range.length});
    }
    if (fetched) {
      CopyRange& last = plan.copies.back();
      plan.missing.push_back({last.new_end() - 1, 1});
      --last.length;
    }
    return plan;
  }
  void add(std::uint32_t index, bool fetched = false) {
    if (fetched) write(*part, index);
    assembler->add(ChunkIndex{index}, plan_for(index, fetched),
                   [this, index](const Part::PutTogether& result) {
                     (result.status ? right : wrong).push_back(index);
                   });
  }
  bool holds(std::uint32_t index) const { return part->check(ChunkIndex{index}).has_value(); }
};

}  // namespace

TEST_CASE("Chunks come together, and of a wrong one it is said", "[p2pd][assembler]") {
  Assembling node;
  CHECK(node.assembler->idle());
  node.add(0);
  node.add(3);
  node.add(2);
  CHECK_FALSE(node.assembler->idle());
  CHECK(node.right.empty());
  node.threads.settle();
  CHECK(node.assembler->idle());
  CHECK(node.right == Indices{0, 2});
  CHECK(node.wrong == Indices{3});
  CHECK(node.holds(0));
  CHECK(node.holds(2));
  CHECK_FALSE(node.holds(3));
}

TEST_CASE("A chunk of which ranges were fetched goes before those that wait", "[p2pd][assembler]") {
  Assembling node;
  node.assembler->set_paused(true);
  node.add(0);
  node.add(2);
  node.add(3, /*fetched=*/true);
  node.assembler->set_paused(false);
  node.threads.settle();
  CHECK(node.right == Indices{3, 0, 2});
}

TEST_CASE("While it is paused no chunk is begun, and one that has begun is told",
          "[p2pd][assembler]") {
  Assembling node;
  node.add(0);
  node.assembler->set_paused(true);
  node.add(2);
  node.threads.settle();
  CHECK(node.right == Indices{0});
  CHECK_FALSE(node.assembler->idle());
  CHECK_FALSE(node.holds(2));
  node.assembler->set_paused(false);
  node.threads.settle();
  CHECK(node.right == Indices{0, 2});
  CHECK(node.assembler->idle());
}

TEST_CASE("Two chunks are under way at a time", "[p2pd][assembler]") {
  Assembling node;
  node.add(0);
  node.add(2);
  node.add(3);
  node.assembler->set_paused(true);
  node.threads.settle();
  CHECK(node.right == Indices{0, 2});
  CHECK(node.wrong.empty());
}

TEST_CASE("Nobody is told of a chunk after the end of the assembler", "[p2pd][assembler]") {
  Assembling node;
  node.add(0);
  node.add(2);
  node.add(3);
  node.assembler.reset();
  node.threads.settle();
  CHECK(node.right.empty());
  CHECK(node.wrong.empty());
}

TEST_CASE("An assembler may end when a chunk is told", "[p2pd][assembler]") {
  Assembling node;
  node.assembler->add(ChunkIndex{0}, node.plan_for(0, false), [&](const Part::PutTogether& result) {
    CHECK(result.status);
    node.assembler.reset();
  });
  node.add(2);
  node.add(3);
  node.threads.settle();
  CHECK_FALSE(node.assembler);
  CHECK(node.right.empty());
  CHECK(node.holds(0));
}

TEST_CASE("Chunks may be added when one is told", "[p2pd][assembler]") {
  Assembling node;
  node.assembler->add(ChunkIndex{0}, node.plan_for(0, false),
                      [&](const Part::PutTogether&) { node.add(2); });
  node.threads.settle();
  CHECK(node.right == Indices{2});
  CHECK(node.assembler->idle());
}

}  // namespace p2p
