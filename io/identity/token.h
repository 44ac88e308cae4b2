// Join tokens, and the other small values that come from OpenSSL's random generator.
//
// A token is one line, "p2pd1.<id>.<secret>.<pin>": it says which record of the tracker it is,
// proves that its bearer may join, and pins the cluster's root, so that the bearer cannot be led to
// a false tracker. The tracker stores the id and the hash of the secret, never the secret.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

struct Token {
  std::string id;      // 16 lower-case hexadecimal digits
  std::string secret;  // 64 lower-case hexadecimal digits: 256 random bits
  std::string pin;     // spki_pin of the cluster's root

  // The line to hand out, without a newline. Holds the secret: not for logs.
  std::string line() const;
  friend bool operator==(const Token&, const Token&) = default;
};

// A new token with a random id and secret. invalid_argument: `pin` is no SHA-256 in lower-case hex.
Result<Token> make_token(std::string_view pin);
// Accepts white space around the line, as files and terminals add it. The errors name the part that
// is wrong and never repeat the secret.
Result<Token> parse_token(std::string_view text);

// SHA-256 of the secret's text in lower-case hexadecimal. A plain hash is enough for 256 random
// bits.
std::string secret_hash(std::string_view secret);
// Takes the same time wherever two texts of equal length differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);

// A random (version 4) UUID in lower-case 8-4-4-4-12 form. Ends the process when the system has no
// randomness: there is no safe way on.
std::string new_uuid();

}  // namespace p2p
