// Statements, what is in them, certificates and tokens.
//
// A mutation cannot sign, so that what lies behind a good signature has targets of its own: there
// the input is the payload, and it is signed here.
#include <cstdlib>
#include <string>

#include "core/base/check.h"
#include "io/identity/certificates.h"
#include "io/identity/credentials.h"
#include "io/identity/deny_list.h"
#include "io/identity/pem.h"
#include "io/identity/ticket.h"
#include "io/identity/token.h"
#include "io/runtime/wall_clock.h"
#include "proto/statement.pb.h"
#include "tests/fuzz/target.h"

namespace p2p::fuzz {
namespace {

template <class T>
T must(Result<T> result) {
  if (!result) check_failed(result.error().detail.c_str(), __FILE__, __LINE__);
  return *std::move(result);
}

struct World {
  WallTime now = wall_now();
  std::string cluster = new_uuid();
  Credentials tracker;
  StatementSigner signer;
  StatementVerifier verifier;

  static World& get() {
    static World world = make();
    return world;
  }

 private:
  static World make() {
    const WallTime now = wall_now();
    const std::string cluster = new_uuid();
    Authority root;
    root.key_pem = must(generate_key());
    root.certificate_pem = must(make_root("fuzz", root.key_pem, now));
    Authority intermediate;
    intermediate.key_pem = must(generate_key());
    intermediate.certificate_pem = must(make_intermediate(root, "fuzz", intermediate.key_pem, now));
    CertificateSpec spec;
    Credentials tracker;
    tracker.key_pem = must(generate_key());
    spec.csr_pem = must(make_csr(tracker.key_pem));
    spec.identity = Identity{cluster, Role::tracker, new_uuid(), "tracker"};
    spec.not_before = now - kClockSkewAllowance;
    spec.not_after = now + std::chrono::hours(24 * 365);
    tracker.chain_pem = must(issue(intermediate, spec)) + intermediate.certificate_pem;
    tracker.bundle_pem = root.certificate_pem;
    auto signer = must(StatementSigner::make(tracker));
    auto verifier = must(StatementVerifier::make(root.certificate_pem, cluster));
    return World{now, cluster, tracker, std::move(signer), std::move(verifier)};
  }
  World(WallTime when, std::string id, Credentials credentials, StatementSigner signs,
        StatementVerifier verifies)
      : now(when),
        cluster(std::move(id)),
        tracker(std::move(credentials)),
        signer(std::move(signs)),
        verifier(std::move(verifies)) {}
};

Ticket some_ticket(WallTime now) {
  Ticket ticket;
  ticket.node = must(Result<NodeId>(*NodeId::parse("0b8c6a3e-4b39-4a8b-9a39-6f2f5d3d1c11")));
  ticket.node_name = "web1";
  ticket.content.digest.bytes.fill(7);
  ticket.issued = now;
  ticket.expires = now + kTicketLife;
  return ticket;
}

DenyList some_deny_list(WallTime now) {
  DenyList list;
  list.version = 3;
  list.issued = now;
  list.nodes.insert(*NodeId::parse("0b8c6a3e-4b39-4a8b-9a39-6f2f5d3d1c11"));
  return list;
}

// Bytes as they come from a peer. Whatever is believed was signed here.
void run_statement(Bytes input) {
  World& world = World::get();
  const std::string_view text = text_of(input);
  if (const auto ticket = verify_ticket(world.verifier, text, world.now)) {
    P2P_CHECK(ticket->content == some_ticket(world.now).content);
  }
  if (const auto list = verify_deny_list(world.verifier, text, world.now)) {
    P2P_CHECK(list->version == some_deny_list(world.now).version);
  }
}

std::vector<std::string> statement_seeds() {
  World& world = World::get();
  proto::Statement unsigned_one;
  unsigned_one.set_payload("payload");
  unsigned_one.set_signature(std::string(70, 's'));
  unsigned_one.add_chain("not DER");
  return {must(sign_ticket(world.signer, world.cluster, some_ticket(world.now))),
          must(sign_deny_list(world.signer, world.cluster, some_deny_list(world.now))),
          unsigned_one.SerializeAsString()};
}

void run_ticket(Bytes input) {
  World& world = World::get();
  const auto statement = world.signer.sign(Purpose::ticket, text_of(input));
  if (!statement) return;
  const auto ticket = verify_ticket(world.verifier, *statement, world.now);
  if (!ticket) return;
  // What is believed is valid now, and can be said again.
  P2P_CHECK(ticket->issued <= world.now + kStatementSkew);
  P2P_CHECK(ticket->expires + kStatementSkew > world.now);
  const auto again = must(sign_ticket(world.signer, world.cluster, *ticket));
  P2P_CHECK(must(verify_ticket(world.verifier, again, world.now)) == *ticket);
}

std::string payload_of(const std::string& statement) {
  proto::Statement parsed;
  P2P_CHECK(parsed.ParseFromString(statement));
  return parsed.payload();
}

std::vector<std::string> ticket_seeds() {
  World& world = World::get();
  return {payload_of(must(sign_ticket(world.signer, world.cluster, some_ticket(world.now))))};
}

void run_deny_list(Bytes input) {
  World& world = World::get();
  const auto statement = world.signer.sign(Purpose::deny_list, text_of(input));
  if (!statement) return;
  const auto list = verify_deny_list(world.verifier, *statement, world.now);
  if (!list) return;
  P2P_CHECK(list->version > 0 && list->nodes.size() <= kMaxDenied);
  const auto again = must(sign_deny_list(world.signer, world.cluster, *list));
  P2P_CHECK(must(verify_deny_list(world.verifier, again, world.now)) == *list);
}

std::vector<std::string> deny_list_seeds() {
  World& world = World::get();
  return {payload_of(must(sign_deny_list(world.signer, world.cluster, some_deny_list(world.now))))};
}

// What a joining node sends, and what it is told.
void run_certificates(Bytes input) {
  const std::string_view text = text_of(input);
  (void)identity_of(text);
  (void)spki_pin(text);
  (void)validity_of(text);
  (void)read_certificates(text, "input");
  (void)read_request(text, "input");
  (void)parse_identity(text);
}

std::vector<std::string> certificate_seeds() {
  const World& world = World::get();
  return {world.tracker.chain_pem, must(make_csr(world.tracker.key_pem)),
          "p2pd://0b8c6a3e-4b39-4a8b-9a39-6f2f5d3d1c11/agent/0b8c6a3e-4b39-4a8b-9a39-6f2f5d3d1c11"};
}

void run_token(Bytes input) {
  const auto token = parse_token(text_of(input));
  if (token) P2P_CHECK(must(parse_token(token->line())) == *token);
}

std::vector<std::string> token_seeds() {
  return {must(make_token(std::string(64, 'a'))).line()};
}

}  // namespace

std::vector<Target> identity_targets() {
  return {{"statement", run_statement, statement_seeds},
          {"ticket", run_ticket, ticket_seeds},
          {"deny_list", run_deny_list, deny_list_seeds},
          {"certificates", run_certificates, certificate_seeds},
          {"token", run_token, token_seeds}};
}

}  // namespace p2p::fuzz
