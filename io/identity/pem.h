// PEM texts to and from OpenSSL's objects, and what OpenSSL says when it fails.
//
// Inside io/identity; the rest of the tree holds keys and certificates as PEM text. Foreign texts
// are safe here: size and count are limited, and an encrypted key is an error, never a password
// prompt.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace p2p {

template <auto Free>
struct OpensslFree {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, OpensslFree<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, OpensslFree<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, OpensslFree<X509_REQ_free>>;

inline constexpr std::size_t kMaxPemBytes = 256 * 1024;
inline constexpr std::size_t kMaxPemCertificates = 64;

// Empties this thread's error queue and returns its oldest reason, which is the cause; never empty.
std::string take_openssl_reason();
// "what: reason of OpenSSL", with the queue emptied.
Error openssl_error(Errc code, std::string_view what);

// The first private key of the text. `what` names the text in errors, for instance a file.
Result<KeyPtr> read_key(std::string_view pem, std::string_view what);
// Every certificate of the text in order, at least one; other PEM objects between them are skipped.
Result<std::vector<CertificatePtr>> read_certificates(std::string_view pem, std::string_view what);
// The first certificate of the text.
Result<CertificatePtr> read_certificate(std::string_view pem, std::string_view what);
Result<RequestPtr> read_request(std::string_view pem, std::string_view what);

Result<std::string> key_to_pem(EVP_PKEY* key);
Result<std::string> certificate_to_pem(X509* certificate);
Result<std::string> request_to_pem(X509_REQ* request);

}  // namespace p2p
