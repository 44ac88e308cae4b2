#include "io/identity/credentials.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/io/identity/test_cluster.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::TestCluster;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "p2pd-credentials-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

unsigned mode_of(const std::string& path) {
  struct stat facts {};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  return facts.st_mode & 07777;
}

std::string text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

Error error_of(const std::string& folder) {
  const auto loaded = load_credentials(folder);
  REQUIRE_FALSE(loaded);
  return loaded.error();
}

}  // namespace

TEST_CASE("Saved credentials are loaded as they were", "[io][identity]") {
  const TemporaryFolder temporary;
  const Credentials saved = TestCluster().member(Role::agent);
  REQUIRE(save_credentials(temporary.file("node"), saved));

  const Credentials loaded = test::must(load_credentials(temporary.file("node")));
  CHECK(loaded.key_pem == saved.key_pem);
  CHECK(loaded.chain_pem == saved.chain_pem);
  CHECK(loaded.bundle_pem == saved.bundle_pem);
}

TEST_CASE("The private key is readable for its owner only, even with an open umask",
          "[io][identity]") {
  const TemporaryFolder temporary;
  const std::string folder = temporary.file("node");
  const mode_t umask_before = ::umask(0);
  const Status saved = save_credentials(folder, TestCluster().member(Role::agent));
  ::umask(umask_before);
  REQUIRE(saved);
  CHECK(mode_of(folder) == 0700);
  CHECK(mode_of(folder + "/identity.pem") == 0600);
}

TEST_CASE("A private key that other accounts may read is refused", "[io][identity]") {
  const TemporaryFolder temporary;
  const std::string folder = temporary.file("node");
  REQUIRE(save_credentials(folder, TestCluster().member(Role::agent)));
  REQUIRE(::chmod((folder + "/identity.pem").c_str(), 0640) == 0);
  const Error error = error_of(folder);
  CHECK(error.code == Errc::denied);
  CHECK_THAT(error.detail, Catch::Contains("chmod 600 " + folder + "/identity.pem"));
}

TEST_CASE("A renewal replaces key and certificate together and leaves no other file",
          "[io][identity]") {
  const TemporaryFolder temporary;
  const std::string folder = temporary.file("node");
  const TestCluster cluster;
  REQUIRE(save_credentials(folder, cluster.member(Role::agent)));
  const Credentials renewed = cluster.member(Role::agent);
  REQUIRE(save_credentials(folder, renewed));

  CHECK(test::must(load_credentials(folder)).key_pem == renewed.key_pem);
  CHECK(std::distance(fs::directory_iterator(folder), fs::directory_iterator()) == 2);
}

TEST_CASE("Credentials that could not be loaded again are not saved", "[io][identity]") {
  const TemporaryFolder temporary;
  const std::string folder = temporary.file("node");
  const TestCluster cluster;
  const Credentials good = cluster.member(Role::agent);
  REQUIRE(save_credentials(folder, good));

  Credentials mixed = good;
  mixed.key_pem = test::must(generate_key());
  const Status saved = save_credentials(folder, mixed);
  REQUIRE_FALSE(saved);
  CHECK_THAT(saved.error().detail, Catch::Contains("does not belong"));

  Credentials rootless = good;
  rootless.bundle_pem = cluster.intermediate.certificate_pem;
  CHECK_FALSE(save_credentials(folder, rootless));
  CHECK(test::must(load_credentials(folder)).key_pem == good.key_pem);
}

TEST_CASE("A folder without credentials is not found, and the error says how to get some",
          "[io][identity]") {
  const TemporaryFolder temporary;
  const Error error = error_of(temporary.file("nothing"));
  CHECK(error.code == Errc::not_found);
  CHECK_THAT(error.detail, Catch::Contains(temporary.file("nothing/identity.pem")));
  CHECK_THAT(error.detail, Catch::Contains("p2pd join"));
}

TEST_CASE("Damaged files are refused by name", "[io][identity]") {
  const TemporaryFolder temporary;
  const std::string folder = temporary.file("node");
  const TestCluster cluster;
  REQUIRE(save_credentials(folder, cluster.member(Role::agent)));
  const std::string identity_file = folder + "/identity.pem";
  const std::string whole = text_of(identity_file);

  SECTION("an empty identity") {
    write_text(identity_file, "");
    CHECK(error_of(folder).code == Errc::corrupt);
    CHECK_THAT(error_of(folder).detail, Catch::Contains(identity_file));
  }
  SECTION("a key without a certificate") {
    write_text(identity_file, whole.substr(0, whole.find("-----BEGIN CERTIFICATE")));
    CHECK_THAT(error_of(folder).detail, Catch::Contains("no certificate"));
  }
  SECTION("a certificate that is cut off") {
    write_text(identity_file, whole.substr(0, whole.size() - 60));
    CHECK(error_of(folder).code == Errc::corrupt);
  }
  SECTION("a key of another certificate") {
    write_text(identity_file, cluster.member(Role::agent).key_pem +
                                  whole.substr(whole.find("-----BEGIN CERTIFICATE")));
    CHECK_THAT(error_of(folder).detail, Catch::Contains("does not belong"));
  }
  SECTION("a bundle that is far too long") {
    write_text(folder + "/bundle.pem", std::string(1'000'000, 'x'));
    CHECK_THAT(error_of(folder).detail, Catch::Contains(folder + "/bundle.pem"));
  }
  SECTION("no bundle") {
    fs::remove(folder + "/bundle.pem");
    CHECK(error_of(folder).code == Errc::not_found);
    CHECK_THAT(error_of(folder).detail, Catch::Contains(folder + "/bundle.pem"));
  }
}

TEST_CASE("Credentials that have expired are loaded, because a renewal needs them",
          "[io][identity]") {
  const TemporaryFolder temporary;
  const Validity past{test::wall_now() - 3 * test::kDay, test::wall_now() - 2 * test::kDay};
  REQUIRE(save_credentials(temporary.file("node"), TestCluster().member(Role::agent, past)));
  CHECK(load_credentials(temporary.file("node")));
}

}  // namespace p2p
