#include "p2pd/peer_session.h"

#include "tests/io/net/connection_fixture.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using test::Pair;

// Hears of frames and does not say when they are handled.
struct Events final : PeerSession::Events {
  std::vector<std::size_t> bodies;  // bytes
  std::vector<Error> closed;

  void on_peer_open(PeerSession::Id, const Identity&) override {}
  void on_peer_frame(PeerSession::Id, FrameHeader, Buffer body) override {
    bodies.push_back(body.size());
  }
  void on_peer_data(PeerSession::Id, ArrivedData data) override {
    bodies.push_back(data.body.size());
  }
  void on_peer_sent(PeerSession::Id, std::uint32_t) override {}
  void on_serve_failed(PeerSession::Id, ServeSourcePtr, Error) override {}
  void on_peer_closed(PeerSession::Id, Error why) override { closed.push_back(std::move(why)); }
};

// The pair's server end is the session's.
struct Listening : Pair {
  DiskPool disk{1, 10};
  Events events;
  std::shared_ptr<PeerSession> session;

  explicit Listening(const PeerSessionSettings& settings)
      : session(std::make_shared<PeerSession>(1, events, io, disk, settings)) {
    session->start(server);
    client->start(&at_client);
    REQUIRE(run_until([&] { return at_client.opened > 0; }));
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
  ~Listening() {
    session->close();
    disk.stop();
  }

  // Until nothing happens any more for a while of its own.
  void settle() {
    for (int quiet = 0; quiet < 1000; ++quiet) {
      if (io.poll() > 0) quiet = 0;
      std::this_thread::yield();
    }
  }
};

}  // namespace

TEST_CASE("What a peer has said and nobody has handled is bounded, and then goes on", "[p2pd]") {
  PeerSessionSettings settings;
  settings.unhandled_max = 64 * 1024;
  settings.frame_cost = 1024;
  Listening at(settings);
  constexpr std::size_t kFrames = 5000;
  for (std::size_t i = 0; i < kFrames; ++i) at.client->send(FrameType::have, 1, "12345678");
  at.settle();
  // The frame that goes over the limit is the last one that is read.
  CHECK(at.events.bodies.size() == 64 * 1024 / (1024 + 8) + 1);
  SECTION("half of it handled is not enough") {
    for (int i = 0; i < 31; ++i) at.session->handled(8);
    const std::size_t before = at.events.bodies.size();
    at.settle();
    CHECK(at.events.bodies.size() == before);
  }
  SECTION("all of it handled, again and again") {
    std::size_t handled = 0;
    REQUIRE(at.run_until([&] {
      while (handled < at.events.bodies.size()) at.session->handled(at.events.bodies[handled++]);
      return handled == kFrames;
    }));
  }
  CHECK(at.events.closed.empty());
}

TEST_CASE("Frames of types that nobody knows are not handed over, but for the first", "[p2pd]") {
  Listening at({});
  for (int i = 0; i < 100; ++i) at.client->send(static_cast<FrameType>(77), 0, "x");
  at.client->send(FrameType::have, 1, "12345678");
  REQUIRE(at.run_until([&] { return at.events.bodies.size() == 2; }));
  CHECK(at.events.bodies == std::vector<std::size_t>{1, 8});
}

}  // namespace p2p
