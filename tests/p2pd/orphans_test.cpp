#include "p2pd/orphans.h"

#include <filesystem>
#include <functional>
#include <future>
#include <set>
#include <string>

#include "io/state/memory_store.h"
#include "tests/p2pd/part_fixture.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using test::put_file;
using Jobs = std::multiset<std::uint64_t>;

NodeId node_of(std::uint8_t first) {
  NodeId node;
  node.bytes[0] = first;
  return node;
}
const NodeId kSelf = node_of(0xaa);
const NodeId kOther = node_of(0xbb);

ContentId content_of(const std::string& text) {
  return ContentId{sha256(std::string_view(text))};
}

struct Searching : test::Node {
  test::Threads threads;
  MemoryStore store;
  PartRecords records{store};
  PartTools tools{*privileged, records, FileCalls::system()};
  Jobs asked;
  int searches_done = 0;
  std::function<void(JobId)> on_ask = [](JobId) {};
  Orphans orphans{threads.control, threads.disk, tools, kSelf, [this](JobId job) {
                    asked.insert(job.number);
                    on_ask(job);
                  }};

  // The name below the root of a part that lies in this folder.
  std::string put_part(const std::string& folder, std::uint64_t job, NodeId node = kSelf) const {
    const std::string name = folder + part_name(content_of("a"), JobId{job}, node);
    if (!folder.empty()) fs::create_directories(root + "/" + folder);
    put_file(root + "/" + name, "half of it");
    return name;
  }
  void put_on_record(const std::string& content, std::uint64_t job, const std::string& folder,
                     const std::string& part) const {
    REQUIRE(records.intend(content_of(content), {job, {0, folder + "a.img"}, part}));
  }
  // Walks to the end.
  void search() {
    orphans.search([this] { ++searches_done; });
    REQUIRE(threads.run_until([&] { return !orphans.is_walking(); }));
    threads.settle();
  }
  void remove(std::uint64_t job) {
    orphans.remove(JobId{job});
    threads.settle();
  }
  bool is_there(const std::string& name) const { return fs::exists(root + "/" + name); }
  std::size_t on_record() const {
    const auto known = records.list();
    REQUIRE(known);
    return known->size();
  }
};

}  // namespace

TEST_CASE("The job of a part is in its name", "[p2pd][orphans]") {
  for (const std::uint64_t job : {std::uint64_t{1}, std::uint64_t{17}, ~std::uint64_t{0}}) {
    CHECK(job_of_part(part_name(content_of("a"), JobId{job}, kSelf), kSelf) == JobId{job});
  }
}

TEST_CASE("A part of another node, and what is no part, has no job", "[p2pd][orphans]") {
  CHECK_FALSE(job_of_part(part_name(content_of("a"), JobId{17}, kOther), kSelf));
  const std::string mine = "-aa000000.part";
  REQUIRE(job_of_part(".p2pd-0-j7" + mine, kSelf) == JobId{7});
  for (const std::string& name :
       {std::string(), std::string(".p2pd-tmp-123456"), mine, "-j" + mine, ".p2pd-0" + mine,
        ".p2pd-0-j" + mine, ".p2pd-0-jx" + mine, ".p2pd-0-j7x" + mine, ".p2pd-0-j-7" + mine,
        ".p2pd-0-j+7" + mine, ".p2pd-0-j 7" + mine, ".p2pd-0-j7" + mine + "x",
        std::string(".p2pd-0-j7"), std::string(".p2pd-0-j7.part"),
        ".p2pd-0-j18446744073709551616" + mine, ".p2pd-0-j99999999999999999999999" + mine}) {
    CAPTURE(name);
    CHECK_FALSE(job_of_part(name, kSelf));
  }
}

TEST_CASE("A search finds the node's own parts wherever they lie, and asks for their jobs",
          "[p2pd][orphans]") {
  Searching node;
  node.put_part("", 1);
  node.put_part("images/", 2);
  node.put_part("a/b/c/d/", 3);
  node.put_part("images/", 17, kOther);
  put_file(node.root + "/images/a.img", "a file");
  put_file(node.root + "/images/.p2pd-tmp-x", "of something else");
  node.search();
  CHECK(node.asked == Jobs{1, 2, 3});
  // Each time that the tracker is met they are asked about again.
  node.orphans.ask_all();
  CHECK(node.asked == Jobs{1, 1, 2, 2, 3, 3});
}

TEST_CASE("A search of roots in which nothing lies ends", "[p2pd][orphans]") {
  Searching node;
  node.search();
  CHECK(node.asked.empty());
}

TEST_CASE("A search follows no link", "[p2pd][orphans]") {
  Searching node;
  put_file(node.outside + "/" + part_name(content_of("a"), JobId{1}, kSelf), "");
  node.put_part("images/", 2);
  fs::create_directory_symlink(node.outside, node.root + "/out");
  fs::create_directory_symlink("images", node.root + "/in");
  fs::create_directory_symlink(".", node.root + "/images/round");
  node.search();
  CHECK(node.asked == Jobs{2});
}

TEST_CASE("A search goes on behind a folder that cannot be read", "[p2pd][orphans]") {
  Searching node;
  node.put_part("", 1);
  node.put_part("gone/", 2);
  node.put_part("kept/", 3);
  // Parts come before folders in the listing of the root: the folder is known by now, and not read.
  node.on_ask = [&](JobId job) {
    if (job.number == 1) fs::remove_all(node.root + "/gone");
  };
  node.search();
  CHECK(node.asked == Jobs{1, 3});
}

TEST_CASE("A search looks through folders with more names than one listing has",
          "[p2pd][orphans]") {
  Searching node;
  Jobs all;
  for (std::uint64_t job = 1; job <= 2 * FolderListing::kMaxEntries + 1; ++job) {
    node.put_part("images/", job);
    all.insert(job);
  }
  node.put_part("images/z/", 5000);
  all.insert(5000);
  node.search();
  CHECK(node.asked == all);
}

TEST_CASE("A search goes 64 folders deep and no deeper", "[p2pd][orphans]") {
  Searching node;
  std::string folder;
  for (int i = 0; i < 64; ++i) folder += "d/";
  node.put_part(folder, 64);
  node.put_part(folder + "d/", 65);
  node.search();
  CHECK(node.asked == Jobs{64});
}

TEST_CASE("The part of a job that is over is removed, and nothing else", "[p2pd][orphans]") {
  Searching node;
  const std::string over = node.put_part("images/", 1);
  const std::string also_over = node.put_part("other/", 1);
  const std::string wanted = node.put_part("images/", 2);
  const std::string foreign = node.put_part("images/", 1, kOther);
  node.search();
  node.remove(3);
  CHECK(node.is_there(over));
  node.remove(1);
  CHECK_FALSE(node.is_there(over));
  CHECK_FALSE(node.is_there(also_over));
  CHECK(node.is_there(wanted));
  CHECK(node.is_there(foreign));
  node.asked.clear();
  node.orphans.ask_all();
  CHECK(node.asked == Jobs{2});
}

TEST_CASE("A part that the records know of is asked about, and goes with its records",
          "[p2pd][orphans]") {
  Searching node;
  const std::string part = node.put_part("images/", 1);
  node.put_on_record("a", 1, "images/", fs::path(part).filename());
  node.put_on_record("b", 2, "images/", ".p2pd-b.part");  // never begun
  node.orphans.add(*node.records.list());
  node.orphans.ask_all();
  CHECK(node.asked == Jobs{1, 2});
  node.remove(1);
  CHECK_FALSE(node.is_there(part));
  CHECK(node.on_record() == 1);
  node.remove(2);
  CHECK(node.on_record() == 0);
}

TEST_CASE("A part that another job has taken over stays when its first job is over",
          "[p2pd][orphans]") {
  Searching node;
  const std::string part = node.put_part("images/", 1);
  SECTION("it was on record at the start") {
    node.put_on_record("a", 1, "images/", fs::path(part).filename());
    node.orphans.add(*node.records.list());
    REQUIRE(node.records.take_over(content_of("a"), 2));
  }
  SECTION("it was found by its name") {
    node.put_on_record("a", 2, "images/", fs::path(part).filename());
    node.search();
  }
  node.remove(1);
  CHECK(node.is_there(part));
  CHECK(node.on_record() == 1);
}

TEST_CASE("A part that is gone already is no hindrance to the job's others", "[p2pd][orphans]") {
  Searching node;
  const std::string first = node.put_part("a/", 1);
  const std::string second = node.put_part("b/", 1);
  node.search();
  fs::remove_all(node.root + "/a");
  node.remove(1);
  CHECK_FALSE(node.is_there(second));
}

TEST_CASE("Every root is searched, and a part is removed from its own", "[p2pd][orphans]") {
  test::TempFolder folder;
  test::Threads threads;
  MemoryStore store;
  const PartRecords records(store);
  std::vector<std::string> names;
  for (const std::string& root : {folder / "one", folder / "two"}) {
    fs::create_directory(root);
    names.push_back(root + "/" + part_name(content_of(root), JobId{names.size() + 1}, kSelf));
    put_file(names.back(), "");
  }
  const auto made = LocalPrivileged::create({folder / "one", folder / "two"}, {});
  REQUIRE(made);
  Jobs asked;
  Orphans orphans(threads.control, threads.disk, {**made, records, FileCalls::system()}, kSelf,
                  [&](JobId job) { asked.insert(job.number); });
  orphans.search([] {});
  REQUIRE(threads.run_until([&] { return !orphans.is_walking(); }));
  CHECK(asked == Jobs{1, 2});
  orphans.remove(JobId{2});
  threads.settle();
  CHECK(fs::exists(names[0]));
  CHECK_FALSE(fs::exists(names[1]));
}

TEST_CASE("A search is over when each part that it found is removed or on record again",
          "[p2pd][orphans]") {
  Searching node;
  node.put_part("images/", 1);
  const std::string wanted = node.put_part("images/", 2);
  node.search();
  CHECK(node.searches_done == 0);
  node.remove(1);
  CHECK(node.searches_done == 0);
  node.orphans.ask_all();
  node.threads.settle();
  CHECK(node.searches_done == 0);
  node.put_on_record("a", 2, "images/", fs::path(wanted).filename());
  node.orphans.ask_all();
  node.threads.settle();
  CHECK(node.searches_done == 1);
  node.orphans.ask_all();
  node.threads.settle();
  CHECK(node.searches_done == 1);
}

TEST_CASE("A search that finds nothing, or only what is on record, is over with its walk",
          "[p2pd][orphans]") {
  Searching node;
  SECTION("nothing") {}
  SECTION("a part on record") {
    const std::string part = node.put_part("images/", 1);
    node.put_on_record("a", 1, "images/", fs::path(part).filename());
  }
  node.search();
  CHECK(node.searches_done == 1);
}

TEST_CASE("The lane of a content is in the name of its part", "[p2pd][orphans]") {
  for (const char* text : {"a", "b", "c", "d"}) {
    const ContentId content = content_of(text);
    const std::string name = part_name(content, JobId{17}, kSelf);
    CHECK(content_lane(name) == content_lane(content));
    CHECK(content_lane(content) % 2 == 0);
  }
  CHECK(content_lane(content_of("a")) != content_lane(content_of("b")));
  for (const std::string& name :
       {std::string(), std::string(".p2pd-"), std::string(".p2pd-0123456789abcde-j1"),
        std::string(".p2pd-0123456789abcdefj1"), std::string(".p2pd-x123456789abcdef-j1"),
        std::string("0123456789abcdef-j1")}) {
    CAPTURE(name);
    CHECK_FALSE(content_lane(name));
  }
}

TEST_CASE("A part is removed behind what a transfer of its content has begun", "[p2pd][orphans]") {
  Searching node;
  const std::string part = node.put_part("images/", 1);
  node.put_on_record("a", 1, "images/", fs::path(part).filename());
  DiskPool disk(2, 100);
  Orphans orphans(node.threads.control, disk, node.tools, kSelf, [](JobId) {});
  orphans.add(*node.records.list());
  std::promise<void> begin;
  disk.post(content_lane(content_of("a")), [&, begun = begin.get_future().share()] {
    begun.wait();
    // What Part::open does when job 2 goes on with the part.
    (void)node.records.take_over(content_of("a"), 2);
  });
  orphans.remove(JobId{1});
  // The other thread has done by now what waits for no lane.
  std::promise<void> idle;
  disk.post([&] { idle.set_value(); });
  idle.get_future().wait();
  begin.set_value();
  disk.stop();
  CHECK(node.is_there(part));
  CHECK(node.on_record() == 1);
}

}  // namespace p2p
