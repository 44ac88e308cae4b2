#include "p2pd/join.h"

#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/disk/file_io.h"
#include "io/identity/token.h"
#include "io/net/connection.h"
#include "io/net/listener.h"
#include "io/runtime/loop_thread.h"
#include "io/wire/hello.h"
#include "proto/control.pb.h"
#include "tests/io/identity/test_cluster.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;
using test::must;
using test::TempFolder;
using test::TestCluster;

const TestCluster& our_cluster() {
  static const TestCluster cluster;
  return cluster;
}

// The agent port of a tracker that gives one answer to whoever asks.
class Tracker final : private Connection::Handler {
 public:
  using Answer = std::function<proto::TrackerMessage(const proto::JoinRequest&)>;

  explicit Tracker(Answer answer, proto::Hello hello = make_hello(0))
      : answer_(std::move(answer)),
        hello_(std::move(hello)),
        tls_(must(make_server_context(our_cluster().member(Role::tracker), {kAlpn},
                                      ClientCertificate::optional, ChainSent::with_root))),
        port_(must(listener_.listen("127.0.0.1", 0, [this](auto socket, std::string peer) {
          connection_ =
              Connection::make(thread_.loop(), std::move(socket), tls_, Connection::Side::server,
                               {.cluster = our_cluster().id}, std::move(peer));
          connection_->start(this);
        }))) {}
  Tracker(const Tracker&) = delete;
  Tracker& operator=(const Tracker&) = delete;
  ~Tracker() { thread_.stop(); }

  HostPort address() const { return {"127.0.0.1", port_}; }
  // What was asked; ends the tracker.
  const std::vector<proto::JoinRequest>& requests() {
    thread_.stop();
    return requests_;
  }

 private:
  void on_open(const std::optional<Identity>&) override {
    connection_->send(FrameType::hello, 0, hello_.SerializeAsString());
  }
  void on_frame(const FrameHeader& header, Buffer body) override {
    proto::AgentMessage message;
    if (header.type != FrameType::control ||
        !message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
      return;
    }
    requests_.push_back(message.join());
    connection_->send(FrameType::control, 0, answer_(message.join()).SerializeAsString());
  }
  void on_data_sent(std::uint32_t) override {}
  void on_closed(const Error&) override {}

  Answer answer_;
  proto::Hello hello_;
  TlsContext tls_;
  std::vector<proto::JoinRequest> requests_;
  LoopThread thread_{"tracker"};
  std::shared_ptr<Connection> connection_;
  Listener listener_{thread_.loop()};
  std::uint16_t port_;
};

constexpr const char* kNode = "99999999-9999-4999-8999-999999999999";

// Runs on the tracker's thread: no assertions in here.
proto::TrackerMessage welcome(const std::string& csr_pem) {
  CertificateSpec spec;
  spec.csr_pem = csr_pem;
  spec.identity = Identity{our_cluster().id, Role::agent, kNode};
  spec.not_before = test::usual_validity().not_before;
  spec.not_after = test::usual_validity().not_after;
  const auto leaf = issue(our_cluster().intermediate, spec);
  proto::TrackerMessage message;
  auto& joined = *message.mutable_joined();
  joined.mutable_certificate()->set_chain_pem((leaf ? *leaf : "") +
                                              our_cluster().intermediate.certificate_pem);
  joined.mutable_certificate()->set_bundle_pem(our_cluster().root.certificate_pem);
  joined.set_node_id(kNode);
  joined.set_name("web1");
  joined.set_cluster_id(our_cluster().id);
  return message;
}

proto::TrackerMessage refusal(Errc code, const std::string& detail) {
  proto::TrackerMessage message;
  message.mutable_refusal()->set_code(std::string(to_string(code)));
  message.mutable_refusal()->set_detail(detail);
  return message;
}

Token token_for(const TestCluster& cluster) {
  return must(make_token(must(spki_pin(cluster.root.certificate_pem))));
}

struct Joining {
  TempFolder base;
  std::string data = base / "agent/data";
  Token token = token_for(our_cluster());

  JoinSettings settings(const HostPort& tracker) const {
    return {tracker, token.line(), data, "web1", {{"rack", "a"}}};
  }
  bool is_untouched() const { return !fs::exists(base / "agent"); }
};

}  // namespace

TEST_CASE("Joining leaves an identity that the agent can run with", "[p2pd]") {
  Joining node;
  Tracker tracker([](const auto& request) { return welcome(request.csr_pem()); });
  const NodeFile joined = must(join(node.settings(tracker.address())));
  CHECK(joined.node_id == kNode);
  CHECK(joined.name == "web1");
  CHECK(joined.cluster_id == our_cluster().id);
  CHECK(joined.tracker == tracker.address().str());

  const NodeFile loaded = must(load_node_file(node.data));
  CHECK(loaded.node_id == joined.node_id);
  CHECK(loaded.name == joined.name);
  CHECK(loaded.cluster_id == joined.cluster_id);
  CHECK(loaded.tracker == joined.tracker);
  const Credentials credentials = must(load_credentials(agent_credentials_folder(node.data)));
  CHECK(must(identity_of(credentials.chain_pem)).id == kNode);
  CHECK(credentials.bundle_pem == our_cluster().root.certificate_pem);

  REQUIRE(tracker.requests().size() == 1);
  const proto::JoinRequest& asked = tracker.requests().front();
  CHECK(asked.token_id() == node.token.id);
  CHECK(asked.token_secret() == node.token.secret);
  CHECK(asked.name() == "web1");
  CHECK(asked.labels().at("rack") == "a");
  CHECK_FALSE(asked.hostname().empty());
}

TEST_CASE("What joining leaves is for the agent's account only", "[p2pd]") {
  Joining node;
  Tracker tracker([](const auto& request) { return welcome(request.csr_pem()); });
  REQUIRE(join(node.settings(tracker.address())));
  for (const auto& entry : fs::recursive_directory_iterator(node.data)) {
    if (!entry.is_regular_file() || entry.path().filename() == "bundle.pem") continue;
    INFO(entry.path());
    CHECK((entry.status().permissions() & (fs::perms::group_all | fs::perms::others_all)) ==
          fs::perms::none);
  }
  CHECK((fs::status(node.data).permissions() & (fs::perms::group_all | fs::perms::others_all)) ==
        fs::perms::none);
}

TEST_CASE("A folder that holds an identity is not joined again", "[p2pd]") {
  Joining node;
  Tracker tracker([](const auto& request) { return welcome(request.csr_pem()); });
  REQUIRE(join(node.settings(tracker.address())));
  const std::string before = test::text_of(node.data + "/credentials/identity.pem");
  const auto again = join(node.settings(tracker.address()));
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Errc::already_exists);
  CHECK_THAT(again.error().detail, Contains(node.data));
  CHECK(test::text_of(node.data + "/credentials/identity.pem") == before);
  CHECK(tracker.requests().size() == 1);
}

TEST_CASE("A join that was interrupted before its last file can be repeated", "[p2pd]") {
  Joining node;
  Tracker tracker([](const auto& request) { return welcome(request.csr_pem()); });
  REQUIRE(join(node.settings(tracker.address())));
  fs::remove(node.data + "/node.json");
  CHECK(join(node.settings(tracker.address())));
  CHECK(load_node_file(node.data));
}

TEST_CASE("A join that was interrupted at any file can be repeated", "[p2pd]") {
  Joining node;
  Tracker tracker([](const auto& request) { return welcome(request.csr_pem()); });
  fs::create_directories(node.data + "/credentials");
  SECTION("before its first one") {}
  SECTION("in its first one") {
    test::put_file(node.data + "/credentials/.p2pd-tmp-a1b2c3", "half");
  }
  SECTION("between two") {
    test::put_file(node.data + "/credentials/bundle.pem", "old");
  }
  SECTION("in its last one") {
    test::put_file(node.data + "/.p2pd-tmp-a1b2c3", "{");
  }
  CHECK(join(node.settings(tracker.address())));
  CHECK(load_node_file(node.data));
}

TEST_CASE("An empty folder becomes an agent's", "[p2pd]") {
  Joining node;
  Tracker tracker([](const auto& request) { return welcome(request.csr_pem()); });
  fs::create_directories(node.data);
  CHECK(join(node.settings(tracker.address())));
}

TEST_CASE("Somebody's folder is refused before anybody is asked, and not touched", "[p2pd]") {
  Joining node;
  Tracker tracker([](const auto& request) { return welcome(request.csr_pem()); });
  fs::create_directories(node.data);
  std::string named;
  SECTION("a file") {
    test::put_file(node.data + "/thesis.txt", "words");
    named = "thesis.txt";
  }
  SECTION("a hidden folder") {
    fs::create_directory(node.data + "/.git");
    named = ".git";
  }
  SECTION("something of that name, but not an agent's") {
    fs::create_directory(node.data + "/credentials");
    test::put_file(node.data + "/credentials/passwords", "");
    named = "credentials";
  }
  SECTION("a link of that name") {
    fs::create_directory_symlink(node.base.path(), node.data + "/credentials");
    named = "credentials";
  }
  fs::permissions(node.data, fs::perms(0755));
  const auto refused = join(node.settings(tracker.address()));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::already_exists);
  CHECK_THAT(refused.error().detail,
             Contains(node.data) && Contains(named) && Contains("choose a --data"));
  CHECK(tracker.requests().empty());
  CHECK(fs::status(node.data).permissions() == fs::perms(0755));
  CHECK(std::distance(fs::directory_iterator(node.data), fs::directory_iterator()) == 1);
}

TEST_CASE("A file is no data folder", "[p2pd]") {
  Joining node;
  Tracker tracker([](const auto& request) { return welcome(request.csr_pem()); });
  fs::create_directories(fs::path(node.data).parent_path());
  test::put_file(node.data, "a file");
  const auto refused = join(node.settings(tracker.address()));
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().detail, Contains("is no folder"));
  CHECK(tracker.requests().empty());
  CHECK(test::text_of(node.data) == "a file");
}

TEST_CASE("The tracker's refusal is told as it is, and nothing is left on disk", "[p2pd]") {
  Joining node;
  Tracker tracker([](const auto&) { return refusal(Errc::denied, "the token is used up"); });
  const auto refused = join(node.settings(tracker.address()));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::denied);
  CHECK_THAT(refused.error().detail, Contains("the tracker refused: the token is used up"));
  CHECK(node.is_untouched());
}

TEST_CASE("A refusal with a code of a later release is still a refusal", "[p2pd]") {
  Joining node;
  Tracker tracker([](const auto&) {
    proto::TrackerMessage message = refusal(Errc::denied, "not today");
    message.mutable_refusal()->set_code("code_of_the_future");
    return message;
  });
  const auto refused = join(node.settings(tracker.address()));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::denied);
}

TEST_CASE("A token of another cluster is not shown to this tracker", "[p2pd]") {
  Joining node;
  node.token = token_for(TestCluster());
  Tracker tracker([](const auto& request) { return welcome(request.csr_pem()); });
  const auto refused = join(node.settings(tracker.address()));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::denied);
  CHECK_THAT(refused.error().detail, Contains("the token is of another cluster"));
  CHECK_THAT(refused.error().detail, !Contains(node.token.secret));
  CHECK(tracker.requests().empty());
  CHECK(node.is_untouched());
}

TEST_CASE("A certificate for somebody else's key is not taken", "[p2pd]") {
  Joining node;
  const std::string csr = must(make_csr(must(generate_key())));
  Tracker tracker([&](const auto&) { return welcome(csr); });
  const auto refused = join(node.settings(tracker.address()));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::corrupt);
  CHECK_FALSE(fs::exists(node.data + "/node.json"));
  CHECK_FALSE(fs::exists(node.data + "/credentials/identity.pem"));
}

TEST_CASE("A tracker without a protocol version in common says so", "[p2pd]") {
  Joining node;
  proto::Hello hello = make_hello(0);
  hello.set_version_min(kProtocolVersion + 1);
  hello.set_version_max(kProtocolVersion + 1);
  // Its answer comes after its Hello, and is not looked at.
  Tracker tracker([](const auto& request) { return welcome(request.csr_pem()); }, hello);
  const auto refused = join(node.settings(tracker.address()));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::invalid_argument);
  CHECK_THAT(refused.error().detail, Contains("speaks protocol versions 2 to 2"));
  CHECK(node.is_untouched());
}

TEST_CASE("An address where nobody listens is named", "[p2pd]") {
  Joining node;
  boost::asio::io_context loop;
  Listener listener(loop);
  const std::uint16_t port = must(listener.listen("127.0.0.1", 0, [](auto, auto) {}));
  listener.close();
  const auto refused = join(node.settings({"127.0.0.1", port}));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::unavailable);
  CHECK_THAT(refused.error().detail, Contains("127.0.0.1:" + std::to_string(port)));
  CHECK(node.is_untouched());
}

TEST_CASE("A line that is no token is refused before anybody is asked", "[p2pd]") {
  Joining node;
  Tracker tracker([](const auto& request) { return welcome(request.csr_pem()); });
  JoinSettings settings = node.settings(tracker.address());
  settings.token = "p2pd1.not.a.token";
  CHECK(join(settings).error().code == Errc::invalid_argument);
  CHECK(tracker.requests().empty());
  CHECK(node.is_untouched());
}

TEST_CASE("A folder without an identity says how to get one", "[p2pd]") {
  TempFolder folder;
  const auto none = load_node_file(folder.path());
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Errc::not_found);
  CHECK_THAT(none.error().detail, Contains("p2pd join --data " + folder.path()));

  test::put_file(folder / "node.json", "{\"node_id\": 5");
  const auto damaged = load_node_file(folder.path());
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code == Errc::invalid_argument);
  CHECK_THAT(damaged.error().detail, Contains(folder.path() + "/node.json"));
}

}  // namespace p2p
