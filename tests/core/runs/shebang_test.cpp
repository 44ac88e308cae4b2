#include "core/runs/shebang.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

Shebang good(std::string_view script) {
  const auto parsed = parse_shebang(script);
  REQUIRE(parsed);
  return *parsed;
}

std::string complaint(std::string_view script) {
  const auto parsed = parse_shebang(script);
  REQUIRE_FALSE(parsed);
  CHECK(parsed.error().code == Errc::invalid_argument);
  return parsed.error().detail;
}

TEST_CASE("A script names its interpreter and at most one argument", "[core][runs]") {
  CHECK(good("#!/bin/sh\necho\n") == Shebang{"/bin/sh", std::nullopt});
  CHECK(good("#!/bin/sh") == Shebang{"/bin/sh", std::nullopt});
  CHECK(good("#! \t/bin/sh \t\n") == Shebang{"/bin/sh", std::nullopt});
  CHECK(good("#!/usr/bin/env python3\n") == Shebang{"/usr/bin/env", "python3"});
  CHECK(good("#!/usr/bin/env  -S python3 -u \n") == Shebang{"/usr/bin/env", "-S python3 -u"});
}

TEST_CASE("Only the first line of a script matters to its beginning", "[core][runs]") {
  CHECK(good("#!/bin/sh\necho\r\n").interpreter == "/bin/sh");
}

TEST_CASE("A script with Windows line ends is told to be converted", "[core][runs]") {
  CHECK(complaint("#!/bin/sh\r\necho\r\n") ==
        "the script has Windows line ends (CRLF), so its interpreter would be \"/bin/sh?\"; "
        "convert it, for example with dos2unix");
}

TEST_CASE("A script without a usable first line is refused with the reason", "[core][runs]") {
  CHECK(complaint("echo hello\n") ==
        "the script does not begin with #! and an interpreter, such as #!/bin/sh");
  CHECK(complaint("").find("does not begin with #!") != std::string::npos);
  CHECK(complaint("#!\n").find("is not an absolute path") != std::string::npos);
  CHECK(complaint("#! \t \n").find("is not an absolute path") != std::string::npos);
  CHECK(complaint("#!sh\n").find("\"sh\", is not an absolute path") != std::string::npos);
  CHECK(complaint("\xef\xbb\xbf#!/bin/sh\n").find("byte order mark") != std::string::npos);
  CHECK(complaint(std::string_view("#!/bin/s\0h\n", 11)).find("NUL") != std::string::npos);
  CHECK(complaint("#!/" + std::string(kMaxShebangBytes, 'x') + "\n").find("more than 255") !=
        std::string::npos);
}

}  // namespace
}  // namespace p2p
