// Keys and X.509 certificates of a cluster: root, intermediate, and what it issues to its members.
//
// All keys are EC P-256. A member's identity is one URI in its certificate (identity.h); names in
// the subject are for people. No clock in here: times come in. Keys and certificates are PEM texts;
// where one certificate is wanted, it is the first of the text. All functions are thread-safe.
#pragma once

#include <openssl/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "io/identity/identity.h"

namespace p2p {

// Certificates begin this long before they are made: clocks of a fleet differ.
inline constexpr Duration kClockSkewAllowance = std::chrono::hours(1);

// [not_before, not_after]; a certificate without an end has WallTime::max().
struct Validity {
  WallTime not_before;
  WallTime not_after;
  friend bool operator==(const Validity&, const Validity&) = default;
};
// From two thirds of its life on, a certificate should be renewed.
bool renewal_due(const Validity& validity, WallTime now);

Result<std::string> generate_key();
// A request that proves possession of the key and asks for nothing.
Result<std::string> make_csr(std::string_view key_pem);

// A certificate together with its key: who signs.
struct Authority {
  std::string certificate_pem;
  std::string key_pem;
};

// Self-signed, for 10 years, CA with pathlen 1. The name (1 to 40 bytes of UTF-8) is for people.
Result<std::string> make_root(std::string_view cluster_name, std::string_view key_pem,
                              WallTime now);
// For 5 years, but never longer than the root; CA with pathlen 0. `key_pem` is its own key.
Result<std::string> make_intermediate(const Authority& root, std::string_view cluster_name,
                                      std::string_view key_pem, WallTime now);

// Everything in a member's certificate but its public key.
struct CertificateSpec {
  // Only its public key is used, after its signature was checked; what else it asks for is ignored.
  std::string csr_pem;
  // Also decides the use: agents and trackers are TLS servers and clients, administrators and users
  // only clients. Its name (at most 64 bytes) becomes the common name; role and id when it is
  // empty.
  Identity identity;
  // For other people's clients; our programs do not look at them.
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;  // IPv4 or IPv6 text
  // Now - kClockSkewAllowance, as a rule.
  WallTime not_before;
  // Cut to the end of the issuer: a longer certificate would be of no use.
  WallTime not_after;
};
// corrupt: the request is unreadable or its signature is wrong. invalid_argument: key not EC P-256,
// identity, name, address or times malformed, issuer no CA or expired at not_before.
Result<std::string> issue(const Authority& issuer, const CertificateSpec& spec);

// The one URI of our scheme; none or several, or a malformed one, is an error. With the name that
// issue() was given.
Result<Identity> identity_of(const X509* certificate);
Result<Identity> identity_of(std::string_view certificate_pem);
// Lower-case hexadecimal SHA-256 of the SubjectPublicKeyInfo.
Result<std::string> spki_pin(const X509* certificate);
Result<std::string> spki_pin(std::string_view certificate_pem);
Result<Validity> validity_of(const X509* certificate);
Result<Validity> validity_of(std::string_view certificate_pem);

// "2025-01-31 23:59:59 UTC", for messages.
std::string utc_text(WallTime time);

}  // namespace p2p
