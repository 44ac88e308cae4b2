#include "io/net/http_exchange.h"

#include <utility>

#include "core/base/check.h"

namespace p2p {

using Phase = HttpExchange::State::Phase;

HttpExchange::State::State(boost::asio::any_io_executor executor, HttpRequest request_value)
    : request(std::move(request_value)),
      changed(std::move(executor), boost::asio::steady_timer::time_point::max()) {}

void HttpExchange::State::close(bool client_gone) {
  if (std::exchange(closed, true)) return;
  chunks.clear();
  // Taken out first: the callbacks may hold the exchange and end its life.
  const std::function<void()> drop_drained = std::exchange(on_drained, nullptr);
  const std::function<void()> tell = std::exchange(on_closed, nullptr);
  notify();
  if (client_gone && tell) tell();
}

HttpExchange::HttpExchange(std::shared_ptr<State> state) : state_(std::move(state)) {}

HttpExchange::~HttpExchange() {
  if (state_->phase != Phase::pending && state_->phase != Phase::streaming) return;
  state_->phase = Phase::abandoned;
  state_->notify();
}

const HttpRequest& HttpExchange::request() const {
  return state_->request;
}

bool HttpExchange::closed() const {
  return state_->closed;
}

void HttpExchange::reply(HttpResponse response) {
  P2P_CHECK(state_->phase == Phase::pending);
  state_->phase = Phase::replied;
  state_->response = std::move(response);
  state_->notify();
}

void HttpExchange::start_stream(std::string content_type) {
  P2P_CHECK(state_->phase == Phase::pending);
  state_->phase = Phase::streaming;
  state_->is_stream = true;
  state_->response.content_type = std::move(content_type);
  state_->notify();
}

bool HttpExchange::stream(std::string chunk) {
  P2P_CHECK(state_->phase == Phase::streaming);
  if (state_->closed) return false;
  if (state_->queued_bytes > kMaxQueuedBytes) {
    state_->refused = true;
    return false;
  }
  if (chunk.empty()) return true;
  state_->queued_bytes += chunk.size();
  state_->chunks.push_back(std::move(chunk));
  state_->notify();
  return true;
}

void HttpExchange::finish() {
  P2P_CHECK(state_->phase == Phase::streaming);
  state_->phase = Phase::finished;
  state_->notify();
}

void HttpExchange::on_closed(std::function<void()> callback) {
  if (!state_->closed) {
    state_->on_closed = std::move(callback);
  } else if (state_->phase == Phase::pending || state_->phase == Phase::streaming) {
    callback();
  }
}

void HttpExchange::on_drained(std::function<void()> callback) {
  if (!state_->closed) state_->on_drained = std::move(callback);
}

}  // namespace p2p
