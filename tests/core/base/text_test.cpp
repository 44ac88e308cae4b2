#include "core/base/text.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

TEST_CASE("Text of other people keeps its letters and loses its control characters",
          "[core][text]") {
  CHECK(printable("dc=北京 grün \xf0\x9f\x8d\x80") == "dc=北京 grün \xf0\x9f\x8d\x80");
  CHECK(printable("a\x1b[31m\n\x7f") == "a?[31m??");
  CHECK(printable(std::string_view("a\0b", 3)) == "a?b");
  CHECK(printable("\xc2\x9b"
                  "31m") == "??31m");  // a C1 control character steers terminals too
}

TEST_CASE("Bytes that are no UTF-8 are shown as question marks", "[core][text]") {
  CHECK(printable("\xff") == "?");
  CHECK(printable("\xc3") == "?");                 // cut short
  CHECK(printable("\xc0\xaf") == "??");            // overlong '/'
  CHECK(printable("\xe0\x80\xaf") == "???");       // overlong
  CHECK(printable("\xed\xa0\x80") == "???");       // surrogate
  CHECK(printable("\xf4\x90\x80\x80") == "????");  // above U+10FFFF
  CHECK(printable("\xe4\xbd") == "??");
}

TEST_CASE("Long text is cut between characters", "[core][text]") {
  CHECK(printable("abcdef", 6) == "abcdef");
  CHECK(printable("abcdef", 5) == "abcde...");
  CHECK(printable("ab北", 4) == "ab...");
  CHECK(quoted("abc", 2) == "\"ab...\"");
}

}  // namespace
}  // namespace p2p
