#include "tests/io/net/http_fixture.h"

namespace p2p {
namespace {

using namespace test;

void answer(const std::shared_ptr<HttpExchange>& exchange) {
  exchange->reply({200, "text/plain", "ok"});
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

// With TLS 1.3 the refusal may reach the client in the handshake or with its first request.
Error first_error(std::uint16_t port, const TlsContext& context) {
  const auto client = try_connect(port, context);
  if (!client) return client.error();
  const auto response = (*client)->request("POST", "/", "{}");
  return response ? Error{Errc::invalid_argument, "(answered)"} : response.error();
}

TEST_CASE("A client of another cluster is refused, and both sides say why") {
  TestServer server(answer);
  // It trusts our server, but shows a certificate of its own cluster.
  Credentials mixed = TestCluster::other().member(Role::admin, TestCluster::other().id());
  mixed.bundle_pem = TestCluster::ours().member(Role::admin, TestCluster::other().id()).bundle_pem;
  const Error error = first_error(server.port(), must(make_client_context(mixed, {"http/1.1"})));
  CAPTURE(error.detail);
  CHECK(error.code == Errc::denied);
  CHECK(contains(error.detail, "127.0.0.1:" + std::to_string(server.port())));
  CHECK(contains(error.detail, "another cluster"));
  CHECK(server.logs_soon("TLS handshake failed"));
  const std::string& log = server.log();
  CAPTURE(log);
  CHECK(count_of(log, " WARN  api TLS handshake failed peer=127.0.0.1:") == 1);
  CHECK(contains(log, "does not lead to a root that we trust"));
}

TEST_CASE("A client without a certificate is refused, and both sides say why") {
  TestServer server(answer);
  const TlsContext context = must(make_pinned_client_context(
      must(spki_pin(TestCluster::ours().member(Role::admin, TestCluster::ours().id()).bundle_pem)),
      {"http/1.1"}));
  // Such a client wants to see the root.
  const TlsContext with_root =
      must(make_server_context(TestCluster::ours().member(Role::tracker, TestCluster::ours().id()),
                               {"http/1.1"}, ClientCertificate::required, ChainSent::with_root));
  server.run([&](HttpServer& http) { http.set_context(with_root.get()); });
  const Error error = first_error(server.port(), context);
  CAPTURE(error.detail);
  CHECK(error.code == Errc::denied);
  CHECK(contains(error.detail, "we sent none"));
  CHECK(server.logs_soon("no certificate"));
}

TEST_CASE("A server of another cluster is refused by the client, and both sides say why") {
  TestServer server(answer);
  const auto client = try_connect(server.port(), TestCluster::other().client_context());
  REQUIRE_FALSE(client);
  CAPTURE(client.error().detail);
  CHECK(client.error().code == Errc::denied);
  CHECK(contains(client.error().detail, "does not lead to a root that we trust"));
  CHECK(server.logs_soon("WARN  api TLS handshake failed"));
}

TEST_CASE("A client that authenticate refuses gets 403 with the reason") {
  TestServer server(answer, [](HttpServerSettings& settings) {
    settings.authenticate = [](const SSL*) -> Result<std::string> {
      return Error{Errc::denied, "agents may not use the API"};
    };
  });
  const auto client = client_of(server);
  const HttpResponse response = must(client->request("GET", "/"));
  CHECK(response.status == 403);
  CHECK(response.body == R"({"error":{"code":"denied","detail":"agents may not use the API"}})");
  CHECK(server.logs_soon("agents may not use the API"));
}

TEST_CASE("A client checks who the server is") {
  TestServer server(answer);
  const TlsContext context = TestCluster::ours().client_context();
  HttpClientSettings settings;
  settings.host = "127.0.0.1";
  settings.port = server.port();
  settings.context = context.get();
  settings.verify = [](const SSL* ssl) -> Status {
    const auto identity = peer_identity(ssl, TestCluster::ours().id());
    return Error{Errc::denied, identity ? std::string(to_string(identity->role)) : "?"};
  };
  const auto client = HttpClient::connect(std::move(settings));
  REQUIRE_FALSE(client);
  CHECK(client.error().detail == "tracker");
}

TEST_CASE("A renewed certificate is shown to new connections and the old ones go on") {
  TestServer server(answer);
  const auto old_client = client_of(server);
  REQUIRE(old_client->request("GET", "/"));
  const std::string new_id = "55555555-5555-4555-8555-555555555555";
  const TlsContext renewed = TestCluster::ours().server_context(new_id);
  server.run([&](HttpServer& http) { http.set_context(renewed.get()); });
  CHECK(must(old_client->request("GET", "/")).status == 200);

  const TlsContext context = TestCluster::ours().client_context();
  std::string seen;
  HttpClientSettings settings;
  settings.host = "127.0.0.1";
  settings.port = server.port();
  settings.context = context.get();
  settings.verify = [&](const SSL* ssl) -> Status {
    seen = must(peer_identity(ssl, TestCluster::ours().id())).id;
    return {};
  };
  REQUIRE(HttpClient::connect(std::move(settings)));
  CHECK(seen == new_id);
}

TEST_CASE("A client that never speaks is closed after the handshake timeout") {
  TestServer server(answer, [](HttpServerSettings& settings) {
    settings.handshake_timeout = std::chrono::milliseconds(50);
  });
  CHECK(RawClient(server.port()).read_all().empty());
  CHECK(server.logs_soon("timed out"));
}

TEST_CASE("A client that does not speak TLS is one clear line in the log") {
  TestServer server(answer);
  RawClient(server.port()).send("GET / HTTP/1.1\r\n\r\n").read_all();
  CHECK(server.logs_soon("does not speak TLS"));
  const std::string& log = server.log();
  CAPTURE(log);
  CHECK(count_of(log, "\n") == 1);
  CHECK(contains(log, "does not speak TLS"));
}

TEST_CASE("A connection that says nothing and goes is no warning") {
  TestServer server(answer);
  { const RawClient health_check(server.port()); }
  REQUIRE(client_of(server)->request("GET", "/"));
  CHECK(server.log().empty());
}

TEST_CASE("No server at all is named with its address") {
  std::uint16_t port = 0;
  {
    TestServer server(answer);
    port = server.port();
  }
  const auto client = try_connect(port, TestCluster::ours().client_context());
  REQUIRE_FALSE(client);
  CHECK(client.error().code == Errc::unavailable);
  CHECK(client.error().detail ==
        "no tracker reachable at 127.0.0.1:" + std::to_string(port) + ": Connection refused");
}

TEST_CASE("A server that listens on no address or on a used port says so") {
  TestServer server(answer);
  server.run([&](HttpServer& http) {
    const auto bad = http.listen("localhost", 0);
    REQUIRE_FALSE(bad);
    CHECK(bad.error().code == Errc::invalid_argument);
    const auto used = http.listen("127.0.0.1", server.port());
    REQUIRE_FALSE(used);
    CHECK(used.error().code == Errc::unavailable);
    CHECK(contains(used.error().detail, "127.0.0.1:" + std::to_string(server.port())));
  });
}

}  // namespace
}  // namespace p2p
