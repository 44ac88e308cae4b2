#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstring>

#include "io/identity/pem.h"
#include "io/identity/tls_context.h"
#include "io/identity/verify_failure.h"

namespace p2p {
namespace {

void free_failure(void*, void* text, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<std::string*>(text);
}

// A copied SSL (SSL_dup) starts without a failure; both would free the same text otherwise.
int forget_failure(CRYPTO_EX_DATA*, const CRYPTO_EX_DATA*, void** text, int, long, void*) {
  *text = nullptr;
  return 1;
}

int failure_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, forget_failure, free_failure);
  return index;
}

// The identity when there is one, otherwise the subject, for people.
std::string owner_of(const X509* certificate) {
  if (const auto identity = identity_of(certificate)) return identity->uri();
  char subject[256];
  X509_NAME_oneline(X509_get_subject_name(certificate), subject, sizeof subject);
  return subject;
}

// The alerts that tell what to do, in words; the others keep OpenSSL's name.
Error refused_by_peer(const std::string& what, int alert) {
  const std::string number = " (TLS alert " + std::to_string(alert) + ")";
  switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_ACCESS_DENIED:
      return {Errc::denied,
              what + ": the other side refuses our certificate; its log says why" + number};
    case SSL_AD_CERTIFICATE_EXPIRED:
      return {Errc::denied, what +
                                ": the other side says that our certificate has expired or is "
                                "not valid yet; compare the clocks, or join again" +
                                number};
    case SSL_AD_UNKNOWN_CA:
      return {Errc::denied, what +
                                ": the other side does not trust the root of our certificate; "
                                "it is of another cluster, or its bundle is out of date" +
                                number};
    case SSL_AD_CERTIFICATE_REQUIRED:
      return {Errc::denied, what +
                                ": the other side requires a certificate and we sent none; join "
                                "the cluster first" +
                                number};
    case SSL_AD_NO_APPLICATION_PROTOCOL:
      return {Errc::denied, what +
                                ": the other side speaks none of our protocols (ALPN); check "
                                "address, port and versions" +
                                number};
    default:
      return {Errc::unavailable, what + ": the other side ended the connection: " +
                                     SSL_alert_desc_string_long(alert) + number};
  }
}

Error failed_in_tls(const std::string& what, int reason, const char* text) {
  switch (reason) {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return {Errc::unavailable, what + ": the other side closed the connection without notice"};
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return {Errc::denied,
              what + ": no certificate; the other side must show one of this cluster"};
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return {Errc::denied, what + ": the other side speaks none of our protocols (ALPN)"};
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_BAD_RECORD_TYPE:
      return {Errc::corrupt, what +
                                 ": the other side does not speak TLS 1.3; check address and "
                                 "port (" +
                                 text + ")"};
    default:
      return {Errc::unavailable, what + ": TLS failed: " + text};
  }
}

}  // namespace

void keep_verify_failure(X509_STORE_CTX* store, std::string why) {
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  if (!ssl || SSL_get_ex_data(ssl, failure_index())) return;
  auto text = std::make_unique<std::string>(std::move(why));
  if (SSL_set_ex_data(ssl, failure_index(), text.get()) == 1) text.release();
}

std::string describe_verify_failure(X509_STORE_CTX* store) {
  const int error = X509_STORE_CTX_get_error(store);
  const X509* certificate = X509_STORE_CTX_get_current_cert(store);
  const X509* leaf = X509_STORE_CTX_get0_cert(store);
  if (!certificate || !leaf) return X509_verify_cert_error_string(error);
  const std::string peer = "the certificate of " + owner_of(leaf);
  const std::string who = X509_cmp(certificate, leaf) == 0
                              ? peer
                              : peer + ": in its chain, that of " + owner_of(certificate);
  const auto validity = validity_of(certificate);
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      if (validity) return who + " expired on " + utc_text(validity->not_after);
      break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      if (validity) {
        return who + " is not valid before " + utc_text(validity->not_before) +
               "; compare the clocks";
      }
      break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return peer + " does not lead to a root that we trust (" +
             X509_verify_cert_error_string(error) + ")";
    default:
      break;
  }
  return who + " is refused: " + X509_verify_cert_error_string(error);
}

Error tls_error(const SSL* ssl, std::string_view what, unsigned long taken) {
  // Asio's error_code holds the code as an int: system errors come back with their sign extended.
  const unsigned long code = taken != 0 ? taken & 0xffffffffUL : ERR_peek_error();
  ERR_clear_error();
  const std::string where(what);
  if (const auto* why = static_cast<const std::string*>(SSL_get_ex_data(ssl, failure_index()))) {
    return {Errc::denied, where + ": " + *why};
  }
  if (code == 0) {
    const bool told = (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
    return {Errc::unavailable,
            where + (told ? ": the other side closed the connection" : ": the connection broke")};
  }
  if (ERR_SYSTEM_ERROR(code)) {
    return {Errc::unavailable, where + ": " + std::strerror(ERR_GET_REASON(code))};
  }
  const int reason = ERR_GET_REASON(code);
  const char* text = ERR_reason_error_string(code);
  if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET &&
      reason < SSL_AD_REASON_OFFSET + 256) {
    return refused_by_peer(where, reason - SSL_AD_REASON_OFFSET);
  }
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
    return failed_in_tls(where, reason, text ? text : "no reason given");
  }
  return {Errc::unavailable, where + ": TLS failed: " + (text ? text : "no reason given")};
}

}  // namespace p2p
