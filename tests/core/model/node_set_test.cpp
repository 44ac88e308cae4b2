#include "core/model/node_set.h"

#include <algorithm>

#include "core/base/rng.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;
using Names = std::vector<std::string>;

Names expand(std::string_view pattern) {
  return expand_node_set(pattern).value();
}
std::string why_not(std::string_view pattern) {
  return expand_node_set(pattern).error().detail;
}

TEST_CASE("A node name has 1 to 64 letters, digits, dots, underscores and dashes",
          "[core][node_set]") {
  for (const auto& name : Names{"a", "7", "web-01.dc1_x", std::string(64, 'n')}) {
    INFO(name);
    CHECK(check_node_name(name));
  }
  for (const auto& name : Names{"", "-a", ".a", "_a", "a b", "a/b", "a\n", "grün", "a[1]", "a=b",
                                std::string(65, 'n'), std::string("a\0b", 3)}) {
    INFO(name);
    CHECK_FALSE(check_node_name(name));
  }
}

TEST_CASE("A label key begins with a letter, a label value may be empty", "[core][node_set]") {
  CHECK(check_label_key("p2pd.io/rack-row_1"));
  CHECK(check_label_key(std::string(63, 'k')));
  for (const auto& key : Names{"", "1a", "/a", "a:b", "a=b", "a b", std::string(64, 'k')}) {
    INFO(key);
    CHECK_FALSE(check_label_key(key));
  }
  CHECK(check_label_value(""));
  CHECK(check_label_value("-2001:db8::1/64_x."));
  for (const auto& value : Names{"a b", "a=b", "a,b", "北", std::string(64, 'v')}) {
    INFO(value);
    CHECK_FALSE(check_label_value(value));
  }
}

TEST_CASE("Natural order compares digits as numbers", "[core][node_set]") {
  Names names{"web10", "web2", "db", "web", "web02", "web1", "web1-b10", "web1-b9", "web1a"};
  std::sort(names.begin(), names.end(), natural_less);
  CHECK(names ==
        Names{"db", "web", "web1", "web1-b9", "web1-b10", "web1a", "web02", "web2", "web10"});
  CHECK(natural_less("n99999999999999999999998", "n99999999999999999999999"));
  CHECK_FALSE(natural_less("a1", "a1"));
}

TEST_CASE("A range expands to every name and keeps padding with zeros", "[core][node_set]") {
  CHECK(expand("web[08-11,25]-db") ==
        Names{"web08-db", "web09-db", "web10-db", "web11-db", "web25-db"});
  CHECK(expand("n[9-11]") == Names{"n9", "n10", "n11"});
  CHECK(expand("n[0-2]") == Names{"n0", "n1", "n2"});
  CHECK(expand("n[001]") == Names{"n001"});
  CHECK(expand("web1") == Names{"web1"});
}

TEST_CASE("Several brackets combine, and names that come out twice count once",
          "[core][node_set]") {
  CHECK(expand("r[1-2]n[01-02]") == Names{"r1n01", "r1n02", "r2n01", "r2n02"});
  CHECK(expand("n[1,11][1,11]") == Names{"n11", "n111", "n1111"});
  CHECK(expand("n[1-3,2]") == Names{"n1", "n2", "n3"});
}

TEST_CASE("A range that cannot be meant is refused with the reason", "[core][node_set]") {
  CHECK_THAT(why_not("web[20-01]"), Contains("\"20-01\" is reversed; write [01-20]"));
  CHECK_THAT(why_not("web[1-020]"), Contains("same number of digits"));
  CHECK_THAT(why_not("web[01-020]"), Contains("same number of digits"));
  CHECK_THAT(why_not("web[1-3"), Contains("'[' without ']'"));
  CHECK_THAT(why_not("web1-3]"), Contains("']' without '['"));
  for (const auto* pattern : {"web[]", "web[1,]", "web[,1]", "web[a-c]", "web[1-]", "web[-1]",
                              "web[1-2-3]", "web[1 ]", "web[[1]]", "web[1234567890123456789]"}) {
    INFO(pattern);
    CHECK_THAT(why_not(pattern), Contains("is no number or range of numbers"));
  }
  for (const auto* pattern : {"", "-[1-2]", "we b[1-2]"}) {
    INFO(pattern);
    CHECK_THAT(why_not(pattern), Contains("letter"));
  }
}

TEST_CASE("A range has at most 100,000 names of 64 characters", "[core][node_set]") {
  CHECK(expand("n[1-100000]").size() == 100'000);
  CHECK(expand("n[1-100][1001-2000]").size() == 100'000);
  CHECK(expand_node_set("n[0-100000]").error().code == Errc::exhausted);
  CHECK(expand_node_set("n[1-50000,1-50001]").error().code == Errc::exhausted);
  CHECK(expand_node_set("n[1-101][1-1000]").error().code == Errc::exhausted);
  CHECK(expand_node_set("n[0-999999999999999999]").error().code == Errc::exhausted);
  CHECK_THAT(why_not("n[1-100000]" + std::string(60'000, 'x')), Contains("longer than 64"));
  CHECK(expand(std::string(62, 'n') + "[08-10]").size() == 3);
  CHECK_THAT(why_not(std::string(63, 'n') + "[08-10]"), Contains("longer than 64"));
}

TEST_CASE("Names fold into ranges in natural order", "[core][node_set]") {
  CHECK(fold_names({"web03", "db", "web01", "web02", "web02"}).str() == "db,web[01-03]");
  CHECK(fold_names({"n8", "n9", "n10", "n12"}).str() == "n[8-10,12]");
  CHECK(fold_names({"n08", "n09", "n10", "n99", "n100"}).str() == "n[08-10,99-100]");
  CHECK(fold_names({"n1", "n01", "n2", "n02"}).str() == "n[1-2,01-02]");
  CHECK(fold_names({"web", "web1", "web2"}).str() == "web,web[1-2]");
  CHECK(fold_names({"web7"}).str() == "web7");
  CHECK(fold_names({}).str() == "");
}

TEST_CASE("A range padded with zeros ends where its numbers get longer", "[core][node_set]") {
  Names names = expand("n[98-100]");
  for (const std::string& name : expand("n[08-97]")) names.push_back(name);
  CHECK(fold_names(names).str() == "n[08-99,100]");
}

TEST_CASE("The number that folds most names together becomes the range", "[core][node_set]") {
  CHECK(fold_names({"web1.dc1", "web2.dc1", "web3.dc1"}).str() == "web[1-3].dc1");
  CHECK(fold_names({"r1n1", "r1n2", "r2n1", "r2n2"}).str() == "r1n[1-2],r2n[1-2]");
}

TEST_CASE("Folding within a limit says how many names were left out", "[core][node_set]") {
  const Names names{"db1", "db2", "web1", "web3", "web5", "web6"};
  CHECK(fold_names(names, 20).str() == "db[1-2],web[1,3,5-6]");
  CHECK(fold_names(names, 19).str() == "db[1-2],web[1,3] and 2 more");
  CHECK(fold_names(names, 12).str() == "db[1-2],web1 and 3 more");
  CHECK(fold_names(names, 11).str() == "db[1-2] and 4 more");
  CHECK(fold_names(names, 3).str() == "6 names");
  CHECK(fold_names(names, 19).left_out == 2);
}

TEST_CASE("Folding ten thousand odd numbers within a limit stays short", "[core][node_set]") {
  Names names;
  for (int i = 1; i < 20'000; i += 2) names.push_back("n" + std::to_string(i));
  const FoldedNames folded = fold_names(names, 100);
  CHECK(folded.text.size() <= 100);
  CHECK(folded.text.size() > 90);
  CHECK(folded.left_out + expand(folded.text).size() == 10'000);
  CHECK_THAT(folded.str(), Catch::EndsWith("] and " + std::to_string(folded.left_out) + " more"));
}

TEST_CASE("Whatever is folded expands to the same names", "[core][node_set]") {
  Rng rng(7);
  for (int round = 0; round < 300; ++round) {
    Names names;
    for (std::uint64_t i = rng.below(40); i > 0; --i) {
      const std::string number = std::to_string(rng.below(120));
      const std::string padding(static_cast<std::size_t>(rng.below(3)), '0');
      const std::string suffix = rng.chance(1, 2) ? "" : "-x" + std::to_string(rng.below(3));
      names.push_back((rng.chance(1, 8) ? "7" : "w") + padding + number + suffix);
    }
    const std::string text = fold_names(names).str();
    INFO(text);
    Names expanded;
    std::size_t begin = 0;
    int depth = 0;
    for (std::size_t i = 0; i <= text.size() && !text.empty(); ++i) {
      if (i == text.size() || (text[i] == ',' && depth == 0)) {
        const Names part = expand(text.substr(begin, i - begin));
        expanded.insert(expanded.end(), part.begin(), part.end());
        begin = i + 1;
      } else {
        depth += text[i] == '[' ? 1 : text[i] == ']' ? -1 : 0;
      }
    }
    std::sort(expanded.begin(), expanded.end());
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    REQUIRE(expanded == names);
  }
}

}  // namespace
}  // namespace p2p
