#include "tools/p2pctl/text_diff.h"

#include <random>
#include <sstream>
#include <vector>

#include "tests/support/catch.h"

namespace p2p {
namespace {

const DiffNames kNames{"a", "b"};

std::string numbered(int first, int last, const std::string& changed = {}, int at = 0) {
  std::string text;
  for (int i = first; i <= last; ++i) {
    text += (i == at ? changed : "line " + std::to_string(i)) + "\n";
  }
  return text;
}

TEST_CASE("Equal texts have no differences", "[tools][text_diff]") {
  CHECK(unified_diff("a\nb\n", "a\nb\n", kNames).empty());
  CHECK(unified_diff("", "", kNames).empty());
}

TEST_CASE("A changed line is shown with three lines around", "[tools][text_diff]") {
  CHECK(unified_diff(numbered(1, 20), numbered(1, 20, "other", 10), kNames) ==
        "--- a\n+++ b\n@@ -7,7 +7,7 @@\n line 7\n line 8\n line 9\n-line 10\n+other\n line 11\n"
        " line 12\n line 13\n");
}

TEST_CASE("Changes that are far apart have hunks of their own, near ones share one",
          "[tools][text_diff]") {
  const std::string before = numbered(1, 40);
  std::string far = numbered(1, 4, "x", 4) + numbered(5, 40, "y", 30);
  std::string near = numbered(1, 4, "x", 4) + numbered(5, 40, "y", 11);
  const auto hunks = [](const std::string& diff) {
    std::size_t count = 0;
    for (std::size_t at = diff.find("\n@@ "); at != std::string::npos;
         at = diff.find("\n@@ ", at + 1)) {
      ++count;
    }
    return count;
  };
  CHECK(hunks(unified_diff(before, far, kNames)) == 2);
  CHECK(hunks(unified_diff(before, near, kNames)) == 1);
}

TEST_CASE("Nothing against something names line 0, as diff does", "[tools][text_diff]") {
  CHECK(unified_diff("", "x\n", kNames) == "--- a\n+++ b\n@@ -0,0 +1 @@\n+x\n");
  CHECK(unified_diff("x\n", "", kNames) == "--- a\n+++ b\n@@ -1 +0,0 @@\n-x\n");
}

TEST_CASE("A missing last line break is a difference and marked", "[tools][text_diff]") {
  CHECK(unified_diff("x\n", "x", kNames) ==
        "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+x\n\\ No newline at end of file\n");
}

TEST_CASE("Bytes that are no text are only said to differ", "[tools][text_diff]") {
  CHECK(unified_diff(std::string("a\0b", 3), "x", kNames) ==
        "--- a\n+++ b\nBinary output differs\n");
}

// What a patch with all of the text as context says about either side.
struct Sides {
  std::string before, after;
  std::size_t edits = 0;
};
Sides sides_of(const std::string& diff) {
  Sides sides;
  std::istringstream lines(diff);
  std::string line;
  while (std::getline(lines, line)) {
    if (line.starts_with("@@") || line.starts_with("---") || line.starts_with("+++")) continue;
    if (line[0] != '+') sides.before += line.substr(1) + "\n";
    if (line[0] != '-') sides.after += line.substr(1) + "\n";
    if (line[0] != ' ') ++sides.edits;
  }
  return sides;
}

// Length of the shortest edit script, by the textbook's table.
std::size_t shortest(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> common(a.size() + 1,
                                               std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      common[i][j] = a[i - 1] == b[j - 1] ? common[i - 1][j - 1] + 1
                                          : std::max(common[i - 1][j], common[i][j - 1]);
    }
  }
  return a.size() + b.size() - 2 * common[a.size()][b.size()];
}

TEST_CASE("Differences of drawn texts are right, and the fewest", "[tools][text_diff]") {
  std::mt19937 draw(6);
  const auto text_of = [](const std::string& letters) {
    std::string text;
    for (const char letter : letters) text += std::string(1, letter) + "\n";
    return text;
  };
  for (int round = 0; round < 500; ++round) {
    std::string a, b;
    for (std::size_t i = draw() % 5; i > 0; --i) a += static_cast<char>('a' + draw() % 3);
    for (std::size_t i = draw() % 5; i > 0; --i) b += static_cast<char>('a' + draw() % 3);
    if (a == b) continue;
    CAPTURE(a, b);
    const Sides sides = sides_of(unified_diff(text_of(a), text_of(b), kNames));
    // Texts this short are shown whole.
    CHECK(sides.before == text_of(a));
    CHECK(sides.after == text_of(b));
    REQUIRE(sides.edits == shortest(a, b));
  }
}

TEST_CASE("Texts that have nothing in common are replaced as a whole", "[tools][text_diff]") {
  std::string before, after;
  for (std::size_t i = 0; i < kMaxDiffEdits; ++i) {
    before += "old " + std::to_string(i) + "\n";
    after += "new " + std::to_string(i) + "\n";
  }
  const Sides sides = sides_of(unified_diff(before, after, kNames));
  CHECK(sides.before == before);
  CHECK(sides.after == after);
}

}  // namespace
}  // namespace p2p
