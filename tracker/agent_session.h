// One connection of an agent, or of a node that wants to join.
//
// Control thread. Decodes messages and hands them to the tracker; knows nothing of jobs.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/base/ids.h"
#include "io/net/connection.h"
#include "proto/control.pb.h"
#include "proto/peer.pb.h"

namespace p2p {

class AgentSession final : public Connection::Handler {
 public:
  // Called on the control thread. on_message is called after Hello has been exchanged; `node` is
  // nothing on a connection without a certificate, which may ask for nothing but to join.
  struct Owner {
    virtual void on_session_open(AgentSession& session) = 0;
    virtual void on_session_message(AgentSession& session, const proto::AgentMessage& message) = 0;
    // The session is destroyed soon after; nothing of it is called again.
    virtual void on_session_closed(AgentSession& session, const Error& why) = 0;

   protected:
    ~Owner() = default;
  };

  AgentSession(Owner& owner, std::shared_ptr<Connection> connection);
  ~AgentSession();

  void start() { connection_->start(this); }
  void send(const proto::TrackerMessage& message);
  // Says why, and whether it is because the node was removed, then closes. The owner hears nothing
  // more and may destroy the session: the connection looks after itself.
  void refuse(const Error& why, bool removed = false);
  void close() { connection_->close(); }

  std::optional<NodeId> node() const { return node_; }
  const std::string& peer() const { return connection_->peer(); }
  std::string remote_address() const { return connection_->remote_address(); }
  const proto::Hello& hello() const { return hello_; }

 private:
  void on_open(const std::optional<Identity>& identity) override;
  void on_frame(const FrameHeader& header, Buffer body) override;
  void on_data_sent(std::uint32_t) override {}
  void on_closed(const Error& why) override;

  Owner& owner_;
  std::shared_ptr<Connection> connection_;
  std::optional<NodeId> node_;
  proto::Hello hello_;
  bool greeted_ = false;
  bool introduced_ = false;  // has said AgentHello
  bool refused_ = false;
};

}  // namespace p2p
