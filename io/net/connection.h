// One TLS connection that carries frames.
//
// The bytes are moved by a pump of our own instead of asio::ssl::stream: OpenSSL reads from the
// socket with a large read-ahead and writes into a buffer that goes out in one call, which saves
// most system calls and one copy; sessions see only frames, so that kernel TLS can take its place.
//
// Not thread-safe: everything happens on the thread of the io_context that it was made with, and
// the handler is called there. Frames sent with send() overtake queued data frames at frame
// boundaries. Short frames leave together, in as few records as they fit, when what the thread has
// to do now is done.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/base/buffer.h"
#include "core/base/result.h"
#include "io/identity/identity.h"
#include "io/identity/tls_context.h"
#include "io/wire/frames.h"

namespace p2p {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::ip::tcp::socket;

  struct Handler {
    // The handshake is done. `identity` is nothing when the other side has no certificate, which
    // only a server that allows it ever sees.
    virtual void on_open(const std::optional<Identity>& identity) = 0;
    virtual void on_frame(const FrameHeader& header, Buffer body) = 0;
    // Data frames that were queued have left this process's buffers: there is room for more.
    virtual void on_data_sent(std::uint32_t payload_bytes) = 0;
    // Called once, unless close() was called before. Nothing is called after it. After on_open(),
    // corrupt and exhausted say that the peer broke the rules: a frame over the limit, and more
    // control frames waiting than it may leave unread.
    virtual void on_closed(const Error& why) = 0;

   protected:
    ~Handler() = default;
  };

  struct Settings {
    std::string cluster;  // UUID that the other side's certificate must name
    // Control frames queued to a peer that does not read; more ends the connection.
    std::size_t control_bytes_max = 8 * 1024 * 1024;
    int handshake_seconds = 10;
  };

  enum class Side { server, client };

  // `socket` must belong to `loop`. `peer` names the other side in error texts.
  static std::shared_ptr<Connection> make(boost::asio::io_context& loop, Socket socket,
                                          const TlsContext& tls, Side side, Settings settings,
                                          std::string peer);
  ~Connection();

  // Begins the handshake. The handler must live until on_closed() or close().
  void start(Handler* handler);
  void send(FrameType type, std::uint16_t channel, std::string_view body, std::uint8_t flags = 0);
  // `frame` is header, prefix and payload as encode_* make them; `payload_bytes` is what
  // on_data_sent() reports.
  void send_data(Buffer frame, std::uint32_t payload_bytes);
  // While it is false, no frame is handed over and nothing is read: what the peer sends waits in
  // the kernel, and then with the peer. Its end is noticed later, too.
  void set_reading(bool reading);
  // Silently and at once: the handler hears nothing more.
  void close();
  // Sends what send() has queued, then closes; gives up after two seconds.
  void close_after_sending();

  const std::string& peer() const { return peer_; }
  // "10.0.0.7": the other end's address; empty once it is closed.
  std::string remote_address() const;

 private:
  struct Outgoing {
    Buffer bytes;
    std::size_t sent = 0;
    std::uint32_t payload = 0;
    bool data = false;
  };
  struct Tls;  // SSL and its write buffer

  Connection(boost::asio::io_context& loop, Socket socket, const TlsContext& tls, Side side,
             Settings settings, std::string peer);
  void pump();
  bool handshake();
  void read_frames();
  bool read_into(std::uint8_t* into, std::size_t wanted, std::size_t& have);
  void write_frames();
  void write_queued();
  void write_soon();
  bool short_frame_follows() const;
  bool next_frame();
  bool encrypt_some();
  bool encrypt(std::span<const std::uint8_t> plaintext, std::uint32_t payload);
  bool flush();
  void set_low_water();
  void read_more();
  void wait_readable();
  void wait_writable();
  void fail(const Error& why);
  void refuse(const Error& why);
  void drain();
  void finish_sending();
  void shut();

  boost::asio::io_context& loop_;
  Socket socket_;
  boost::asio::steady_timer timer_;
  std::unique_ptr<Tls> tls_;
  Settings settings_;
  std::string peer_;
  Handler* handler_ = nullptr;
  bool open_ = false;
  bool closed_ = false;
  bool paused_ = false;   // by set_reading()
  bool reading_ = false;  // a wait for readability is pending
  bool writing_ = false;
  bool in_read_ = false;
  bool in_write_ = false;
  bool write_due_ = false;  // write_soon() has been called
  bool draining_ = false;
  int low_water_ = 1;
  bool closing_ = false;

  std::array<std::uint8_t, kFrameHeaderBytes> header_bytes_{};
  std::size_t header_have_ = 0;
  FrameHeader header_;
  Buffer body_;
  std::size_t body_have_ = 0;

  std::deque<Outgoing> control_;
  std::deque<Outgoing> data_;
  std::optional<Outgoing> current_;
  std::size_t control_queued_ = 0;
  std::uint32_t payload_encrypted_ = 0;  // in the write buffer, reported when it has left
};

}  // namespace p2p
