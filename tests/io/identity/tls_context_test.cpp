#include "io/identity/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "io/identity/pem.h"
#include "tests/io/identity/test_cluster.h"

namespace p2p {
namespace {

using Catch::Contains;
using test::kDay;
using test::must;
using test::TestCluster;
using test::wall_now;
using SslPtr = std::unique_ptr<SSL, OpensslFree<SSL_free>>;

const AlpnNames kAlpn{"p2pd/1", "http/1.1"};

// One end of a connection in memory.
struct End {
  SslPtr ssl;
  bool connected = false;
  Status status;

  void step() {
    if (connected || !status) return;
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl.get());
    if (result == 1) connected = true;
    note(result);
  }
  // In TLS 1.3 a client learns only here that the server refused its certificate.
  void read() {
    if (!connected) return;
    ERR_clear_error();
    char byte = 0;
    note(SSL_read(ssl.get(), &byte, 1));
  }
  bool works() const { return connected && status; }

 private:
  void note(int result) {
    const int error = SSL_get_error(ssl.get(), result);
    if (error == SSL_ERROR_NONE || error == SSL_ERROR_WANT_READ) return;
    status = tls_error(ssl.get(), "connect to n1");
  }
};

struct Pair {
  End client;
  End server;

  Pair(const TlsContext& client_context, const TlsContext& server_context) {
    client.ssl.reset(SSL_new(client_context.get()));
    server.ssl.reset(SSL_new(server_context.get()));
    BIO* a = nullptr;
    BIO* b = nullptr;
    REQUIRE(BIO_new_bio_pair(&a, 64 * 1024, &b, 64 * 1024) == 1);
    SSL_set_bio(client.ssl.get(), a, a);
    SSL_set_bio(server.ssl.get(), b, b);
    SSL_set_connect_state(client.ssl.get());
    SSL_set_accept_state(server.ssl.get());
  }
  Pair& handshake() {
    for (int round = 0; round < 10; ++round) {
      client.step();
      server.step();
    }
    client.read();
    server.read();
    return *this;
  }
};

TlsContext server_of(const Credentials& credentials,
                     ClientCertificate wanted = ClientCertificate::required) {
  return must(make_server_context(credentials, kAlpn, wanted));
}
TlsContext tracker_of(const Credentials& credentials) {
  return must(
      make_server_context(credentials, kAlpn, ClientCertificate::optional, ChainSent::with_root));
}
TlsContext client_of(const Credentials& credentials) {
  return must(make_client_context(credentials, kAlpn));
}
TlsContext joiner_for(const TestCluster& cluster) {
  return must(make_pinned_client_context(must(spki_pin(cluster.root.certificate_pem)), kAlpn));
}

Errc code_of(const End& end) {
  REQUIRE_FALSE(end.status);
  return end.status.error().code;
}
std::string error_of(const End& end) {
  REQUIRE_FALSE(end.status);
  CHECK_THAT(end.status.error().detail, Catch::StartsWith("connect to n1: "));
  return end.status.error().detail;
}

}  // namespace

TEST_CASE("Two members of one cluster connect and know each other", "[io][identity]") {
  const TestCluster cluster;
  const Credentials agent = cluster.member(Role::agent);
  const Credentials tracker = cluster.member(Role::tracker);
  Pair pair(client_of(agent), server_of(tracker));
  pair.handshake();
  REQUIRE(pair.client.works());
  REQUIRE(pair.server.works());
  CHECK(must(peer_identity(pair.client.ssl.get(), cluster.id)) ==
        must(identity_of(tracker.chain_pem)));
  CHECK(must(peer_identity(pair.server.ssl.get(), cluster.id)) ==
        must(identity_of(agent.chain_pem)));
}

TEST_CASE("Connections use TLS 1.3 with AES-128-GCM and the first common protocol",
          "[io][identity]") {
  const TestCluster cluster;
  const auto client =
      must(make_client_context(cluster.member(Role::agent), {"http/1.1", "p2pd/1"}));
  Pair pair(client, server_of(cluster.member(Role::agent)));
  pair.handshake();
  REQUIRE(pair.client.works());
  CHECK(SSL_version(pair.client.ssl.get()) == TLS1_3_VERSION);
  CHECK(std::string(SSL_get_cipher_name(pair.client.ssl.get())) == "TLS_AES_128_GCM_SHA256");
  CHECK(alpn_of(pair.client.ssl.get()) == "p2pd/1");
  CHECK(alpn_of(pair.server.ssl.get()) == "p2pd/1");
}

TEST_CASE("A client that speaks only TLS 1.2 is refused", "[io][identity]") {
  const TestCluster cluster;
  const TlsContext old(std::shared_ptr<SSL_CTX>(SSL_CTX_new(TLS_client_method()), SSL_CTX_free));
  SSL_CTX_set_max_proto_version(old.get(), TLS1_2_VERSION);
  Pair pair(old, server_of(cluster.member(Role::agent)));
  pair.handshake();
  CHECK(error_of(pair.server).find("does not speak TLS 1.3") != std::string::npos);
}

TEST_CASE("No session can be resumed without showing the certificate again", "[io][identity]") {
  const TestCluster cluster;
  Pair pair(client_of(cluster.member(Role::agent)), server_of(cluster.member(Role::agent)));
  pair.handshake();
  REQUIRE(pair.client.works());
  CHECK(SSL_SESSION_is_resumable(SSL_get0_session(pair.client.ssl.get())) == 0);
}

TEST_CASE("A certificate of a foreign authority is refused on both sides", "[io][identity]") {
  const TestCluster ours;
  const TestCluster theirs;
  SECTION("shown by the server") {
    Pair pair(client_of(ours.member(Role::agent)), server_of(theirs.member(Role::tracker)));
    pair.handshake();
    CHECK(code_of(pair.client) == Errc::denied);
    CHECK_THAT(error_of(pair.client),
               Contains("does not lead to a root that we trust") && Contains("p2pd://"));
    CHECK_THAT(error_of(pair.server), Contains("does not trust the root of our certificate"));
  }
  SECTION("shown by the client") {
    // The client trusts the server, so that the server is the one to refuse.
    Credentials stranger = theirs.member(Role::agent);
    stranger.bundle_pem += ours.root.certificate_pem;
    Pair pair(client_of(stranger), server_of(ours.member(Role::tracker)));
    pair.handshake();
    CHECK(code_of(pair.server) == Errc::denied);
    CHECK_THAT(error_of(pair.server), Contains("does not lead to a root that we trust"));
    CHECK(code_of(pair.client) == Errc::denied);
    CHECK_THAT(error_of(pair.client), Contains("TLS alert 48"));
  }
}

TEST_CASE("While roots are being changed, both are trusted", "[io][identity]") {
  const TestCluster before;
  const TestCluster after;
  Credentials agent = before.member(Role::agent);
  agent.bundle_pem += after.root.certificate_pem;
  Credentials tracker = after.member(Role::tracker);
  tracker.bundle_pem = before.root.certificate_pem + tracker.bundle_pem;
  Pair pair(client_of(agent), server_of(tracker));
  pair.handshake();
  CHECK(pair.client.works());
  CHECK(pair.server.works());
}

TEST_CASE("A member of another cluster below the same root is told apart", "[io][identity]") {
  const TestCluster cluster;
  const std::string other = new_uuid();
  Pair pair(client_of(cluster.member_of(other, Role::agent)),
            server_of(cluster.member(Role::tracker)));
  pair.handshake();
  REQUIRE(pair.server.works());
  const auto identity = peer_identity(pair.server.ssl.get(), cluster.id);
  REQUIRE_FALSE(identity);
  CHECK(identity.error().code == Errc::denied);
  CHECK(identity.error().detail ==
        "certificate of another cluster (" + other + "): this node belongs to " + cluster.id);
}

TEST_CASE("An expired certificate is refused, with its date on one side and advice on the other",
          "[io][identity]") {
  const TestCluster cluster;
  const Validity past{wall_now() - 3 * kDay, wall_now() - 2 * kDay};
  Pair pair(client_of(cluster.member(Role::agent, past)), server_of(cluster.member(Role::tracker)));
  pair.handshake();
  CHECK(code_of(pair.server) == Errc::denied);
  CHECK_THAT(error_of(pair.server), Contains("expired on " + utc_text(past.not_after)));
  CHECK_THAT(error_of(pair.client), Contains("our certificate has expired"));
}

TEST_CASE("An expired certificate further up is named together with the peer", "[io][identity]") {
  const TestCluster cluster;
  Authority old = cluster.intermediate;
  old.certificate_pem =
      must(make_intermediate(cluster.root, "old", old.key_pem, wall_now() - 2000 * kDay));
  Credentials tracker = cluster.member(Role::tracker);
  CertificateSpec spec = cluster.spec(Role::tracker, must(make_csr(tracker.key_pem)));
  spec.not_before = wall_now() - 1900 * kDay;
  spec.not_after = wall_now() + kDay;
  tracker.chain_pem = must(issue(old, spec)) + old.certificate_pem;
  Pair pair(client_of(cluster.member(Role::agent)), server_of(tracker));
  pair.handshake();
  CHECK_THAT(error_of(pair.client), Contains(spec.identity.uri()) && Contains("old intermediate") &&
                                        Contains("expired on"));
}

TEST_CASE("A certificate that is not valid yet is refused with the clocks in mind",
          "[io][identity]") {
  const TestCluster cluster;
  const Validity future{wall_now() + kDay, wall_now() + 2 * kDay};
  Pair pair(client_of(cluster.member(Role::agent)),
            server_of(cluster.member(Role::tracker, future)));
  pair.handshake();
  CHECK_THAT(error_of(pair.client),
             Contains("not valid before " + utc_text(future.not_before)) && Contains("clocks"));
}

TEST_CASE("An administrator's certificate does not serve", "[io][identity]") {
  const TestCluster cluster;
  Pair pair(client_of(cluster.member(Role::agent)), server_of(cluster.member(Role::admin)));
  pair.handshake();
  CHECK_FALSE(pair.client.connected);
  CHECK(code_of(pair.client) == Errc::denied);
}

TEST_CASE("A server that requires a certificate lets nobody in without one", "[io][identity]") {
  const TestCluster cluster;
  const auto server = must(make_server_context(cluster.member(Role::tracker), kAlpn,
                                               ClientCertificate::required, ChainSent::with_root));
  Pair pair(joiner_for(cluster), server);
  pair.handshake();
  CHECK(code_of(pair.server) == Errc::denied);
  CHECK_THAT(error_of(pair.server), Contains("no certificate"));
  CHECK_THAT(error_of(pair.client), Contains("join the cluster first"));
}

TEST_CASE("A client without a certificate gets in where it is optional and has no identity",
          "[io][identity]") {
  const TestCluster cluster;
  Pair pair(joiner_for(cluster), tracker_of(cluster.member(Role::tracker)));
  pair.handshake();
  REQUIRE(pair.server.works());
  const auto identity = peer_identity(pair.server.ssl.get(), cluster.id);
  REQUIRE_FALSE(identity);
  CHECK_THAT(identity.error().detail, Contains("no certificate"));
}

TEST_CASE("A bad certificate is refused even where none is required", "[io][identity]") {
  const TestCluster ours;
  const TestCluster theirs;
  Credentials stranger = theirs.member(Role::agent);
  stranger.bundle_pem += ours.root.certificate_pem;
  Pair pair(client_of(stranger), tracker_of(ours.member(Role::tracker)));
  pair.handshake();
  CHECK_FALSE(pair.server.status);
}

TEST_CASE("A joining node accepts the tracker whose root has the pin", "[io][identity]") {
  const TestCluster cluster;
  Pair pair(joiner_for(cluster), tracker_of(cluster.member(Role::tracker)));
  pair.handshake();
  CHECK(pair.client.works());
  CHECK(must(peer_identity(pair.client.ssl.get(), cluster.id)).role == Role::tracker);
}

TEST_CASE("A joining node refuses a tracker that cannot show the pinned root", "[io][identity]") {
  const TestCluster ours;
  const TestCluster theirs;
  const auto joining_fails = [&](const TlsContext& server) {
    Pair pair(joiner_for(ours), server);
    pair.handshake();
    CHECK_FALSE(pair.client.connected);
    CHECK_FALSE(pair.server.works());
    CHECK(code_of(pair.client) == Errc::denied);
    return error_of(pair.client);
  };
  SECTION("because it is of another cluster") {
    CHECK_THAT(joining_fails(tracker_of(theirs.member(Role::tracker))),
               Contains("did not show the root that the token pins"));
  }
  SECTION("because it does not send its root") {
    CHECK_THAT(joining_fails(server_of(ours.member(Role::tracker), ClientCertificate::optional)),
               Contains("did not show the root that the token pins"));
  }
  SECTION("because it sends our root, which did not issue its certificate") {
    Credentials impostor = theirs.member(Role::tracker);
    impostor.chain_pem += ours.root.certificate_pem;
    CHECK_THAT(joining_fails(server_of(impostor, ClientCertificate::optional)),
               Contains("does not lead to a root that we trust"));
  }
  SECTION("because it is a mere agent of the cluster") {
    CHECK_THAT(joining_fails(tracker_of(ours.member(Role::agent))), Contains("not a tracker"));
  }
  SECTION("because its certificate has expired") {
    const Validity past{wall_now() - 3 * kDay, wall_now() - 2 * kDay};
    CHECK_THAT(joining_fails(tracker_of(ours.member(Role::tracker, past))), Contains("expired on"));
  }
}

TEST_CASE("A malformed pin makes no context", "[io][identity]") {
  CHECK_FALSE(make_pinned_client_context("", kAlpn));
  CHECK_FALSE(make_pinned_client_context(std::string(64, 'F'), kAlpn));
  CHECK_FALSE(make_pinned_client_context(std::string(63, 'f'), kAlpn));
}

TEST_CASE("Two sides without a common protocol do not connect", "[io][identity]") {
  const TestCluster cluster;
  const auto client = must(make_client_context(cluster.member(Role::agent), {"p2pd/9"}));
  Pair pair(client, server_of(cluster.member(Role::agent)));
  pair.handshake();
  CHECK_THAT(error_of(pair.server), Contains("ALPN"));
  CHECK_THAT(error_of(pair.client), Contains("ALPN"));
}

TEST_CASE("A client that names no protocol gets in without one", "[io][identity]") {
  const TestCluster cluster;
  const auto client = must(make_client_context(cluster.member(Role::agent), {}));
  Pair pair(client, server_of(cluster.member(Role::agent)));
  pair.handshake();
  REQUIRE(pair.server.works());
  CHECK(alpn_of(pair.server.ssl.get()).empty());
}

TEST_CASE("A protocol name of impossible length is refused", "[io][identity]") {
  const Credentials agent = TestCluster().member(Role::agent);
  CHECK_FALSE(make_client_context(agent, {""}));
  CHECK_FALSE(make_client_context(agent, {std::string(256, 'x')}));
}

TEST_CASE("Credentials that do not fit together make no context", "[io][identity]") {
  const TestCluster ours;
  Credentials credentials = ours.member(Role::tracker);
  SECTION("a key of somebody else") {
    credentials.key_pem = must(generate_key());
    CHECK_FALSE(make_client_context(credentials, kAlpn));
  }
  SECTION("no root to send") {
    credentials.bundle_pem = TestCluster().root.certificate_pem;
    const auto made =
        make_server_context(credentials, kAlpn, ClientCertificate::optional, ChainSent::with_root);
    REQUIRE_FALSE(made);
    CHECK_THAT(made.error().detail, Contains("bundle.pem"));
  }
}

TEST_CASE("A connection may outlive the context that it was made of", "[io][identity]") {
  const TestCluster cluster;
  auto pair =
      std::make_unique<Pair>(joiner_for(cluster), tracker_of(cluster.member(Role::tracker)));
  CHECK(pair->handshake().client.works());
}

TEST_CASE("Bytes that are not TLS are told as such", "[io][identity]") {
  const TestCluster cluster;
  const auto server = server_of(cluster.member(Role::tracker));
  Pair pair(client_of(cluster.member(Role::agent)), server);
  BIO* wire = SSL_get_wbio(pair.client.ssl.get());
  const std::string request = "GET / HTTP/1.1\r\nHost: n1\r\n\r\n";
  REQUIRE(BIO_write(wire, request.data(), static_cast<int>(request.size())) > 0);
  pair.server.step();
  CHECK(code_of(pair.server) == Errc::corrupt);
  CHECK_THAT(error_of(pair.server), Contains("does not speak TLS"));
}

TEST_CASE("A connection that ends in the middle is unavailable, and no clean end",
          "[io][identity]") {
  const TestCluster cluster;
  Pair pair(client_of(cluster.member(Role::agent)), server_of(cluster.member(Role::agent)));
  pair.handshake();
  REQUIRE(pair.server.works());
  BIO_shutdown_wr(SSL_get_wbio(pair.client.ssl.get()));
  pair.server.read();
  REQUIRE_FALSE(pair.server.status);
  CHECK(code_of(pair.server) == Errc::unavailable);
  CHECK_THAT(error_of(pair.server), Contains("without notice"));
}

TEST_CASE("An error code that was taken off the queue is explained all the same",
          "[io][identity]") {
  const TestCluster cluster;
  const auto client = client_of(cluster.member(Role::agent));
  const SslPtr ssl(SSL_new(client.get()));
  const unsigned long code = ERR_PACK(ERR_LIB_SSL, 0, SSL_R_HTTP_REQUEST);
  const Error error = tls_error(ssl.get(), "accept from 10.0.0.7", code);
  CHECK(error.code == Errc::corrupt);
  CHECK_THAT(error.detail, Contains("does not speak TLS"));
  // As Asio's int holds a system error of OpenSSL.
  const auto sign_extended =
      static_cast<unsigned long>(static_cast<long>(static_cast<int>(ERR_SYSTEM_FLAG | ECONNRESET)));
  CHECK_THAT(tls_error(ssl.get(), "read", sign_extended).detail, Contains("reset by peer"));
}

}  // namespace p2p
