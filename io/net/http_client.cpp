#include "io/net/http_client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <optional>
#include <utility>

#include "core/base/check.h"
#include "io/net/tls_failure.h"

namespace p2p {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using Request = http::request<http::string_body>;
using Parser = http::response_parser<http::string_body>;

constexpr std::uint32_t kMaxHeaderBytes = 64 * 1024;
constexpr std::size_t kBufferBytes = 256 * 1024;
constexpr Duration kStopCheck = std::chrono::milliseconds(200);
constexpr Duration kTimeForLastWords = std::chrono::seconds(1);

bool is_literal_address(const std::string& host) {
  in6_addr address;
  return ::inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

// The connection is over, whatever the reason.
bool is_end(const error_code& code) {
  return code == asio::error::eof || code == asio::ssl::error::stream_truncated ||
         code == asio::error::connection_reset || code == asio::error::broken_pipe ||
         code == http::error::end_of_stream || code == http::error::partial_message;
}

// Cuts what arrives into lines.
class LineCutter {
 public:
  LineCutter(const HttpClient::OnLine& on_line, std::size_t bytes_max)
      : on_line_(on_line), bytes_max_(bytes_max) {}

  enum class Outcome { go_on, told_to_end, line_too_long };
  Outcome add(std::string_view bytes) {
    std::size_t searched = pending_.size();
    pending_ += bytes;
    std::size_t begin = 0;
    for (;;) {
      const std::size_t end = pending_.find('\n', std::max(begin, searched));
      if (end == std::string::npos) break;
      if (!on_line_(std::string_view(pending_).substr(begin, end - begin))) {
        return Outcome::told_to_end;
      }
      begin = searched = end + 1;
    }
    pending_.erase(0, begin);
    return pending_.size() > bytes_max_ ? Outcome::line_too_long : Outcome::go_on;
  }
  // A last line without an end.
  void end() {
    if (!pending_.empty()) on_line_(pending_);
  }

 private:
  const HttpClient::OnLine& on_line_;
  const std::size_t bytes_max_;
  std::string pending_;
};

}  // namespace

class HttpClient::Impl {
 public:
  explicit Impl(HttpClientSettings settings) : settings_(std::move(settings)) {
    P2P_CHECK(settings_.context != nullptr && SSL_CTX_up_ref(settings_.context) == 1);
    const bool v6 = settings_.host.find(':') != std::string::npos;
    where_ =
        (v6 ? '[' + settings_.host + ']' : settings_.host) + ':' + std::to_string(settings_.port);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    stream_.reset();
    SSL_CTX_free(settings_.context);
  }

  Status connect();
  Result<HttpResponse> request(const std::string& method, const std::string& target,
                               std::string body, const OnLine* on_line,
                               const std::atomic<bool>* stop);

 private:
  using Stream = asio::ssl::stream<tcp::socket>;
  enum class End { done, timed_out, stopped };

  // Starts an asynchronous operation and waits for it, `limit` at most. When the wait ends early,
  // the socket is closed.
  template <class Start>
  End wait(Duration limit, error_code& code, Start&& start);
  Result<HttpResponse> try_request(Request& message, const OnLine* on_line);
  Result<HttpResponse> read_response(Parser& parser, const OnLine* on_line);
  // Nothing: more is to come. Otherwise how the answer ends.
  std::optional<Result<HttpResponse>> pass_lines(Parser& parser, LineCutter& lines);
  Error unreachable(const std::string& why) const {
    return Error{Errc::unavailable, "no tracker reachable at " + where_ + ": " + why};
  }
  Error early_end(End end) const;
  Error broken(const error_code& code);
  // After a failed write: the alert that says why the server hung up may still be there to read.
  error_code last_words(error_code code);
  void disconnect();

  HttpClientSettings settings_;
  std::string where_;
  asio::io_context io_;
  std::optional<Stream> stream_;
  boost::beast::flat_buffer buffer_;
  const std::atomic<bool>* stop_ = nullptr;
  std::string what_;       // "GET /v1/nodes", for messages
  bool answered_ = false;  // on this connection, at least one request
  bool stale_ = false;     // the last try failed because an idle connection was gone
};

template <class Start>
HttpClient::Impl::End HttpClient::Impl::wait(Duration limit, error_code& code, Start&& start) {
  const Clock::time_point begin = Clock::now();
  bool done = false;
  start([&](const error_code& result, auto&&...) {
    code = result;
    done = true;
  });
  End end = End::done;
  io_.restart();
  while (!done && end == End::done) {
    const Duration left = limit - (Clock::now() - begin);
    if (stop_ != nullptr && stop_->load()) {
      end = End::stopped;
    } else if (left <= Duration::zero()) {
      end = End::timed_out;
    } else {
      io_.run_one_for(std::min(left, kStopCheck));
    }
  }
  if (done) return End::done;
  error_code ignored;
  stream_->next_layer().close(ignored);
  while (!done) io_.run_one();
  return end;
}

void HttpClient::Impl::disconnect() {
  stream_.reset();
  buffer_.clear();
}

Status HttpClient::Impl::connect() {
  disconnect();
  answered_ = false;
  SSL* ssl = SSL_new(settings_.context);
  if (ssl == nullptr) return Error{Errc::exhausted, "no memory for a connection to " + where_};
  stream_.emplace(tcp::socket(io_), ssl);
  if (!is_literal_address(settings_.host)) SSL_set_tlsext_host_name(ssl, settings_.host.c_str());

  error_code code;
  tcp::resolver resolver(io_);
  const auto found = resolver.resolve(settings_.host, std::to_string(settings_.port), code);
  if (code) return unreachable("host name lookup failed: " + code.message());

  End end = wait(settings_.timeout, code, [&](auto done) {
    asio::async_connect(stream_->next_layer(), found, std::move(done));
  });
  if (end == End::stopped) return early_end(end);
  if (end == End::timed_out) {
    return unreachable("no answer within " + std::to_string(seconds(settings_.timeout)) + " s");
  }
  if (code) return unreachable(code.message());
  tcp::socket& socket = stream_->next_layer();
  ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);

  what_ = "TLS handshake";
  end = wait(settings_.timeout, code, [&](auto done) {
    stream_->async_handshake(asio::ssl::stream_base::client, std::move(done));
  });
  if (end != End::done) return early_end(end);
  if (code) return tls_failure(ssl, "TLS with the tracker at " + where_, code);
  return settings_.verify ? settings_.verify(ssl) : Status();
}

Error HttpClient::Impl::early_end(End end) const {
  if (end == End::stopped) return Error{Errc::cancelled, what_ + " was stopped"};
  return Error{Errc::timed_out, "the tracker at " + where_ + " gave no answer to " + what_ +
                                    " within " + std::to_string(seconds(settings_.timeout)) + " s"};
}

error_code HttpClient::Impl::last_words(error_code code) {
  if (!is_end(code)) return code;
  char byte = 0;
  error_code said;
  const End end = wait(kTimeForLastWords, said, [&](auto done) {
    stream_->async_read_some(asio::buffer(&byte, 1), std::move(done));
  });
  return end == End::done && said.category() == asio::error::get_ssl_category() ? said : code;
}

Error HttpClient::Impl::broken(const error_code& code) {
  const std::string what = what_ + " at the tracker " + where_;
  if (code.category() == asio::error::get_ssl_category()) {
    return tls_failure(stream_->native_handle(), what, code);
  }
  if (is_end(code)) {
    return Error{Errc::unavailable,
                 what +
                     ": the tracker closed the connection before its answer was whole; its log "
                     "may say why, and whether it did what was asked is not known"};
  }
  const bool not_http = code.category() == error_code(http::error::bad_method).category();
  return Error{not_http ? Errc::corrupt : Errc::unavailable,
               what + ": " + (not_http ? "not a good HTTP/1.1 answer: " : "") + code.message()};
}

Result<HttpResponse> HttpClient::Impl::request(const std::string& method, const std::string& target,
                                               std::string body, const OnLine* on_line,
                                               const std::atomic<bool>* stop) {
  stop_ = stop;
  Request message(http::string_to_verb(method), target, 11);
  message.set(http::field::host, where_);
  message.set(http::field::accept, "application/json");
  if (!body.empty()) message.set(http::field::content_type, "application/json");
  message.body() = std::move(body);
  message.prepare_payload();
  for (bool is_second = false;; is_second = true) {
    if (!stream_) {
      if (Status connected = connect(); !connected) {
        disconnect();
        return connected.error();
      }
    }
    what_ = method + ' ' + target;
    Result<HttpResponse> response = try_request(message, on_line);
    if (response) return response;
    disconnect();
    if (!stale_ || is_second || method != "GET") return response;
  }
}

Result<HttpResponse> HttpClient::Impl::try_request(Request& message, const OnLine* on_line) {
  stale_ = false;
  error_code code;
  End end = wait(settings_.timeout, code,
                 [&](auto done) { http::async_write(*stream_, message, std::move(done)); });
  if (end != End::done) return early_end(end);
  if (code) {
    stale_ = answered_ && is_end(code);
    return broken(last_words(code));
  }
  Parser parser;
  // Eagerly, Beast would keep a chunk that is here until the next one comes, because of the line
  // end between them.
  parser.eager(false);
  parser.header_limit(kMaxHeaderBytes);
  // Of a stream, the body is taken out as it comes.
  if (on_line != nullptr) {
    parser.body_limit(boost::none);
  } else {
    parser.body_limit(settings_.body_bytes_max);
  }
  return read_response(parser, on_line);
}

Result<HttpResponse> HttpClient::Impl::read_response(Parser& parser, const OnLine* on_line) {
  const OnLine nothing;
  LineCutter lines(on_line != nullptr ? *on_line : nothing, settings_.line_bytes_max);
  bool is_stream = false;
  while (!parser.is_done()) {
    error_code code;
    const Duration limit = is_stream ? Duration::max() : settings_.timeout;
    const End end = wait(limit, code, [&](auto done) {
      buffer_.reserve(kBufferBytes);
      http::async_read_some(*stream_, buffer_, parser, std::move(done));
    });
    if (end != End::done) return early_end(end);
    if (code) {
      stale_ = answered_ && is_end(code) && !parser.got_some();
      return broken(code);
    }
    is_stream = on_line != nullptr && parser.is_header_done() &&
                http::to_status_class(parser.get().result()) == http::status_class::successful;
    if (is_stream) {
      if (auto ended = pass_lines(parser, lines)) return std::move(*ended);
    } else if (parser.get().body().size() > settings_.body_bytes_max) {
      return Error{Errc::exhausted, what_ + ": the answer is over the limit of " +
                                        std::to_string(settings_.body_bytes_max) + " bytes"};
    }
  }
  if (is_stream) lines.end();
  answered_ = true;
  HttpResponse response;
  response.status = parser.get().result_int();
  response.content_type = std::string(parser.get()[http::field::content_type]);
  response.body = std::move(parser.get().body());
  if (!parser.keep_alive()) disconnect();
  return response;
}

std::optional<Result<HttpResponse>> HttpClient::Impl::pass_lines(Parser& parser,
                                                                 LineCutter& lines) {
  const std::string arrived = std::exchange(parser.get().body(), {});
  switch (lines.add(arrived)) {
    case LineCutter::Outcome::go_on:
      return std::nullopt;
    case LineCutter::Outcome::told_to_end: {
      HttpResponse response;
      response.status = parser.get().result_int();
      response.content_type = std::string(parser.get()[http::field::content_type]);
      // The rest of the stream is on its way here: nothing else can use this connection.
      disconnect();
      return response;
    }
    case LineCutter::Outcome::line_too_long:
      return Error{Errc::exhausted, what_ + ": a line is over the limit of " +
                                        std::to_string(settings_.line_bytes_max) + " bytes"};
  }
  return std::nullopt;
}

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpClient::~HttpClient() = default;

Result<std::unique_ptr<HttpClient>> HttpClient::connect(HttpClientSettings settings) {
  auto impl = std::make_unique<Impl>(std::move(settings));
  if (Status connected = impl->connect(); !connected) return connected.error();
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

Result<HttpResponse> HttpClient::request(const std::string& method, const std::string& target,
                                         std::string body) {
  return impl_->request(method, target, std::move(body), nullptr, nullptr);
}

Result<HttpResponse> HttpClient::request_stream(const std::string& method,
                                                const std::string& target, std::string body,
                                                const OnLine& on_line,
                                                const std::atomic<bool>* stop) {
  return impl_->request(method, target, std::move(body), &on_line, stop);
}

}  // namespace p2p
