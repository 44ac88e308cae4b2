// Why our own check refused the other side's certificate, kept on its SSL until tls_error() asks:
// OpenSSL forgets the refused certificate. Inside io/identity.
#pragma once

#include <openssl/ssl.h>

#include <string>

namespace p2p {

// Keeps `why` for the connection that is being verified, unless it has a reason already.
void keep_verify_failure(X509_STORE_CTX* store, std::string why);
// Puts the current error of `store` into words: whose certificate, what is wrong, since when.
std::string describe_verify_failure(X509_STORE_CTX* store);

}  // namespace p2p
