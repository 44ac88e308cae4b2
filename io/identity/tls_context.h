// TLS 1.3 contexts made of credentials, and who the other side of a connection is.
//
// Certificates are checked up to one of the roots of the bundle; host names are never checked: the
// identity is the URI in the certificate, and peer_identity() must be called after each handshake,
// because the context alone does not know the cluster or which role is expected.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "io/identity/certificates.h"
#include "io/identity/credentials.h"

namespace p2p {

// Shared: copies are the same SSL_CTX, which lives until the last copy and the last SSL of it are
// gone. Thread-safe. Index 0 of its ex_data (the "app data") is left to the owner of the
// connection.
class TlsContext {
 public:
  explicit TlsContext(std::shared_ptr<SSL_CTX> context) : context_(std::move(context)) {}
  SSL_CTX* get() const { return context_.get(); }

 private:
  std::shared_ptr<SSL_CTX> context_;
};

// Protocol names of ALPN, most wanted first, each 1 to 255 bytes: {"p2pd/1", "http/1.1"}.
using AlpnNames = std::vector<std::string>;

enum class ClientCertificate { required, optional };
// with_root: a tracker sends its root as well, so that a joining node can compare it with its pin.
enum class ChainSent { without_root, with_root };

// A client that offers ALPN names but none of ours is refused; one that offers none gets in, and
// alpn_of() is empty. An optional client certificate that is there must still be a good one.
Result<TlsContext> make_server_context(const Credentials& credentials, const AlpnNames& alpn,
                                       ClientCertificate client_certificate,
                                       ChainSent chain_sent = ChainSent::without_root);
Result<TlsContext> make_client_context(const Credentials& credentials, const AlpnNames& alpn);
// For joining, without credentials: the server must send a self-signed root whose spki_pin is
// `pin_hex`, a chain that verifies to it, and the role tracker (any agent has a chain to that
// root).
Result<TlsContext> make_pinned_client_context(std::string_view pin_hex, const AlpnNames& alpn);

// After the handshake. denied: no certificate, one that did not verify or has no identity of ours,
// or one of another cluster. The role is for the caller to judge.
Result<Identity> peer_identity(const SSL* ssl, std::string_view expected_cluster);
// The protocol that was agreed on; empty when none was. Lives as long as the connection.
std::string_view alpn_of(const SSL* ssl);

// One line for a handshake, read or write that failed: "what: why", where why is the reason of our
// own check of the certificate, or the alert that the other side sent, or OpenSSL's reason. Call it
// at once, on the thread of the failed call; empties that thread's error queue. `taken` is an
// OpenSSL error code that somebody has taken off the queue already (Asio: the value of its
// error_code). denied: a certificate was refused, by either side; corrupt: not TLS; otherwise
// unavailable.
Error tls_error(const SSL* ssl, std::string_view what, unsigned long taken = 0);

}  // namespace p2p
