// Two Connections over loopback on one io_context, and a TLS peer of which the test moves each
// byte.
#pragma once

#include <openssl/ssl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "io/disk/fd.h"
#include "io/identity/pem.h"
#include "io/net/connection.h"
#include "io/wire/hello.h"
#include "tests/io/identity/test_cluster.h"

namespace p2p::test {

namespace asio = boost::asio;

// Ends a test that hangs; nothing here takes that long.
inline constexpr auto kHangSeconds = std::chrono::seconds(60);

// Keys take a while: these two serve all tests.
inline const TestCluster& our_cluster() {
  static const TestCluster cluster;
  return cluster;
}
inline const TestCluster& other_cluster() {
  static const TestCluster cluster;
  return cluster;
}

inline TlsContext server_context(const TestCluster& cluster,
                                 ClientCertificate wanted = ClientCertificate::required) {
  return must(
      make_server_context(cluster.member(Role::agent), {kAlpn}, wanted, ChainSent::with_root));
}
inline TlsContext client_context(const TestCluster& cluster) {
  return must(make_client_context(cluster.member(Role::agent), {kAlpn}));
}

inline std::string text_of(const Buffer& body) {
  return {reinterpret_cast<const char*>(body.data()), body.size()};
}

// What one end heard.
struct Ear final : Connection::Handler {
  struct Frame {
    FrameHeader header;
    std::string body;
  };
  int opened = 0;
  std::optional<Identity> identity;
  std::vector<Frame> frames;
  std::uint64_t data_sent = 0;
  std::vector<Error> closed;
  int calls_after_close = 0;
  // Instead of keeping the frame.
  std::function<void(const FrameHeader&, const Buffer&)> listen;
  std::function<void(std::uint32_t)> sent;
  std::function<void()> on_end;

  void on_open(const std::optional<Identity>& who) override {
    note_call();
    ++opened;
    identity = who;
  }
  void on_frame(const FrameHeader& header, Buffer body) override {
    note_call();
    if (listen) return listen(header, body);
    frames.push_back({header, text_of(body)});
  }
  void on_data_sent(std::uint32_t payload_bytes) override {
    note_call();
    data_sent += payload_bytes;
    if (sent) sent(payload_bytes);
  }
  void on_closed(const Error& why) override {
    note_call();
    closed.push_back(why);
    if (on_end) on_end();
  }

 private:
  void note_call() { calls_after_close += closed.empty() ? 0 : 1; }
};

// The one reason that an end was given; a line without control characters that names its peer.
inline Error only_reason(const Ear& ear, const std::string& peer) {
  REQUIRE(ear.closed.size() == 1);
  const std::string& text = ear.closed.front().detail;
  INFO(text);
  CHECK(std::none_of(text.begin(), text.end(), [](char c) { return c < ' ' && c >= 0; }));
  CHECK_THAT(text, Catch::StartsWith(peer + ": "));
  CHECK(ear.calls_after_close == 0);
  return ear.closed.front();
}

struct Loop {
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(io);

  // False when it does not come true.
  bool run_until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + kHangSeconds;
    while (!done()) {
      if (io.run_one_until(end) == 0) return false;
    }
    return true;
  }
  // The same for what the kernel does by itself.
  bool spin_until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + kHangSeconds;
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      io.poll();
      std::this_thread::yield();
    }
    return true;
  }
  // Two connected sockets.
  std::pair<Connection::Socket, Connection::Socket> tcp_pair() {
    asio::ip::tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
    Connection::Socket dialling(io);
    dialling.connect(acceptor.local_endpoint());
    Connection::Socket accepted = acceptor.accept();
    return {std::move(dialling), std::move(accepted)};
  }
};

struct PairSetup {
  TlsContext client_tls = client_context(our_cluster());
  TlsContext server_tls = server_context(our_cluster());
  Connection::Settings client = {.cluster = our_cluster().id};
  Connection::Settings server = {.cluster = our_cluster().id};
};

struct Pair : Loop {
  Ear at_client, at_server;
  std::shared_ptr<Connection> client, server;

  explicit Pair(const PairSetup& setup = {}) {
    auto sockets = tcp_pair();
    client = Connection::make(io, std::move(sockets.first), setup.client_tls,
                              Connection::Side::client, setup.client, "server n1");
    server = Connection::make(io, std::move(sockets.second), setup.server_tls,
                              Connection::Side::server, setup.server, "client n2");
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  ~Pair() {
    client->close();
    server->close();
  }

  Pair& start() {
    client->start(&at_client);
    server->start(&at_server);
    return *this;
  }
  Pair& open() {
    start();
    REQUIRE(run_until([&] { return at_client.opened > 0 && at_server.opened > 0; }));
    return *this;
  }
};

inline std::string frame_bytes(FrameType type, std::string_view body) {
  const auto header = encode_header({static_cast<std::uint32_t>(body.size()), type, 0, 0});
  return std::string(header.begin(), header.end()) + std::string(body);
}

// A DATA frame as send_data() takes it.
inline Buffer data_frame(std::uint32_t chunk, std::string_view payload) {
  const auto length = static_cast<std::uint32_t>(kDataPrefixBytes + payload.size());
  Buffer frame(kFrameHeaderBytes + length);
  const auto header = encode_header({length, FrameType::data, 0, 0});
  std::copy(header.begin(), header.end(), frame.data());
  encode_data_prefix({ChunkIndex{chunk}, 0, static_cast<std::uint32_t>(payload.size())},
                     frame.span().subspan<kFrameHeaderBytes, kDataPrefixBytes>());
  std::copy(payload.begin(), payload.end(), frame.data() + kFrameHeaderBytes + kDataPrefixBytes);
  return frame;
}

// A client that speaks TLS from memory: the test decides which bytes go out when.
struct HandMade : Loop {
  Ear ear;
  std::shared_ptr<Connection> server;
  Fd socket;           // the client's end, blocking
  int server_fd = -1;  // for getsockopt, owned by `server`
  std::unique_ptr<SSL, OpensslFree<SSL_free>> ssl;

  explicit HandMade(Connection::Settings settings = {.cluster = our_cluster().id}) {
    auto sockets = tcp_pair();
    server_fd = sockets.second.native_handle();
    server = Connection::make(io, std::move(sockets.second), server_context(our_cluster()),
                              Connection::Side::server, std::move(settings), "client n2");
    // What is put apart arrives apart.
    sockets.first.set_option(asio::ip::tcp::no_delay(true));
    socket = Fd(sockets.first.release());
    ssl.reset(SSL_new(client_context(our_cluster()).get()));
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl.get());
    server->start(&ear);
  }
  HandMade(const HandMade&) = delete;
  HandMade& operator=(const HandMade&) = delete;
  ~HandMade() {
    if (server) server->close();
  }

  HandMade& handshake() {
    REQUIRE(spin_until([&] {
      const bool done = SSL_do_handshake(ssl.get()) == 1;
      put(taken());
      std::string bytes(16 * 1024, '\0');
      const ssize_t got = ::recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (got > 0) BIO_write(SSL_get_rbio(ssl.get()), bytes.data(), static_cast<int>(got));
      return done && ear.opened > 0;
    }));
    return *this;
  }
  // The records that carry `plaintext`: one, or of 16 KiB each.
  std::string encrypt(std::string_view plaintext) {
    while (!plaintext.empty()) {
      std::size_t count = 0;
      REQUIRE(SSL_write_ex(ssl.get(), plaintext.data(), plaintext.size(), &count) == 1);
      plaintext.remove_prefix(count);
    }
    return taken();
  }
  // Sends all of it, and lets the server do what it can do with it now.
  void put(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count =
          ::send(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
      io.poll();
    }
  }
  // What the server has sent since the last time, encrypted.
  std::string received() {
    std::string bytes(64 * 1024, '\0');
    const ssize_t got = ::recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return bytes;
  }
  // How many bytes the kernel waits for before it wakes the server.
  int low_water() const {
    int bytes = 0;
    socklen_t size = sizeof bytes;
    ::getsockopt(server_fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, &size);
    return bytes;
  }
  // Bytes in the kernel for which it has not woken the server.
  std::size_t unread() const {
    int bytes = 0;
    ::ioctl(server_fd, FIONREAD, &bytes);
    return static_cast<std::size_t>(bytes);
  }

 private:
  std::string taken() {
    BIO* out = SSL_get_wbio(ssl.get());
    std::string bytes(BIO_ctrl_pending(out), '\0');
    if (!bytes.empty()) BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
};

}  // namespace p2p::test
