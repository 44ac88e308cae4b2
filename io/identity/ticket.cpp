#include "io/identity/ticket.h"

#include "core/base/text.h"
#include "io/identity/certificates.h"
#include "io/runtime/wall_clock.h"
#include "proto/statement.pb.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxNameBytes = 64;
// The year 2242: beyond it a number of seconds is no time of a ticket.
constexpr std::int64_t kMaxSeconds = std::int64_t{1} << 33;

bool is_time(std::int64_t unix_time) {
  return unix_time >= 0 && unix_time <= kMaxSeconds;
}

}  // namespace

Result<std::string> sign_ticket(const StatementSigner& signer, const std::string& cluster,
                                const Ticket& ticket) {
  proto::Ticket payload;
  payload.set_cluster_id(cluster);
  payload.set_node_id(ticket.node.str());
  payload.set_node_name(ticket.node_name);
  payload.set_content_id(std::string(ticket.content.digest.view()));
  payload.set_issued_unix(unix_seconds(ticket.issued));
  payload.set_expires_unix(unix_seconds(ticket.expires));
  return signer.sign(Purpose::ticket, payload.SerializeAsString());
}

Result<Ticket> verify_ticket(StatementVerifier& verifier, std::string_view statement,
                             WallTime now) {
  const auto bytes = verifier.verify(Purpose::ticket, statement, now);
  if (!bytes) return bytes.error();
  proto::Ticket payload;
  const bool readable = payload.ParseFromString(*bytes);
  const auto node = NodeId::parse(payload.node_id());
  const auto content = ContentId::from_raw(payload.content_id());
  if (!readable || !node || !content || !is_time(payload.issued_unix()) ||
      !is_time(payload.expires_unix())) {
    return Error{Errc::corrupt, "ticket: it cannot be read"};
  }
  if (payload.cluster_id() != verifier.cluster()) {
    return Error{Errc::denied, "the ticket is of cluster " + printable(payload.cluster_id(), 64)};
  }
  Ticket ticket;
  ticket.node = *node;
  ticket.node_name = printable(payload.node_name(), kMaxNameBytes);
  ticket.content = *content;
  ticket.issued = from_unix_seconds(payload.issued_unix());
  ticket.expires = from_unix_seconds(payload.expires_unix());
  if (now + kStatementSkew < ticket.issued) {
    return Error{Errc::denied, "the ticket is not valid before " + utc_text(ticket.issued) +
                                   "; compare the clocks"};
  }
  if (now >= ticket.expires + kStatementSkew) {
    return Error{Errc::denied, "the ticket expired on " + utc_text(ticket.expires)};
  }
  return ticket;
}

}  // namespace p2p
