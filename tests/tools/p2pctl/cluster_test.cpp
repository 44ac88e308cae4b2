// What `p2pctl init` makes and the tracker loads.
#include "io/identity/cluster.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/base/ids.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

const WallTime kNow{std::chrono::hours(24 * 365 * 56)};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "p2pd-test-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { fs::remove_all(path_); }

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

ClusterOptions options_in(const TemporaryFolder& folder, const std::string& name = "prod") {
  ClusterOptions options;
  options.tracker_data = folder / "tracker";
  options.name = name;
  options.api_host = "tracker.example";
  options.api_port = 7401;
  options.sans = {"10.1.2.3"};
  options.administrator = "alice";
  options.home = folder / "home";
  return options;
}

mode_t mode_of(const std::string& path) {
  struct stat facts {};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  return facts.st_mode & 07777;
}

TEST_CASE("A cluster that was made is loaded with the same name, id and keys",
          "[io][identity][cluster]") {
  const TemporaryFolder folder;
  const auto made = create_cluster(options_in(folder), kNow);
  REQUIRE(made);
  const auto loaded = load_cluster(folder / "tracker");
  REQUIRE(loaded);
  CHECK(loaded->name == "prod");
  CHECK(NodeId::parse(loaded->id));
  CHECK(loaded->id == made->id);
  CHECK(loaded->root_pem == made->root_pem);
  CHECK(loaded->intermediate.key_pem == made->intermediate.key_pem);
  CHECK(*loaded->pin() == *spki_pin(made->root_pem));
}

TEST_CASE("A user's home is made once, for its owner alone, and loaded again",
          "[io][identity][cluster]") {
  const TemporaryFolder folder;
  const auto cluster = create_cluster(options_in(folder), kNow);
  REQUIRE(cluster);
  const auto credentials = make_member(
      *cluster, {Identity{cluster->id, Role::admin, cluster->id}, {}, kAdminCertificateLife}, kNow);
  REQUIRE(credentials);
  const AdminConfig config{"tracker.example:7401", cluster->name, cluster->id};
  REQUIRE(save_home(folder / "ann", *credentials, config));
  CHECK(mode_of(folder / "ann/identity.pem") == 0600);
  CHECK(load_admin_config(folder / "ann")->api == "tracker.example:7401");
  CHECK(load_credentials(folder / "ann")->key_pem == credentials->key_pem);
  const Status again = save_home(folder / "ann", *credentials, config);
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Errc::already_exists);
  CHECK(again.error().detail.find("prod") != std::string::npos);
}

TEST_CASE("Private keys of a cluster are for their owner alone", "[io][identity][cluster]") {
  const TemporaryFolder folder;
  REQUIRE(create_cluster(options_in(folder), kNow));
  for (const char* file : {"tracker/ca/root.key", "tracker/ca/intermediate.key",
                           "tracker/credentials/identity.pem", "home/identity.pem"}) {
    CAPTURE(file);
    CHECK(mode_of(folder / file) == 0600);
  }
  CHECK(mode_of(folder / "home") == 0700);
}

TEST_CASE("Tracker and administrator get credentials of their role and life",
          "[io][identity][cluster]") {
  const TemporaryFolder folder;
  const auto made = create_cluster(options_in(folder), kNow);
  REQUIRE(made);
  const auto tracker = load_credentials(tracker_credentials_folder(folder / "tracker"));
  const auto admin = load_credentials(folder / "home");
  REQUIRE(tracker);
  REQUIRE(admin);
  CHECK(identity_of(tracker->chain_pem)->role == Role::tracker);
  CHECK(identity_of(admin->chain_pem)->role == Role::admin);
  CHECK(identity_of(admin->chain_pem)->cluster == made->id);
  CHECK(identity_of(admin->chain_pem)->shown() == "alice");
  CHECK(validity_of(tracker->chain_pem)->not_after == kNow + kTrackerCertificateLife);
  CHECK(validity_of(admin->chain_pem)->not_after == kNow + kAdminCertificateLife);
  CHECK(admin->bundle_pem == made->root_pem);
}

TEST_CASE("The home says where the API is and of which cluster it is", "[io][identity][cluster]") {
  const TemporaryFolder folder;
  const auto made = create_cluster(options_in(folder), kNow);
  REQUIRE(made);
  const auto config = load_admin_config(folder / "home");
  REQUIRE(config);
  CHECK(config->api == "tracker.example:7401");
  CHECK(config->cluster_name == "prod");
  CHECK(config->cluster_id == made->id);
}

TEST_CASE("A folder with a cluster is refused by name and nothing in it changes",
          "[io][identity][cluster]") {
  const TemporaryFolder folder;
  const auto made = create_cluster(options_in(folder), kNow);
  REQUIRE(made);
  ClusterOptions again = options_in(folder, "other");
  again.home = folder / "home2";
  const auto refused = create_cluster(again, kNow);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::already_exists);
  CHECK(refused.error().detail.find("already holds cluster prod: choose another folder") !=
        std::string::npos);
  CHECK_FALSE(fs::exists(folder / "home2"));
  CHECK(load_cluster(folder / "tracker")->root_pem == made->root_pem);
}

TEST_CASE("A home with a credential of another cluster is refused and says how to go on",
          "[io][identity][cluster]") {
  const TemporaryFolder folder;
  REQUIRE(create_cluster(options_in(folder), kNow));
  ClusterOptions second = options_in(folder, "second");
  second.tracker_data = folder / "tracker2";
  const auto refused = create_cluster(second, kNow);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::already_exists);
  CHECK(refused.error().detail.find("for cluster prod") != std::string::npos);
  CHECK(refused.error().detail.find("P2PCTL_HOME") != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "tracker2"));
}

TEST_CASE("The keys of an interrupted init are never overwritten", "[io][identity][cluster]") {
  const TemporaryFolder folder;
  REQUIRE(create_cluster(options_in(folder), kNow));
  fs::remove(folder / "tracker/cluster.yaml");
  ClusterOptions again = options_in(folder);
  again.home = folder / "home2";
  const auto refused = create_cluster(again, kNow);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::already_exists);
}

TEST_CASE("A cluster's name is short and plain", "[io][identity][cluster]") {
  const TemporaryFolder folder;
  const std::vector<std::string> bad{"", "-a", "a b", "a/b", std::string(41, 'a')};
  for (const std::string& name : bad) {
    CAPTURE(name);
    const auto refused = create_cluster(options_in(folder, name), kNow);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::invalid_argument);
  }
  CHECK_FALSE(fs::exists(folder / "tracker"));
}

TEST_CASE("A folder without a cluster says how to make one", "[io][identity][cluster]") {
  const TemporaryFolder folder;
  const auto none = load_cluster(folder / "nothing");
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Errc::not_found);
  CHECK(none.error().detail.find("p2pctl init") != std::string::npos);
}

TEST_CASE("A cluster whose CA key others may read is not loaded", "[io][identity][cluster]") {
  const TemporaryFolder folder;
  REQUIRE(create_cluster(options_in(folder), kNow));
  REQUIRE(::chmod((folder / "tracker/ca/intermediate.key").c_str(), 0640) == 0);
  const auto refused = load_cluster(folder / "tracker");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::denied);
}

TEST_CASE("A damaged cluster.yaml is an error that names the file", "[io][identity][cluster]") {
  const TemporaryFolder folder;
  REQUIRE(create_cluster(options_in(folder), kNow));
  for (const char* text : {"name: [", "name: prod\n", "- a\n", "name: prod\nid: 17\n", ""}) {
    CAPTURE(text);
    std::ofstream(folder / "tracker/cluster.yaml") << text;
    const auto refused = load_cluster(folder / "tracker");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::corrupt);
    CHECK(refused.error().detail.find("cluster.yaml") != std::string::npos);
  }
}

TEST_CASE("A tracker's names hold localhost, both loopback addresses and no doubles",
          "[io][identity][cluster]") {
  const auto sans = tracker_sans({"tracker.example", "127.0.0.1", "tracker.example"});
  for (const char* san : {"localhost", "127.0.0.1", "::1", "tracker.example"}) {
    CAPTURE(san);
    CHECK(std::count(sans.begin(), sans.end(), san) == 1);
  }
}

}  // namespace
}  // namespace p2p
