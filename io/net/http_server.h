// HTTPS/1.1 for an API: requests in, answers or endless streams of lines out.
//
// Everything runs on the thread of one io_context: the callbacks are called there, and every
// function here is to be called there. The server authenticates each connection once, after its
// handshake.
#pragma once

#include <openssl/types.h>

#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/base/time.h"
#include "io/net/http_message.h"

namespace p2p {

// One request and its answer: either reply(), or start_stream(), stream() any number of times, and
// finish(). Keep the shared_ptr for as long as it takes, but not beyond the io_context. If the last
// one goes before the answer is whole, the server answers 500, or cuts the stream short so that the
// client can tell.
class HttpExchange {
 public:
  struct State;

  explicit HttpExchange(std::shared_ptr<State> state);
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;
  ~HttpExchange();

  const HttpRequest& request() const;
  // True when nobody listens any more: everything below then does nothing.
  bool closed() const;

  void reply(HttpResponse response);
  void start_stream(std::string content_type);
  // False, and nothing taken, while more than 1 MiB waits for the client or when it is gone. Empty
  // chunks are ignored.
  bool stream(std::string chunk);
  void finish();

  // `callback` is called once if the client goes away before the answer is whole, or when the
  // server stops; at once when that has happened. It may hold the exchange: it is dropped with the
  // answer.
  void on_closed(std::function<void()> callback);
  // `callback` is called each time that all chunks are sent after stream() has returned false.
  void on_drained(std::function<void()> callback);

 private:
  std::shared_ptr<State> state_;
};

struct HttpServerSettings {
  SSL_CTX* context = nullptr;  // the server takes a reference of its own
  // Who the client is, by its certificate; an error is answered with 403. Becomes
  // request().identity.
  std::function<Result<std::string>(const SSL*)> authenticate;
  std::function<void(std::shared_ptr<HttpExchange>)> handle;

  std::uint32_t header_bytes_max = 16 * 1024;
  std::uint64_t body_bytes_max = 1024 * 1024;
  std::size_t connections_max = 1000;
  Duration handshake_timeout = std::chrono::seconds(10);
  // Before a request, for the whole of a request to arrive, and for each 4 MiB of an answer to be
  // taken by the client. A stream that has nothing to send may be silent for ever.
  Duration idle_timeout = std::chrono::seconds(60);
};

class HttpServer {
 public:
  HttpServer(boost::asio::io_context& io, HttpServerSettings settings);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  // stop(), as below.
  ~HttpServer();

  // Listens on an IPv4 or IPv6 address; port 0 picks one. Returns the port. May be called for
  // several addresses.
  Result<std::uint16_t> listen(const std::string& host, std::uint16_t port);
  // For connections from now on, after a certificate was renewed.
  void set_context(SSL_CTX* context);
  std::size_t connections() const;
  // Ends the connections on which something is being answered to this identity: streams, above all.
  // Not from the handler of such a request.
  void cut_off(const std::string& identity);
  // Closes everything and calls on_closed of all open exchanges before it returns; none of the
  // callbacks is called after that.
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace p2p
