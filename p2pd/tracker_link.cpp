#include "p2pd/tracker_link.h"

#include <algorithm>

#include "core/model/manifest.h"
#include "io/log/log.h"
#include "io/net/listener.h"
#include "io/wire/hello.h"

namespace p2p {
namespace {

constexpr int kDialSeconds = 10;
// When a whole fleet comes back at once, its handshakes wait for each other at the tracker.
constexpr int kHandshakeSeconds = 30;
// Jittered, so that a fleet does not come back in one instant.
constexpr Duration kFirstRetry = std::chrono::milliseconds(250);
constexpr Duration kLongestRetry = std::chrono::seconds(10);
constexpr Duration kSlowRetry = std::chrono::minutes(1);

}  // namespace

TrackerLink::TrackerLink(boost::asio::io_context& control, HostPort tracker, std::string cluster,
                         std::uint16_t listen_port, Owner& owner, Rng rng)
    : control_(control),
      tracker_(std::move(tracker)),
      cluster_(std::move(cluster)),
      listen_port_(listen_port),
      owner_(owner),
      rng_(rng),
      timer_(control) {}

TrackerLink::~TrackerLink() {
  *alive_ = false;
  stop();
}

void TrackerLink::start() {
  dial_now();
}

void TrackerLink::stop() {
  stopped_ = true;
  timer_.cancel();
  if (connection_) connection_->close();
  connection_.reset();
  up_ = false;
}

void TrackerLink::send(const proto::AgentMessage& message) {
  if (up_) connection_->send(FrameType::control, 0, message.SerializeAsString());
}

void TrackerLink::dial_now() {
  dial(control_, tracker_.host, tracker_.port, kDialSeconds,
       [this, alive = alive_](Result<Connection::Socket> socket) {
         if (!*alive || stopped_) return;
         if (!socket) return lost(socket.error());
         Connection::Settings settings;
         settings.cluster = cluster_;
         settings.handshake_seconds = kHandshakeSeconds;
         // A publish queues a whole manifest body.
         settings.control_bytes_max = 2 * kMaxBodyBytes;
         connection_ =
             Connection::make(control_, std::move(*socket), *client_, Connection::Side::client,
                              settings, "tracker " + tracker_.str());
         connection_->start(this);
       });
}

void TrackerLink::lost(const Error& why) {
  const bool was_up = std::exchange(up_, false);
  connection_.reset();
  // Said once for each reason, not with every try.
  if (why.detail != last_complaint_ && !slow_) {
    log_warn("tracker", "no connection; trying again", {{"why", why.detail}});
    last_complaint_ = why.detail;
  }
  if (was_up) owner_.on_tracker_down(why);
  retry_later();
}

void TrackerLink::retry_later() {
  if (stopped_) return;
  const Duration pause =
      slow_ ? kSlowRetry : std::min(kLongestRetry, kFirstRetry * (1 << std::min(failures_, 6)));
  ++failures_;
  const auto jitter =
      Duration(static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(pause.count()))));
  timer_.expires_after(pause / 2 + jitter);
  timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive && !stopped_) dial_now();
  });
}

void TrackerLink::on_open(const std::optional<Identity>& identity) {
  if (!identity || identity->role != Role::tracker) {
    connection_->close();
    return lost(Error{Errc::denied, tracker_.str() + ": is no tracker of this cluster"});
  }
  connection_->send(FrameType::hello, 0, make_hello(listen_port_).SerializeAsString());
}

void TrackerLink::on_frame(const FrameHeader& header, Buffer body) {
  if (header.type == FrameType::hello && !up_) {
    const auto hello = read_hello(body.span());
    if (!hello) {
      connection_->close();
      return lost(hello.error().within("tracker " + tracker_.str()));
    }
    up_ = true;
    failures_ = 0;
    last_complaint_.clear();
    owner_.on_tracker_up();
    return;
  }
  if (header.type != FrameType::control || !up_) return;
  proto::TrackerMessage message;
  if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    connection_->close();
    return lost(Error{Errc::corrupt, "tracker " + tracker_.str() + ": sent what cannot be read"});
  }
  owner_.on_tracker_message(message);
}

void TrackerLink::on_closed(const Error& why) {
  lost(why);
}

}  // namespace p2p
