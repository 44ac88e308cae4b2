#include "io/identity/statement.h"

#include <openssl/err.h>
#include <openssl/sha.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "core/base/ids.h"
#include "io/identity/identity.h"
#include "io/identity/pem.h"
#include "io/identity/verify_failure.h"
#include "proto/statement.pb.h"

namespace p2p {
namespace {

constexpr int kMaxChain = 4;
constexpr std::size_t kMaxCertificateBytes = 8 * 1024;
// An ECDSA P-256 signature has at most 72 bytes.
constexpr std::size_t kMaxSignatureBytes = 128;
// A tracker has one certificate at a time, and one more while it is renewed.
constexpr std::size_t kMaxSigners = 16;

using StorePtr = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, OpensslFree<EVP_MD_CTX_free>>;

struct StackFree {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
using StackPtr = std::unique_ptr<STACK_OF(X509), StackFree>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>>;

std::string_view words_of(Purpose purpose) {
  return purpose == Purpose::ticket ? "p2pd ticket 1" : "p2pd deny-list 1";
}

std::size_t max_payload(Purpose purpose) {
  return purpose == Purpose::ticket ? kMaxTicketBytes : kMaxDenyListBytes;
}

std::string signed_text(Purpose purpose, std::string_view payload) {
  std::string text(words_of(purpose));
  text += '\0';
  text += payload;
  return text;
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

Result<std::string> to_der(X509* certificate) {
  unsigned char* der = nullptr;
  const int length = i2d_X509(certificate, &der);
  if (length <= 0) return openssl_error(Errc::corrupt, "write a certificate as DER");
  std::string text(reinterpret_cast<const char*>(der), static_cast<std::size_t>(length));
  OPENSSL_free(der);
  return text;
}

Result<CertificatePtr> from_der(std::string_view der) {
  ERR_clear_error();
  const unsigned char* at = bytes_of(der);
  CertificatePtr certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (!certificate || at != bytes_of(der) + der.size()) {
    ERR_clear_error();
    return Error{Errc::corrupt, "signed statement: one of its certificates cannot be read"};
  }
  return certificate;
}

// `now`, or the nearest moment of the certificate's life when that is as near as clocks may differ.
// OpenSSL counts a certificate as expired in the last second of its life.
WallTime moment_within(const Validity& validity, WallTime now) {
  if (now < validity.not_before && validity.not_before - now <= kStatementSkew) {
    return validity.not_before;
  }
  const WallTime last = validity.not_after - std::chrono::seconds(1);
  if (now > last && now - last <= kStatementSkew) return last;
  return now;
}

bool covers(const Validity& validity, WallTime now) {
  const WallTime moment = moment_within(validity, now);
  return validity.not_before <= moment && moment <= validity.not_after;
}

Result<proto::Statement> parse(Purpose purpose, std::string_view statement) {
  const std::string what = "signed statement (" + std::string(words_of(purpose)) + ")";
  if (statement.size() > max_payload(purpose) + kMaxSignerBytes) {
    return Error{Errc::invalid_argument, what + ": " + std::to_string(statement.size()) +
                                             " bytes are more than it may have"};
  }
  proto::Statement parsed;
  const bool readable =
      parsed.ParseFromArray(statement.data(), static_cast<int>(statement.size())) &&
      parsed.payload().size() <= max_payload(purpose) &&
      parsed.signature().size() <= kMaxSignatureBytes && parsed.chain_size() >= 1 &&
      parsed.chain_size() <= kMaxChain &&
      std::all_of(parsed.chain().begin(), parsed.chain().end(),
                  [](const std::string& der) { return der.size() <= kMaxCertificateBytes; });
  if (!readable) return Error{Errc::corrupt, what + ": it cannot be read"};
  return parsed;
}

struct Signer {
  KeyPtr key;
  Validity validity;  // of the whole chain
};

// The chain leads to a root and its times fit; nothing is said of who the signer is.
Result<Validity> check_path(X509_STORE* roots, const std::vector<CertificatePtr>& chain,
                            WallTime now) {
  auto validity = validity_of(chain.front().get());
  if (!validity) return validity.error();
  ERR_clear_error();
  const StackPtr between(sk_X509_new_null());
  bool good = between != nullptr;
  for (std::size_t i = 1; i < chain.size(); ++i) {
    good = good && sk_X509_push(between.get(), chain[i].get()) > 0;
  }
  const StoreContextPtr context(X509_STORE_CTX_new());
  if (!good || !context ||
      X509_STORE_CTX_init(context.get(), roots, chain.front().get(), between.get()) != 1) {
    return openssl_error(Errc::exhausted, "check the signer of a statement");
  }
  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_depth(rules, kMaxChain);
  const auto moment =
      std::chrono::floor<std::chrono::seconds>(moment_within(*validity, now).since_start);
  X509_VERIFY_PARAM_set_time(rules, moment.count());
  if (X509_verify_cert(context.get()) != 1) {
    const std::string why = describe_verify_failure(context.get());
    ERR_clear_error();
    return Error{Errc::denied, "signer of a statement: " + why};
  }
  const STACK_OF(X509)* path = X509_STORE_CTX_get0_chain(context.get());
  for (int i = 1; i < sk_X509_num(path); ++i) {
    const auto above = validity_of(sk_X509_value(path, i));
    if (!above) return above.error();
    validity->not_before = std::max(validity->not_before, above->not_before);
    validity->not_after = std::min(validity->not_after, above->not_after);
  }
  return validity;
}

// Role and cluster come last: a certificate that nobody vouches for says nothing about either.
Result<Signer> check_signer(X509_STORE* roots, const std::string& cluster,
                            const proto::Statement& statement, WallTime now) {
  std::vector<CertificatePtr> chain;
  for (const std::string& der : statement.chain()) {
    auto certificate = from_der(der);
    if (!certificate) return certificate.error();
    chain.push_back(std::move(*certificate));
  }
  const auto validity = check_path(roots, chain, now);
  if (!validity) return validity.error();
  const auto identity = identity_of(chain.front().get());
  if (!identity) return Error{Errc::denied, "signer of a statement: " + identity.error().detail};
  if (identity->role != Role::tracker || identity->cluster != cluster) {
    return Error{Errc::denied, "signer of a statement: " + identity->uri() +
                                   " is no tracker of cluster " + cluster};
  }
  Signer signer{KeyPtr(X509_get_pubkey(chain.front().get())), *validity};
  if (!signer.key) return openssl_error(Errc::corrupt, "public key of a statement's signer");
  return signer;
}

bool signature_fits(EVP_PKEY* key, const std::string& signature, const std::string& text) {
  ERR_clear_error();
  const DigestContext context(EVP_MD_CTX_new());
  const bool fits = context &&
                    EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
                    EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(),
                                     bytes_of(text), text.size()) == 1;
  ERR_clear_error();
  return fits;
}

}  // namespace

struct StatementSigner::Keys {
  KeyPtr key;
  std::vector<std::string> chain;  // DER
};

struct StatementVerifier::Trust {
  StorePtr roots;
  std::map<Digest, Signer> signers;  // by the hash of the certificate
};

StatementVerifier::StatementVerifier(std::unique_ptr<Trust> trust, std::string cluster)
    : trust_(std::move(trust)), cluster_(std::move(cluster)) {}
StatementVerifier::StatementVerifier(StatementVerifier&&) noexcept = default;
StatementVerifier& StatementVerifier::operator=(StatementVerifier&&) noexcept = default;
StatementVerifier::~StatementVerifier() = default;

Result<StatementSigner> StatementSigner::make(const Credentials& credentials) {
  auto keys = std::make_shared<Keys>();
  auto key = read_key(credentials.key_pem, "key that signs statements");
  if (!key) return key.error();
  keys->key = std::move(*key);
  const auto chain = read_certificates(credentials.chain_pem, "certificates of the signer");
  if (!chain) return chain.error();
  for (const CertificatePtr& certificate : *chain) {
    auto der = to_der(certificate.get());
    if (!der) return der.error();
    keys->chain.push_back(*std::move(der));
  }
  StatementSigner signer;
  signer.keys_ = std::move(keys);
  return signer;
}

Result<std::string> StatementSigner::sign(Purpose purpose, std::string_view payload) const {
  if (payload.size() > max_payload(purpose)) {
    return Error{Errc::invalid_argument, "sign a statement: " + std::to_string(payload.size()) +
                                             " bytes are more than a " +
                                             std::string(words_of(purpose)) + " may have"};
  }
  const std::string text = signed_text(purpose, payload);
  ERR_clear_error();
  const DigestContext context(EVP_MD_CTX_new());
  std::string signature(kMaxSignatureBytes, '\0');
  std::size_t length = signature.size();
  if (!context ||
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, keys_->key.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &length,
                     bytes_of(text), text.size()) != 1) {
    return openssl_error(Errc::unavailable, "sign a statement");
  }
  signature.resize(length);
  proto::Statement statement;
  statement.set_payload(std::string(payload));
  statement.set_signature(std::move(signature));
  for (const std::string& der : keys_->chain) statement.add_chain(der);
  return statement.SerializeAsString();
}

Result<StatementVerifier> StatementVerifier::make(std::string_view bundle_pem,
                                                  std::string cluster) {
  const auto roots = read_certificates(bundle_pem, "trusted roots");
  if (!roots) return roots.error();
  auto trust = std::make_unique<Trust>();
  trust->roots.reset(X509_STORE_new());
  for (const CertificatePtr& root : *roots) {
    if (!trust->roots || X509_STORE_add_cert(trust->roots.get(), root.get()) != 1) {
      return openssl_error(Errc::corrupt, "trusted roots");
    }
  }
  return StatementVerifier(std::move(trust), std::move(cluster));
}

Result<std::string> StatementVerifier::verify(Purpose purpose, std::string_view statement,
                                              WallTime now) {
  auto parsed = parse(purpose, statement);
  if (!parsed) return parsed.error();
  Digest hash;
  SHA256(bytes_of(parsed->chain(0)), parsed->chain(0).size(), hash.bytes.data());
  auto& signers = trust_->signers;
  auto known = signers.find(hash);
  if (known == signers.end() || !covers(known->second.validity, now)) {
    auto signer = check_signer(trust_->roots.get(), cluster_, *parsed, now);
    if (!signer) return signer.error();
    if (signers.size() >= kMaxSigners) signers.clear();
    known = signers.insert_or_assign(hash, std::move(*signer)).first;
  }
  if (!signature_fits(known->second.key.get(), parsed->signature(),
                      signed_text(purpose, parsed->payload()))) {
    return Error{Errc::corrupt, "signed statement: its signature does not fit: it is no " +
                                    std::string(words_of(purpose)) +
                                    " of this tracker, or was changed"};
  }
  return std::move(*parsed->mutable_payload());
}

}  // namespace p2p
