#include "tracker/words_of_nodes.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

TEST_CASE("a node has some lines of the log in a minute, and takes none of the others",
          "[tracker]") {
  WordsOfNodes words;
  NodeId one, other;
  other.bytes[0] = 1;
  const Time begun = Time{} + std::chrono::hours(1);
  const auto count = [&](NodeId node, Time now) {
    int lines = 0;
    for (int i = 0; i < 1000; ++i) lines += words.allows(node, now);
    return lines;
  };
  CHECK(count(one, begun) == WordsOfNodes::kInAMinute);
  CHECK(count(one, begun + std::chrono::seconds(59)) == 0);
  CHECK(count(other, begun + std::chrono::seconds(59)) == WordsOfNodes::kInAMinute);
  CHECK(count(one, begun + std::chrono::seconds(60)) == WordsOfNodes::kInAMinute);
}

}  // namespace
}  // namespace p2p
