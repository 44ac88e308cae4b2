#include <atomic>

#include "tests/io/net/http_fixture.h"

namespace p2p {
namespace {

using namespace test;

void echo(const std::shared_ptr<HttpExchange>& exchange) {
  const HttpRequest& request = exchange->request();
  HttpResponse response;
  response.content_type = "text/plain";
  response.body = request.method + ' ' + request.path + ' ' + request.body;
  exchange->reply(std::move(response));
}

const std::string kGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_CASE("A request reaches the handler whole and its answer comes back") {
  TestServer server([](const std::shared_ptr<HttpExchange>& exchange) {
    const HttpRequest& request = exchange->request();
    HttpResponse response;
    response.status = 201;
    response.body = request.method + '|' + request.path + '|' + request.query.find("q")->second +
                    '|' + request.body + '|' + request.identity;
    exchange->reply(std::move(response));
  });
  const auto client = client_of(server);
  const HttpResponse response = must(client->request("POST", "/a%20b?q=1%2B1", "{\"x\":1}"));
  CHECK(response.status == 201);
  CHECK(response.content_type == "application/json");
  CHECK(response.body == "POST|/a b|1+1|{\"x\":1}|p2pd://" + TestCluster::ours().id() +
                             "/admin/44444444-4444-4444-8444-444444444444");
}

TEST_CASE("Several requests go over one connection") {
  TestServer server([](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->reply({200, "text/plain", exchange->request().peer});
  });
  const auto client = client_of(server);
  const std::string first = must(client->request("GET", "/1")).body;
  CHECK(must(client->request("POST", "/2", "body")).body == first);
  CHECK(must(client->request("DELETE", "/3")).body == first);
}

TEST_CASE("Requests that arrive together are answered one after another") {
  TestServer server(echo);
  const std::string answers = RawClient(server.port())
                                  .secure()
                                  .send(
                                      "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
                                      "GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                                  .read_all();
  const std::size_t first = answers.find("GET /1");
  const std::size_t second = answers.find("GET /2");
  CHECK(first != std::string::npos);
  CHECK(second != std::string::npos);
  CHECK(first < second);
}

TEST_CASE("A stream that takes no more goes on when the client has caught up") {
  TestServer server([](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->start_stream("text/plain");
    exchange->on_drained([exchange] {
      exchange->on_drained(nullptr);
      exchange->finish();
    });
    while (exchange->stream(std::string(100000, 'x') + '\n')) {
    }
  });
  const auto client = client_of(server);
  std::size_t lines = 0;
  const auto count = [&](std::string_view line) {
    lines += line == std::string(100000, 'x') ? 1 : 0;
    return true;
  };
  const HttpResponse response = must(client->request_stream("GET", "/", "", count));
  CHECK(response.status == 200);
  // What was taken before stream() said no: more than 1 MiB, but not much more.
  CHECK(lines == 11);
  CHECK(must(client->request_stream("GET", "/again", "", count)).status == 200);
}

TEST_CASE("A stream arrives as lines, however it was cut") {
  TestServer server([](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->start_stream("application/jsonl");
    for (const char* chunk : {"{\"a\":1}\n{\"a\"", ":2}", "", "\n\n{\"a\":3}\nlast"}) {
      exchange->stream(chunk);
    }
    exchange->finish();
  });
  const auto client = client_of(server);
  std::vector<std::string> lines;
  const HttpResponse response =
      must(client->request_stream("GET", "/", "", [&](std::string_view line) {
        lines.emplace_back(line);
        return true;
      }));
  CHECK(lines == std::vector<std::string>{"{\"a\":1}", "{\"a\":2}", "", "{\"a\":3}", "last"});
  CHECK(response.content_type == "application/jsonl");
}

TEST_CASE("An error answer to a stream request is returned whole") {
  TestServer server([](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->reply({404, "application/json", "no\nsuch\njob"});
  });
  const auto client = client_of(server);
  bool was_called = false;
  const HttpResponse response = must(
      client->request_stream("GET", "/", "", [&](std::string_view) { return was_called = true; }));
  CHECK(response.status == 404);
  CHECK(response.body == "no\nsuch\njob");
  CHECK_FALSE(was_called);
}

// A handler that sends one line and then nothing. When the client goes, `gone` tells whether the
// exchange is closed and takes nothing more.
Handler watch(std::promise<bool>& gone) {
  return [&gone](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->on_closed([exchange, &gone] {
      gone.set_value(exchange->closed() && !exchange->stream("nobody listens\n"));
    });
    exchange->start_stream("text/plain");
    exchange->stream("first\n");
  };
}

TEST_CASE("A client can end a stream, and the server notices") {
  std::promise<bool> gone;
  auto is_gone = gone.get_future();
  TestServer server(watch(gone));
  const auto client = client_of(server);
  REQUIRE(client->request_stream("GET", "/", "", [](std::string_view) { return false; }));
  REQUIRE(is_set_soon(is_gone));
  CHECK(is_gone.get());
}

TEST_CASE("A stop flag ends a silent stream as cancelled, and the server notices") {
  std::promise<bool> gone;
  auto is_gone = gone.get_future();
  TestServer server(watch(gone));
  const auto client = client_of(server);
  std::atomic<bool> stop = false;
  const auto result = client->request_stream(
      "GET", "/", "",
      [&](std::string_view) {
        stop = true;
        return true;
      },
      &stop);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Errc::cancelled);
  REQUIRE(is_set_soon(is_gone));
  CHECK(is_gone.get());
}

TEST_CASE("A server that stops tells its handlers before stop returns") {
  std::promise<void> gone;
  std::promise<void> begun;
  auto is_gone = gone.get_future();
  auto has_begun = begun.get_future();
  TestServer server([&](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->on_closed([exchange, &gone] { gone.set_value(); });
    begun.set_value();
  });
  RawClient client(server.port());
  client.secure().send(kGet);
  REQUIRE(is_set_soon(has_begun));
  server.run([&](HttpServer& http) {
    http.stop();
    CHECK(is_gone.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
  });
  CHECK(client.read_all().empty());
}

TEST_CASE("A server whose io_context ends with an open stream lets go of its exchange") {
  std::promise<void> begun;
  auto has_begun = begun.get_future();
  std::weak_ptr<HttpExchange> open;
  {
    TestServer server([&](const std::shared_ptr<HttpExchange>& exchange) {
      open = exchange;
      exchange->on_closed([exchange] {});
      exchange->on_drained([exchange] {});
      exchange->start_stream("text/plain");
      begun.set_value();
    });
    RawClient client(server.port());
    client.secure().send(kGet);
    REQUIRE(is_set_soon(has_begun));
    server.halt();
    CHECK_FALSE(open.expired());
  }
  CHECK(open.expired());
}

TEST_CASE("An exchange that is dropped is answered with 500") {
  TestServer server([](const std::shared_ptr<HttpExchange>&) {});
  const auto client = client_of(server);
  CHECK(must(client->request("GET", "/")).status == 500);
}

TEST_CASE("A stream that is dropped is cut, so that the client can tell") {
  TestServer server([](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->start_stream("text/plain");
    exchange->stream("first\n");
  });
  const auto client = client_of(server);
  const auto result = client->request_stream("GET", "/", "", [](std::string_view) { return true; });
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Errc::unavailable);
}

TEST_CASE("A body up to the limit is taken and one over it is 413") {
  TestServer server([](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->reply({200, "text/plain", std::to_string(exchange->request().body.size())});
  });
  const auto client = client_of(server);
  CHECK(must(client->request("POST", "/", std::string(1024 * 1024, 'x'))).body == "1048576");
  const HttpResponse refused =
      must(client->request("POST", "/", std::string(1024 * 1024 + 1, 'x')));
  CHECK(refused.status == 413);
  CHECK(refused.body == R"({"error":{"code":"invalid_argument","detail":)"
                        R"("request body is over the limit of 1048576 bytes"}})");
  CHECK(must(client->request("GET", "/")).status == 200);
}

TEST_CASE("A header over the limit is 431") {
  TestServer server(echo);
  const std::string answer =
      RawClient(server.port())
          .secure()
          .send("GET / HTTP/1.1\r\nX: " + std::string(20000, 'x') + "\r\n\r\n")
          .read_all();
  CHECK(answer.rfind("HTTP/1.1 431 ", 0) == 0);
}

TEST_CASE("What is no request is 400 with an error body") {
  TestServer server(echo);
  for (const char* request :
       {"nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    CAPTURE(request);
    const std::string answer = RawClient(server.port()).secure().send(request).read_all();
    CHECK(answer.rfind("HTTP/1.1 400 ", 0) == 0);
    CHECK(contains(answer, R"({"error":{"code":"invalid_argument","detail":")"));
  }
}

TEST_CASE("A method that no API call has is 405") {
  TestServer server(echo);
  const std::string answer =
      RawClient(server.port()).secure().send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").read_all();
  CHECK(answer.rfind("HTTP/1.1 405 ", 0) == 0);
}

TEST_CASE("A client that expects 100-continue gets it before it sends the body") {
  TestServer server(echo);
  const std::string answer = RawClient(server.port())
                                 .secure()
                                 .send(
                                     "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                                     "Connection: close\r\nContent-Length: 4\r\n\r\n")
                                 .send("body")
                                 .read_all();
  CHECK(answer.rfind("HTTP/1.1 100 ", 0) == 0);
  CHECK(contains(answer, "POST / body"));
}

TEST_CASE("A stream to an HTTP/1.0 client is not chunked and ends with the connection") {
  TestServer server([](const std::shared_ptr<HttpExchange>& exchange) {
    exchange->start_stream("text/plain");
    exchange->stream("line\n");
    exchange->finish();
  });
  const std::string answer = RawClient(server.port())
                                 .secure()
                                 .send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                                 .read_all();
  CHECK(answer.substr(answer.find("\r\n\r\n")) == "\r\n\r\nline\n");
}

TEST_CASE("A connection without a request is closed after the idle timeout") {
  TestServer server(echo, [](HttpServerSettings& settings) {
    settings.idle_timeout = std::chrono::milliseconds(50);
  });
  const std::string answer = RawClient(server.port()).secure().send(kGet).read_all();
  CHECK(contains(answer, "HTTP/1.1 200 "));
  CHECK(RawClient(server.port()).secure().send("GET / HT").read_all().empty());
}

TEST_CASE("A client opens an idle connection again that the server has closed") {
  std::vector<std::string> peers;
  TestServer server(
      [&](const std::shared_ptr<HttpExchange>& exchange) {
        peers.push_back(exchange->request().peer);
        exchange->reply({200, "text/plain", ""});
      },
      [](HttpServerSettings& settings) { settings.idle_timeout = std::chrono::milliseconds(50); });
  const auto client = client_of(server);
  REQUIRE(must(client->request("GET", "/1")).status == 200);
  // Opened later, closed later: when this one is gone, so is the first.
  CHECK(contains(RawClient(server.port()).secure().send(kGet).read_all(), "HTTP/1.1 200"));
  CHECK(must(client->request("GET", "/2")).status == 200);
  server.stop();
  CHECK(peers.size() == 3);
  CHECK(peers.front() != peers.back());
}

TEST_CASE("Connections over the limit are closed") {
  TestServer server(echo, [](HttpServerSettings& settings) { settings.connections_max = 1; });
  const auto client = client_of(server);
  REQUIRE(must(client->request("GET", "/")).status == 200);
  CHECK(RawClient(server.port()).read_all().empty());
  CHECK(must(client->request("GET", "/")).status == 200);
  CHECK(server.logs_soon("too many connections"));
}

TEST_CASE("No answer in time is an error that says so") {
  std::vector<std::shared_ptr<HttpExchange>> kept;
  TestServer server(
      [&](const std::shared_ptr<HttpExchange>& exchange) { kept.push_back(exchange); });
  const auto client = client_of(server, std::chrono::milliseconds(300));
  const auto result = client->request("GET", "/slow");
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Errc::timed_out);
  CHECK(contains(result.error().detail, "GET /slow"));
  server.stop();
  kept.clear();  // exchanges do not outlive the server's loop
}

}  // namespace
}  // namespace p2p
