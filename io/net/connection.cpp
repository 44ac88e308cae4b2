#include "io/net/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "io/net/tls_bio.h"

namespace p2p {
namespace {

namespace asio = boost::asio;

// Ciphertext gathered before it is handed to the kernel in one call.
constexpr std::size_t kWriteBufferBytes = 128 * 1024;
// One read from the socket takes up to this much.
constexpr std::size_t kReadAheadBytes = 128 * 1024;
// Bytes read in one go before other connections of the thread get their turn.
constexpr std::size_t kTurnBytes = 1024 * 1024;
// The same for bytes that are only thrown away.
constexpr std::size_t kDrainTurnBytes = 64 * 1024;
constexpr std::size_t kRecordBytes = 16 * 1024;
// Bytes that the kernel holds unsent: what is behind them can still be overtaken.
constexpr int kUnsentLowWater = 128 * 1024;
// Most bytes to wait for: the receive buffer must hold them, and a wake-up for each is cheap
// enough.
constexpr std::size_t kLowWaterMax = 64 * 1024;
// A peer that acknowledges nothing for this long is gone.
constexpr int kUserTimeoutMs = 30'000;

void set_options(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  const int idle_seconds = 15;
  const int interval_seconds = 5;
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_seconds, sizeof interval_seconds);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMs, sizeof kUserTimeoutMs);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kUnsentLowWater, sizeof kUnsentLowWater);
}

}  // namespace

struct Connection::Tls {
  SSL* ssl = nullptr;
  TlsRecordReader in;
  std::vector<std::uint8_t> out;
  std::size_t out_sent = 0;

  ~Tls() { SSL_free(ssl); }
};

std::shared_ptr<Connection> Connection::make(asio::io_context& loop, Socket socket,
                                             const TlsContext& tls, Side side, Settings settings,
                                             std::string peer) {
  return std::shared_ptr<Connection>(
      new Connection(loop, std::move(socket), tls, side, std::move(settings), std::move(peer)));
}

Connection::Connection(asio::io_context& loop, Socket socket, const TlsContext& tls, Side side,
                       Settings settings, std::string peer)
    : loop_(loop),
      socket_(std::move(socket)),
      timer_(loop),
      tls_(std::make_unique<Tls>()),
      settings_(std::move(settings)),
      peer_(std::move(peer)) {
  boost::system::error_code ignored;
  socket_.non_blocking(true, ignored);
  set_options(socket_.native_handle());
  tls_->ssl = SSL_new(tls.get());
  P2P_CHECK(tls_->ssl != nullptr);
  tls_->out.reserve(kWriteBufferBytes + 2 * kRecordBytes);
  SSL_set_read_ahead(tls_->ssl, 1);
  SSL_set_default_read_buffer_len(tls_->ssl, kReadAheadBytes);
  tls_->in.fd = socket_.native_handle();
  SSL_set_bio(tls_->ssl, make_reader_bio(tls_->in), make_vector_bio(tls_->out));
  if (side == Side::server) {
    SSL_set_accept_state(tls_->ssl);
  } else {
    SSL_set_connect_state(tls_->ssl);
  }
}

Connection::~Connection() = default;

void Connection::start(Handler* handler) {
  const auto self = shared_from_this();  // the handler may let go of us when it hears of an end
  handler_ = handler;
  timer_.expires_after(std::chrono::seconds(settings_.handshake_seconds));
  timer_.async_wait([self](boost::system::error_code error) {
    if (!error && !self->open_ && !self->closed_) {
      self->fail(Error{Errc::timed_out, self->peer_ + ": no TLS handshake within " +
                                            std::to_string(self->settings_.handshake_seconds) +
                                            " s"});
    }
  });
  pump();
}

void Connection::send(FrameType type, std::uint16_t channel, std::string_view body,
                      std::uint8_t flags) {
  if (closed_ || closing_) return;
  const auto self = shared_from_this();
  P2P_CHECK(body.size() <= kMaxFrameBytes);
  Outgoing frame;
  frame.bytes = Buffer(kFrameHeaderBytes + body.size());
  const auto header =
      encode_header({static_cast<std::uint32_t>(body.size()), type, flags, channel});
  std::memcpy(frame.bytes.data(), header.data(), header.size());
  if (!body.empty()) std::memcpy(frame.bytes.data() + header.size(), body.data(), body.size());
  control_queued_ += frame.bytes.size();
  control_.push_back(std::move(frame));
  if (control_queued_ > settings_.control_bytes_max) {
    asio::post(loop_, [self] {
      self->fail(Error{Errc::exhausted, self->peer_ + ": does not read what it is sent"});
    });
    return;
  }
  if (control_queued_ < kRecordBytes) return write_soon();
  if (open_ && !writing_) write_frames();
}

void Connection::send_data(Buffer frame, std::uint32_t payload_bytes) {
  if (closed_ || closing_) return;
  const auto self = shared_from_this();
  const bool is_short = frame.size() < kRecordBytes;
  data_.push_back({std::move(frame), 0, payload_bytes, true});
  if (is_short) return write_soon();
  if (open_ && !writing_) write_frames();
}

void Connection::set_reading(bool reading) {
  if (paused_ == !reading) return;
  paused_ = !reading;
  // Not only when the socket is readable: OpenSSL may hold whole frames already.
  if (reading) asio::post(loop_, [self = shared_from_this()] { self->pump(); });
}

void Connection::close() {
  handler_ = nullptr;
  // What write_soon() has put off.
  if (open_ && !closed_ && !draining_ && !writing_) write_frames();
  shut();
}

void Connection::close_after_sending() {
  if (closed_) return;
  handler_ = nullptr;
  closing_ = true;
  data_.clear();
  timer_.expires_after(std::chrono::seconds(2));
  timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (!error) self->shut();
  });
  if (open_ && !writing_) write_frames();
}

std::string Connection::remote_address() const {
  boost::system::error_code error;
  const auto end = socket_.remote_endpoint(error);
  if (error) return {};
  auto address = end.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  return address.to_string();
}

void Connection::pump() {
  if (closed_) return;
  if (draining_) return drain();
  if (open_ && closing_) return;  // finish_sending() reads the rest away
  if (!open_ && !handshake()) return;
  read_frames();
  if (!closed_ && open_ && !writing_) write_frames();
}

// True when the handshake is done and the connection is open.
bool Connection::handshake() {
  ERR_clear_error();
  tls_->in.turn_left = kTurnBytes;
  const int result = SSL_do_handshake(tls_->ssl);
  if (result == 1) {
    if (!flush() || closed_) return false;
    std::optional<Identity> identity;
    const bool anonymous = SSL_get0_peer_certificate(tls_->ssl) == nullptr;
    if (!anonymous && !settings_.cluster.empty()) {
      auto checked = peer_identity(tls_->ssl, settings_.cluster);
      if (!checked) {
        refuse(checked.error().within(peer_));
        return false;
      }
      identity = std::move(*checked);
    }
    open_ = true;
    timer_.cancel();
    if (handler_ != nullptr) handler_->on_open(identity);
    return !closed_;
  }
  const int why = SSL_get_error(tls_->ssl, result);
  if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
    refuse(tls_error(tls_->ssl, peer_ + ": TLS handshake"));
    return false;
  }
  if (flush()) read_more();
  return false;
}

void Connection::read_frames() {
  if (in_read_) return;
  in_read_ = true;
  tls_->in.turn_left = kTurnBytes;
  while (!closed_ && !closing_ && !paused_) {
    if (header_have_ < kFrameHeaderBytes) {
      if (!read_into(header_bytes_.data(), kFrameHeaderBytes, header_have_)) break;
      header_ = decode_header(header_bytes_);
      if (header_.length > kMaxFrameBytes) {
        fail(Error{Errc::corrupt, peer_ + ": sent a frame of " + std::to_string(header_.length) +
                                      " bytes, over the limit"});
        break;
      }
      body_ = Buffer(header_.length);
      body_have_ = 0;
    }
    if (!read_into(body_.data(), body_.size(), body_have_)) break;
    header_have_ = 0;
    if (handler_ != nullptr) handler_->on_frame(header_, std::move(body_));
  }
  in_read_ = false;
  if (!closed_ && !closing_ && !paused_) read_more();
}

// True when `have` has reached `wanted`; false: wait for more, or closed.
bool Connection::read_into(std::uint8_t* into, std::size_t wanted, std::size_t& have) {
  while (have < wanted) {
    ERR_clear_error();
    std::size_t count = 0;
    const int result = SSL_read_ex(tls_->ssl, into + have, wanted - have, &count);
    if (result == 1) {
      have += count;
      continue;
    }
    const int why = SSL_get_error(tls_->ssl, result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return false;
    if (why == SSL_ERROR_ZERO_RETURN) {
      fail(Error{Errc::unavailable, peer_ + ": closed the connection"});
    } else {
      Error broken = tls_error(tls_->ssl, peer_);
      // Bytes that do not decrypt are anybody's: unlike a frame, they say nothing about the peer.
      if (broken.code == Errc::corrupt) broken.code = Errc::unavailable;
      fail(broken);
    }
    return false;
  }
  return true;
}

void Connection::write_frames() {
  if (in_write_) return;
  in_write_ = true;
  write_queued();
  in_write_ = false;
}

// More frames may be on their way to this thread: they go out together.
void Connection::write_soon() {
  if (!open_ || writing_ || in_read_ || write_due_) return;
  write_due_ = true;
  asio::post(loop_, [self = shared_from_this()] {
    self->write_due_ = false;
    if (!self->closed_ && !self->draining_ && !self->writing_) self->write_frames();
  });
}

void Connection::write_queued() {
  while (!closed_ && !writing_) {
    while (tls_->out.size() - tls_->out_sent < kWriteBufferBytes && encrypt_some()) {
    }
    if (closed_) return;
    if (tls_->out.size() == tls_->out_sent) {
      if (closing_) finish_sending();
      return;
    }
    if (!flush()) return;
  }
}

bool Connection::short_frame_follows() const {
  const std::deque<Outgoing>& queue = control_.empty() ? data_ : control_;
  return !queue.empty() && queue.front().bytes.size() < kRecordBytes;
}

// Takes the next frame into hand; false when there is none.
bool Connection::next_frame() {
  std::deque<Outgoing>& queue = control_.empty() ? data_ : control_;
  if (queue.empty()) return false;
  current_ = std::move(queue.front());
  queue.pop_front();
  if (!current_->data) control_queued_ -= current_->bytes.size();
  return true;
}

// Encrypts one record's worth of the next frame, or of several short ones; false when there is
// none.
bool Connection::encrypt_some() {
  if (!current_ && !next_frame()) return false;
  std::array<std::uint8_t, kRecordBytes> together;
  std::size_t filled = 0;
  std::uint32_t payload = 0;
  do {
    const auto rest = current_->bytes.span().subspan(current_->sent);
    const auto piece = rest.first(std::min(kRecordBytes - filled, rest.size()));
    const bool last = piece.size() == rest.size();
    if (filled == 0 && (!last || !short_frame_follows())) {
      current_->sent += piece.size();
      if (!last) return encrypt(piece, 0);
      const Outgoing frame = std::move(*current_);
      current_.reset();
      return encrypt(frame.bytes.span().last(piece.size()), frame.payload);
    }
    std::memcpy(together.data() + filled, piece.data(), piece.size());
    filled += piece.size();
    current_->sent += piece.size();
    if (!last) break;
    payload += current_->payload;
    current_.reset();
  } while (filled < kRecordBytes && short_frame_follows() && next_frame());
  return encrypt(std::span(together).first(filled), payload);
}

// `payload`: of the frames that end in it.
bool Connection::encrypt(std::span<const std::uint8_t> plaintext, std::uint32_t payload) {
  ERR_clear_error();
  std::size_t written = 0;
  if (SSL_write_ex(tls_->ssl, plaintext.data(), plaintext.size(), &written) != 1) {
    fail(tls_error(tls_->ssl, peer_));
    return false;
  }
  payload_encrypted_ += payload;
  return true;
}

// Hands the ciphertext to the kernel; false when it did not take all (a wait is pending) or failed.
bool Connection::flush() {
  while (tls_->out_sent < tls_->out.size()) {
    const ssize_t count = ::send(socket_.native_handle(), tls_->out.data() + tls_->out_sent,
                                 tls_->out.size() - tls_->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      tls_->out_sent += static_cast<std::size_t>(count);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait_writable();
      return false;
    }
    fail(Error{Errc::unavailable, peer_ + ": " + std::strerror(errno)});
    return false;
  }
  tls_->out.clear();
  tls_->out_sent = 0;
  const std::uint32_t payload = std::exchange(payload_encrypted_, 0);
  if (payload > 0 && handler_ != nullptr) handler_->on_data_sent(payload);
  return !closed_;
}

// At 100 Mbit/s packets come one by one, and each would wake this thread. In the middle of a frame
// it is known how many bytes are still to come: the kernel wakes us when they are there.
void Connection::set_low_water() {
  std::size_t wanted = 1;
  if (open_ && header_have_ == kFrameHeaderBytes) {
    wanted = tls_->in.missing_for(body_.size() - body_have_);
  }
  const int low_water = static_cast<int>(std::clamp<std::size_t>(wanted, 1, kLowWaterMax));
  if (low_water == low_water_) return;
  low_water_ = low_water;
  ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof low_water);
}

// Goes on with reading when the others had their turn, or when something arrives.
void Connection::read_more() {
  if (tls_->in.turn_left > 0) return wait_readable();
  asio::post(loop_, [self = shared_from_this()] { self->pump(); });
}

void Connection::wait_readable() {
  if (reading_ || closed_) return;
  reading_ = true;
  if (!draining_) set_low_water();
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](boost::system::error_code e) {
    self->reading_ = false;
    if (!e) self->pump();
  });
}

void Connection::wait_writable() {
  if (writing_ || closed_) return;
  writing_ = true;
  socket_.async_wait(Socket::wait_write, [self = shared_from_this()](boost::system::error_code e) {
    self->writing_ = false;
    if (e || self->closed_ || self->draining_) return;
    if (!self->open_) {
      if (self->flush()) self->pump();
      return;
    }
    self->write_frames();
  });
}

// Everything is with the kernel. To close with unread bytes in the socket would reset the
// connection, and the other side might never read what was said last: it closes, or the timer does.
void Connection::finish_sending() {
  boost::system::error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  draining_ = true;
  drain();
}

void Connection::fail(const Error& why) {
  if (closed_) return;
  Handler* handler = std::exchange(handler_, nullptr);
  shut();
  if (handler != nullptr) handler->on_closed(why);
}

// As fail(), but the other side gets to read why: a socket that is closed with unread bytes in it
// resets the connection, and a reset overtakes the alert.
void Connection::refuse(const Error& why) {
  Handler* handler = std::exchange(handler_, nullptr);
  flush();
  if (!closed_) {
    boost::system::error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
    timer_.expires_after(std::chrono::seconds(1));
    timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (!error) self->shut();
    });
    draining_ = true;
    drain();
  }
  if (handler != nullptr) handler->on_closed(why);
}

// Throws away what arrives until the other side closes; one that goes on sending gets its turns
// until the timer ends it, and not more.
void Connection::drain() {
  std::array<std::uint8_t, 16 * 1024> waste;
  for (std::size_t taken = 0; !closed_ && taken < kDrainTurnBytes;) {
    const ssize_t count = ::recv(socket_.native_handle(), waste.data(), waste.size(), MSG_DONTWAIT);
    if (count > 0) {
      taken += static_cast<std::size_t>(count);
    } else if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
      shut();
    } else {
      break;
    }
  }
  wait_readable();
}

void Connection::shut() {
  if (closed_) return;
  closed_ = true;
  boost::system::error_code ignored;
  timer_.cancel();
  socket_.shutdown(Socket::shutdown_both, ignored);
  socket_.close(ignored);
  control_.clear();
  data_.clear();
}

}  // namespace p2p
