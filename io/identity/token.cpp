#include "io/identity/token.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <array>

#include "core/base/ids.h"

namespace p2p {
namespace {

constexpr std::string_view kPrefix = "p2pd1";
constexpr std::size_t kIdDigits = 16;
constexpr std::size_t kSecretDigits = 64;
constexpr std::size_t kPinDigits = 64;
constexpr std::size_t kMaxTokenText = 1024;
constexpr std::string_view kBlanks = " \t\r\n";

bool is_lower_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

Error bad_token(std::string_view why) {
  return Error{Errc::invalid_argument,
               "join token: " + std::string(why) +
                   "; copy the whole line that 'p2pctl token create' printed "
                   "(p2pd1.<id>.<secret>.<pin>)"};
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

}  // namespace

std::string Token::line() const {
  return std::string(kPrefix) + "." + id + "." + secret + "." + pin;
}

Result<Token> make_token(std::string_view pin) {
  if (!is_lower_hex(pin, kPinDigits)) {
    return Error{Errc::invalid_argument,
                 "make a join token: the pin is not a SHA-256 in lower-case hexadecimal"};
  }
  std::array<std::uint8_t, (kIdDigits + kSecretDigits) / 2> random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) {
    return Error{Errc::unavailable, "make a join token: the system gave no random bytes"};
  }
  Token token;
  token.id = to_hex(random.data(), kIdDigits / 2);
  token.secret = to_hex(random.data() + kIdDigits / 2, kSecretDigits / 2);
  token.pin = pin;
  OPENSSL_cleanse(random.data(), random.size());
  return token;
}

Result<Token> parse_token(std::string_view text) {
  const std::string_view line = trimmed(text.substr(0, kMaxTokenText + 1));
  if (line.empty()) return bad_token("it is empty");
  if (text.size() > kMaxTokenText) return bad_token("it is too long");
  if (line.find_first_of(kBlanks) != line.npos)
    return bad_token("it has white space in the middle");

  std::array<std::string_view, 4> parts;
  std::size_t count = 0;
  for (std::size_t from = 0; from <= line.size(); ++count) {
    if (count == parts.size()) return bad_token("it has more than four parts");
    const std::size_t dot = std::min(line.find('.', from), line.size());
    parts[count] = line.substr(from, dot - from);
    from = dot + 1;
  }
  if (parts[0] != kPrefix) return bad_token("it does not begin with 'p2pd1.'");
  if (count != parts.size()) return bad_token("it has fewer than four parts, so it was cut off");
  if (!is_lower_hex(parts[1], kIdDigits)) return bad_token("its id is not 16 hexadecimal digits");
  if (!is_lower_hex(parts[2], kSecretDigits)) {
    return bad_token("its secret is not 64 hexadecimal digits");
  }
  if (!is_lower_hex(parts[3], kPinDigits)) return bad_token("its pin is not 64 hexadecimal digits");
  return Token{std::string(parts[1]), std::string(parts[2]), std::string(parts[3])};
}

std::string secret_hash(std::string_view secret) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(secret.data()), secret.size(), digest.bytes.data());
  return digest.hex();
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string new_uuid() {
  NodeId id;
  P2P_CHECK(RAND_bytes(id.bytes.data(), static_cast<int>(id.bytes.size())) == 1);
  id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0f) | 0x40);  // version 4
  id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3f) | 0x80);  // variant of RFC 4122
  return id.str();
}

}  // namespace p2p
