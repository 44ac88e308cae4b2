#include "core/model/target_expression.h"

#include <algorithm>
#include <utility>

#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;
using Catch::EndsWith;

// A fleet on paper; the ids are in no useful order, so that only names can order the answer.
std::vector<TargetCandidate> fleet() {
  std::vector<TargetCandidate> nodes;
  const auto add = [&](std::string name, std::map<std::string, std::string> labels) {
    TargetCandidate node{.id = {}, .name = std::move(name), .labels = std::move(labels)};
    node.id.bytes[0] = static_cast<std::uint8_t>(200 - nodes.size());
    nodes.push_back(std::move(node));
  };
  add("web10", {{"dc", "bj"}, {"role", "web"}});
  add("web2", {{"dc", "bj"}, {"role", "web"}});
  add("web1", {{"dc", "sh"}, {"role", "web"}});
  add("db-1", {{"dc", "bj"}, {"role", "db"}, {"spare", ""}});
  add("db-2", {{"dc", "sh"}, {"role", "db"}});
  return nodes;
}

std::string names_of(const std::vector<NodeId>& ids) {
  std::string names;
  for (const NodeId& id : ids) {
    for (const TargetCandidate& node : fleet()) {
      if (node.id == id) names += (names.empty() ? "" : " ") + node.name;
    }
  }
  return names;
}

std::string selected(std::string_view text) {
  const Result<TargetExpression> expression = parse_targets(text);
  if (!expression) return expression.error().detail;
  const Result<std::vector<NodeId>> ids = select(*expression, fleet());
  return ids ? names_of(*ids) : ids.error().detail;
}

std::string why_not(std::string_view text) {
  return parse_targets(text).error().detail;
}

TEST_CASE("Names, ranges, labels and * select nodes in natural order", "[core][targets]") {
  CHECK(selected("web2") == "web2");
  CHECK(selected("web[1-2,10]") == "web1 web2 web10");
  CHECK(selected("db-[1-2]") == "db-1 db-2");
  CHECK(selected("dc=bj") == "db-1 web2 web10");
  CHECK(selected("spare=") == "db-1");
  CHECK(selected(" * ") == "db-1 db-2 web1 web2 web10");
}

TEST_CASE("| is either, & is both, - is without", "[core][targets]") {
  CHECK(selected("dc=sh | role=db") == "db-1 db-2 web1");
  CHECK(selected("dc=bj & role=web") == "web2 web10");
  CHECK(selected("dc=bj & role=web - web2") == "web10");
  CHECK(selected("* - dc=bj") == "db-2 web1");
  CHECK(selected("dc=bj&role=web") == "web2 web10");
  CHECK(selected("dc=bj -web2") == "db-1 web10");
}

TEST_CASE("& and - bind tighter than |", "[core][targets]") {
  CHECK(selected("web1 | dc=bj & role=db") == "db-1 web1");
  CHECK(selected("(web1 | dc=bj) & role=db") == "db-1");
  CHECK(selected("web1 | web2 - web1") == "web1 web2");
  CHECK(selected("(web1 | web2) - web1") == "web2");
}

TEST_CASE("Operators of one rank go from left to right", "[core][targets]") {
  CHECK(selected("* - role=web - db-1") == "db-2");
  CHECK(selected("* - (role=web - web1)") == "db-1 db-2 web1");
  CHECK(selected("* - web1 & role=web") == "web2 web10");
  CHECK(selected("role=web & dc=bj - web2") == "web10");
}

TEST_CASE("A comma between names is |", "[core][targets]") {
  CHECK(selected("web1,db-1") == "db-1 web1");
  CHECK(selected("web1, web2 ,db-1") == "db-1 web1 web2");
  CHECK(selected("web1,db-1 & dc=bj") == "db-1 web1");
  CHECK(selected("(web1,db-1) & dc=bj") == "db-1");
}

TEST_CASE("A comma beside a label is refused, because elsewhere it means both", "[core][targets]") {
  CHECK_THAT(why_not("dc=bj,role=web"), Contains("column 6: ',' joins names only"));
  CHECK_THAT(why_not("web1,dc=bj"), Contains("column 5: ',' joins names only"));
  CHECK_THAT(why_not("dc=bj,web1"), Contains("column 6: ',' joins names only"));
}

TEST_CASE("A list of names is one step, however long", "[core][targets]") {
  const Result<TargetExpression> list = parse_targets("web1,web2 | web10");
  CHECK(list->steps ==
        std::vector<TargetStep>{NamedNodes{std::vector<std::string>{"web1", "web2", "web10"}}});
  CHECK(list->text == "web1,web2 | web10");
  const Result<TargetExpression> mixed = parse_targets("web1 | dc=bj - web2");
  CHECK(mixed->steps == std::vector<TargetStep>{NamedNodes{{"web1"}}, LabelIs{"dc", "bj"},
                                                NamedNodes{{"web2"}}, SetOperator::without,
                                                SetOperator::either});
}

TEST_CASE("A dash inside a word is a letter, and an operator after white space", "[core][targets]") {
  CHECK(selected("db-1") == "db-1");
  CHECK(selected("role=db - db-1") == "db-2");
  CHECK(selected("role=db\t-db-1") == "db-2");
  CHECK(selected("(role=db) - db-1") == "db-2");
  CHECK_THAT(why_not("(role=db)-db-1"), Contains("column 10: '-' needs white space before it"));
  CHECK_THAT(why_not("*-db-1"), Contains("column 2: '-' needs white space before it"));
  CHECK_THAT(why_not("web1- web2"), Contains("column 7: expected") &&
                                        Contains("'-' for \"without\" needs white space before"));
  CHECK_THAT(selected("web1-web2"),
             Contains("no such node: web1-web2") && Contains("needs white space before it"));
}

TEST_CASE("A syntax error names the column and points at it", "[core][targets]") {
  CHECK(why_not("dc=bj & ") ==
        "target expression, column 9: expected a name, a label or '(' here\n"
        "  dc=bj & \n"
        "          ^");
  CHECK(why_not("web1 web2") ==
        "target expression, column 6: expected '&', '|', ',', '-', '^' or the end here\n"
        "  web1 web2\n"
        "       ^");
  CHECK_THAT(why_not(""), Contains("column 1: expected a name"));
  CHECK_THAT(why_not("-web1"), Contains("column 1: expected a name"));
  CHECK_THAT(why_not("web1 & | web2"), Contains("column 8: expected a name"));
  CHECK_THAT(why_not("()"), Contains("column 2: expected a name"));
  CHECK_THAT(why_not("web1 & (web2"), Contains("column 8: '(' without ')'"));
  CHECK_THAT(why_not("(web1 web2)"), Contains("column 7: expected '&'"));
  CHECK_THAT(why_not("web1) & web2"), Contains("column 5: ')' without '('"));
  CHECK_THAT(why_not("web1 & ?"), Contains("column 8: unexpected character"));
  CHECK_THAT(why_not("web[1-3"), Contains("column 4: '[' without ']'"));
  CHECK_THAT(why_not("web1,"), Contains("column 6: expected a name"));
}

TEST_CASE("An error inside a name, a range or a label says what is wrong with it",
          "[core][targets]") {
  CHECK_THAT(why_not("db-1 | web[3-1]"), Contains("column 8:") && Contains("write [1-3]"));
  CHECK_THAT(why_not(std::string(65, 'n')), Contains("1 to 64 letters"));
  CHECK_THAT(why_not("web/1"), Contains("column 1: node name \"web/1\""));
  CHECK_THAT(why_not("1dc=bj"), Contains("column 1: label key \"1dc\""));
  CHECK_THAT(why_not("dc=b=j"), Contains("column 4: label value \"b=j\""));
  CHECK_THAT(why_not("dc=bj[1-2]"), Contains("column 4: label value"));
  CHECK_THAT(why_not("dc =bj"), Contains("column 4:"));
  CHECK_THAT(why_not("web1 | =bj"), Contains("column 8: a label is written key=value"));
  CHECK_THAT(why_not("web*"), Contains("column 4: '*' stands alone"));
  CHECK_THAT(why_not("*web"), Contains("column 1: '*' stands alone"));
}

TEST_CASE("The lines of a syntax error are short and free of control characters",
          "[core][targets]") {
  std::string names = "a";
  while (names.size() < 300) names += "|a";
  const std::string detail = why_not(names + " \x1b[0m\n" + names);
  CHECK_THAT(detail, Contains("column 303: unexpected character\n  ...a|a|"));
  CHECK_THAT(detail, Contains("|a ?[0m a|a") && Contains("|a...\n"));
  const std::size_t excerpt = detail.find("\n  ");
  const std::size_t caret = detail.find("\n  ", excerpt + 1);
  REQUIRE(caret != std::string::npos);
  CHECK(detail[excerpt + (detail.size() - 1 - caret)] == '?');  // the caret stands below it
  CHECK(caret - excerpt < 110);
  CHECK_THAT(detail, EndsWith("^"));
}

TEST_CASE("Expressions are limited in length, depth and names", "[core][targets]") {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '(') + "web1" + std::string(depth, ')');
  };
  CHECK(selected(nested(64)) == "web1");
  CHECK_THAT(why_not(nested(65)), Contains("column 65: more than 64 parentheses"));
  CHECK_THAT(why_not(nested(30'000)), Contains("more than 64 parentheses"));
  std::string wide = "web1";
  while (wide.size() + 9 < kMaxTargetTextBytes) wide += " | (web1)";
  CHECK(selected(wide) == "web1");  // many parentheses side by side are no depth
  CHECK_FALSE(parse_targets("web1" + std::string(kMaxTargetTextBytes, ' ')));
  CHECK(parse_targets("a[1-50000],b[1-50000]"));
  CHECK_THAT(why_not("a[1-50000],b[1-50001]"), Contains("column 12: more than 100000 names"));
  std::string chain = "dc=bj";
  while (chain.size() + 8 < kMaxTargetTextBytes) chain += " | dc=bj";
  CHECK(selected(chain) == "db-1 web2 web10");
}

TEST_CASE("Names that do not exist are an error that lists them all", "[core][targets]") {
  CHECK(selected("web[1-4] | db-9") == "no such node: db-9,web[3-4]; see p2pctl node list");
  CHECK(select(*parse_targets("web3"), fleet()).error().code == Errc::not_found);
  CHECK_THAT(selected("dc=bj - web3"), Contains("no such node: web3"));
  CHECK_THAT(selected("Web1"), Contains("no such node: Web1"));
  CHECK_THAT(selected("web01"), Contains("no such node: web01"));
  CHECK_THAT(selected("x[1-100000]"), Contains("no such node: x[1-100000];"));
}

TEST_CASE("An expression that selects nobody is an error that says from what", "[core][targets]") {
  CHECK(selected("dc=bj & dc=sh") ==
        "target expression \"dc=bj & dc=sh\" selects nothing: none of 5 nodes "
        "(db-[1-2],web[1-2,10]) fits; see p2pctl node list for their labels");
  CHECK(select(*parse_targets("dc=mars"), fleet()).error().code == Errc::not_found);
  CHECK_THAT(select(*parse_targets("*"), {}).error().detail, Contains("no node has joined"));
}

TEST_CASE("An error about a large fleet is not large itself", "[core][targets]") {
  std::vector<TargetCandidate> nodes;
  for (int i = 0; i < 10'000; ++i) {
    nodes.push_back({.id = {}, .name = "n" + std::to_string(i * 3), .labels = {}});
  }
  const std::string detail = select(*parse_targets("dc=bj"), nodes).error().detail;
  CHECK(detail.size() < 700);
  CHECK_THAT(detail, Contains("none of 10000 nodes (n[0,3,6,") && Contains(" more)"));
}

}  // namespace
}  // namespace p2p
