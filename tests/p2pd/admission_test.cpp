#include "p2pd/admission.h"

#include "io/identity/ticket.h"
#include "io/log/log.h"
#include "tests/io/identity/test_cluster.h"

namespace p2p {
namespace {

using test::must;
using test::TestCluster;

ContentId content(std::uint8_t n) {
  ContentId id;
  id.digest.bytes.fill(n);
  return id;
}

// A node's admission, and a tracker that signs.
struct Node {
  TestCluster cluster;
  StatementSigner signer = must(StatementSigner::make(cluster.member(Role::tracker)));
  StatementVerifier verifier =
      must(StatementVerifier::make(cluster.root.certificate_pem, cluster.id));
  Admission admission{verifier};
  WallTime now = test::wall_now();
  NodeId web1 = *NodeId::parse(new_uuid());
  NodeId web2 = *NodeId::parse(new_uuid());
  std::vector<std::string> log;

  Node() {
    set_log_sink([this](std::string_view line) { log.emplace_back(line); });
    admission.on_peer_up(web1, "web1");
    admission.on_peer_up(web2, "web2");
  }
  ~Node() { set_log_sink({}); }

  std::string ticket(NodeId node, const ContentId& of, Duration from = {}) const {
    return must(
        sign_ticket(signer, cluster.id, {node, "named", of, now + from, now + from + kTicketLife}));
  }
  std::string refusal(NodeId peer, const ContentId& of, const std::string& shown) {
    const Status admitted = admission.show(peer, of, shown, now);
    REQUIRE_FALSE(admitted);
    CHECK(admitted.error().code == Errc::denied);
    CHECK_FALSE(admission.admits(peer, of, now));
    return admitted.error().detail;
  }
};

TEST_CASE("A peer is admitted to the content of its ticket and to nothing else", "[p2pd]") {
  Node node;
  CHECK(node.admission.show(node.web1, content(1), node.ticket(node.web1, content(1)), node.now));
  CHECK(node.admission.admits(node.web1, content(1), node.now));
  CHECK_FALSE(node.admission.admits(node.web1, content(2), node.now));
  CHECK_FALSE(node.admission.admits(node.web2, content(1), node.now));
}

TEST_CASE("No ticket, an expired one, another node's and another content's: refused", "[p2pd]") {
  Node node;
  CHECK(node.refusal(node.web1, content(1), "") == "no ticket");
  CHECK_THAT(node.refusal(node.web1, content(1),
                          node.ticket(node.web1, content(1), -std::chrono::hours(25))),
             Catch::Contains("expired"));
  CHECK_THAT(node.refusal(node.web1, content(1), node.ticket(node.web2, content(1))),
             Catch::Contains("of another node"));
  CHECK_THAT(node.refusal(node.web1, content(1), node.ticket(node.web1, content(2))),
             Catch::Contains("another content"));
  CHECK_THAT(node.refusal(node.web1, content(1), "a ticket of my own"),
             Catch::Contains("cannot be read"));
}

TEST_CASE("An admission ends with its ticket, and a newer ticket prolongs it", "[p2pd]") {
  Node node;
  REQUIRE(node.admission.show(node.web1, content(1), node.ticket(node.web1, content(1)), node.now));
  const WallTime end = node.now + kTicketLife;
  CHECK(node.admission.admits(node.web1, content(1), end + std::chrono::minutes(4)));
  CHECK_FALSE(node.admission.admits(node.web1, content(1), end + std::chrono::minutes(6)));
  CHECK_THAT(node.admission.reason(node.web1, content(1)), Catch::Contains("expired"));

  const std::string newer = node.ticket(node.web1, content(1), std::chrono::hours(12));
  REQUIRE(node.admission.show(node.web1, content(1), newer, node.now + std::chrono::hours(12)));
  CHECK(node.admission.admits(node.web1, content(1), end + std::chrono::hours(11)));
}

TEST_CASE("Who is admitted stays so when it opens again without a ticket or with an older one",
          "[p2pd]") {
  Node node;
  const std::string old = node.ticket(node.web1, content(1), -std::chrono::hours(20));
  REQUIRE(node.admission.show(node.web1, content(1), node.ticket(node.web1, content(1)), node.now));
  CHECK(node.admission.show(node.web1, content(1), "", node.now));
  CHECK(node.admission.show(node.web1, content(1), old, node.now));
  CHECK(node.admission.show(node.web1, content(1), "bad", node.now));
  CHECK(node.admission.admits(node.web1, content(1), node.now + std::chrono::hours(23)));
}

TEST_CASE("Admissions end with the connection", "[p2pd]") {
  Node node;
  REQUIRE(node.admission.show(node.web1, content(1), node.ticket(node.web1, content(1)), node.now));
  node.admission.on_peer_down(node.web1);
  CHECK_FALSE(node.admission.admits(node.web1, content(1), node.now));
  CHECK_FALSE(
      node.admission.show(node.web1, content(1), node.ticket(node.web1, content(1)), node.now));
  node.admission.on_peer_up(node.web1, "web1");
  CHECK_FALSE(node.admission.admits(node.web1, content(1), node.now));
}

TEST_CASE("A refusal is logged once for a peer and a content, with the node's name", "[p2pd]") {
  Node node;
  CHECK(node.admission.refused(node.web1, content(1), "no ticket"));
  CHECK_FALSE(node.admission.refused(node.web1, content(1), "no ticket"));
  REQUIRE(node.log.size() == 1);
  CHECK_THAT(node.log[0], Catch::Contains("node=web1"));
  CHECK_THAT(node.log[0], Catch::Contains(node.web1.str()));
  CHECK_THAT(node.log[0], Catch::Contains("no ticket"));
  CHECK(node.admission.refused(node.web1, content(2), "no ticket"));
  CHECK(node.admission.refused(node.web2, content(1), "no ticket"));
  // Once it has been admitted, its ticket's end is news.
  REQUIRE(node.admission.show(node.web1, content(1), node.ticket(node.web1, content(1)), node.now));
  CHECK(node.admission.refused(node.web1, content(1), "expired"));
}

TEST_CASE("What one peer can make this node remember and check is bounded", "[p2pd]") {
  Node node;
  for (std::size_t i = 0; i < kMaxContentsOfPeer; ++i) {
    ContentId id;
    id.digest.bytes[0] = static_cast<std::uint8_t>(i);
    id.digest.bytes[1] = static_cast<std::uint8_t>(i >> 8);
    id.digest.bytes[2] = 1;
    CHECK(node.admission.refused(node.web1, id, "no ticket"));
  }
  CHECK_FALSE(node.admission.refused(node.web1, content(9), "no ticket"));
  CHECK_THAT(node.refusal(node.web1, content(9), node.ticket(node.web1, content(9))),
             Catch::Contains("4096"));
  CHECK(node.admission.refused(node.web2, content(9), "no ticket"));

  for (std::size_t i = 0; i < kMaxBadTickets; ++i) node.refusal(node.web2, content(1), "bad");
  CHECK_THAT(node.refusal(node.web2, content(1), node.ticket(node.web2, content(1))),
             Catch::Contains("too many"));
}

TEST_CASE("A node keeps one ticket of its own for a content", "[p2pd]") {
  Node node;
  CHECK(node.admission.own(content(1)).empty());
  CHECK(node.admission.keep_own(content(1), "a"));
  CHECK_FALSE(node.admission.keep_own(content(1), "a"));
  CHECK(node.admission.keep_own(content(1), "b"));
  CHECK(node.admission.own(content(1)) == "b");
  node.admission.drop_own(content(1));
  CHECK(node.admission.own(content(1)).empty());
}

}  // namespace
}  // namespace p2p
