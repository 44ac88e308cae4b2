#include "io/net/http_server.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <set>
#include <utility>
#include <vector>

#include "core/base/check.h"
#include "io/log/log.h"
#include "io/net/http_session.h"

namespace p2p {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr Duration kPauseAfterFailedAccept = std::chrono::milliseconds(100);

struct ContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using ContextPtr = std::unique_ptr<SSL_CTX, ContextFree>;

ContextPtr share(SSL_CTX* context) {
  P2P_CHECK(context != nullptr && SSL_CTX_up_ref(context) == 1);
  return ContextPtr(context);
}

std::string text_of(const tcp::endpoint& endpoint) {
  const std::string address = endpoint.address().to_string();
  return (endpoint.address().is_v6() ? '[' + address + ']' : address) + ':' +
         std::to_string(endpoint.port());
}

// Processes that this one starts do not get the socket.
void close_on_exec(int socket) {
  ::fcntl(socket, F_SETFD, FD_CLOEXEC);
}

// A client that vanished without a word is noticed in about a minute, also while a stream is
// silent.
void keep_alive(int socket) {
  const auto set = [&](int level, int name, int value) {
    // Kernels without one of these keep their default.
    static_cast<void>(::setsockopt(socket, level, name, &value, sizeof value));
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(IPPROTO_TCP, TCP_NODELAY, 1);
}

void log_escaped_exception(const std::exception_ptr& escaped) {
  if (!escaped) return;
  try {
    std::rethrow_exception(escaped);
  } catch (const std::exception& error) {
    log_error("api", "exception ended a task", {{"what", error.what()}});
  } catch (...) {
    log_error("api", "unknown exception ended a task");
  }
}

}  // namespace

struct HttpServer::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& io_context, HttpServerSettings given)
      : io(io_context),
        context(share(given.context)),
        settings(std::make_shared<const HttpServerSettings>(std::move(given))) {}

  static asio::awaitable<void> accept_loop(std::shared_ptr<Impl> self,
                                           std::shared_ptr<tcp::acceptor> acceptor);
  void start_session(tcp::socket socket);
  void stop();

  asio::io_context& io;
  ContextPtr context;
  const std::shared_ptr<const HttpServerSettings> settings;
  std::vector<std::shared_ptr<tcp::acceptor>> acceptors;
  std::set<std::weak_ptr<HttpSession>, std::owner_less<>> sessions;
  bool is_full = false;
  bool stopped = false;
};

asio::awaitable<void> HttpServer::Impl::accept_loop(std::shared_ptr<Impl> self,
                                                    std::shared_ptr<tcp::acceptor> acceptor) {
  asio::steady_timer pause(self->io);
  while (!self->stopped) {
    tcp::socket socket(self->io);
    const auto result = co_await acceptor->async_accept(socket, kTuple);
    const error_code code = std::get<0>(result);
    if (self->stopped) co_return;
    if (!code) {
      self->start_session(std::move(socket));
      continue;
    }
    if (code == asio::error::connection_aborted) continue;
    log_warn("api", "accepting a connection failed", {{"reason", code.message()}});
    pause.expires_after(kPauseAfterFailedAccept);
    co_await pause.async_wait(kTuple);
  }
}

void HttpServer::Impl::start_session(tcp::socket socket) {
  error_code code;
  const tcp::endpoint endpoint = socket.remote_endpoint(code);
  if (code) return;  // gone already
  const std::string peer = text_of(endpoint);
  if (sessions.size() >= settings->connections_max) {
    if (!std::exchange(is_full, true)) {
      log_warn("api", "too many connections, new ones are closed",
               {{"limit", settings->connections_max}, {"peer", peer}});
    }
    return;
  }
  is_full = false;
  close_on_exec(socket.native_handle());
  keep_alive(socket.native_handle());
  SSL* ssl = SSL_new(context.get());
  if (ssl == nullptr) {
    log_error("api", "no memory for a connection", {{"peer", peer}});
    return;
  }
  auto session = std::make_shared<HttpSession>(std::move(socket), ssl, settings, peer);
  sessions.insert(session);
  asio::co_spawn(io, HttpSession::run(session),
                 [self = shared_from_this(), session](const std::exception_ptr& escaped) {
                   log_escaped_exception(escaped);
                   session->close();
                   self->sessions.erase(session);
                 });
}

void HttpServer::Impl::stop() {
  if (std::exchange(stopped, true)) return;
  error_code ignored;
  for (const auto& acceptor : acceptors) acceptor->close(ignored);
  for (const auto& weak : sessions) {
    if (const auto session = weak.lock()) session->close();
  }
}

HttpServer::HttpServer(asio::io_context& io, HttpServerSettings settings)
    : impl_(std::make_shared<Impl>(io, std::move(settings))) {
  P2P_CHECK(impl_->settings->authenticate && impl_->settings->handle);
}

HttpServer::~HttpServer() {
  stop();
}

Result<std::uint16_t> HttpServer::listen(const std::string& host, std::uint16_t port) {
  error_code code;
  const asio::ip::address address = asio::ip::make_address(host, code);
  if (code) {
    return Error{Errc::invalid_argument, "listen on '" + host +
                                             "': not an IPv4 or IPv6 address; 0.0.0.0 and :: mean "
                                             "all addresses of this machine"};
  }
  const tcp::endpoint endpoint(address, port);
  auto acceptor = std::make_shared<tcp::acceptor>(impl_->io);
  const auto step = [&](auto&& act) {
    if (!code) act();
  };
  step([&] { acceptor->open(endpoint.protocol(), code); });
  step([&] { close_on_exec(acceptor->native_handle()); });
  step([&] { acceptor->set_option(tcp::acceptor::reuse_address(true), code); });
  step([&] { acceptor->bind(endpoint, code); });
  step([&] { acceptor->listen(asio::socket_base::max_listen_connections, code); });
  if (code) {
    const bool in_use = code == asio::error::address_in_use;
    return Error{in_use ? Errc::unavailable : Errc::io_failed,
                 "listen on " + text_of(endpoint) + ": " + code.message() +
                     (in_use ? "; another process has this port, perhaps another instance" : "")};
  }
  impl_->acceptors.push_back(acceptor);
  asio::co_spawn(impl_->io, Impl::accept_loop(impl_, acceptor), log_escaped_exception);
  return acceptor->local_endpoint().port();
}

void HttpServer::set_context(SSL_CTX* context) {
  impl_->context = share(context);
}

std::size_t HttpServer::connections() const {
  return impl_->sessions.size();
}

void HttpServer::cut_off(const std::string& identity) {
  for (const auto& weak : impl_->sessions) {
    const auto session = weak.lock();
    if (session && session->answers(identity)) session->close();
  }
}

void HttpServer::stop() {
  impl_->stop();
}

}  // namespace p2p
