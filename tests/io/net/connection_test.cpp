#include "io/net/connection.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/base/rng.h"
#include "tests/io/net/connection_fixture.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;
using test::data_frame;
using test::Ear;
using test::frame_bytes;
using test::HandMade;
using test::only_reason;
using test::our_cluster;
using test::Pair;

std::string noise(std::uint64_t seed, std::size_t bytes) {
  Rng rng(seed);
  std::string text(bytes, '\0');
  for (char& byte : text) byte = static_cast<char>(rng.next());
  return text;
}

// Sends `count` frames of 64 KiB, never more than a few ahead of what has left.
struct Stream {
  Connection& from;
  Ear& ear;
  std::string payload;
  std::uint32_t count;
  std::uint32_t queued = 0;

  void start() {
    ear.sent = [this](std::uint32_t) { fill(); };
    fill();
  }
  void fill() {
    while (queued < count && std::uint64_t{queued} * payload.size() < ear.data_sent + (1u << 20)) {
      from.send_data(data_frame(queued++, payload), static_cast<std::uint32_t>(payload.size()));
    }
  }
};

// Counts DATA frames that are whole, in order and unchanged.
struct Sink {
  const std::string& payload;
  std::uint32_t good = 0;
  std::uint32_t bad = 0;

  void listen(Ear& ear) {
    ear.listen = [this](const FrameHeader& header, const Buffer& body) {
      const auto range = decode_data_prefix(body.span());
      const bool fits = header.type == FrameType::data && range && range->chunk.value == good &&
                        body.size() == kDataPrefixBytes + payload.size() &&
                        std::equal(payload.begin(), payload.end(),
                                   reinterpret_cast<const char*>(body.data()) + kDataPrefixBytes);
      ++(fits ? good : bad);
    };
  }
};

}  // namespace

TEST_CASE("Frames of every size arrive whole and in order", "[io][net]") {
  Pair pair;
  pair.open();
  const std::vector<std::size_t> sizes = {0,     1,     7,      16375,  16376,          16377,
                                          16384, 65536, 200000, 131072, kMaxFrameBytes, 3};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    pair.client->send(FrameType::control, static_cast<std::uint16_t>(60000 + i), noise(i, sizes[i]),
                      static_cast<std::uint8_t>(200 + i));
  }
  REQUIRE(pair.run_until([&] { return pair.at_server.frames.size() == sizes.size(); }));
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const Ear::Frame& frame = pair.at_server.frames[i];
    INFO("frame " << i);
    CHECK(frame.header.type == FrameType::control);
    CHECK(frame.header.channel == 60000 + i);
    CHECK(frame.header.flags == 200 + i);
    CHECK(frame.body == noise(i, sizes[i]));
  }
}

TEST_CASE("What is sent before the handshake is delivered after it", "[io][net]") {
  Pair pair;
  pair.client->send(FrameType::hello, 0, "first");
  pair.client->send_data(data_frame(1, "second"), 6);
  pair.start();
  pair.server->send(FrameType::hello, 0, "from the server");
  REQUIRE(pair.run_until(
      [&] { return pair.at_server.frames.size() == 2 && pair.at_client.frames.size() == 1; }));
  CHECK(pair.at_server.frames[0].body == "first");
  CHECK_THAT(pair.at_server.frames[1].body, Catch::EndsWith("second"));
  CHECK(pair.at_client.frames[0].body == "from the server");
}

TEST_CASE("A control frame overtakes queued data frames, between two of them", "[io][net]") {
  constexpr std::uint32_t kFrames = 1000;
  const std::string payload = noise(1, kMaxDataBytes);
  Pair pair;
  pair.open();
  std::vector<std::string> order;
  pair.at_server.listen = [&](const FrameHeader& header, const Buffer& body) {
    const auto data = decode_data_prefix(body.span());
    order.push_back(header.type == FrameType::data && data ? std::to_string(data->chunk.value)
                                                           : test::text_of(body));
  };
  for (std::uint32_t i = 0; i < kFrames; ++i) {
    pair.client->send_data(data_frame(i, payload), kMaxDataBytes);
  }
  pair.client->send(FrameType::have, 0, "a");
  pair.client->send(FrameType::have, 0, "b");
  REQUIRE(pair.run_until([&] { return order.size() == kFrames + 2; }));
  const auto a = std::find(order.begin(), order.end(), "a");
  REQUIRE(order.end() - a > kFrames / 2);
  CHECK(*(a + 1) == "b");
  order.erase(a, a + 2);
  for (std::uint32_t i = 0; i < kFrames; ++i) CHECK(order[i] == std::to_string(i));
}

TEST_CASE("Short frames that are sent together leave in few records", "[io][net]") {
  HandMade at;
  at.handshake();
  std::string stream;
  std::size_t plaintext = 0;
  for (int i = 0; i < 300; ++i) {
    at.server->send(FrameType::have, 1, std::string(20, 'h'));
    at.server->send_data(data_frame(1, std::string(100, 'd')), 100);
    plaintext += kFrameHeaderBytes + 20 + kFrameHeaderBytes + kDataPrefixBytes + 100;
  }
  // What close() finds put off goes out.
  const bool closes = GENERATE(false, true);
  if (closes) at.server->close();
  const std::size_t records = (plaintext + 16 * 1024 - 1) / (16 * 1024);
  REQUIRE(at.spin_until([&] {
    stream += at.received();
    return stream.size() >= plaintext + 22 * records;
  }));
  CHECK(stream.size() == plaintext + 22 * records);
  if (!closes) CHECK(at.ear.data_sent == 300 * 100);
}

TEST_CASE("on_data_sent sums up to the payload that was given, and never runs ahead of it",
          "[io][net]") {
  const std::string payload = noise(2, 50'000);
  Pair pair;
  pair.open();
  std::uint64_t received = 0;
  pair.at_server.listen = [&](const FrameHeader& header, const Buffer& body) {
    if (header.type == FrameType::data) received += body.size() - kDataPrefixBytes;
  };
  for (std::uint32_t i = 0; i < 300; ++i) {
    pair.client->send_data(data_frame(i, payload), static_cast<std::uint32_t>(payload.size()));
    pair.client->send(FrameType::have, 0, std::string(8, 'x'));
    CHECK(pair.at_client.data_sent <= (i + 1) * payload.size());
  }
  CHECK(pair.at_client.data_sent < 300 * payload.size());
  REQUIRE(pair.run_until(
      [&] { return received == 300 * payload.size() && pair.at_client.data_sent == received; }));
}

TEST_CASE("64 MiB of data go both ways at once, unchanged", "[io][net]") {
  const std::string payload = noise(3, kMaxDataBytes);
  Pair pair;
  pair.open();
  Sink to_server{payload}, to_client{payload};
  to_server.listen(pair.at_server);
  to_client.listen(pair.at_client);
  Stream up{*pair.client, pair.at_client, payload, 1024};
  Stream down{*pair.server, pair.at_server, payload, 1024};
  up.start();
  down.start();
  REQUIRE(pair.run_until([&] { return to_server.good == 1024 && to_client.good == 1024; }));
  CHECK(to_server.bad + to_client.bad == 0);
  CHECK(pair.at_client.data_sent == 64u << 20);
  CHECK(pair.at_server.data_sent == 64u << 20);
}

TEST_CASE("The longest frame is accepted and a longer one ends the connection", "[io][net]") {
  HandMade peer;
  peer.handshake();
  SECTION("the longest") {
    peer.put(peer.encrypt(frame_bytes(FrameType::control, noise(4, kMaxFrameBytes))));
    REQUIRE(peer.run_until([&] { return peer.ear.frames.size() == 1; }));
    CHECK(peer.ear.frames.front().body == noise(4, kMaxFrameBytes));
    CHECK(peer.ear.closed.empty());
  }
  SECTION("longer") {
    const std::uint32_t length = GENERATE(kMaxFrameBytes + 1, 0xffffffffu);
    const auto header = encode_header({length, FrameType::control, 0, 0});
    peer.put(peer.encrypt(std::string(header.begin(), header.end())));
    REQUIRE(peer.run_until([&] { return !peer.ear.closed.empty(); }));
    const Error why = only_reason(peer.ear, "client n2");
    CHECK(why.code == Errc::corrupt);
    CHECK_THAT(why.detail, Contains(std::to_string(length)));
    CHECK(peer.ear.frames.empty());
  }
}

TEST_CASE("A frame that arrives byte by byte is one frame", "[io][net]") {
  HandMade peer;
  peer.handshake();
  const std::string frame = frame_bytes(FrameType::have, noise(5, 90));
  SECTION("in one record") {
    for (const char byte : peer.encrypt(frame)) peer.put({&byte, 1});
  }
  SECTION("in a record for each byte") {
    for (const char byte : frame) peer.put(peer.encrypt({&byte, 1}));
  }
  REQUIRE(peer.run_until([&] { return !peer.ear.frames.empty(); }));
  CHECK(peer.ear.frames.size() == 1);
  CHECK(peer.ear.frames.front().body == noise(5, 90));
}

TEST_CASE("The kernel is never asked to wait for more bytes than a paused sender still owes",
          "[io][net]") {
  HandMade peer;
  peer.handshake();
  const std::string frame = frame_bytes(FrameType::have, noise(6, 200));
  // Records of unequal sizes, cut without regard to what is header and what is body.
  std::string stream;
  for (std::size_t at = 0, piece = 3; at < frame.size(); at += piece, piece += 17) {
    stream += peer.encrypt(std::string_view(frame).substr(at, piece));
  }
  int highest = 0;
  for (std::size_t sent = 0; sent < stream.size(); ++sent) {
    highest = std::max(highest, peer.low_water());
    INFO(sent << " of " << stream.size() << " bytes sent");
    // A byte that was sent may take a moment to arrive.
    REQUIRE(peer.spin_until([&] {
      return static_cast<std::size_t>(peer.low_water()) <= peer.unread() + stream.size() - sent;
    }));
    peer.put({&stream[sent], 1});
  }
  REQUIRE(peer.run_until([&] { return peer.ear.frames.size() == 1; }));
  CHECK(peer.ear.frames.front().body == noise(6, 200));
  CHECK(highest > 1);
}

TEST_CASE("A sender that pauses inside a long frame and goes on is not left hanging", "[io][net]") {
  const std::string frame = frame_bytes(FrameType::control, noise(7, 300'000));
  const std::size_t pause = GENERATE(5u, 100u, 16'384u + 22 + 3, 65'536u, 131'072u, 250'000u);
  HandMade peer;
  peer.handshake();
  const std::string stream = peer.encrypt(frame);
  peer.put(std::string_view(stream).substr(0, pause));
  peer.put(std::string_view(stream).substr(pause, 1));
  CHECK(peer.ear.frames.empty());
  peer.put(std::string_view(stream).substr(pause + 1));
  REQUIRE(peer.run_until([&] { return peer.ear.frames.size() == 1; }));
  CHECK(peer.ear.frames.front().body == noise(7, 300'000));
}

TEST_CASE("Nothing is read while reading is off, and nothing is lost", "[io][net]") {
  HandMade peer;
  peer.handshake();
  int heard = 0;
  peer.ear.listen = [&](const FrameHeader&, const Buffer&) {
    if (++heard == 3) peer.server->set_reading(false);
  };
  std::string frames;
  for (int i = 0; i < 10; ++i) frames += frame_bytes(FrameType::have, noise(11, 80));
  peer.put(peer.encrypt(frames));
  peer.put(peer.encrypt(frames));
  CHECK(heard == 3);
  CHECK(peer.unread() > 0);
  peer.server->set_reading(true);
  REQUIRE(peer.run_until([&] { return heard == 20; }));
}

TEST_CASE("A refused peer that goes on sending does not keep its thread busy", "[io][net]") {
  HandMade peer;
  peer.put("this is not TLS, and it is long enough for a record's header");
  REQUIRE(peer.run_until([&] { return !peer.ear.closed.empty(); }));
  const std::string more(1024, 'x');
  for (int i = 0; i < 256; ++i) ::send(peer.socket.get(), more.data(), more.size(), MSG_DONTWAIT);
  while (peer.unread() < 100 * 1024) std::this_thread::yield();
  peer.io.run_one();
  CHECK(peer.unread() > 0);
}

TEST_CASE("A peer that goes away in the middle of a frame is noticed", "[io][net]") {
  HandMade peer;
  peer.handshake();
  const std::string stream = peer.encrypt(frame_bytes(FrameType::control, noise(8, 50'000)));
  peer.put(std::string_view(stream).substr(0, 20'000));
  peer.socket.reset();
  REQUIRE(peer.run_until([&] { return !peer.ear.closed.empty(); }));
  CHECK(only_reason(peer.ear, "client n2").code == Errc::unavailable);
  CHECK(peer.ear.frames.empty());
}

TEST_CASE("Bytes that were changed on the way end the connection", "[io][net]") {
  HandMade peer;
  peer.handshake();
  std::string stream = peer.encrypt(frame_bytes(FrameType::have, noise(9, 80)));
  stream[40] = static_cast<char>(stream[40] ^ 1);
  peer.put(stream);
  REQUIRE(peer.run_until([&] { return !peer.ear.closed.empty(); }));
  // Somebody on the way can do that: the peer is not to blame.
  CHECK(only_reason(peer.ear, "client n2").code == Errc::unavailable);
  CHECK(peer.ear.frames.empty());
}

TEST_CASE("A peer that never reads is dropped when too many control frames wait for it",
          "[io][net]") {
  Connection::Settings settings{.cluster = our_cluster().id};
  settings.control_bytes_max = 1024 * 1024;
  HandMade peer(settings);
  peer.handshake();
  const std::string body(64 * 1024, 'x');
  for (int i = 0; i < 1000 && peer.ear.closed.empty(); ++i) {
    peer.server->send(FrameType::control, 0, body);
    peer.io.poll();
  }
  const Error why = only_reason(peer.ear, "client n2");
  CHECK(why.code == Errc::exhausted);
  CHECK_THAT(why.detail, Contains("does not read"));
}

TEST_CASE("Data frames do not count as control frames that wait", "[io][net]") {
  Connection::Settings settings{.cluster = our_cluster().id};
  settings.control_bytes_max = 1024;
  HandMade peer(settings);
  peer.handshake();
  for (std::uint32_t i = 0; i < 300; ++i) {
    peer.server->send_data(data_frame(i, std::string(kMaxDataBytes, 'x')), kMaxDataBytes);
    peer.io.poll();
  }
  CHECK(peer.ear.closed.empty());
}

TEST_CASE("close_after_sending delivers every control frame, then ends", "[io][net]") {
  Pair pair;
  pair.open();
  for (std::uint32_t i = 0; i < 50; ++i) {
    pair.server->send(FrameType::control, 0, noise(i, 60'000));
  }
  pair.server->close_after_sending();
  pair.server->send(FrameType::control, 0, "too late");
  REQUIRE(pair.run_until([&] { return !pair.at_client.closed.empty(); }));
  REQUIRE(pair.at_client.frames.size() == 50);
  for (std::uint32_t i = 0; i < 50; ++i) CHECK(pair.at_client.frames[i].body == noise(i, 60'000));
  CHECK(only_reason(pair.at_client, "server n1").code == Errc::unavailable);
  CHECK(pair.at_server.closed.empty());
}

TEST_CASE("close_after_sending delivers also when it is called before the handshake", "[io][net]") {
  Pair pair;
  pair.server->send(FrameType::control, 0, "go away");
  pair.start();
  pair.server->close_after_sending();
  REQUIRE(pair.run_until([&] { return !pair.at_client.closed.empty(); }));
  REQUIRE(pair.at_client.frames.size() == 1);
  CHECK(pair.at_client.frames.front().body == "go away");
}

TEST_CASE("close_after_sending delivers also to a peer that is talking itself", "[io][net]") {
  Pair pair;
  pair.open();
  const std::string body = noise(10, 64 * 1024);
  for (int i = 0; i < 100; ++i) pair.client->send(FrameType::control, 0, body);
  for (int i = 0; i < 100; ++i) pair.server->send(FrameType::control, 0, body);
  pair.server->close_after_sending();
  REQUIRE(pair.run_until([&] { return !pair.at_client.closed.empty(); }));
  CHECK(pair.at_client.frames.size() == 100);
}

TEST_CASE("After close() a handler hears nothing, even when it is called from the handler",
          "[io][net]") {
  Pair pair;
  pair.open();
  int heard = 0;
  pair.at_server.listen = [&](const FrameHeader&, const Buffer&) {
    if (++heard == 2) pair.server->close();
  };
  for (int i = 0; i < 5; ++i) pair.client->send(FrameType::have, 0, "12345678");
  pair.server->send_data(data_frame(0, "x"), 1);
  REQUIRE(pair.run_until([&] { return !pair.at_client.closed.empty(); }));
  CHECK(heard == 2);
  CHECK(pair.at_server.closed.empty());
}

TEST_CASE("A handler may let go of its connection when it hears of its end", "[io][net]") {
  HandMade peer;
  peer.handshake();
  const std::weak_ptr<Connection> watched = peer.server;
  peer.ear.on_end = [&] { peer.server.reset(); };
  peer.socket.reset();
  REQUIRE(peer.run_until([&] { return watched.expired(); }));
  CHECK(peer.ear.closed.size() == 1);
}

}  // namespace p2p
