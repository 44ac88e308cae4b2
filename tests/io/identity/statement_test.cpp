#include "io/identity/statement.h"

#include "io/identity/ticket.h"
#include "io/runtime/wall_clock.h"
#include "proto/statement.pb.h"
#include "tests/io/identity/test_cluster.h"

namespace p2p {
namespace {

using test::kDay;
using test::must;
using test::TestCluster;

struct Signed {
  TestCluster cluster;
  Credentials tracker = cluster.member(Role::tracker);
  StatementVerifier verifier = verifier_of(cluster);
  WallTime now = test::wall_now();

  static StatementVerifier verifier_of(const TestCluster& of) {
    return must(StatementVerifier::make(of.root.certificate_pem, of.id));
  }
  static std::string by(const Credentials& signer, Purpose purpose, const std::string& payload) {
    return must(must(StatementSigner::make(signer)).sign(purpose, payload));
  }
  std::string ticket_bytes(const std::string& payload = "bytes") const {
    return by(tracker, Purpose::ticket, payload);
  }
  Errc refusal(Purpose purpose, const std::string& statement) {
    const auto verified = verifier.verify(purpose, statement, now);
    REQUIRE_FALSE(verified);
    CHECK_FALSE(verified.error().detail.empty());
    return verified.error().code;
  }
};

std::string changed(const std::string& statement,
                    const std::function<void(proto::Statement&)>& change) {
  proto::Statement parsed;
  REQUIRE(parsed.ParseFromString(statement));
  change(parsed);
  return parsed.SerializeAsString();
}

Ticket some_ticket(WallTime now) {
  Ticket ticket;
  ticket.node = *NodeId::parse(new_uuid());
  ticket.node_name = "web1";
  ticket.content.digest.bytes.fill(7);
  ticket.issued = now;
  ticket.expires = now + kTicketLife;
  return ticket;
}

TEST_CASE("A statement that the tracker signed gives its payload", "[io][identity]") {
  Signed s;
  CHECK(must(s.verifier.verify(Purpose::ticket, s.ticket_bytes("abc"), s.now)) == "abc");
  // The second one is checked with the key that is known by then.
  CHECK(must(s.verifier.verify(Purpose::ticket, s.ticket_bytes("def"), s.now)) == "def");
}

TEST_CASE("A changed payload or signature is refused, also of a signer that is known",
          "[io][identity]") {
  Signed s;
  const std::string good = s.ticket_bytes();
  for (const bool known : {false, true}) {
    INFO("signer known: " << known);
    CHECK(s.refusal(Purpose::ticket, changed(good, [](auto& statement) {
                      statement.mutable_payload()->back() ^= 1;
                    })) == Errc::corrupt);
    CHECK(s.refusal(Purpose::ticket, changed(good, [](auto& statement) {
                      statement.mutable_signature()->back() ^= 1;
                    })) == Errc::corrupt);
    CHECK(s.refusal(Purpose::ticket, changed(good, [](auto& statement) {
                      statement.clear_signature();
                    })) == Errc::corrupt);
    CHECK(s.verifier.verify(Purpose::ticket, good, s.now));
  }
}

TEST_CASE("A statement of one purpose is none of another", "[io][identity]") {
  Signed s;
  CHECK(s.refusal(Purpose::deny_list, s.ticket_bytes()) == Errc::corrupt);
  CHECK(s.refusal(Purpose::ticket, Signed::by(s.tracker, Purpose::deny_list, "bytes")) ==
        Errc::corrupt);
}

TEST_CASE("Only a tracker of the same cluster signs", "[io][identity]") {
  Signed s;
  for (const Role role : {Role::agent, Role::admin, Role::user}) {
    INFO(to_string(role));
    CHECK(s.refusal(Purpose::ticket, Signed::by(s.cluster.member(role), Purpose::ticket, "x")) ==
          Errc::denied);
  }
  const TestCluster stranger;
  CHECK(s.refusal(Purpose::ticket, Signed::by(stranger.member(Role::tracker), Purpose::ticket,
                                              "x")) == Errc::denied);
  // Below our root, but named as another cluster's.
  CHECK(s.refusal(Purpose::ticket, Signed::by(s.cluster.member_of(stranger.id, Role::tracker),
                                              Purpose::ticket, "x")) == Errc::denied);
}

TEST_CASE("An agent cannot borrow the tracker's certificate", "[io][identity]") {
  Signed s;
  const std::string tracker_statement = s.ticket_bytes();
  const std::string own = Signed::by(s.cluster.member(Role::agent), Purpose::ticket, "mine");
  proto::Statement borrowed;
  REQUIRE(borrowed.ParseFromString(tracker_statement));
  CHECK(s.refusal(Purpose::ticket, changed(own, [&](auto& statement) {
                    *statement.mutable_chain() = borrowed.chain();
                  })) == Errc::corrupt);
}

TEST_CASE("A signer's certificate counts for its life and five minutes more", "[io][identity]") {
  Signed s;
  const Validity life{s.now - 2 * kDay, s.now - kDay};
  const Credentials old = s.cluster.member(Role::tracker, life);
  // The intermediate of the test cluster is younger than that: only the end can be looked at here.
  const std::string statement =
      Signed::by(s.cluster.member(Role::tracker, {s.now - kClockSkewAllowance, s.now + kDay}),
                 Purpose::ticket, "x");
  const WallTime end = s.now + kDay;
  const Duration minute = std::chrono::minutes(1);
  CHECK(s.verifier.verify(Purpose::ticket, statement, end + 4 * minute));
  CHECK_FALSE(s.verifier.verify(Purpose::ticket, statement, end + 6 * minute));
  // The same for one that has not been seen before.
  StatementVerifier fresh = Signed::verifier_of(s.cluster);
  const auto late = fresh.verify(Purpose::ticket, statement, end + 6 * minute);
  REQUIRE_FALSE(late);
  CHECK(late.error().code == Errc::denied);
  CHECK_THAT(late.error().detail, Catch::Contains("expired"));
  CHECK(fresh.verify(Purpose::ticket, statement, end + 4 * minute));
  CHECK_FALSE(s.verifier.verify(Purpose::ticket, Signed::by(old, Purpose::ticket, "x"), s.now));
}

TEST_CASE("What is no statement is refused before anything is believed", "[io][identity]") {
  Signed s;
  const std::string good = s.ticket_bytes();
  CHECK(s.refusal(Purpose::ticket, "") == Errc::corrupt);
  CHECK(s.refusal(Purpose::ticket, std::string(500, '\xff')) == Errc::corrupt);
  CHECK(s.refusal(Purpose::ticket, good.substr(0, good.size() / 2)) == Errc::corrupt);
  CHECK(s.refusal(Purpose::ticket, changed(good, [](auto& statement) {
                    statement.clear_chain();
                  })) == Errc::corrupt);
  CHECK(s.refusal(Purpose::ticket, changed(good, [](auto& statement) {
                    statement.mutable_chain(0)->append("more");
                  })) == Errc::corrupt);
  CHECK(s.refusal(Purpose::ticket, changed(good, [](auto& statement) {
                    while (statement.chain_size() < 5) statement.add_chain(statement.chain(1));
                  })) == Errc::corrupt);
  CHECK(s.refusal(Purpose::ticket, changed(good, [](auto& statement) {
                    statement.mutable_chain()->RemoveLast();
                  })) == Errc::denied);
}

TEST_CASE("Statements that are too long are neither signed nor parsed", "[io][identity]") {
  Signed s;
  const StatementSigner signer = must(StatementSigner::make(s.tracker));
  const std::string longest(kMaxTicketBytes, 'x');
  CHECK(must(s.verifier.verify(Purpose::ticket, must(signer.sign(Purpose::ticket, longest)),
                               s.now)) == longest);
  CHECK_FALSE(signer.sign(Purpose::ticket, longest + "x"));
  CHECK(signer.sign(Purpose::deny_list, longest + "x"));
  CHECK(s.refusal(Purpose::ticket, std::string(kMaxTicketBytes + kMaxSignerBytes + 1, 'x')) ==
        Errc::invalid_argument);
  CHECK(s.refusal(Purpose::ticket, changed(s.ticket_bytes(), [](auto& statement) {
                    statement.set_payload(std::string(kMaxTicketBytes + 1, 'x'));
                  })) == Errc::corrupt);
  CHECK(s.refusal(Purpose::ticket, changed(s.ticket_bytes(), [](auto& statement) {
                    statement.set_signature(std::string(200, 'x'));
                  })) == Errc::corrupt);
}

TEST_CASE("A ticket comes out as it went in", "[io][identity]") {
  Signed s;
  const StatementSigner signer = must(StatementSigner::make(s.tracker));
  const Ticket ticket = some_ticket(s.now);
  const std::string statement = must(sign_ticket(signer, s.cluster.id, ticket));
  CHECK(must(verify_ticket(s.verifier, statement, s.now)) == ticket);
}

TEST_CASE("A ticket is valid from its issue to its end, five minutes either way",
          "[io][identity]") {
  Signed s;
  const StatementSigner signer = must(StatementSigner::make(s.tracker));
  Ticket ticket = some_ticket(s.now + std::chrono::hours(1));
  ticket.expires = s.now + std::chrono::hours(2);
  const std::string statement = must(sign_ticket(signer, s.cluster.id, ticket));
  const Duration minute = std::chrono::minutes(1);
  CHECK_FALSE(verify_ticket(s.verifier, statement, ticket.issued - 6 * minute));
  CHECK(verify_ticket(s.verifier, statement, ticket.issued - 4 * minute));
  CHECK(verify_ticket(s.verifier, statement, ticket.expires + 4 * minute));
  const auto late = verify_ticket(s.verifier, statement, ticket.expires + 6 * minute);
  REQUIRE_FALSE(late);
  CHECK(late.error().code == Errc::denied);
  CHECK_THAT(late.error().detail, Catch::Contains("expired"));
}

TEST_CASE("A ticket names its cluster, and what is none cannot be read", "[io][identity]") {
  Signed s;
  const StatementSigner signer = must(StatementSigner::make(s.tracker));
  const std::string foreign = must(sign_ticket(signer, new_uuid(), some_ticket(s.now)));
  const auto refused = verify_ticket(s.verifier, foreign, s.now);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::denied);
  for (const std::string payload : {"", "\x08\x01", "no ticket"}) {
    const auto unread =
        verify_ticket(s.verifier, must(signer.sign(Purpose::ticket, payload)), s.now);
    REQUIRE_FALSE(unread);
    CHECK(unread.error().code == Errc::corrupt);
  }
}

}  // namespace
}  // namespace p2p
