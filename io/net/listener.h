// Accepts TCP connections and dials them; hands out plain sockets.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/result.h"

namespace p2p {

// Lives on the thread of its io_context.
class Listener {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using OnAccept = std::function<void(Socket socket, std::string peer)>;

  explicit Listener(boost::asio::io_context& loop) : loop_(loop), acceptor_(loop) {}

  // `host` is an IPv4 or IPv6 literal; port 0 takes a free one. The bound port is returned.
  Result<std::uint16_t> listen(const std::string& host, std::uint16_t port, OnAccept on_accept);
  void close();

 private:
  void accept_next();

  boost::asio::io_context& loop_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::unique_ptr<boost::asio::steady_timer> retry_;
  OnAccept on_accept_;
};

// Resolves and connects; calls back once, on the loop's thread, with a connected socket or an error
// that names host and port. Gives up after `timeout_seconds`.
void dial(boost::asio::io_context& loop, const std::string& host, std::uint16_t port,
          int timeout_seconds, std::function<void(Result<boost::asio::ip::tcp::socket>)> on_done);

// Moves a connected socket to another loop: its descriptor changes owner.
Result<boost::asio::ip::tcp::socket> move_socket(boost::asio::ip::tcp::socket socket,
                                                 boost::asio::io_context& to);

// "10.0.0.7:7402", "[::1]:7402".
std::string endpoint_text(const boost::asio::ip::tcp::endpoint& endpoint);

}  // namespace p2p
