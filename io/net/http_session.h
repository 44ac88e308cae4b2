// One connection of the HTTP server: handshake, then requests one after another. Inside io/net.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <memory>
#include <optional>
#include <string>

#include "io/net/http_exchange.h"
#include "io/net/http_server.h"

namespace p2p {

class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  // Takes over `ssl`. `peer` is the client's address, for messages.
  HttpSession(boost::asio::ip::tcp::socket socket, SSL* ssl,
              std::shared_ptr<const HttpServerSettings> settings, std::string peer);

  // Until the connection is over.
  static boost::asio::awaitable<void> run(std::shared_ptr<HttpSession> self);
  // Ends run() soon, and tells the handler of an open exchange now.
  void close();
  // Whether a request of this identity is being answered.
  bool answers(const std::string& identity) const { return exchange_ && identity_ == identity; }

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  // How an answer has to look to the client that asked.
  struct Form {
    unsigned version = 11;
    bool keep_alive = false;
  };

  boost::asio::awaitable<bool> handshake();
  // False: the connection is to end.
  boost::asio::awaitable<bool> serve_one();
  boost::asio::awaitable<boost::system::error_code> read_request(Parser& parser);
  boost::asio::awaitable<bool> handle(HttpRequest request, Form form);
  // True: the answer is out, whole.
  boost::asio::awaitable<bool> answer(std::shared_ptr<HttpExchange::State> exchange, Form form);
  boost::asio::awaitable<bool> send_reply(HttpResponse response, Form form);
  boost::asio::awaitable<bool> send_stream(std::shared_ptr<HttpExchange::State> exchange,
                                           Form form);
  boost::asio::awaitable<boost::system::error_code> send_chunks(HttpExchange::State& exchange,
                                                                bool chunked);
  // Answers with an error of our own and ends the connection.
  boost::asio::awaitable<void> refuse(unsigned status, Error error);
  boost::asio::awaitable<void> refuse_unread(boost::system::error_code code);
  boost::asio::awaitable<void> end_gently();
  // Reads and throws away until the client closes, or the deadline comes.
  boost::asio::awaitable<void> drain(std::size_t bytes_max);

  HttpRequest request_from(Parser& parser) const;
  void log_failed_handshake(const boost::system::error_code& code) const;
  // Reads into an empty buffer_ in the background: the begin of the next request, or news that the
  // client is gone while its answer is being made.
  void start_reading();
  void set_deadline(Duration from_now);
  void clear_deadline();
  Duration time_to_send(std::size_t bytes) const;

  boost::asio::ssl::stream<boost::asio::ip::tcp::socket> stream_;
  const std::shared_ptr<const HttpServerSettings> settings_;
  const std::string peer_;
  std::string identity_;
  std::optional<Error> denied_;
  boost::beast::flat_buffer buffer_;
  bool reading_ = false;
  bool input_ended_ = false;
  bool timed_out_ = false;
  bool closed_ = false;
  boost::asio::steady_timer input_changed_;  // never expires; cancelled when reading_ ends
  boost::asio::steady_timer deadline_;       // closes the socket
  std::shared_ptr<HttpExchange::State> exchange_;
};

}  // namespace p2p
