// A throw-away cluster, an HTTP server on a thread of its own, and a raw TLS client.
#pragma once

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "io/disk/fd.h"
#include "io/identity/cluster.h"
#include "io/identity/tls_context.h"
#include "io/log/log.h"
#include "io/net/http_client.h"
#include "io/net/http_server.h"
#include "tests/support/catch.h"

namespace p2p::test {

inline constexpr auto kLongTime = std::chrono::seconds(20);

template <class T>
T must(Result<T> result) {
  if (!result) FAIL(result.error().detail);
  return std::move(*result);
}

inline WallTime now() {
  return WallTime{std::chrono::system_clock::now().time_since_epoch()};
}

// Keys take a while: one per process is enough for most tests.
class TestCluster {
 public:
  explicit TestCluster(std::string id) {
    cluster_.name = "test";
    cluster_.id = std::move(id);
    const std::string root_key = must(generate_key());
    cluster_.root_pem = must(make_root("test", root_key, now()));
    cluster_.intermediate.key_pem = must(generate_key());
    cluster_.intermediate.certificate_pem = must(make_intermediate(
        {cluster_.root_pem, root_key}, "test", cluster_.intermediate.key_pem, now()));
  }
  static const TestCluster& ours() {
    static const TestCluster cluster("11111111-1111-4111-8111-111111111111");
    return cluster;
  }
  static const TestCluster& other() {
    static const TestCluster cluster("22222222-2222-4222-8222-222222222222");
    return cluster;
  }

  const std::string& id() const { return cluster_.id; }
  Credentials member(Role role, const std::string& id) const {
    return must(
        make_member(cluster_, {Identity{cluster_.id, role, id}, {}, std::chrono::hours(1)}, now()));
  }
  TlsContext server_context(const std::string& id = "33333333-3333-4333-8333-333333333333") const {
    return must(
        make_server_context(member(Role::tracker, id), {"http/1.1"}, ClientCertificate::required));
  }
  TlsContext client_context() const {
    return must(make_client_context(member(Role::admin, "44444444-4444-4444-8444-444444444444"),
                                    {"http/1.1"}));
  }
  TlsContext context_without_certificate() const {
    return must(make_pinned_client_context(must(cluster_.pin()), {"http/1.1"}));
  }

 private:
  Cluster cluster_;
};

using Handler = std::function<void(std::shared_ptr<HttpExchange>)>;

// Serves until stop() or its end. The handler runs on the server's thread.
class TestServer {
 public:
  explicit TestServer(Handler handler,
                      const std::function<void(HttpServerSettings&)>& change = nullptr)
      : context_(TestCluster::ours().server_context()) {
    set_log_sink([this](std::string_view line) { log_ += std::string(line) + '\n'; });
    HttpServerSettings settings;
    settings.context = context_.get();
    settings.authenticate = [](const SSL* ssl) -> Result<std::string> {
      const auto identity = peer_identity(ssl, TestCluster::ours().id());
      if (!identity) return identity.error();
      return identity->uri();
    };
    settings.handle = std::move(handler);
    if (change) change(settings);
    server_ = std::make_unique<HttpServer>(io_, std::move(settings));
    port_ = must(server_->listen("127.0.0.1", 0));
    thread_ = std::thread([this] { io_.run(); });
  }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  ~TestServer() {
    stop();
    set_log_sink({});
  }

  std::uint16_t port() const { return port_; }
  // On the server's thread.
  void run(std::function<void(HttpServer&)> act) {
    std::promise<void> done;
    boost::asio::post(io_, [&] {
      act(*server_);
      done.set_value();
    });
    done.get_future().get();
  }
  // Returns when nothing of the server is left to run.
  void stop() {
    if (!thread_.joinable()) return;
    boost::asio::post(io_, [this] { server_.reset(); });
    thread_.join();
  }
  // Ends the thread and leaves the server as it is, with whatever waits in it.
  void halt() {
    io_.stop();
    thread_.join();
  }
  // Waits for a line: what a client has seen the end of may be half done here.
  bool logs_soon(const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + kLongTime;
    for (;;) {
      bool found = false;
      run([&](HttpServer&) { found = log_.find(text) != std::string::npos; });
      if (found || std::chrono::steady_clock::now() > end) return found;
      std::this_thread::yield();
    }
  }
  // All lines; stops the server first.
  const std::string& log() {
    stop();
    return log_;
  }

 private:
  TlsContext context_;
  boost::asio::io_context io_;
  std::unique_ptr<HttpServer> server_;
  std::uint16_t port_ = 0;
  std::string log_;
  std::thread thread_;
};

inline Result<std::unique_ptr<HttpClient>> try_connect(std::uint16_t port,
                                                       const TlsContext& context,
                                                       Duration timeout = kLongTime) {
  HttpClientSettings settings;
  settings.host = "127.0.0.1";
  settings.port = port;
  settings.context = context.get();
  settings.timeout = timeout;
  return HttpClient::connect(std::move(settings));
}

inline std::unique_ptr<HttpClient> client_of(const TestServer& server,
                                             Duration timeout = kLongTime) {
  return must(try_connect(server.port(), TestCluster::ours().client_context(), timeout));
}

// Waits for what another thread sets.
template <class T>
bool is_set_soon(std::future<T>& future) {
  return future.wait_for(kLongTime) == std::future_status::ready;
}

// Sends any bytes over TCP, or over TLS after secure(). Reading ends after kLongTime.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval limit{kLongTime.count(), 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
            0);
  }

  RawClient& secure() {
    const TlsContext context = TestCluster::ours().client_context();
    ssl_.reset(SSL_new(context.get()));
    SSL_set_fd(ssl_.get(), socket_.get());
    REQUIRE(SSL_connect(ssl_.get()) == 1);
    return *this;
  }
  RawClient& send(const std::string& bytes) {
    if (ssl_) {
      for (std::size_t sent = 0; sent < bytes.size();) {
        const int count =
            SSL_write(ssl_.get(), bytes.data() + sent, static_cast<int>(bytes.size() - sent));
        REQUIRE(count > 0);
        sent += static_cast<std::size_t>(count);
      }
    } else {
      REQUIRE(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0);
    }
    return *this;
  }
  // Whatever comes until the server closes.
  std::string read_all() {
    std::string all;
    char bytes[4096];
    for (;;) {
      const auto count = ssl_ ? SSL_read(ssl_.get(), bytes, sizeof bytes)
                              : static_cast<int>(::recv(socket_.get(), bytes, sizeof bytes, 0));
      if (count <= 0) return all;
      all.append(bytes, static_cast<std::size_t>(count));
    }
  }

 private:
  struct SslFree {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  Fd socket_;
  std::unique_ptr<SSL, SslFree> ssl_;
};

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace p2p::test
