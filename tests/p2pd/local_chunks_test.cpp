#include "p2pd/local_chunks.h"

#include <fcntl.h>

#include <map>
#include <string>
#include <vector>

#include "tests/p2pd/part_fixture.h"

namespace p2p {
namespace {

using test::Indices;

struct Looking : test::Receiving {
  test::Threads threads;
  std::shared_ptr<Part> part = open_part();
  std::map<std::uint32_t, Status> said;
  Indices order_said;
  LocalChunks local{threads.control, threads.disk, part,
                    [this](ChunkIndex chunk, const Status& s, bool) {
                      said[chunk.value] = s;
                      order_said.push_back(chunk.value);
                    }};

  // A whole file elsewhere on this node, in which one byte of chunk 3 is wrong.
  std::shared_ptr<Fd> damaged_copy() const {
    std::string other = bytes;
    other[3 * kMinChunkBytes] = static_cast<char>(other[3 * kMinChunkBytes] ^ 1);
    test::put_file(share + "/copy", other);
    auto file = std::make_shared<Fd>(::open((share + "/copy").c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(*file);
    return file;
  }
  bool holds(std::uint32_t index) const { return part->check(ChunkIndex{index}).has_value(); }
};

}  // namespace

TEST_CASE("A chunk that the part holds is found there, and one that it lacks is not",
          "[p2pd][local]") {
  Looking node;
  node.write(*node.part, 2);
  node.local.look_in_part(ChunkIndex{2});
  node.local.look_in_part(ChunkIndex{0});
  CHECK_FALSE(node.local.idle());
  CHECK(node.said.empty());
  node.threads.settle();
  CHECK(node.local.idle());
  CHECK(node.order_said == Indices{2, 0});
  CHECK(node.said[2]);
  CHECK(test::code_of(node.said[0]) == Errc::corrupt);
}

TEST_CASE("What the part lacks is copied from a whole copy, where its bytes are right",
          "[p2pd][local]") {
  Looking node;
  CHECK_FALSE(node.local.has_copy());
  node.local.set_copy(node.damaged_copy());
  CHECK(node.local.has_copy());
  node.local.look_in_part(ChunkIndex{0});
  node.local.copy(ChunkIndex{2});
  node.local.copy(ChunkIndex{3});
  node.threads.settle();
  CHECK(node.said[0]);
  CHECK(node.said[2]);
  CHECK(test::code_of(node.said[3]) == Errc::corrupt);
  CHECK(node.holds(0));
  CHECK(node.holds(2));
  CHECK_FALSE(node.holds(3));
}

TEST_CASE("What the part holds is not copied", "[p2pd][local]") {
  Looking node;
  node.write(*node.part, 3);
  node.local.set_copy(node.damaged_copy());
  node.local.look_in_part(ChunkIndex{3});
  node.threads.settle();
  CHECK(node.said[3]);
  CHECK(node.holds(3));
}

TEST_CASE("Without a copy a chunk that is to be copied is not here", "[p2pd][local]") {
  Looking node;
  node.write(*node.part, 2);
  node.local.copy(ChunkIndex{2});
  node.threads.settle();
  CHECK(test::code_of(node.said[2]) == Errc::corrupt);
}

TEST_CASE("A copy that cannot be read is told apart from one with other bytes", "[p2pd][local]") {
  Looking node;
  node.local.set_copy(
      std::make_shared<Fd>(::open(node.share.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  node.local.copy(ChunkIndex{2});
  node.threads.settle();
  CHECK(test::code_of(node.said[2]) == Errc::io_failed);
}

TEST_CASE("While it is paused nothing new is begun", "[p2pd][local]") {
  Looking node;
  node.write_all(*node.part);
  node.local.set_paused(true);
  node.local.look_in_part(ChunkIndex{0});
  node.local.look_in_part(ChunkIndex{2});
  node.threads.settle();
  CHECK(node.said.empty());
  CHECK_FALSE(node.local.idle());
  node.local.set_paused(false);
  node.local.set_paused(true);  // one has begun meanwhile
  node.threads.settle();
  CHECK(node.order_said == Indices{0});
  node.local.set_paused(false);
  node.threads.settle();
  CHECK(node.order_said == Indices{0, 2});
  CHECK(node.local.idle());
}

TEST_CASE("Nobody is told of a chunk after the end of who looks", "[p2pd][local]") {
  test::Receiving node;
  test::Threads threads;
  int told = 0;
  {
    LocalChunks local(threads.control, threads.disk, node.open_part(),
                      [&](ChunkIndex, const Status&, bool) { ++told; });
    local.look_in_part(ChunkIndex{0});
    local.look_in_part(ChunkIndex{2});
  }
  threads.settle();
  CHECK(told == 0);
}

}  // namespace p2p
