#include "io/identity/certificates.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "core/base/ids.h"
#include "core/base/text.h"
#include "io/identity/pem.h"

namespace p2p {
namespace {

constexpr Duration kDay = std::chrono::hours(24);
constexpr Duration kRootLife = 3650 * kDay;
constexpr Duration kIntermediateLife = 1825 * kDay;
constexpr std::size_t kMaxNameBytes = 40;  // with our words added it fits the 64 of a common name
constexpr std::size_t kMaxHostNames = 64;
constexpr std::size_t kMaxCommonNameBytes = 64;  // of RFC 5280, and what OpenSSL allows
constexpr std::int64_t kMaxWallSeconds = WallTime::max().since_start / std::chrono::seconds(1);

using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslFree<GENERAL_NAMES_free>>;
using NamePtr = std::unique_ptr<GENERAL_NAME, OpensslFree<GENERAL_NAME_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;

Error invalid(std::string detail) {
  return Error{Errc::invalid_argument, std::move(detail)};
}

std::int64_t whole_seconds(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time.since_start).count();
}

Result<WallTime> wall_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    return openssl_error(Errc::corrupt, "certificate with an unreadable time");
  }
  const std::int64_t at = timegm(&parts);
  if (at >= kMaxWallSeconds) return WallTime::max();
  return WallTime{std::chrono::seconds(std::max<std::int64_t>(at, 0))};
}

Status check_p256(const EVP_PKEY* key, std::string_view what) {
  std::array<char, 32> group{};
  std::size_t length = 0;
  if (EVP_PKEY_is_a(key, "EC") &&
      EVP_PKEY_get_group_name(key, group.data(), group.size(), &length) == 1 &&
      std::string_view(group.data(), length) == "prime256v1") {
    return {};
  }
  return invalid(std::string(what) + ": the key is not an EC P-256 key");
}

struct Issuer {
  CertificatePtr certificate;
  KeyPtr key;
};

Result<Issuer> read_issuer(const Authority& authority) {
  auto certificate = read_certificate(authority.certificate_pem, "issuer's certificate");
  if (!certificate) return certificate.error();
  auto key = read_key(authority.key_pem, "issuer's key");
  if (!key) return key.error();
  if (X509_check_ca(certificate->get()) != 1) {
    return invalid("the issuer's certificate is not that of a certificate authority");
  }
  if (X509_check_private_key(certificate->get(), key->get()) != 1) {
    ERR_clear_error();
    return invalid("the issuer's key does not belong to the issuer's certificate");
  }
  return Issuer{std::move(*certificate), std::move(*key)};
}

// One certificate while it is made. Every step after a failed one does nothing; signed_by() tells.
class Draft {
 public:
  Draft(EVP_PKEY* subject_key, const std::string& common_name)
      : certificate_(X509_new()), subject_key_(subject_key) {
    ERR_clear_error();
    std::array<unsigned char, 16> serial{};
    step(certificate_ && X509_set_version(certificate_.get(), X509_VERSION_3) &&
         RAND_bytes(serial.data(), static_cast<int>(serial.size())) == 1 &&
         X509_set_pubkey(certificate_.get(), subject_key));
    if (!good_) return;
    serial[0] &= 0x7f;  // positive
    using NumberPtr = std::unique_ptr<BIGNUM, OpensslFree<BN_free>>;
    const NumberPtr number(BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
    step(number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate_.get())));
    step(X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate_.get()), NID_commonName,
                                    MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(common_name.data()),
                                    static_cast<int>(common_name.size()), -1, 0));
  }

  void set_validity(const Validity& validity) {
    step(good_ &&
         ASN1_TIME_set(X509_getm_notBefore(certificate_.get()),
                       whole_seconds(validity.not_before)) &&
         ASN1_TIME_set(X509_getm_notAfter(certificate_.get()), whole_seconds(validity.not_after)));
  }
  // `value` in the notation of OpenSSL's x509v3_config; constants only.
  void add(int nid, const char* value, X509* issuer) {
    if (!good_) return;
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate_.get(), nullptr, nullptr, 0);
    X509V3_set_ctx_nodb(&context);
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
    step(extension && X509_add_ext(certificate_.get(), extension.get(), -1));
  }
  void add_names(GENERAL_NAMES* names) {
    step(good_ && X509_add1_ext_i2d(certificate_.get(), NID_subject_alt_name, names, 0,
                                    X509V3_ADD_DEFAULT) == 1);
  }
  // Names and signs; an `issuer` of nullptr signs with the certificate's own key.
  Result<std::string> signed_by(const Issuer* issuer) {
    X509* parent = issuer ? issuer->certificate.get() : certificate_.get();
    add(NID_subject_key_identifier, "hash", parent);
    if (issuer) add(NID_authority_key_identifier, "keyid:always", parent);
    step(good_ && X509_set_issuer_name(certificate_.get(), X509_get_subject_name(parent)));
    step(good_ && X509_sign(certificate_.get(), issuer ? issuer->key.get() : subject_key_,
                            EVP_sha256()) > 0);
    if (!good_) return openssl_error(Errc::invalid_argument, "make a certificate");
    return certificate_to_pem(certificate_.get());
  }

 private:
  void step(bool succeeded) { good_ = good_ && succeeded; }

  CertificatePtr certificate_;
  EVP_PKEY* subject_key_;
  bool good_ = true;
};

Result<std::string> make_authority(const Issuer* issuer, const std::string& common_name,
                                   std::string_view key_pem, const Validity& validity) {
  auto key = read_key(key_pem, "key of the certificate authority");
  if (!key) return key.error();
  if (auto usable = check_p256(key->get(), "certificate authority"); !usable) return usable.error();
  Draft draft(key->get(), common_name);
  draft.set_validity(validity);
  draft.add(NID_basic_constraints,
            issuer ? "critical,CA:TRUE,pathlen:0" : "critical,CA:TRUE,pathlen:1", nullptr);
  draft.add(NID_key_usage, "critical,keyCertSign,cRLSign", nullptr);
  return draft.signed_by(issuer);
}

Status check_cluster_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes) {
    return invalid("cluster name: 1 to " + std::to_string(kMaxNameBytes) + " bytes, not " +
                   std::to_string(name.size()));
  }
  return {};
}

// `wanted`, cut to the issuer's end.
Result<Validity> within(const Issuer& issuer, Validity wanted) {
  const auto limit = validity_of(issuer.certificate.get());
  if (!limit) return limit.error();
  wanted.not_after = std::min(wanted.not_after, limit->not_after);
  if (wanted.not_before.since_start < Duration::zero() || wanted.not_after <= wanted.not_before) {
    return invalid("certificate from " + utc_text(wanted.not_before) + " to " +
                   utc_text(wanted.not_after) + ": it would never be valid (its issuer ends on " +
                   utc_text(limit->not_after) + ")");
  }
  return wanted;
}

bool is_host_name(std::string_view name) {
  return !name.empty() && name.size() <= 253 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  });
}

// `type` is GEN_URI or GEN_DNS; both are held as IA5 strings.
bool push_text(GENERAL_NAMES* names, int type, std::string_view text) {
  using TextPtr = std::unique_ptr<ASN1_IA5STRING, OpensslFree<ASN1_IA5STRING_free>>;
  NamePtr name(GENERAL_NAME_new());
  TextPtr value(ASN1_IA5STRING_new());
  if (!name || !value ||
      ASN1_STRING_set(value.get(), text.data(), static_cast<int>(text.size())) != 1) {
    return false;
  }
  GENERAL_NAME_set0_value(name.get(), type, value.release());
  if (sk_GENERAL_NAME_push(names, name.get()) <= 0) return false;
  name.release();
  return true;
}

bool push_address(GENERAL_NAMES* names, const std::string& text) {
  using AddressPtr = std::unique_ptr<ASN1_OCTET_STRING, OpensslFree<ASN1_OCTET_STRING_free>>;
  NamePtr name(GENERAL_NAME_new());
  AddressPtr value(a2i_IPADDRESS(text.c_str()));
  if (!name || !value) return false;
  GENERAL_NAME_set0_value(name.get(), GEN_IPADD, value.release());
  if (sk_GENERAL_NAME_push(names, name.get()) <= 0) return false;
  name.release();
  return true;
}

Result<NamesPtr> names_of(const CertificateSpec& spec) {
  const std::string uri = spec.identity.uri();
  if (auto parsed = parse_identity(uri); !parsed) return parsed.error();
  if (spec.dns_names.size() + spec.ip_addresses.size() > kMaxHostNames) {
    return invalid("certificate: more than " + std::to_string(kMaxHostNames) +
                   " host names and addresses");
  }
  NamesPtr names(GENERAL_NAMES_new());
  if (!names || !push_text(names.get(), GEN_URI, uri)) {
    return openssl_error(Errc::exhausted, "certificate for " + uri);
  }
  for (const std::string& name : spec.dns_names) {
    if (!is_host_name(name) || !push_text(names.get(), GEN_DNS, name)) {
      return invalid("certificate: '" + name + "' is not a host name");
    }
  }
  for (const std::string& address : spec.ip_addresses) {
    if (!push_address(names.get(), address)) {
      ERR_clear_error();
      return invalid("certificate: '" + address + "' is not an IP address");
    }
  }
  return names;
}

std::string default_name(const Identity& identity) {
  return std::string(to_string(identity.role)) + " " + identity.id;
}

// The subject's common name as UTF-8; empty when there is none.
std::string common_name_of(const X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return {};
  unsigned char* text = nullptr;
  const int length =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
  if (length < 0) {
    ERR_clear_error();
    return {};
  }
  std::string name(reinterpret_cast<const char*>(text), static_cast<std::size_t>(length));
  OPENSSL_free(text);
  return name;
}

Result<KeyPtr> key_of_request(std::string_view csr_pem) {
  auto request = read_request(csr_pem, "certificate request");
  if (!request) return request.error();
  KeyPtr key(X509_REQ_get_pubkey(request->get()));
  if (!key) return openssl_error(Errc::corrupt, "certificate request without a usable key");
  if (auto usable = check_p256(key.get(), "certificate request"); !usable) return usable.error();
  if (X509_REQ_verify(request->get(), key.get()) != 1) {
    ERR_clear_error();
    return Error{Errc::corrupt,
                 "certificate request: its signature does not match its key, so the sender did not "
                 "show that it holds the key"};
  }
  return key;
}

// Whoever only calls the API.
bool is_client(Role role) {
  return role == Role::admin || role == Role::user;
}

}  // namespace

bool renewal_due(const Validity& validity, WallTime now) {
  const Duration life = validity.not_after - validity.not_before;
  return now >= validity.not_after - life / 3;
}

Result<std::string> generate_key() {
  ERR_clear_error();
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return openssl_error(Errc::unavailable, "generate an EC P-256 key");
  return key_to_pem(key.get());
}

Result<std::string> make_csr(std::string_view key_pem) {
  auto key = read_key(key_pem, "key for a certificate request");
  if (!key) return key.error();
  const RequestPtr request(X509_REQ_new());
  if (!request || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key->get()) != 1 ||
      X509_REQ_sign(request.get(), key->get(), EVP_sha256()) <= 0) {
    return openssl_error(Errc::invalid_argument, "make a certificate request");
  }
  return request_to_pem(request.get());
}

Result<std::string> make_root(std::string_view cluster_name, std::string_view key_pem,
                              WallTime now) {
  if (auto named = check_cluster_name(cluster_name); !named) return named.error();
  const Validity validity{now - kClockSkewAllowance, now + kRootLife};
  return make_authority(nullptr, std::string(cluster_name) + " root", key_pem, validity);
}

Result<std::string> make_intermediate(const Authority& root, std::string_view cluster_name,
                                      std::string_view key_pem, WallTime now) {
  if (auto named = check_cluster_name(cluster_name); !named) return named.error();
  auto issuer = read_issuer(root);
  if (!issuer) return issuer.error();
  if (X509_get_pathlen(issuer->certificate.get()) == 0) {
    return invalid("the issuer's certificate allows no further authority below it; use the root");
  }
  auto validity = within(*issuer, Validity{now - kClockSkewAllowance, now + kIntermediateLife});
  if (!validity) return validity.error();
  return make_authority(&*issuer, std::string(cluster_name) + " intermediate", key_pem, *validity);
}

Result<std::string> issue(const Authority& authority, const CertificateSpec& spec) {
  auto issuer = read_issuer(authority);
  if (!issuer) return issuer.error();
  auto key = key_of_request(spec.csr_pem);
  if (!key) return key.error();
  auto names = names_of(spec);
  if (!names) return names.error();
  auto validity = within(*issuer, Validity{spec.not_before, spec.not_after});
  if (!validity) return validity.error();

  const std::string& name = spec.identity.name;
  Draft draft(key->get(), name.empty() ? default_name(spec.identity) : name);
  draft.set_validity(*validity);
  draft.add(NID_basic_constraints, "critical,CA:FALSE", nullptr);
  draft.add(NID_key_usage, "critical,digitalSignature", nullptr);
  draft.add(NID_ext_key_usage,
            is_client(spec.identity.role) ? "clientAuth" : "serverAuth,clientAuth", nullptr);
  draft.add_names(names->get());
  return draft.signed_by(&*issuer);
}

Result<Identity> identity_of(const X509* certificate) {
  ERR_clear_error();
  int position = -1;
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, &position, nullptr)));
  ERR_clear_error();
  std::vector<std::string_view> uris;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
    const std::string_view uri(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                               static_cast<std::size_t>(ASN1_STRING_length(text)));
    if (uri.starts_with(kIdentityScheme)) uris.push_back(uri);
  }
  if (uris.size() != 1) {
    return invalid("certificate with " + std::to_string(uris.size()) +
                   " p2pd:// identities instead of one: it is not of a p2pd cluster");
  }
  auto identity = parse_identity(uris.front());
  if (!identity) return identity;
  const std::string name = common_name_of(certificate);
  if (name != default_name(*identity)) identity->name = printable(name, kMaxCommonNameBytes);
  return identity;
}

Result<std::string> spki_pin(const X509* certificate) {
  unsigned char* der = nullptr;
  const int length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (length <= 0) return openssl_error(Errc::corrupt, "public key of a certificate");
  Digest digest;
  SHA256(der, static_cast<std::size_t>(length), digest.bytes.data());
  OPENSSL_free(der);
  return digest.hex();
}

Result<Validity> validity_of(const X509* certificate) {
  const auto not_before = wall_time(X509_get0_notBefore(certificate));
  if (!not_before) return not_before.error();
  const auto not_after = wall_time(X509_get0_notAfter(certificate));
  if (!not_after) return not_after.error();
  return Validity{*not_before, *not_after};
}

Result<Identity> identity_of(std::string_view certificate_pem) {
  const auto certificate = read_certificate(certificate_pem, "certificate");
  if (!certificate) return certificate.error();
  return identity_of(certificate->get());
}

Result<std::string> spki_pin(std::string_view certificate_pem) {
  const auto certificate = read_certificate(certificate_pem, "certificate");
  if (!certificate) return certificate.error();
  return spki_pin(certificate->get());
}

Result<Validity> validity_of(std::string_view certificate_pem) {
  const auto certificate = read_certificate(certificate_pem, "certificate");
  if (!certificate) return certificate.error();
  return validity_of(certificate->get());
}

std::string utc_text(WallTime time) {
  const std::time_t at = whole_seconds(time);
  std::tm parts{};
  gmtime_r(&at, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text.data();
}

}  // namespace p2p
