#include "io/identity/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

namespace p2p {
namespace {

// OpenSSL would ask the terminal for the password of an encrypted object.
int refuse_password(char*, int, int, void*) {
  return -1;
}

Result<BioPtr> open_pem(std::string_view pem, std::string_view what) {
  if (pem.size() > kMaxPemBytes) {
    return Error{Errc::invalid_argument, std::string(what) + ": " + std::to_string(pem.size()) +
                                             " bytes are too many for keys and certificates (" +
                                             std::to_string(kMaxPemBytes) + " at most)"};
  }
  ERR_clear_error();
  BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!bio) return openssl_error(Errc::exhausted, what);
  return bio;
}

bool at_end_of_pem() {
  const unsigned long error = ERR_peek_last_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

// What is wrong when an object could not be read: that there is none, or what OpenSSL says.
Error unreadable(std::string_view what, std::string_view object) {
  if (at_end_of_pem()) {
    ERR_clear_error();
    return Error{Errc::corrupt, std::string(what) + ": no " + std::string(object) + " in PEM form"};
  }
  return openssl_error(Errc::corrupt, std::string(what) + ": unreadable " + std::string(object));
}

template <class Write>
Result<std::string> written(Write write, std::string_view what) {
  ERR_clear_error();
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || write(bio.get()) != 1) return openssl_error(Errc::io_failed, what);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

}  // namespace

std::string take_openssl_reason() {
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  if (error == 0) return "no reason given by OpenSSL";
  if (const char* reason = ERR_reason_error_string(error)) return reason;
  char text[256];
  ERR_error_string_n(error, text, sizeof text);
  return text;
}

Error openssl_error(Errc code, std::string_view what) {
  return Error{code, std::string(what) + ": " + take_openssl_reason()};
}

Result<KeyPtr> read_key(std::string_view pem, std::string_view what) {
  auto bio = open_pem(pem, what);
  if (!bio) return bio.error();
  KeyPtr key(PEM_read_bio_PrivateKey(bio->get(), nullptr, refuse_password, nullptr));
  if (!key) return unreadable(what, "private key without a password");
  return key;
}

Result<std::vector<CertificatePtr>> read_certificates(std::string_view pem, std::string_view what) {
  auto bio = open_pem(pem, what);
  if (!bio) return bio.error();
  std::vector<CertificatePtr> certificates;
  while (true) {
    CertificatePtr next(PEM_read_bio_X509(bio->get(), nullptr, refuse_password, nullptr));
    if (!next) break;
    if (certificates.size() == kMaxPemCertificates) {
      return Error{Errc::invalid_argument, std::string(what) + ": more than " +
                                               std::to_string(kMaxPemCertificates) +
                                               " certificates"};
    }
    certificates.push_back(std::move(next));
  }
  if (certificates.empty() || !at_end_of_pem()) return unreadable(what, "certificate");
  ERR_clear_error();
  return certificates;
}

Result<CertificatePtr> read_certificate(std::string_view pem, std::string_view what) {
  auto certificates = read_certificates(pem, what);
  if (!certificates) return certificates.error();
  return std::move(certificates->front());
}

Result<RequestPtr> read_request(std::string_view pem, std::string_view what) {
  auto bio = open_pem(pem, what);
  if (!bio) return bio.error();
  RequestPtr request(PEM_read_bio_X509_REQ(bio->get(), nullptr, refuse_password, nullptr));
  if (!request) return unreadable(what, "certificate request");
  return request;
}

Result<std::string> key_to_pem(EVP_PKEY* key) {
  return written(
      [key](BIO* bio) {
        return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
      },
      "write a private key as PEM");
}

Result<std::string> certificate_to_pem(X509* certificate) {
  return written([certificate](BIO* bio) { return PEM_write_bio_X509(bio, certificate); },
                 "write a certificate as PEM");
}

Result<std::string> request_to_pem(X509_REQ* request) {
  return written([request](BIO* bio) { return PEM_write_bio_X509_REQ(bio, request); },
                 "write a certificate request as PEM");
}

}  // namespace p2p
