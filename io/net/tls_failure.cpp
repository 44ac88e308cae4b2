#include "io/net/tls_failure.h"

#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>

#include "io/identity/tls_context.h"

namespace p2p {

Error tls_failure(const SSL* ssl, std::string_view what, const boost::system::error_code& code) {
  namespace asio = boost::asio;
  if (code.category() == asio::error::get_ssl_category()) {
    return tls_error(ssl, what, static_cast<unsigned long>(code.value()));
  }
  const bool ended = code == asio::error::eof || code == asio::ssl::error::stream_truncated;
  return Error{
      Errc::unavailable,
      std::string(what) + ": " + (ended ? "the other side closed the connection" : code.message())};
}

}  // namespace p2p
