#include "io/identity/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "io/identity/pem.h"
#include "io/identity/verify_failure.h"

namespace p2p {
namespace {

// AES-128 first: with AES-NI it costs the least CPU for each byte.
constexpr const char* kCiphersuites =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr int kMaxChainDepth = 4;
constexpr long kMaxPeerChainBytes = 64 * 1024;
constexpr long kModes = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                        SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN;

// What the callbacks need; owned by the SSL_CTX, because an SSL may outlive every TlsContext.
struct Settings {
  std::string alpn_wire;
  std::string pin;
};

void free_settings(void*, void* settings, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<Settings*>(settings);
}

int settings_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_settings);
  return index;
}

Result<std::string> alpn_wire(const AlpnNames& names) {
  std::string wire;
  for (const std::string& name : names) {
    if (name.empty() || name.size() > 255) {
      return Error{Errc::invalid_argument,
                   "TLS: an ALPN name has 1 to 255 bytes, not " + std::to_string(name.size())};
    }
    wire += static_cast<char>(static_cast<unsigned char>(name.size()));
    wire += name;
  }
  return wire;
}

int select_alpn(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                const unsigned char* offered, unsigned offered_size, void* argument) {
  const std::string& ours = static_cast<const Settings*>(argument)->alpn_wire;
  unsigned char* common = nullptr;
  if (SSL_select_next_proto(
          &common, chosen_size, reinterpret_cast<const unsigned char*>(ours.data()),
          static_cast<unsigned>(ours.size()), offered, offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = common;
  return SSL_TLSEXT_ERR_OK;
}

int note_failure(int good, X509_STORE_CTX* store) {
  if (!good) keep_verify_failure(store, describe_verify_failure(store));
  return good;
}

int refuse(X509_STORE_CTX* store, std::string why) {
  keep_verify_failure(store, std::move(why));
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

// The self-signed certificate among those that the server sent whose key has the pin.
X509* pinned_root(X509_STORE_CTX* store, const std::string& pin) {
  STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(store);
  for (int i = 0; i < sk_X509_num(sent); ++i) {
    X509* certificate = sk_X509_value(sent, i);
    const auto key = spki_pin(certificate);
    if (key && *key == pin && X509_self_signed(certificate, 1) == 1) return certificate;
  }
  return nullptr;
}

struct StackFree {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};

int verify_pinned(X509_STORE_CTX* store, void* argument) {
  const std::string& pin = static_cast<const Settings*>(argument)->pin;
  X509* root = pinned_root(store, pin);
  if (!root) {
    return refuse(store, "the server did not show the root that the token pins (" +
                             pin.substr(0, 12) +
                             "…): the token is of another cluster, or this is not its tracker");
  }
  const std::unique_ptr<STACK_OF(X509), StackFree> trusted(sk_X509_new_null());
  if (!trusted || sk_X509_push(trusted.get(), root) <= 0) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
    return 0;
  }
  X509_STORE_CTX_set0_trusted_stack(store, trusted.get());
  if (X509_verify_cert(store) != 1) return 0;
  const auto identity = identity_of(X509_STORE_CTX_get0_cert(store));
  if (!identity) return refuse(store, identity.error().detail);
  if (identity->role != Role::tracker) {
    return refuse(store, "the server is " + identity->uri() + ", which is not a tracker");
  }
  return 1;
}

struct Draft {
  TlsContext context;
  Settings* settings;  // owned by the context
};

Result<Draft> make_context(const SSL_METHOD* method, const AlpnNames& alpn) {
  auto wire = alpn_wire(alpn);
  if (!wire) return wire.error();
  ERR_clear_error();
  TlsContext made(std::shared_ptr<SSL_CTX>(SSL_CTX_new(method), SSL_CTX_free));
  SSL_CTX* context = made.get();
  auto settings = std::make_unique<Settings>(Settings{std::move(*wire), {}});
  if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(context, kCiphersuites) != 1 ||
      SSL_CTX_set_ex_data(context, settings_index(), settings.get()) != 1) {
    return openssl_error(Errc::unavailable, "make a TLS context");
  }
  Settings* kept = settings.release();
  // No resumption: connections are long-lived, and each one checks the certificate anew.
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, kModes);
  SSL_CTX_set_verify_depth(context, kMaxChainDepth);
  SSL_CTX_set_max_cert_list(context, kMaxPeerChainBytes);
  return Draft{std::move(made), kept};
}

// The root of the bundle that issued the end of the chain.
Result<X509*> root_of(X509* last, const std::vector<CertificatePtr>& roots) {
  for (const CertificatePtr& root : roots) {
    if (X509_check_issued(root.get(), last) == X509_V_OK &&
        X509_verify(last, X509_get0_pubkey(root.get())) == 1) {
      return root.get();
    }
  }
  ERR_clear_error();
  return Error{Errc::corrupt,
               "TLS: no root of bundle.pem issued the chain of identity.pem; the two files are not "
               "of the same cluster"};
}

Status use_credentials(SSL_CTX* context, const Credentials& credentials, ChainSent chain_sent) {
  if (auto valid = validate(credentials, "TLS credentials"); !valid) return valid;
  const auto key = read_key(credentials.key_pem, "key");
  if (!key) return key.error();
  const auto chain = read_certificates(credentials.chain_pem, "certificate chain");
  if (!chain) return chain.error();
  const auto roots = read_certificates(credentials.bundle_pem, "trusted roots");
  if (!roots) return roots.error();

  bool good = SSL_CTX_use_certificate(context, chain->front().get()) == 1 &&
              SSL_CTX_use_PrivateKey(context, key->get()) == 1;
  for (std::size_t i = 1; i < chain->size(); ++i) {
    good = good && SSL_CTX_add1_chain_cert(context, (*chain)[i].get()) == 1;
  }
  if (chain_sent == ChainSent::with_root && X509_self_signed(chain->back().get(), 0) != 1) {
    const auto root = root_of(chain->back().get(), *roots);
    if (!root) return root.error();
    good = good && SSL_CTX_add1_chain_cert(context, *root) == 1;
  }
  for (const CertificatePtr& root : *roots) {
    good = good && X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root.get()) == 1;
  }
  if (!good) return openssl_error(Errc::corrupt, "TLS: use the credentials");
  return {};
}

bool offer_alpn(SSL_CTX* context, const Settings& settings) {
  // Unlike its neighbours, this function returns 0 on success.
  return SSL_CTX_set_alpn_protos(context,
                                 reinterpret_cast<const unsigned char*>(settings.alpn_wire.data()),
                                 static_cast<unsigned>(settings.alpn_wire.size())) == 0;
}

}  // namespace

Result<TlsContext> make_server_context(const Credentials& credentials, const AlpnNames& alpn,
                                       ClientCertificate client_certificate, ChainSent chain_sent) {
  auto draft = make_context(TLS_server_method(), alpn);
  if (!draft) return draft.error();
  SSL_CTX* context = draft->context.get();
  if (auto used = use_credentials(context, credentials, chain_sent); !used) return used.error();
  const bool required = client_certificate == ClientCertificate::required;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                     note_failure);
  if (!alpn.empty()) SSL_CTX_set_alpn_select_cb(context, select_alpn, draft->settings);
  return std::move(draft->context);
}

Result<TlsContext> make_client_context(const Credentials& credentials, const AlpnNames& alpn) {
  auto draft = make_context(TLS_client_method(), alpn);
  if (!draft) return draft.error();
  SSL_CTX* context = draft->context.get();
  if (auto used = use_credentials(context, credentials, ChainSent::without_root); !used) {
    return used.error();
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, note_failure);
  if (!offer_alpn(context, *draft->settings)) {
    return openssl_error(Errc::invalid_argument, "TLS: offer the ALPN names");
  }
  return std::move(draft->context);
}

Result<TlsContext> make_pinned_client_context(std::string_view pin_hex, const AlpnNames& alpn) {
  if (pin_hex.size() != 64 ||
      pin_hex.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return Error{Errc::invalid_argument,
                 "TLS: the pin is not a SHA-256 in lower-case hexadecimal; check the token"};
  }
  auto draft = make_context(TLS_client_method(), alpn);
  if (!draft) return draft.error();
  SSL_CTX* context = draft->context.get();
  draft->settings->pin = pin_hex;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, note_failure);
  SSL_CTX_set_cert_verify_callback(context, verify_pinned, draft->settings);
  if (!offer_alpn(context, *draft->settings)) {
    return openssl_error(Errc::invalid_argument, "TLS: offer the ALPN names");
  }
  return std::move(draft->context);
}

Result<Identity> peer_identity(const SSL* ssl, std::string_view expected_cluster) {
  const X509* certificate = SSL_get0_peer_certificate(ssl);
  if (!certificate) {
    return Error{Errc::denied, "no certificate; the other side must show one of this cluster"};
  }
  if (const long verified = SSL_get_verify_result(ssl); verified != X509_V_OK) {
    return Error{Errc::denied, std::string("the other side's certificate is refused: ") +
                                   X509_verify_cert_error_string(verified)};
  }
  auto identity = identity_of(certificate);
  if (!identity) return Error{Errc::denied, identity.error().detail};
  if (identity->cluster != expected_cluster) {
    return Error{Errc::denied, "certificate of another cluster (" + identity->cluster +
                                   "): this node belongs to " + std::string(expected_cluster)};
  }
  return identity;
}

std::string_view alpn_of(const SSL* ssl) {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &name, &size);
  return name ? std::string_view(reinterpret_cast<const char*>(name), size) : std::string_view();
}

}  // namespace p2p
