// From Asio's error codes to errors that say why TLS failed. Inside io/net.
#pragma once

#include <openssl/types.h>

#include <boost/system/error_code.hpp>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

// A handshake, read or write of `ssl` that failed with `code`, as "what: why". Errors of OpenSSL
// become what io/identity's tls_error() makes of them; the others are unavailable. Call it at once.
Error tls_failure(const SSL* ssl, std::string_view what, const boost::system::error_code& code);

}  // namespace p2p
