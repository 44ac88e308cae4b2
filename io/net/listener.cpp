#include "io/net/listener.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>

namespace p2p {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

asio::ip::address unmapped(asio::ip::address address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  return address;
}

// One dial under way: owns everything that its callbacks touch.
struct Dialling : std::enable_shared_from_this<Dialling> {
  Dialling(asio::io_context& loop, std::string target)
      : resolver(loop), socket(loop), timer(loop), where(std::move(target)) {}

  tcp::resolver resolver;
  tcp::socket socket;
  asio::steady_timer timer;
  std::string where;
  std::function<void(Result<tcp::socket>)> on_done;

  void finish(Result<tcp::socket> result) {
    if (!on_done) return;
    const auto call = std::exchange(on_done, nullptr);
    timer.cancel();
    resolver.cancel();
    call(std::move(result));
  }
  void finish(Errc code, const std::string& why) {
    finish(Error{code, "connect to " + where + ": " + why});
  }
};

}  // namespace

std::string endpoint_text(const tcp::endpoint& endpoint) {
  const auto address = unmapped(endpoint.address());
  const std::string host = address.to_string();
  return (address.is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(endpoint.port());
}

Result<std::uint16_t> Listener::listen(const std::string& host, std::uint16_t port,
                                       OnAccept on_accept) {
  boost::system::error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error) {
    return Error{Errc::invalid_argument,
                 "listen on " + host + ": not an IP address; give one such as 0.0.0.0 or ::"};
  }
  const tcp::endpoint endpoint(address, port);
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error && address.is_v6()) acceptor_.set_option(asio::ip::v6_only(false), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(4096, error);
  if (error) {
    return Error{Errc::io_failed, "listen on " + endpoint_text(endpoint) + ": " + error.message() +
                                      "; choose another address with --listen"};
  }
  on_accept_ = std::move(on_accept);
  accept_next();
  return acceptor_.local_endpoint().port();
}

void Listener::close() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  if (retry_) retry_->cancel();
}

void Listener::accept_next() {
  acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (error) {
      // Out of descriptors, as a rule: the connections that we have will free some.
      retry_ = std::make_unique<asio::steady_timer>(loop_, std::chrono::milliseconds(200));
      retry_->async_wait([this](boost::system::error_code stopped) {
        if (!stopped) accept_next();
      });
      return;
    }
    boost::system::error_code ignored;
    const auto from = socket.remote_endpoint(ignored);
    if (!ignored) on_accept_(std::move(socket), endpoint_text(from));
    accept_next();
  });
}

void dial(asio::io_context& loop, const std::string& host, std::uint16_t port, int timeout_seconds,
          std::function<void(Result<tcp::socket>)> on_done) {
  auto dialling = std::make_shared<Dialling>(loop, host + ":" + std::to_string(port));
  dialling->on_done = std::move(on_done);
  dialling->timer.expires_after(std::chrono::seconds(timeout_seconds));
  dialling->timer.async_wait([dialling](boost::system::error_code error) {
    if (!error) {
      dialling->finish(Errc::timed_out, "no answer");
      boost::system::error_code ignored;
      dialling->socket.close(ignored);
    }
  });
  dialling->resolver.async_resolve(
      host, std::to_string(port),
      [dialling](boost::system::error_code error, const tcp::resolver::results_type& found) {
        if (error) return dialling->finish(Errc::unavailable, error.message());
        asio::async_connect(dialling->socket, found,
                            [dialling](boost::system::error_code failed, const tcp::endpoint&) {
                              if (failed) {
                                return dialling->finish(Errc::unavailable, failed.message());
                              }
                              dialling->finish(std::move(dialling->socket));
                            });
      });
}

Result<tcp::socket> move_socket(tcp::socket socket, asio::io_context& to) {
  boost::system::error_code error;
  const auto protocol = socket.local_endpoint(error).protocol();
  if (error) return Error{Errc::unavailable, "connection lost: " + error.message()};
  const int fd = socket.release(error);
  if (error) return Error{Errc::io_failed, "release of a socket: " + error.message()};
  tcp::socket moved(to);
  moved.assign(protocol, fd, error);
  if (error) return Error{Errc::io_failed, "assignment of a socket: " + error.message()};
  return moved;
}

}  // namespace p2p
