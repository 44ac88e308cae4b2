#include "tools/p2pctl/table.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

TEST_CASE("A table aligns its columns and leaves no blanks at the end of a line", "[tools]") {
  Table table({{"NODE"}, {"DONE", Table::Align::right}, {"DETAIL"}});
  table.add_row({"web01", "7%", "x"});
  table.add_row({"a", "100%", ""});
  CHECK(table.str() ==
        "NODE   DONE  DETAIL\n"
        "web01    7%  x\n"
        "a      100%  -\n");
}

TEST_CASE("A table counts characters and not bytes", "[tools]") {
  Table table({{"NAME"}, {"X"}});
  table.add_row({"größe", "1"});
  table.add_row({"abcde", "2"});
  CHECK(table.str() == "NAME   X\ngröße  1\nabcde  2\n");
}

TEST_CASE("Control characters in a cell cannot steer the terminal", "[tools]") {
  Table table({{"DETAIL"}});
  table.add_row({"red \x1b[31m\nline"});
  CHECK(table.str() == "DETAIL\nred ?[31m?line\n");
}

TEST_CASE("Facts put their values below each other", "[tools]") {
  Facts facts;
  facts.add("id", "1").add("certificate", "");
  CHECK(facts.str() == "id:          1\ncertificate: -\n");
}

}  // namespace
}  // namespace p2p
