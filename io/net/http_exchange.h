// The part of an answer that its handler and its connection share. Inside io/net.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <string>

#include "io/net/http_server.h"

namespace p2p {

inline constexpr std::size_t kMaxQueuedBytes = 1024 * 1024;

struct HttpExchange::State {
  enum class Phase {
    pending,    // nothing said yet
    replied,    // `response` holds the answer
    streaming,  // `chunks` may still grow
    finished,   // what is in `chunks` is the rest
    abandoned,  // the handler let go of the exchange before its end
  };

  State(boost::asio::any_io_executor executor, HttpRequest request_value);

  // Ends the connection's wait on `changed`.
  void notify() { changed.cancel(); }
  // The client is gone or the answer is whole: the handler's calls do nothing from now on.
  void close(bool client_gone);

  HttpRequest request;
  Phase phase = Phase::pending;
  HttpResponse response;  // content_type also of a stream
  bool is_stream = false;
  std::deque<std::string> chunks;
  std::size_t queued_bytes = 0;  // in chunks and in the write under way
  bool refused = false;          // stream() has returned false since the last on_drained
  bool closed = false;
  std::function<void()> on_closed;
  std::function<void()> on_drained;
  boost::asio::steady_timer changed;  // never expires
};

}  // namespace p2p
