// A blocking HTTPS/1.1 client with one connection, for command lines.
//
// One thread at a time. An idle connection that the server has closed is opened again.
#pragma once

#include <openssl/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/time.h"
#include "io/net/http_message.h"

namespace p2p {

struct HttpClientSettings {
  std::string host;  // a name or an address, IPv6 without brackets
  std::uint16_t port = 0;
  SSL_CTX* context = nullptr;  // the client takes a reference of its own
  // After each handshake: is this the server that is meant? Its error is returned as it is.
  std::function<Status(const SSL*)> verify;
  // For connecting, and for each step of a request in which nothing arrives. Looking up a host name
  // is bounded by the system's resolver only.
  Duration timeout = std::chrono::seconds(30);
  std::size_t body_bytes_max = 64 * 1024 * 1024;
  std::size_t line_bytes_max = 16 * 1024 * 1024;
};

// Errors: unavailable: "no tracker reachable at HOST:PORT: ...", or the connection broke; denied:
// one side refuses the other's certificate (with TLS 1.3 a server's refusal is often seen only by
// the first request); timed_out; cancelled; corrupt: no TLS or no HTTP on the other side. Answers
// with a status of 400 and above are no errors here.
class HttpClient {
 public:
  static Result<std::unique_ptr<HttpClient>> connect(HttpClientSettings settings);
  ~HttpClient();

  // `target` is encoded already (percent_encode). After an error it is unknown whether the server
  // has done what was asked; only a GET on an idle connection is tried a second time.
  Result<HttpResponse> request(const std::string& method, const std::string& target,
                               std::string body = {});

  // Called with each line without its end; false ends the stream.
  using OnLine = std::function<bool(std::string_view line)>;
  // Until the server ends the stream, `on_line` returns false, or `*stop` becomes true (looked at
  // every 200 ms; the error is then `cancelled`). There is no timeout once the answer has begun. An
  // answer with a status other than 2xx is returned whole, without a call of `on_line`.
  Result<HttpResponse> request_stream(const std::string& method, const std::string& target,
                                      std::string body, const OnLine& on_line,
                                      const std::atomic<bool>* stop = nullptr);

 private:
  class Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace p2p
