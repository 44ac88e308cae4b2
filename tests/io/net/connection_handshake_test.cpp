// Who gets in, and what the others are told.
#include <string>

#include "io/net/connection.h"
#include "tests/io/net/connection_fixture.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;
using test::client_context;
using test::HandMade;
using test::must;
using test::only_reason;
using test::other_cluster;
using test::our_cluster;
using test::Pair;
using test::PairSetup;

}  // namespace

TEST_CASE("Both ends of a connection learn who the other one is", "[io][net]") {
  PairSetup setup;
  const Credentials client = our_cluster().member(Role::agent);
  const Credentials server = our_cluster().member(Role::tracker);
  setup.client_tls = must(make_client_context(client, {kAlpn}));
  setup.server_tls = must(make_server_context(server, {kAlpn}, ClientCertificate::required));
  Pair pair(setup);
  pair.open();
  CHECK(pair.at_client.identity == must(identity_of(server.chain_pem)));
  CHECK(pair.at_server.identity == must(identity_of(client.chain_pem)));
  CHECK(pair.client->remote_address() == "127.0.0.1");
}

TEST_CASE("A peer of another cluster is refused with one clear line on both sides", "[io][net]") {
  PairSetup setup;
  SECTION("with authorities of its own") {
    setup.client_tls = client_context(other_cluster());
    Pair pair(setup);
    pair.start();
    REQUIRE(pair.run_until(
        [&] { return !pair.at_client.closed.empty() && !pair.at_server.closed.empty(); }));
    const Error client = only_reason(pair.at_client, "server n1");
    CHECK(client.code == Errc::denied);
    CHECK_THAT(client.detail, Contains("does not lead to a root that we trust"));
    const Error server = only_reason(pair.at_server, "client n2");
    CHECK(server.code == Errc::denied);
    CHECK_THAT(server.detail, Contains("does not trust the root of our certificate"));
    CHECK(pair.at_client.opened + pair.at_server.opened == 0);
  }
  SECTION("whose authority the client trusts, but not the server") {
    Credentials both = other_cluster().member(Role::agent);
    both.bundle_pem += our_cluster().root.certificate_pem;
    setup.client_tls = must(make_client_context(both, {kAlpn}));
    Pair pair(setup);
    pair.start();
    REQUIRE(pair.run_until(
        [&] { return !pair.at_client.closed.empty() && !pair.at_server.closed.empty(); }));
    const Error server = only_reason(pair.at_server, "client n2");
    CHECK(server.code == Errc::denied);
    CHECK_THAT(server.detail, Contains("does not lead to a root that we trust"));
    const Error client = only_reason(pair.at_client, "server n1");
    CHECK(client.code == Errc::denied);
    CHECK_THAT(client.detail, Contains("does not trust the root of our certificate"));
    CHECK(pair.at_server.opened == 0);
  }
  SECTION("under the same authority") {
    const std::string id = new_uuid();
    setup.client.cluster = id;
    setup.client_tls = must(make_client_context(our_cluster().member_of(id, Role::agent), {kAlpn}));
    Pair pair(setup);
    pair.start();
    REQUIRE(pair.run_until(
        [&] { return !pair.at_client.closed.empty() && !pair.at_server.closed.empty(); }));
    const Error client = only_reason(pair.at_client, "server n1");
    const Error server = only_reason(pair.at_server, "client n2");
    CHECK(client.code == Errc::denied);
    CHECK(server.code == Errc::denied);
    CHECK_THAT(client.detail, Contains("certificate of another cluster (" + our_cluster().id));
    CHECK_THAT(server.detail, Contains("certificate of another cluster (" + id));
    CHECK(pair.at_client.opened + pair.at_server.opened == 0);
  }
}

TEST_CASE("Who has no certificate gets in only where none is required", "[io][net]") {
  PairSetup setup;
  setup.client_tls =
      must(make_pinned_client_context(must(spki_pin(our_cluster().root.certificate_pem)), {kAlpn}));
  setup.client.cluster.clear();
  SECTION("required") {
    // A pinned client talks to trackers only.
    setup.server_tls = must(make_server_context(our_cluster().member(Role::tracker), {kAlpn},
                                                ClientCertificate::required, ChainSent::with_root));
    Pair pair(setup);
    pair.start();
    REQUIRE(pair.run_until(
        [&] { return !pair.at_client.closed.empty() && !pair.at_server.closed.empty(); }));
    const Error server = only_reason(pair.at_server, "client n2");
    CHECK(server.code == Errc::denied);
    CHECK_THAT(server.detail, Contains("no certificate"));
    const Error client = only_reason(pair.at_client, "server n1");
    CHECK(client.code == Errc::denied);
    CHECK_THAT(client.detail, Contains("requires a certificate"));
    CHECK(pair.at_server.opened == 0);
  }
  SECTION("optional") {
    setup.server_tls = must(make_server_context(our_cluster().member(Role::tracker), {kAlpn},
                                                ClientCertificate::optional, ChainSent::with_root));
    Pair pair(setup);
    pair.open();
    CHECK_FALSE(pair.at_server.identity);
  }
}

TEST_CASE("A peer that says nothing is given up when the time for the handshake is over",
          "[io][net]") {
  Connection::Settings settings{.cluster = our_cluster().id};
  settings.handshake_seconds = 0;
  HandMade peer(settings);
  REQUIRE(peer.run_until([&] { return !peer.ear.closed.empty(); }));
  const Error why = only_reason(peer.ear, "client n2");
  CHECK(why.code == Errc::timed_out);
  CHECK_THAT(why.detail, Contains("no TLS handshake within 0 s"));
}

TEST_CASE("A peer that does not speak TLS is refused", "[io][net]") {
  HandMade peer;
  peer.put("GET / HTTP/1.1\r\nHost: n1\r\n\r\n");
  REQUIRE(peer.run_until([&] { return !peer.ear.closed.empty(); }));
  CHECK(only_reason(peer.ear, "client n2").code == Errc::corrupt);
}

}  // namespace p2p
