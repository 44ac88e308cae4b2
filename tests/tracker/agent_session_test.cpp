// What one connection of an agent may say.
#include "tracker/agent_session.h"

#include "tests/io/net/connection_fixture.h"
#include "tests/support/catch.h"

namespace p2p::test {
namespace {

struct Heard final : AgentSession::Owner {
  int hellos = 0;
  int others = 0;
  std::string end;
  void on_session_open(AgentSession&) override {}
  void on_session_message(AgentSession&, const proto::AgentMessage& message) override {
    ++(message.has_hello() ? hellos : others);
  }
  void on_session_closed(AgentSession&, const Error& why) override { end = why.detail; }
};

TEST_CASE("an agent introduces itself once on a connection", "[tracker]") {
  Loop loop;
  PairSetup setup;
  auto sockets = loop.tcp_pair();
  Ear ear;
  const auto agent = Connection::make(loop.io, std::move(sockets.first), setup.client_tls,
                                      Connection::Side::client, setup.client, "tracker");
  Heard heard;
  AgentSession::Owner& owner = heard;
  AgentSession session(owner, Connection::make(loop.io, std::move(sockets.second), setup.server_tls,
                                               Connection::Side::server, setup.server, "agent n1"));
  agent->start(&ear);
  session.start();
  REQUIRE(loop.run_until([&] { return ear.opened > 0; }));
  const auto say = [&](const proto::AgentMessage& message) {
    agent->send(FrameType::control, 0, message.SerializeAsString());
  };
  proto::AgentMessage hello, facts;
  hello.mutable_hello()->set_version("1");
  facts.mutable_facts();
  agent->send(FrameType::hello, 0, make_hello(0).SerializeAsString());
  say(hello);
  say(facts);
  REQUIRE(loop.run_until([&] { return heard.others == 1; }));
  CHECK(heard.hellos == 1);
  CHECK(heard.end.empty());
  say(hello);
  say(facts);
  REQUIRE(loop.run_until([&] { return !heard.end.empty() || heard.others == 2; }));
  CHECK_THAT(heard.end, Catch::Contains("agent n1") && Catch::Contains("AgentHello twice"));
  CHECK(heard.hellos == 1);
  agent->close();
}

}  // namespace
}  // namespace p2p::test
