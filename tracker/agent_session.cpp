#include "tracker/agent_session.h"

#include <utility>

#include "io/wire/hello.h"

namespace p2p {

AgentSession::AgentSession(Owner& owner, std::shared_ptr<Connection> connection)
    : owner_(owner), connection_(std::move(connection)) {}

AgentSession::~AgentSession() {
  if (!refused_) connection_->close();
}

void AgentSession::send(const proto::TrackerMessage& message) {
  connection_->send(FrameType::control, 0, message.SerializeAsString());
}

void AgentSession::refuse(const Error& why, bool removed) {
  proto::TrackerMessage message;
  message.mutable_refusal()->set_code(std::string(to_string(why.code)));
  message.mutable_refusal()->set_detail(why.detail);
  message.mutable_refusal()->set_removed(removed);
  send(message);
  refused_ = true;
  connection_->close_after_sending();
}

void AgentSession::on_open(const std::optional<Identity>& identity) {
  if (identity) {
    node_ = NodeId::parse(identity->id);
    if (identity->role != Role::agent || !node_) {
      connection_->close();
      owner_.on_session_closed(*this,
                               Error{Errc::denied, peer() + ": the certificate is not an agent's"});
      return;
    }
  }
  connection_->send(FrameType::hello, 0, make_hello(0).SerializeAsString());
}

void AgentSession::on_frame(const FrameHeader& header, Buffer body) {
  const auto fail = [&](const Error& why) {
    connection_->close();
    owner_.on_session_closed(*this, why.within(peer()));
  };
  if (header.type == FrameType::hello && !greeted_) {
    auto hello = read_hello(body.span());
    if (!hello) return fail(hello.error());
    hello_ = std::move(*hello);
    greeted_ = true;
    owner_.on_session_open(*this);
    return;
  }
  if (!greeted_) return fail(Error{Errc::corrupt, "said something before Hello"});
  if (header.type != FrameType::control) return;  // a later version's frame
  proto::AgentMessage message;
  if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return fail(Error{Errc::corrupt, "sent a message that cannot be read"});
  }
  if (!node_ && !message.has_join()) {
    return fail(Error{Errc::denied, "has no certificate and may only join"});
  }
  // What follows a hello is work for every job that goes on.
  if (message.has_hello() && std::exchange(introduced_, true)) {
    return fail(Error{Errc::corrupt, "said AgentHello twice"});
  }
  owner_.on_session_message(*this, message);
}

void AgentSession::on_closed(const Error& why) {
  owner_.on_session_closed(*this, why);
}

}  // namespace p2p
