// Groups, facts, addresses and samples in target expressions; the rest of the grammar is in
// target_expression_test.cpp.
#include <map>
#include <set>

#include "core/model/target_expression.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;

struct World {
  std::vector<TargetCandidate> nodes;
  std::map<std::string, std::string> groups;
  std::uint64_t seed = 1;

  World() {
    add("web1", {{"dc", "bj"}, {"role", "web"}}, {{"os.id", "debian"}, {"os.version", "12"}},
        {"10.2.0.1", "fd00:12::1"});
    add("web2", {{"dc", "sh"}, {"role", "web"}}, {{"os.id", "debian"}, {"os.version", "12.5"}},
        {"10.2.7.1"});
    add("web3", {{"dc", "bj"}, {"role", "web"}}, {{"os.id", "ubuntu"}, {"os.version", "22.04"}},
        {"10.3.0.1"});
    add("db1", {{"dc", "bj"}, {"role", "db"}, {"mem", "1GB"}},
        {{"os.id", "debian"}, {"os.version", "trixie/sid"}, {"mem", "270000000000"}}, {});
    nodes[0].facts["mem"] = "67200000000";
    nodes[0].facts["kernel"] = "6.1.0-28+deb12";
    add("new", {}, {}, {});
  }

  void add(const std::string& name, std::map<std::string, std::string> labels,
           std::map<std::string, std::string> facts, std::vector<std::string> addresses) {
    TargetCandidate node{{}, name, std::move(labels), std::move(facts), std::move(addresses)};
    node.id.bytes[0] = static_cast<std::uint8_t>(nodes.size() + 1);
    nodes.push_back(std::move(node));
  }

  Result<std::vector<NodeId>> ids(std::string_view text) const {
    const Result<TargetExpression> expression = parse_targets(text);
    if (!expression) return expression.error();
    TargetWorld world;
    world.seed = seed;
    world.group = [this](const std::string& name) -> std::optional<std::string> {
      const auto found = groups.find(name);
      return found == groups.end() ? std::nullopt : std::optional(found->second);
    };
    return select(*expression, nodes, world);
  }
  // Names, or why there are none.
  std::string operator()(std::string_view text) const {
    const auto selected = ids(text);
    if (!selected) return selected.error().detail;
    std::string names;
    for (const NodeId id : *selected) {
      names += (names.empty() ? "" : " ") + nodes[std::size_t{id.bytes[0]} - 1].name;
    }
    return names;
  }
};

TEST_CASE("Facts compare as labels do, and versions and sizes have an order", "[core][targets]") {
  const World select;
  CHECK(select("os.id=debian") == "db1 web1 web2");
  CHECK(select("os.id=debian & os.version>=12") == "web1 web2");
  CHECK(select("os.version>12") == "web2 web3");
  CHECK(select("os.version<=12") == "web1");
  CHECK(select("os.version<22") == "web1 web2");
  CHECK(select("mem>=64GB") == "web1");
  CHECK(select("kernel=6.1.0-28+deb12") == "web1");
  CHECK(select("mem=67.2GB") == "web1");
}

TEST_CASE("A node's label of a name hides its fact of that name", "[core][targets]") {
  const World select;
  CHECK(select("mem<2GB") == "db1");  // its label says 1GB, its fact 270 GB
  CHECK(select("mem=270000000000 | web1") == "web1");
}

TEST_CASE("!= is all that = is not, also where there is no such label or fact", "[core][targets]") {
  const World select;
  CHECK(select("role!=web") == "db1 new");
  CHECK(select("os.id!=debian") == "new web3");
  CHECK(select("role!=web & os.id=debian") == "db1");
  CHECK(select("mem!=") == "db1 new web1 web2 web3");
}

TEST_CASE("What has no value fits no other comparison", "[core][targets]") {
  const World select;
  CHECK(select("os.version>0") == "web1 web2 web3");  // not db1 with its text, and not new
  CHECK_THAT(select("cpus>=8"), Contains("selects nothing") &&
                                    Contains("no node has a label or a fact named \"cpus\""));
}

TEST_CASE("An order of texts is an error", "[core][targets]") {
  const World select;
  CHECK_THAT(select("os.id<debian"),
             Contains("column 7: \"debian\" is text") && Contains("only = and != compare"));
  CHECK_THAT(select("role>=7"), Contains("role>=7: the values of role have no such order, as "
                                         "\"db\" at db1; only = and != compare text"));
  CHECK_THAT(select("mem>="), Contains("column 6: \"\" is text"));
}

TEST_CASE("A comparison is one word", "[core][targets]") {
  const World select;
  CHECK_THAT(select("mem >= 64GB"), Contains("column 5:") && Contains("without white space"));
  CHECK_THAT(select("role!web"), Contains("column 5: \"not\" is written !="));
  CHECK_THAT(select(">=5"), Contains("column 1: a label is written key=value"));
  CHECK_THAT(select("role==web"), Contains("column 6: label value \"=web\""));
  CHECK_THAT(select("mem=>5"), Contains("column 5: label value \">5\""));
  CHECK_THAT(select("role=web,os.id=debian"), Contains("',' joins names only"));
}

TEST_CASE("Addresses are in a range, IPv4 and IPv6", "[core][targets]") {
  const World select;
  CHECK(select("ip in 10.2.0.0/16") == "web1 web2");
  CHECK(select("ip in fd00:12::/32") == "web1");
  CHECK(select("ip in 10.3.0.1 | db1") == "db1 web3");
  CHECK(select("* - ip in 10.0.0.0/8") == "db1 new");
  CHECK_THAT(select("ip in 10.2.3.4/16"), Contains("column 7:") && Contains("10.2.0.0/16"));
  CHECK_THAT(select("ip of 10.2.0.0/16"), Contains("column 4: expected \"in\""));
  CHECK_THAT(select("ip in"), Contains("column 6: expected addresses"));
  CHECK_THAT(select("ip in 10.2.0.0/16, web3"), Contains("beside random or ip write '|'"));
  CHECK_THAT(select("web3, ip in 10.2.0.0/16"), Contains("column 5: ',' joins names only"));
}

TEST_CASE("The words of phrases are names wherever they begin none", "[core][targets]") {
  World select;
  for (const char* name : {"ip", "in", "random", "of"}) select.add(name, {}, {}, {});
  CHECK(select("ip | in,random & random - of") == "in ip random");
  CHECK(select("random 1 of random") == "random");
  CHECK_THAT(select("random of"), Contains("column 8: expected a number"));
}

TEST_CASE("^ is what is in one of two sets only", "[core][targets]") {
  const World select;
  CHECK(select("role=web ^ dc=bj") == "db1 web2");
  CHECK(select("web1^web2") == "web1 web2");
  CHECK(select("* ^ role=web & dc=bj") == "db1 new web2");  // & binds tighter
  CHECK(select("web1 | web2 ^ web2") == "web1");            // | and ^ from left to right
  CHECK(select("web1 ^ web2 | web2") == "web1 web2");
}

TEST_CASE("random draws so many of what follows \"of\"", "[core][targets]") {
  World select;
  std::set<std::string> drawn;
  for (select.seed = 1; select.seed <= 50; ++select.seed) {
    const auto two = select.ids("random 2 of role=web");
    REQUIRE(two);
    CHECK(two->size() == 2);
    drawn.insert(select("random 2 of role=web"));
    CHECK(select("random 2 of role=web") == select("random 2 of role=web"));
  }
  CHECK(drawn == std::set<std::string>{"web1 web2", "web1 web3", "web2 web3"});
  CHECK(select("random 9 of role=web") == "web1 web2 web3");  // there are no more
}

TEST_CASE("random takes the one operand behind it", "[core][targets]") {
  const World select;
  CHECK(select("random 1 of web1 | web2") == "web1 web2");
  CHECK(select("random 1 of web[1-3] & db1 | web1") == "web1");
  CHECK(select.ids("random 1 of (web1 | web2)")->size() == 1);
  CHECK(select.ids("random 2 of random 3 of *")->size() == 2);
  CHECK_THAT(select("random 1 of web1,web2"), Contains("beside random or ip write '|'"));
  CHECK_THAT(select("random 0 of *"), Contains("column 8: expected a number"));
  CHECK_THAT(select("random -1 of *"), Contains("column 11: expected '&'"));
  CHECK_THAT(select("random 5% of *"), Contains("unexpected character"));
  CHECK_THAT(select("random 5 *"), Contains("column 10: expected \"of\""));
  CHECK_THAT(select("random 5 of"), Contains("column 12: expected a name"));
  std::string deep;
  for (int i = 0; i < 65; ++i) deep += "random 1 of ";
  CHECK_THAT(select(deep + "web1"), Contains("inside each other"));
}

TEST_CASE("A group stands for its expression, as if in parentheses", "[core][targets]") {
  World select;
  select.groups = {{"web", "role=web"}, {"canary", "@web & dc=sh | new"}, {"odd.name-1", "db1"}};
  CHECK(select("@web") == "web1 web2 web3");
  CHECK(select("@canary - web2") == "new");
  CHECK(select("@web & @canary") == "web2");
  CHECK(select("@odd.name-1,web1") == "db1 web1");
  CHECK(select("* - @web") == "db1 new");
  CHECK_THAT(select("@"), Contains("column 1: a group is written @name"));
  CHECK_THAT(select("@ web"), Contains("column 1: a group is written @name"));
  CHECK_THAT(select("@web=1"), Contains("column 1: a group is written @name"));
  CHECK_THAT(select("web1@web"), Contains("column 5: expected '&'"));
}

TEST_CASE("A group that is not there, or is wrong, is an error that says where",
          "[core][targets]") {
  World select;
  select.groups = {{"a", "@b | web1"}, {"b", "web9"}, {"c", "web1 &"}, {"d", "@gone"}};
  CHECK_THAT(select("@gone"), Contains("no such group: @gone; see p2pctl group list"));
  CHECK(select.ids("@gone").error().code == Errc::not_found);
  CHECK_THAT(select("@d"), Contains("group @d: no such group: @gone"));
  CHECK_THAT(select("@a"), Contains("group @a > @b: no such node: web9"));
  CHECK_THAT(select("@c"), Contains("group @c: target expression, column 7: expected a name"));
  CHECK_FALSE(p2p::select(*parse_targets("@a"), select.nodes));
}

TEST_CASE("A group that contains itself is an error that names the circle", "[core][targets]") {
  World select;
  select.groups = {{"a", "web1 | @b"}, {"b", "@c - web2"}, {"c", "@a"}, {"own", "@own"}};
  CHECK_THAT(select("web1 | @a"), Contains("@a > @b > @c > @a"));
  CHECK(select.ids("@a").error().code == Errc::invalid_argument);
  CHECK_THAT(select("@own"), Contains("group @own contains itself: @own > @own"));
  select.groups["way"] = "@a";
  CHECK_THAT(select("@way"), Contains("itself: @a > @b > @c > @a;"));
}

TEST_CASE("Groups of groups cost no more than their texts", "[core][targets]") {
  World select;
  select.groups["g0"] = "web1";
  std::string all;
  for (int i = 1; i <= 15; ++i) {
    const std::string inner = "@g" + std::to_string(i - 1);
    std::string text = inner;
    for (int j = 0; j < 100; ++j) text += " | " + inner;
    select.groups["g" + std::to_string(i)] = text;  // in the end 101 to the power of 15 names
  }
  CHECK(select("@g15") == "web1");
  select.groups["g16"] = "@g15";
  CHECK_THAT(select("@g16"), Contains("more than 16 groups inside each other"));
  for (int i = 0; i < 300; ++i) {
    select.groups["n" + std::to_string(i)] = "web1";
    all += (i == 0 ? "@n" : " | @n") + std::to_string(i);
  }
  CHECK_THAT(select(all), Contains("more than 256 in one target expression"));
  std::string names = "web1";
  while (names.size() < 60'000) names += ",web[1-3]";
  for (const char* group : {"v", "w", "x", "y", "z"}) select.groups[group] = names;
  CHECK(select("@v | @w | @x | @y") == "web1 web2 web3");
  CHECK_THAT(select("@v | @w | @x | @y | @z"), Contains("more than 100000 names"));
}

TEST_CASE("random in a group has one outcome in an expression", "[core][targets]") {
  World select;
  select.groups["one"] = "random 1 of *";
  for (select.seed = 1; select.seed <= 20; ++select.seed) {
    CHECK(select.ids("@one | @one")->size() == 1);
    CHECK_FALSE(select.ids("@one - @one"));
  }
}

TEST_CASE("What has to look at every node is limited", "[core][targets]") {
  const World select;
  std::string few = "os.version>=12";
  for (int i = 1; i < 256; ++i) few += " | os.version>=12";
  CHECK(select(few) == "web1 web2 web3");
  CHECK_THAT(select(few + " | ip in 10.0.0.0/8"), Contains("more than 256 comparisons"));
}

}  // namespace
}  // namespace p2p
