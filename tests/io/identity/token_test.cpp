#include "io/identity/token.h"

#include <set>

#include "core/base/ids.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

const std::string kPin = "a3" + std::string(62, '0');
const std::string kId = "0123456789abcdef";
const std::string kSecret = std::string(63, '1') + "f";
const std::string kLine = "p2pd1." + kId + "." + kSecret + "." + kPin;

std::string error_of(const std::string& text) {
  const auto token = parse_token(text);
  if (token) return "accepted";
  CHECK(token.error().code == Errc::invalid_argument);
  return token.error().detail;
}

}  // namespace

TEST_CASE("A token survives being printed and typed in again", "[io][identity]") {
  const auto token = make_token(kPin);
  REQUIRE(token);
  const auto parsed = parse_token(token->line());
  REQUIRE(parsed);
  CHECK(*parsed == *token);
  CHECK(parsed->pin == kPin);
}

TEST_CASE("The parts of a token are id, secret and pin in this order", "[io][identity]") {
  const auto token = parse_token(kLine);
  REQUIRE(token);
  CHECK(token->id == kId);
  CHECK(token->secret == kSecret);
  CHECK(token->pin == kPin);
}

TEST_CASE("White space around a token is ignored", "[io][identity]") {
  const auto token = parse_token(" \t" + kLine + "\r\n");
  REQUIRE(token);
  CHECK(token->line() == kLine);
}

TEST_CASE("Two tokens share neither id nor secret", "[io][identity]") {
  const auto a = make_token(kPin);
  const auto b = make_token(kPin);
  REQUIRE(a);
  REQUIRE(b);
  CHECK(a->id != b->id);
  CHECK(a->secret != b->secret);
}

TEST_CASE("A token is not made for something that is no pin", "[io][identity]") {
  CHECK_FALSE(make_token(""));
  CHECK_FALSE(make_token("A3" + kPin.substr(2)));
  CHECK_FALSE(make_token(kPin + "0"));
}

TEST_CASE("A malformed token is refused with the part that is wrong", "[io][identity]") {
  using Catch::Contains;
  CHECK_THAT(error_of(""), Contains("empty"));
  CHECK_THAT(error_of(" \n"), Contains("empty"));
  CHECK_THAT(error_of("p2pd2" + kLine.substr(5)), Contains("p2pd1."));
  CHECK_THAT(error_of("p2pd1"), Contains("fewer than four"));
  CHECK_THAT(error_of("p2pd1." + kId + "." + kSecret), Contains("cut off"));
  CHECK_THAT(error_of(kLine + "."), Contains("more than four"));
  CHECK_THAT(error_of(kLine + ".x"), Contains("more than four"));
  CHECK_THAT(error_of("p2pd1.g" + kLine.substr(7)), Contains("id"));
  CHECK_THAT(error_of("p2pd1." + kId + ".ff." + kPin), Contains("secret"));
  CHECK_THAT(error_of(kLine.substr(0, kLine.size() - 1)), Contains("pin"));
  CHECK_THAT(error_of(kLine.substr(0, 40) + "\n" + kLine.substr(40)), Contains("white space"));
  CHECK_THAT(error_of(std::string(1'000'000, 'x')), Contains("too long"));
}

TEST_CASE("The error about a malformed token does not show its secret", "[io][identity]") {
  const std::string detail = error_of("p2pd1." + kId + "." + kSecret + ".bad");
  CHECK(detail.find(kSecret) == std::string::npos);
}

TEST_CASE("The stored hash of a secret is the SHA-256 of its text", "[io][identity]") {
  // FIPS 180-2, appendix B.1.
  CHECK(secret_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("Texts are equal in constant time only when all of them is equal", "[io][identity]") {
  CHECK(equal_in_constant_time("secret", "secret"));
  CHECK(equal_in_constant_time("", ""));
  CHECK_FALSE(equal_in_constant_time("secret", "secreT"));
  CHECK_FALSE(equal_in_constant_time("secret", "secre"));
  CHECK_FALSE(equal_in_constant_time("", "s"));
}

TEST_CASE("New UUIDs are of version 4, canonical and different", "[io][identity]") {
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) {
    const std::string uuid = new_uuid();
    const auto parsed = NodeId::parse(uuid);
    REQUIRE(parsed);
    REQUIRE(parsed->str() == uuid);
    REQUIRE(uuid[14] == '4');
    REQUIRE(std::string("89ab").find(uuid[19]) != std::string::npos);
    seen.insert(uuid);
  }
  CHECK(seen.size() == 200);
}

}  // namespace p2p
