// The channel between the two processes of a node: what the helper does with hostile requests, and
// what the network process does without a helper. What each request does is tested with the other
// executors, in landing_test.cpp and its neighbours.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <latch>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/rng.h"
#include "proto/privileged.pb.h"
#include "tests/io/privileged/node.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::code_of;
using test::kPart;
using test::Node;
using test::put_file;
using test::read_all;
using test::text_of;

using HelperNode = test::NodeOf<test::ThroughHelper>;

// Both ends of a channel; the tests speak for one of the processes.
struct Channel {
  Fd network;
  Fd helper;

  Channel() {
    auto made = make_helper_channel();
    REQUIRE(made);
    network = std::move(made->first);
    helper = std::move(made->second);
  }
  // Sends any bytes at all to the helper, with an open file when `file` is one.
  void send(const std::string& bytes, int file = -1) {
    if (file >= 0) {
      REQUIRE(send_to_helper_channel(network.get(), bytes, file));
    } else {
      REQUIRE(::send(network.get(), bytes.data(), bytes.size(), 0) ==
              static_cast<ssize_t>(bytes.size()));
    }
  }
  // Takes a request, as the helper.
  proto::PrivilegedRequest take() {
    auto message = receive_from_helper_channel(helper.get(), /*files_expected=*/false);
    REQUIRE(message);
    REQUIRE(*message);
    proto::PrivilegedRequest request;
    REQUIRE(request.ParseFromString((*message)->bytes));
    return request;
  }
};

proto::PrivilegedRequest open_part_request(const std::string& relative) {
  proto::PrivilegedRequest request;
  request.set_number(7);
  request.mutable_open_part()->mutable_destination()->set_relative(relative);
  request.mutable_open_part()->set_part(kPart);
  return request;
}

// ---- the helper ------------------------------------------------------------------------------

TEST_CASE("The helper ends without an error when the other process is gone", "[io][privileged]") {
  Node node;
  Channel channel;
  channel.network.reset();
  CHECK(serve_privileged(channel.helper.get(), *node.privileged));
}

TEST_CASE("A message that no agent sends ends the helper, with the reason", "[io][privileged]") {
  Node node;
  Channel channel;
  proto::PrivilegedRequest request = open_part_request("image");
  SECTION("bytes that are no request") {
    channel.send("\xff\xff\xff\xff");
  }
  SECTION("an unknown kind") {
    request.clear_kind();
    channel.send(request.SerializeAsString());
  }
  SECTION("no number") {
    request.set_number(0);
    channel.send(request.SerializeAsString());
  }
  SECTION("more bytes than a message may have") {
    request.mutable_open_part()->set_part(std::string(kMaxHelperMessageBytes, 'x'));
    channel.send(request.SerializeAsString());
  }
  SECTION("a descriptor") {
    channel.send(request.SerializeAsString(), STDERR_FILENO);
  }
  const Status served = serve_privileged(channel.helper.get(), *node.privileged);
  CHECK(code_of(served) == Errc::corrupt);
  CHECK(fs::is_empty(node.root));
}

TEST_CASE("What an agent asked for that has died since is not begun", "[io][privileged]") {
  Node node;
  Channel channel;
  channel.send(open_part_request("folder/image").SerializeAsString());
  channel.network.reset();
  CHECK(serve_privileged(channel.helper.get(), *node.privileged));
  CHECK(fs::is_empty(node.root));
}

TEST_CASE("Whatever becomes of a request's bytes, nothing outside is touched", "[io][privileged]") {
  Node node;
  fs::create_directory_symlink("../outside", node.root + "/link");
  Rng rng(20);
  for (int round = 0; round < 200; ++round) {
    Channel channel;
    std::string bytes = open_part_request("link/../../outside/secret").SerializeAsString();
    for (int change = 0; change < 3; ++change) {
      bytes[rng.below(bytes.size())] = static_cast<char>(rng.below(256));
    }
    channel.send(bytes);
    std::thread helper(
        [&] { std::ignore = serve_privileged(channel.helper.get(), *node.privileged); });
    // An answer, or the end.
    std::ignore = receive_from_helper_channel(channel.network.get(), /*files_expected=*/true);
    channel.network.reset();
    helper.join();
  }
  CHECK(node.is_outside_untouched());
}

// Landing waits until a source has been opened.
class SlowToLand final : public Privileged {
 public:
  const std::vector<std::string>& roots() const override { return names_; }
  const std::vector<std::string>& shares() const override { return names_; }
  Result<Fd> open_source(const std::string&) override {
    opened_.count_down();
    return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  Result<Fd> open_part(const RootedPath&, const std::string&) override { return Fd(); }
  Result<Fd> open_landed(const RootedPath&) override { return Fd(); }
  Status land(const RootedPath&, const std::string&, const FileIdentity&,
              const FileMetadata&) override {
    landing_.count_down();
    opened_.wait();
    return {};
  }
  Status remove_part(const RootedPath&, const std::string&) override { return {}; }
  Result<FreeSpace> free_space(const RootedPath&) override { return FreeSpace{}; }
  Result<FolderListing> list_folder(std::uint32_t, const std::string&,
                                    const std::string&) override {
    return FolderListing{};
  }
  Status write_ready_file(const std::string&) override { return {}; }

  void wait_for_landing() { landing_.wait(); }

 private:
  std::vector<std::string> names_;
  std::latch landing_{1};
  std::latch opened_{1};
};

TEST_CASE("A slow landing does not hold up another request", "[io][privileged]") {
  SlowToLand executor;
  Channel channel;
  std::thread helper([&] { std::ignore = serve_privileged(channel.helper.get(), executor); });
  {
    HelperPrivileged client(std::move(channel.network), {}, {});
    auto landed = std::async(std::launch::async, [&] { return client.land({}, kPart, {}, {}); });
    executor.wait_for_landing();
    CHECK(client.open_source("/any"));
    CHECK(landed.get());
  }
  helper.join();
}

// ---- the network process ---------------------------------------------------------------------

TEST_CASE("What the helper has opened is closed on exec, and a source is for reading only",
          "[io][privileged]") {
  HelperNode node;
  put_file(node.share + "/image", "x");
  const Result<Fd> source = node.privileged->open_source(node.share + "/image");
  const Result<Fd> part = node.privileged->open_part({0, "image"}, kPart);
  REQUIRE(source);
  REQUIRE(part);
  for (const Fd* file : {&*source, &*part}) {
    CHECK((::fcntl(file->get(), F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK((::fcntl(source->get(), F_GETFL) & O_ACCMODE) == O_RDONLY);
}

TEST_CASE("Many threads may ask at once, and each gets its own answer", "[io][privileged]") {
  HelperNode node;
  constexpr int kThreads = 16;
  constexpr int kFiles = 40;
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kFiles; ++i) {
        const std::string name = std::to_string(thread) + "/" + std::to_string(i);
        const std::string part = kPart + std::to_string(thread);
        const Result<Fd> file = node.privileged->open_part({0, name}, part);
        if (!file) return;
        const std::vector<std::uint8_t> bytes(name.begin(), name.end());
        const Result<FileFacts> facts = facts_of(*file);
        if (!facts || !write_all_at(file->get(), bytes, 0, name)) return;
        if (!node.privileged->land({0, name}, part, facts->identity(), {})) return;
        const Result<Fd> missing = node.privileged->open_landed({0, name + "-none"});
        if (missing || missing.error().code != Errc::not_found) return;
        right += text_of(node.root + "/" + name) == name ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(right == kThreads * kFiles);
}

TEST_CASE("A request that is too long is refused, and the helper lives on", "[io][privileged]") {
  HelperNode node;
  const std::string path = node.share + std::string(kMaxHelperMessageBytes, '/') + "image";
  CHECK(code_of(node.privileged->open_source(path)) == Errc::invalid_argument);
  CHECK(node.privileged->open_part({0, "image"}, kPart));
}

TEST_CASE("An error that names very many folders keeps its code and is cut", "[io][privileged]") {
  const test::TempFolder base;
  std::vector<std::string> shares;
  for (int i = 100; i < 200; ++i) {
    shares.push_back(base / (std::to_string(i) + std::string(200, 's')));
    fs::create_directory(shares.back());
  }
  auto made = test::ThroughHelper::create({}, shares);
  REQUIRE(made);
  const Result<Fd> outside = (*made)->open_source("/etc/passwd");
  CHECK(code_of(outside) == Errc::denied);
  CHECK_THAT(outside.error().detail, Catch::StartsWith("open /etc/passwd: not below a folder"));
  CHECK(outside.error().detail.size() == 8 * 1024);
}

TEST_CASE("When the helper dies, what waits fails as unavailable and on_lost is called once",
          "[io][privileged]") {
  Channel channel;
  HelperPrivileged client(std::move(channel.network), {}, {});
  std::atomic<int> calls = 0;
  client.on_lost([&](const Error&) { ++calls; });
  // Each says how often on_lost had been called when the error came.
  std::vector<std::future<std::pair<Errc, int>>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(std::async(std::launch::async, [&] {
      const Result<Fd> file = client.open_source("/any");
      return std::pair(file ? Errc::io_failed : file.error().code, calls.load());
    }));
  }
  for (int i = 0; i < 3; ++i) std::ignore = channel.take();
  channel.helper.reset();
  for (auto& call : waiting) CHECK(call.get() == std::pair(Errc::unavailable, 1));
  CHECK(code_of(client.remove_part({}, kPart)) == Errc::unavailable);
  CHECK(calls == 1);
  int late = 0;
  client.on_lost([&](const Error&) { ++late; });
  CHECK(late == 1);
}

TEST_CASE("A helper that answers what nobody asked is not believed any more", "[io][privileged]") {
  Channel channel;
  HelperPrivileged client(std::move(channel.network), {}, {});
  auto waiting = std::async(std::launch::async, [&] { return client.open_source("/any"); });
  proto::PrivilegedReply reply;
  reply.set_number(channel.take().number() + 1);
  REQUIRE(send_to_helper_channel(channel.helper.get(), reply.SerializeAsString()));
  const Result<Fd> file = waiting.get();
  CHECK(code_of(file) == Errc::unavailable);
  CHECK_THAT(file.error().detail, Catch::Contains("cannot be read"));
}

TEST_CASE("Closing the channel on purpose is no loss", "[io][privileged]") {
  Channel channel;
  bool lost = false;
  {
    HelperPrivileged client(std::move(channel.network), {}, {});
    client.on_lost([&](const Error&) { lost = true; });
  }
  CHECK_FALSE(lost);
  CHECK(is_helper_channel_closed(channel.helper.get()));
}

TEST_CASE("A process without descriptors left says so, and goes on when it has some",
          "[io][privileged]") {
  Channel channel;
  HelperPrivileged client(std::move(channel.network), {}, {});
  const Fd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  // With some first: UndefinedBehaviorSanitizer takes a descriptor when it meets a type anew.
  for (const bool have_some : {true, false, true}) {
    auto waiting = std::async(std::launch::async, [&] { return client.open_source("/any"); });
    proto::PrivilegedReply reply;
    reply.set_number(channel.take().number());
    const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, have_some ? &before : &none) == 0);
    const Status sent =
        send_to_helper_channel(channel.helper.get(), reply.SerializeAsString(), file.get());
    const Result<Fd> opened = waiting.get();
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    REQUIRE(sent);
    CHECK(opened.has_value() == have_some);
    if (!have_some) CHECK(code_of(opened) == Errc::exhausted);
  }
}

}  // namespace
}  // namespace p2p
