// The agent's one open connection with the tracker: kept up, made again when it is lost.
//
// Control thread only. While it is down, what is sent is dropped: after the next welcome the owner
// says everything again.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "core/base/rng.h"
#include "io/config/config.h"
#include "io/identity/tls_context.h"
#include "io/net/connection.h"
#include "proto/control.pb.h"

namespace p2p {

class TrackerLink final : private Connection::Handler {
 public:
  struct Owner {
    // The connection stands: say hello.
    virtual void on_tracker_up() = 0;
    virtual void on_tracker_message(const proto::TrackerMessage& message) = 0;
    virtual void on_tracker_down(const Error& why) = 0;

   protected:
    ~Owner() = default;
  };

  TrackerLink(boost::asio::io_context& control, HostPort tracker, std::string cluster,
              std::uint16_t listen_port, Owner& owner, Rng rng);
  ~TrackerLink();

  void set_context(TlsContext client) { client_ = std::move(client); }
  void start();
  void stop();
  // The tracker does not want this node: it is dialled once a minute, without a word in the log.
  void set_slow(bool slow) { slow_ = slow; }
  bool up() const { return up_; }
  void send(const proto::AgentMessage& message);

 private:
  void dial_now();
  void retry_later();
  void lost(const Error& why);

  void on_open(const std::optional<Identity>& identity) override;
  void on_frame(const FrameHeader& header, Buffer body) override;
  void on_data_sent(std::uint32_t) override {}
  void on_closed(const Error& why) override;

  boost::asio::io_context& control_;
  HostPort tracker_;
  std::string cluster_;
  std::uint16_t listen_port_;
  Owner& owner_;
  Rng rng_;
  std::optional<TlsContext> client_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<Connection> connection_;
  bool up_ = false;
  bool stopped_ = false;
  bool slow_ = false;
  int failures_ = 0;
  std::string last_complaint_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
