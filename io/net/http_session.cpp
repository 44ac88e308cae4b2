#include "io/net/http_session.h"

#include <openssl/ssl.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <utility>

#include "io/log/log.h"
#include "io/net/tls_failure.h"

namespace p2p {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using Phase = HttpExchange::State::Phase;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kFirstReadBytes = 4096;
constexpr std::size_t kMaxBufferBytes = 64 * 1024;
constexpr std::size_t kStreamWriteBytes = 64 * 1024;
constexpr std::size_t kBytesPerTimeout = 4 * 1024 * 1024;
constexpr std::size_t kMaxDrainedBytes = 16 * 1024 * 1024;
constexpr Duration kGoodbyeTime = std::chrono::seconds(2);

bool is_known_method(http::verb verb) {
  return verb == http::verb::get || verb == http::verb::post || verb == http::verb::put ||
         verb == http::verb::patch || verb == http::verb::delete_;
}

// Whether the client, rather than the network, is the reason.
bool is_bad_http(const error_code& code) {
  return code.category() == error_code(http::error::end_of_stream).category() &&
         code != http::error::end_of_stream && code != http::error::partial_message;
}

template <class Message>
void set_common_fields(Message& message, const std::string& content_type, bool keep_alive) {
  message.set(http::field::content_type, content_type);
  // Answers are about now, and only for the client that asked.
  message.set(http::field::cache_control, "no-store");
  message.keep_alive(keep_alive);
}

// Lets go of an exchange even when the io_context drops the coroutine half-way.
struct ExchangeEnd {
  std::shared_ptr<HttpExchange::State> exchange;
  ~ExchangeEnd() { exchange->close(/*client_gone=*/false); }
};

}  // namespace

HttpSession::HttpSession(asio::ip::tcp::socket socket, SSL* ssl,
                         std::shared_ptr<const HttpServerSettings> settings, std::string peer)
    : stream_(std::move(socket), ssl),
      settings_(std::move(settings)),
      peer_(std::move(peer)),
      buffer_(kMaxBufferBytes),
      input_changed_(stream_.get_executor(), asio::steady_timer::time_point::max()),
      deadline_(stream_.get_executor(), asio::steady_timer::time_point::max()) {}

asio::awaitable<void> HttpSession::run(std::shared_ptr<HttpSession> self) {
  bool go_on = co_await self->handshake();
  while (go_on) go_on = co_await self->serve_one();
  self->close();
}

void HttpSession::close() {
  if (std::exchange(closed_, true)) return;
  clear_deadline();
  error_code ignored;
  stream_.next_layer().close(ignored);
  if (exchange_) exchange_->close(/*client_gone=*/true);
}

asio::awaitable<bool> HttpSession::handshake() {
  set_deadline(settings_->handshake_timeout);
  const auto result = co_await stream_.async_handshake(asio::ssl::stream_base::server, kTuple);
  const error_code code = std::get<0>(result);
  // Also when the server has stopped meanwhile: only what the stop itself ended is no news.
  if (code && !(closed_ && code == asio::error::operation_aborted)) log_failed_handshake(code);
  if (closed_) co_return false;
  if (code) {
    // Closing with unread bytes would reset the connection, and the alert that says why be lost.
    set_deadline(kGoodbyeTime);
    if (!timed_out_) co_await drain(kMaxBufferBytes);
    co_return false;
  }
  Result<std::string> identity = settings_->authenticate(stream_.native_handle());
  if (identity) {
    identity_ = std::move(*identity);
  } else {
    denied_ = identity.error();
    log_warn("api", "client refused", {{"peer", peer_}, {"reason", denied_->detail}});
  }
  co_return true;
}

void HttpSession::log_failed_handshake(const error_code& code) const {
  SSL* ssl = const_cast<HttpSession*>(this)->stream_.native_handle();
  if (timed_out_) {
    log_warn("api", "TLS handshake failed", {{"peer", peer_}, {"reason", "timed out"}});
    return;
  }
  const std::string reason = tls_failure(ssl, "TLS", code).detail;
  // Whoever goes without having said a word is a port scan or a health check.
  const bool said_nothing =
      SSL_get_state(ssl) == TLS_ST_BEFORE && code.category() != asio::error::get_ssl_category();
  log_event(said_nothing ? LogLevel::debug : LogLevel::warn, "api", "TLS handshake failed",
            {{"peer", peer_}, {"reason", reason}});
}

asio::awaitable<bool> HttpSession::serve_one() {
  set_deadline(settings_->idle_timeout);
  start_reading();
  while (reading_) co_await input_changed_.async_wait(kTuple);
  if (input_ended_) co_return false;

  Parser parser;
  parser.header_limit(settings_->header_bytes_max);
  parser.body_limit(settings_->body_bytes_max);
  const error_code code = co_await read_request(parser);
  if (closed_) co_return false;
  if (code) {
    co_await refuse_unread(code);
    co_return false;
  }
  clear_deadline();
  const Form form{parser.get().version(), parser.get().keep_alive()};
  HttpRequest request = request_from(parser);
  if (denied_) {
    co_await refuse(403, *denied_);
    co_return false;
  }
  if (!is_known_method(parser.get().method())) {
    Error error{Errc::invalid_argument, "method is not one of GET, POST, PUT, PATCH and DELETE"};
    co_await refuse(405, std::move(error));
    co_return false;
  }
  if (Status parsed = parse_target(request); !parsed) {
    Error error = parsed.error();
    co_await refuse(400, std::move(error));
    co_return false;
  }
  co_return co_await handle(std::move(request), form);
}

asio::awaitable<error_code> HttpSession::read_request(Parser& parser) {
  const auto header = co_await http::async_read_header(stream_, buffer_, parser, kTuple);
  if (std::get<0>(header)) co_return std::get<0>(header);
  if (boost::beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    http::response<http::empty_body> go_on(http::status::continue_, 11);
    const auto sent = co_await http::async_write(stream_, go_on, kTuple);
    if (std::get<0>(sent)) co_return std::get<0>(sent);
  }
  const auto body = co_await http::async_read(stream_, buffer_, parser, kTuple);
  co_return std::get<0>(body);
}

HttpRequest HttpSession::request_from(Parser& parser) const {
  HttpRequest request;
  request.method = std::string(parser.get().method_string());
  request.target = std::string(parser.get().target());
  request.body = std::move(parser.get().body());
  request.identity = identity_;
  request.peer = peer_;
  return request;
}

asio::awaitable<bool> HttpSession::handle(HttpRequest request, Form form) {
  log_debug("api", "request",
            {{"method", request.method}, {"target", request.target}, {"identity", identity_}});
  exchange_ = std::make_shared<HttpExchange::State>(stream_.get_executor(), std::move(request));
  const ExchangeEnd end{exchange_};
  start_reading();
  settings_->handle(std::make_shared<HttpExchange>(exchange_));
  const bool is_whole = co_await answer(exchange_, form);
  // Without chunks, the end of the connection is the end of the stream.
  if (exchange_->is_stream && form.version < 11) form.keep_alive = false;
  exchange_->close(/*client_gone=*/!is_whole);
  exchange_.reset();
  if (is_whole && form.keep_alive) co_return true;
  if (is_whole) co_await end_gently();
  co_return false;
}

asio::awaitable<bool> HttpSession::answer(std::shared_ptr<HttpExchange::State> exchange,
                                          Form form) {
  while (exchange->phase == Phase::pending && !exchange->closed) {
    co_await exchange->changed.async_wait(kTuple);
  }
  if (exchange->closed) co_return false;
  if (exchange->is_stream) co_return co_await send_stream(exchange, form);
  if (exchange->phase == Phase::abandoned) {
    const Error error{Errc::io_failed, "the server gave no answer; its log may say why"};
    exchange->response = HttpResponse{500, "application/json", error_body(error)};
    log_error("api", "request without an answer", {{"target", exchange->request.target}});
  }
  co_return co_await send_reply(std::move(exchange->response), form);
}

asio::awaitable<bool> HttpSession::send_reply(HttpResponse response, Form form) {
  http::response<http::string_body> message;
  message.version(form.version);
  message.result(response.status);
  set_common_fields(message, response.content_type, form.keep_alive);
  message.body() = std::move(response.body);
  message.prepare_payload();
  set_deadline(time_to_send(message.body().size()));
  const auto sent = co_await http::async_write(stream_, message, kTuple);
  clear_deadline();
  co_return !std::get<0>(sent);
}

asio::awaitable<bool> HttpSession::send_stream(std::shared_ptr<HttpExchange::State> exchange,
                                               Form form) {
  const bool chunked = form.version >= 11;
  http::response<http::empty_body> head(http::status::ok, form.version);
  set_common_fields(head, exchange->response.content_type, chunked && form.keep_alive);
  if (chunked) head.chunked(true);
  http::response_serializer<http::empty_body> serializer(head);
  set_deadline(time_to_send(0));
  const auto sent = co_await http::async_write_header(stream_, serializer, kTuple);
  error_code code = std::get<0>(sent);
  while (!code && !exchange->closed) {
    if (!exchange->chunks.empty()) {
      code = co_await send_chunks(*exchange, chunked);
      continue;
    }
    if (exchange->phase != Phase::streaming) break;
    clear_deadline();
    co_await exchange->changed.async_wait(kTuple);
  }
  clear_deadline();
  if (code || exchange->phase != Phase::finished || exchange->closed) co_return false;
  if (!chunked) co_return true;
  set_deadline(time_to_send(0));
  const auto last = http::make_chunk_last();
  const auto ended = co_await asio::async_write(stream_, last, kTuple);
  clear_deadline();
  co_return !std::get<0>(ended);
}

asio::awaitable<error_code> HttpSession::send_chunks(HttpExchange::State& exchange, bool chunked) {
  std::string batch;
  while (!exchange.chunks.empty() && (batch.empty() || batch.size() < kStreamWriteBytes)) {
    batch += exchange.chunks.front();
    exchange.chunks.pop_front();
  }
  set_deadline(time_to_send(batch.size()));
  error_code code;
  if (chunked) {
    const auto chunk = http::make_chunk(asio::buffer(batch));
    const auto sent = co_await asio::async_write(stream_, chunk, kTuple);
    code = std::get<0>(sent);
  } else {
    const auto sent = co_await asio::async_write(stream_, asio::buffer(batch), kTuple);
    code = std::get<0>(sent);
  }
  exchange.queued_bytes -= batch.size();
  if (!code && exchange.chunks.empty() && std::exchange(exchange.refused, false)) {
    const std::function<void()> tell = exchange.on_drained;
    if (tell) tell();
  }
  co_return code;
}

asio::awaitable<void> HttpSession::refuse_unread(error_code code) {
  if (!is_bad_http(code)) co_return;
  if (code == http::error::body_limit) {
    Error error{Errc::invalid_argument, "request body is over the limit of " +
                                            std::to_string(settings_->body_bytes_max) + " bytes"};
    co_await refuse(413, std::move(error));
  } else if (code == http::error::header_limit || code == http::error::buffer_overflow) {
    Error error{Errc::invalid_argument, "request header is over the limit of " +
                                            std::to_string(settings_->header_bytes_max) + " bytes"};
    co_await refuse(431, std::move(error));
  } else {
    Error error{Errc::invalid_argument, "not an HTTP/1.1 request: " + code.message()};
    co_await refuse(400, std::move(error));
  }
}

asio::awaitable<void> HttpSession::refuse(unsigned status, Error error) {
  log_debug("api", "request refused",
            {{"peer", peer_}, {"status", status}, {"reason", error.detail}});
  HttpResponse response;
  response.status = status;
  response.body = error_body(error);
  const bool sent = co_await send_reply(std::move(response), Form());
  if (sent) co_await end_gently();
}

// Lets the answer arrive before the connection goes: what the client still sends is read and thrown
// away for a while, because closing with unread bytes would reset the connection.
asio::awaitable<void> HttpSession::end_gently() {
  set_deadline(kGoodbyeTime);
  // Says goodbye, and returns with the client's, or with an error when it goes on sending.
  co_await stream_.async_shutdown(kTuple);
  if (!reading_) co_await drain(kMaxDrainedBytes);
}

asio::awaitable<void> HttpSession::drain(std::size_t bytes_max) {
  asio::ip::tcp::socket& socket = stream_.next_layer();
  error_code code;
  socket.shutdown(asio::ip::tcp::socket::shutdown_send, code);
  std::array<char, 16384> scratch;
  for (std::size_t drained = 0; !code && drained < bytes_max;) {
    const auto result = co_await socket.async_read_some(asio::buffer(scratch), kTuple);
    code = std::get<0>(result);
    drained += std::get<1>(result);
  }
}

void HttpSession::start_reading() {
  if (reading_ || input_ended_ || buffer_.size() > 0) return;
  reading_ = true;
  stream_.async_read_some(buffer_.prepare(kFirstReadBytes),
                          [self = shared_from_this()](const error_code& code, std::size_t bytes) {
                            self->reading_ = false;
                            self->buffer_.commit(bytes);
                            self->input_ended_ = static_cast<bool>(code);
                            self->input_changed_.cancel();
                            if (code && self->exchange_) self->exchange_->close(true);
                          });
}

void HttpSession::set_deadline(Duration from_now) {
  if (closed_) return;
  deadline_.expires_after(from_now);
  deadline_.async_wait([weak = weak_from_this()](const error_code& code) {
    const auto self = weak.lock();
    // A timer that was set anew may have fired before.
    if (code || !self || self->deadline_.expiry() > std::chrono::steady_clock::now()) return;
    self->timed_out_ = true;
    error_code ignored;
    self->stream_.next_layer().close(ignored);
  });
}

void HttpSession::clear_deadline() {
  deadline_.expires_at(asio::steady_timer::time_point::max());
}

Duration HttpSession::time_to_send(std::size_t bytes) const {
  return settings_->idle_timeout * static_cast<Duration::rep>(1 + bytes / kBytesPerTimeout);
}

}  // namespace p2p
