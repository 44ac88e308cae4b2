#include "io/run/launcher_client.h"

#include "io/privileged/helper_channel.h"
#include "io/run/run_order.h"

namespace p2p {

Status LauncherClient::start(const proto::RunOrder& order) {
  if (Status checked = check_run_order(order); !checked) return checked;
  const auto memory = seal_bytes(order.SerializeAsString(), "order");
  if (!memory) return memory.error();
  return ask(proto::LauncherRequest::START, *RunId::from_raw(order.id()), memory->get());
}

Status LauncherClient::cancel(const RunId& id) {
  return ask(proto::LauncherRequest::CANCEL, id, -1);
}

Status LauncherClient::remove(const RunId& id) {
  return ask(proto::LauncherRequest::REMOVE, id, -1);
}

bool LauncherClient::is_gone() const {
  return is_helper_channel_closed(socket_.get());
}

Status LauncherClient::ask(proto::LauncherRequest::Kind kind, const RunId& id, int file) {
  const std::lock_guard lock(mutex_);
  proto::LauncherRequest request;
  request.set_number(++last_number_);
  request.set_kind(kind);
  request.set_id(id.raw());
  if (Status sent = send_to_helper_channel(socket_.get(), request.SerializeAsString(), file);
      !sent) {
    return sent;
  }
  const auto message = receive_from_helper_channel(socket_.get(), /*files_expected=*/false);
  if (!message) return Error{Errc::unavailable, message.error().detail};
  proto::LauncherReply reply;
  if (!*message || !reply.ParseFromString((*message)->bytes) || reply.number() != last_number_) {
    return Error{Errc::unavailable, "the process that starts runs is gone; its log says why"};
  }
  if (reply.error().empty()) return {};
  return Error{errc_from(reply.error()).value_or(Errc::io_failed), reply.detail()};
}

}  // namespace p2p
