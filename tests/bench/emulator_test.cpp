// Emulated nodes against a tracker that says what the test wants.
#include <condition_variable>
#include <map>
#include <mutex>

#include "bench/emulator/fleet.h"
#include "io/net/listener.h"
#include "io/run/run_order.h"
#include "io/runtime/wall_clock.h"
#include "io/state/memory_store.h"
#include "io/wire/hello.h"
#include "tests/io/identity/test_cluster.h"
#include "tests/support/catch.h"

namespace p2p::emulator {
namespace {

using test::must;
using test::TestCluster;

const TestCluster& our_cluster() {
  static const TestCluster cluster;
  return cluster;
}

Member member(std::size_t number) {
  Member one;
  one.credentials = our_cluster().member(Role::agent);
  one.reply.set_name(name_of(number));
  one.reply.set_node_id(identity_of(one.credentials.chain_pem)->id);
  one.reply.set_cluster_id(our_cluster().id);
  return one;
}

// Welcomes every agent and keeps what they say.
class Tracker {
 public:
  Tracker()
      : tls_(must(make_server_context(our_cluster().member(Role::tracker), {kAlpn},
                                      ClientCertificate::optional, ChainSent::with_root))),
        port_(must(listener_.listen("127.0.0.1", 0, [this](auto socket, std::string peer) {
          sessions_.push_back(std::make_unique<Session>(*this, std::move(socket), std::move(peer)));
        }))) {}
  Tracker(const Tracker&) = delete;
  Tracker& operator=(const Tracker&) = delete;
  ~Tracker() { thread_.stop(); }

  HostPort address() const { return {"127.0.0.1", port_}; }
  // To the node that came last.
  void send(const proto::TrackerMessage& message) {
    boost::asio::post(thread_.loop(), [this, message] { sessions_.back()->send(message); });
  }
  // Ends all connections.
  void hang_up() {
    boost::asio::post(thread_.loop(), [this] {
      for (const auto& session : sessions_) session->connection->close();
    });
  }

  // What the agents have said since the last call, until one message is what `wanted` says.
  std::vector<proto::AgentMessage> until(
      const std::function<bool(const proto::AgentMessage&)>& wanted) {
    std::vector<proto::AgentMessage> heard;
    std::unique_lock lock(mutex_);
    const bool came = news_.wait_for(lock, std::chrono::seconds(20), [&] {
      while (!said_.empty()) {
        heard.push_back(std::move(said_.front()));
        said_.erase(said_.begin());
        if (wanted(heard.back())) return true;
      }
      return false;
    });
    REQUIRE(came);
    return heard;
  }
  // The first report of a run that names this state.
  proto::RunReport report(RunState state) {
    proto::RunReport found;
    until([&](const proto::AgentMessage& message) {
      for (const auto& run : message.runs().runs()) {
        if (run.state() != to_string(state)) continue;
        found = run;
        return true;
      }
      return false;
    });
    return found;
  }
  // What the first reports after a welcome say.
  std::vector<proto::RunReport> first_reports() {
    std::vector<proto::RunReport> all;
    for (const auto& message : until([](const auto& one) { return one.runs().last(); })) {
      all.insert(all.end(), message.runs().runs().begin(), message.runs().runs().end());
    }
    return all;
  }

 private:
  struct Session final : Connection::Handler {
    Session(Tracker& tracker, Connection::Socket socket, std::string peer)
        : owner(tracker),
          connection(Connection::make(tracker.thread_.loop(), std::move(socket), tracker.tls_,
                                      Connection::Side::server, {.cluster = our_cluster().id},
                                      std::move(peer))) {
      connection->start(this);
    }
    void send(const proto::TrackerMessage& message) {
      connection->send(FrameType::control, 0, message.SerializeAsString());
    }
    void on_open(const std::optional<Identity>&) override {
      connection->send(FrameType::hello, 0, make_hello(0).SerializeAsString());
    }
    void on_frame(const FrameHeader& header, Buffer body) override {
      proto::AgentMessage message;
      if (header.type != FrameType::control ||
          !message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
        return;
      }
      if (message.has_hello()) {
        proto::TrackerMessage welcome;
        welcome.mutable_welcome()->set_node_name("n");
        send(welcome);
      }
      const std::lock_guard lock(owner.mutex_);
      owner.said_.push_back(std::move(message));
      owner.news_.notify_one();
    }
    void on_data_sent(std::uint32_t) override {}
    void on_closed(const Error&) override {}

    Tracker& owner;
    std::shared_ptr<Connection> connection;
  };

  std::mutex mutex_;
  std::condition_variable news_;
  std::vector<proto::AgentMessage> said_;
  TlsContext tls_;
  LoopThread thread_{"tracker"};
  Listener listener_{thread_.loop()};
  std::vector<std::unique_ptr<Session>> sessions_;
  std::uint16_t port_;
};

struct Scene {
  Tracker tracker;
  MemoryStore store;
  std::uint8_t next_id = 1;

  std::unique_ptr<Fleet> fleet(std::size_t nodes = 1) {
    std::vector<Member> all;
    for (std::size_t number = 1; number <= nodes; ++number) all.push_back(member(number));
    Fleet::Settings settings;
    settings.tracker = tracker.address();
    settings.threads = 1;
    auto made = std::make_unique<Fleet>(settings, store, std::move(all));
    made->start();
    return made;
  }
  proto::TrackerMessage offer(const std::vector<std::string>& command) {
    std::array<std::uint8_t, 16> random{};
    random[15] = next_id++;
    proto::TrackerMessage message;
    message.mutable_run()->set_job(7);
    auto& order = *message.mutable_run()->mutable_order();
    order = new_run_order(RunId::make(wall_now(), random));
    for (const std::string& word : command) order.add_arguments(word);
    return message;
  }
  proto::TrackerMessage known(const proto::TrackerMessage& offer, bool final = false) {
    proto::TrackerMessage message;
    message.mutable_run_known()->set_id(offer.run().order().id());
    message.mutable_run_known()->set_final(final);
    return message;
  }
};

TEST_CASE("an emulated node says what it is, and that nothing is known of any run") {
  Scene scene;
  const auto fleet = scene.fleet();
  bool any = false, facts = false, holdings = false;
  for (const auto& message : scene.tracker.until([](const auto& one) { return one.has_runs(); })) {
    any = any || message.hello().exec() == "any";
    facts = facts || message.facts().values().contains("os.id");
    holdings = holdings || (message.holdings().first() && message.holdings().last());
    if (message.has_runs()) CHECK((message.runs().first() && message.runs().last()));
  }
  CHECK(any);
  CHECK(facts);
  CHECK(holdings);
  CHECK(fleet->counters().connected == 1);
}

TEST_CASE("an emulated node accepts a run, then says how it ended") {
  Scene scene;
  const auto fleet = scene.fleet();
  scene.tracker.first_reports();
  scene.tracker.send(scene.offer({"false"}));
  CHECK(scene.tracker.report(RunState::accepted).job() == 7);
  const auto end = scene.tracker.report(RunState::exited);
  CHECK(end.has_code());
  CHECK(end.code() == 1);
}

TEST_CASE("output is sent from where the tracker wants it, and the end behind it") {
  Scene scene;
  const auto fleet = scene.fleet();
  scene.tracker.first_reports();
  const auto offer = scene.offer({"/bin/echo", "hello", "there"});
  scene.tracker.send(offer);
  scene.tracker.report(RunState::accepted);
  auto known = scene.known(offer);
  known.mutable_run_known()->set_out_from(6);
  scene.tracker.send(known);
  std::string out;
  const auto said = scene.tracker.until([](const auto& one) {
    return one.has_runs() && one.runs().runs(0).state() == to_string(RunState::exited);
  });
  for (const auto& message : said) {
    if (!message.has_output()) continue;
    CHECK(message.output().offset() == 6);
    out += message.output().bytes();
  }
  CHECK(out == "there\n");
}

TEST_CASE("a run that is offered again is not run again") {
  Scene scene;
  const auto fleet = scene.fleet();
  scene.tracker.first_reports();
  const auto offer = scene.offer({"true"});
  scene.tracker.send(offer);
  scene.tracker.report(RunState::exited);
  scene.tracker.send(offer);
  CHECK(scene.tracker.report(RunState::exited).code() == 0);
  // Also when the node has been told that the end is stored, and has dropped what it had.
  scene.tracker.send(scene.known(offer, /*final=*/true));
  scene.tracker.send(offer);
  scene.tracker.report(RunState::exited);
  CHECK(fleet->counters().offers == 3);
  CHECK(fleet->counters().accepted == 1);
}

TEST_CASE("a node that comes back says what has happened meanwhile") {
  Scene scene;
  const auto fleet = scene.fleet();
  scene.tracker.first_reports();
  scene.tracker.send(scene.offer({"sleep", "0.2"}));
  scene.tracker.report(RunState::running);
  scene.tracker.hang_up();
  const auto news = scene.tracker.first_reports();
  REQUIRE(news.size() == 1);
  CHECK((news[0].state() == "running" || news[0].state() == "exited"));
  if (news[0].state() == "running") scene.tracker.report(RunState::exited);
}

TEST_CASE("a run that went on when the emulator ended is lost") {
  Scene scene;
  auto fleet = scene.fleet();
  scene.tracker.first_reports();
  auto offer = scene.offer({"sleep", "3600"});
  scene.tracker.send(offer);
  scene.tracker.report(RunState::running);
  fleet.reset();
  REQUIRE(RunLedger(scene.store).recover(RunFolders("/nowhere")));
  fleet = scene.fleet();
  scene.tracker.first_reports();
  offer.mutable_run()->set_accepted_before(true);
  scene.tracker.send(offer);
  scene.tracker.report(RunState::lost);
}

TEST_CASE("a sleeping run can be cancelled") {
  Scene scene;
  const auto fleet = scene.fleet();
  scene.tracker.first_reports();
  const auto offer = scene.offer({"sleep", "3600"});
  scene.tracker.send(offer);
  scene.tracker.report(RunState::running);
  proto::TrackerMessage cancel;
  cancel.mutable_cancel_run()->set_id(offer.run().order().id());
  scene.tracker.send(cancel);
  CHECK_FALSE(scene.tracker.report(RunState::cancelled).has_code());
}

TEST_CASE("a script that is not in its order is asked for") {
  Scene scene;
  const auto fleet = scene.fleet();
  scene.tracker.first_reports();
  auto offer = scene.offer({});
  offer.mutable_run()->mutable_order()->set_is_script(true);
  offer.mutable_run()->set_script_sha256(std::string(32, 's'));
  scene.tracker.send(offer);
  scene.tracker.until([](const auto& one) { return one.blob().sha256() == std::string(32, 's'); });
  proto::TrackerMessage blob;
  blob.mutable_blob()->set_sha256(std::string(32, 's'));
  blob.mutable_blob()->set_bytes("#!/bin/sh\n");
  scene.tracker.send(blob);
  CHECK(scene.tracker.report(RunState::exited).code() == 0);
}

TEST_CASE("runs of many nodes share their syncs") {
  Scene scene;
  const auto fleet = scene.fleet();
  scene.tracker.first_reports();
  for (int i = 0; i < 200; ++i) scene.tracker.send(scene.offer({"true"}));
  int ended = 0;
  scene.tracker.until([&](const auto& one) {
    for (const auto& run : one.runs().runs()) ended += run.state() == to_string(RunState::exited);
    return ended == 200;
  });
  fleet->stop();
  CHECK(fleet->syncs() < 400);  // each of its own would be two a run
}

TEST_CASE("a timeout ends a command that sleeps, and an unknown command is refused") {
  proto::RunOrder order = new_run_order(RunId());
  order.add_arguments("sleep");
  order.add_arguments("10");
  order.set_timeout_ms(50);
  const auto sleeps = fake_command(order, "n");
  REQUIRE(sleeps);
  CHECK(sleeps->timed_out);
  CHECK(sleeps->takes == std::chrono::milliseconds(50));
  CHECK(result_of(*sleeps, WallTime{}, WallTime{}).end() == proto::RunResult::TIMED_OUT);
  order.set_arguments(0, "reboot");
  const auto unknown = fake_command(order, "n");
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().detail.find("reboot") == 0);
}

}  // namespace
}  // namespace p2p::emulator
