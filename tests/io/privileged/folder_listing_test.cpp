// A folder's listing says what finding forgotten parts needs, and nothing else.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/io/privileged/node.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::code_of;
using test::InProcess;
using test::kPart;
using test::put_file;
using test::ThroughHelper;

std::vector<std::string> names_of(const Result<FolderListing>& listing) {
  REQUIRE(listing);
  std::vector<std::string> names;
  for (const auto& entry : listing->entries) names.push_back(entry.name);
  return names;
}

// All pages, one after the other.
std::vector<std::string> walk(Privileged& privileged, std::size_t& pages) {
  std::vector<std::string> all;
  std::string after;
  for (pages = 1;; ++pages) {
    const Result<FolderListing> listing = privileged.list_folder(0, ".", after);
    for (const std::string& name : names_of(listing)) all.push_back(name);
    if (!listing->more) return all;
    REQUIRE_FALSE(listing->entries.empty());
    after = all.back();
  }
}

TEMPLATE_TEST_CASE("A listing has folders and parts in byte order, and no other file",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  for (const char* name : {"b", "\xff", "a", "Z"}) fs::create_directory(node.root + "/" + name);
  put_file(node.root + "/secret-project.txt", "x");
  put_file(node.root + "/" + kPart, "half");
  fs::create_directory(node.root + "/.p2pd-tree");
  const Result<FolderListing> listing = node.privileged->list_folder(0, ".", "");
  CHECK(names_of(listing) == std::vector<std::string>{kPart, ".p2pd-tree", "Z", "a", "b", "\xff"});
  CHECK(listing->entries.front().is_part);
  CHECK_FALSE(listing->entries.back().is_part);
  CHECK_FALSE(listing->more);
}

TEMPLATE_TEST_CASE("Listing a folder goes through no link, and shows none", "[io][privileged]",
                   InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  fs::create_directories(node.root + "/real/deep");
  fs::create_directory_symlink("real", node.root + "/link");
  fs::create_directory_symlink(node.outside, node.root + "/out");
  CHECK(names_of(node.privileged->list_folder(0, ".", "")) == std::vector<std::string>{"real"});
  CHECK(names_of(node.privileged->list_folder(0, "real", "")) == std::vector<std::string>{"deep"});
  for (const std::string name : {"link", "out", "link/deep"}) {
    CHECK(code_of(node.privileged->list_folder(0, name, "")) == Errc::denied);
  }
  CHECK(code_of(node.privileged->list_folder(0, "none", "")) == Errc::not_found);
}

TEMPLATE_TEST_CASE("Listing a folder stays on the root's own mount", "[io][privileged]", InProcess,
                   ThroughHelper) {
  test::NodeOf<TestType> node;
  fs::create_directories(node.root + "/mounted");
  fs::create_directory(node.root + "/plain");
  const std::string mounted = node.root + "/mounted";
  // A bind mount has the device of what it shows.
  if (::mount(node.outside.c_str(), mounted.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    WARN("not run: mounting needs rights that this user does not have");
    return;
  }
  const auto names = names_of(node.privileged->list_folder(0, ".", ""));
  const auto below = node.privileged->list_folder(0, "mounted", "");
  CHECK(::umount2(mounted.c_str(), MNT_DETACH) == 0);
  CHECK(names == std::vector<std::string>{"plain"});
  CHECK(code_of(below) == Errc::denied);
}

TEMPLATE_TEST_CASE("Pages of a listing are bounded and together hold every name once",
                   "[io][privileged]", InProcess, ThroughHelper) {
  test::NodeOf<TestType> node;
  std::vector<std::string> expected;
  std::size_t pages = 0;
  SECTION("many short names") {
    for (int i = 1000; i < 2000 + 1; ++i) expected.push_back("f" + std::to_string(i));
  }
  SECTION("long names") {
    for (int i = 100; i < 200; ++i) {
      expected.push_back(std::to_string(i) + std::string(250, 'n'));
    }
  }
  for (const std::string& name : expected) fs::create_directory(node.root + "/" + name);
  CHECK(walk(*node.privileged, pages) == expected);
  CHECK(pages == 3);
}

TEMPLATE_TEST_CASE("A page of a listing ends exactly at its limit", "[io][privileged]", InProcess,
                   ThroughHelper) {
  test::NodeOf<TestType> node;
  for (std::size_t i = 0; i < FolderListing::kMaxEntries; ++i) {
    fs::create_directory(node.root + "/" + std::to_string(i));
  }
  const Result<FolderListing> whole = node.privileged->list_folder(0, ".", "");
  CHECK(names_of(whole).size() == FolderListing::kMaxEntries);
  CHECK_FALSE(whole->more);
  fs::create_directory(node.root + "/one-more");
  const Result<FolderListing> first = node.privileged->list_folder(0, ".", "");
  CHECK(names_of(first).size() == FolderListing::kMaxEntries);
  CHECK(first->more);
  CHECK(names_of(node.privileged->list_folder(0, ".", "one-more")).empty());
}

}  // namespace
}  // namespace p2p
