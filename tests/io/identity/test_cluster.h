// A cluster with its authorities and members, made in memory.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "io/identity/certificates.h"
#include "io/identity/credentials.h"
#include "io/identity/token.h"
#include "tests/support/catch.h"

namespace p2p::test {

inline constexpr Duration kDay = std::chrono::hours(24);

// The value, or a failed test that shows the error.
template <class T>
T must(Result<T> result) {
  INFO((result ? std::string() : result.error().detail));
  REQUIRE(result.has_value());
  return *std::move(result);
}

// OpenSSL checks certificates against the real time, in whole seconds.
inline WallTime wall_now() {
  return WallTime{std::chrono::floor<std::chrono::seconds>(
      std::chrono::system_clock::now().time_since_epoch())};
}

inline Validity usual_validity() {
  return Validity{wall_now() - kClockSkewAllowance, wall_now() + 30 * kDay};
}

struct TestCluster {
  std::string id = new_uuid();
  Authority root;
  Authority intermediate;

  TestCluster() {
    root.key_pem = must(generate_key());
    root.certificate_pem = must(make_root("test", root.key_pem, wall_now()));
    intermediate.key_pem = must(generate_key());
    intermediate.certificate_pem =
        must(make_intermediate(root, "test", intermediate.key_pem, wall_now()));
  }

  CertificateSpec spec(Role role, const std::string& csr_pem) const {
    CertificateSpec wanted;
    wanted.csr_pem = csr_pem;
    wanted.identity = Identity{id, role, new_uuid()};
    wanted.not_before = usual_validity().not_before;
    wanted.not_after = usual_validity().not_after;
    return wanted;
  }
  CertificateSpec spec(Role role) const { return spec(role, must(make_csr(must(generate_key())))); }

  Credentials member(Role role, Validity validity = usual_validity()) const {
    return member_of(id, role, validity);
  }
  // From this authority, but named as a member of any cluster.
  Credentials member_of(const std::string& cluster, Role role,
                        Validity validity = usual_validity()) const {
    const std::string key = must(generate_key());
    CertificateSpec wanted = spec(role, must(make_csr(key)));
    wanted.identity.cluster = cluster;
    wanted.not_before = validity.not_before;
    wanted.not_after = validity.not_after;
    return Credentials{key, must(issue(intermediate, wanted)) + intermediate.certificate_pem,
                       root.certificate_pem};
  }
};

}  // namespace p2p::test
