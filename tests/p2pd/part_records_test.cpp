#include "p2pd/part_records.h"

#include <functional>
#include <string>
#include <vector>

#include "io/content/merkle.h"
#include "io/state/memory_store.h"
#include "proto/records.pb.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

// What one page of bits covers.
constexpr std::uint32_t kPage = 16 * 1024 * 8;

const ContentId kId{sha256(std::string_view("a content"))};
const ContentId kOther{sha256(std::string_view("another content"))};

FileState facts() {
  FileState facts;
  facts.size = 1'000'000;
  facts.inode = 42;
  facts.device = 7;
  facts.birth_ns = 5;
  return facts;
}

PartPlace place() {
  return {17, {1, "images/a.img"}, ".p2pd-a.part"};
}

Bitfield bits(std::uint32_t size, const std::vector<std::uint32_t>& set) {
  Bitfield field(size);
  for (const std::uint32_t i : set) field.set(i);
  return field;
}

std::vector<ChunkIndex> chunks(const std::vector<std::uint32_t>& values) {
  std::vector<ChunkIndex> list;
  for (const std::uint32_t value : values) list.push_back(ChunkIndex{value});
  return list;
}

struct Part {
  MemoryStore store;
  PartRecords records{store};
  std::uint32_t count;

  // A part of `count_value` chunks, of which `have` are recorded.
  explicit Part(std::uint32_t count_value, const std::vector<std::uint32_t>& have)
      : count(count_value) {
    REQUIRE(records.begin(kId, place(), facts()));
    record(have);
  }
  void record(const std::vector<std::uint32_t>& have) {
    REQUIRE(records.record_durable(kId, facts(), bits(count, have), chunks(have)));
  }
  Bitfield load(const FileState& now = facts(), const PartPlace& where = place()) const {
    return records.durable(kId, where, now, count);
  }
  // The value of the one key that ends so, changed.
  void change(const std::string& end, const std::function<void(std::string&)>& spoil) {
    std::string found;
    REQUIRE(store.scan("part/", [&](std::string_view key, const auto&) {
      if (key.ends_with(end)) found = key;
      return true;
    }));
    REQUIRE_FALSE(found.empty());
    std::string value = (**store.get(found)).value;
    spoil(value);
    StateBatch batch;
    batch.put(found, value);
    REQUIRE(store.apply(batch));
  }
  std::size_t keys() {
    std::size_t count_of_keys = 0;
    REQUIRE(store.scan("part/", [&](std::string_view, const auto&) {
      ++count_of_keys;
      return true;
    }));
    return count_of_keys;
  }
};

}  // namespace

TEST_CASE("A transfer that was restarted has the chunks that were recorded, and no others",
          "[p2pd]") {
  Part part(100, {0, 7, 8, 63, 64, 99});
  CHECK(part.load() == bits(100, {0, 7, 8, 63, 64, 99}));
}

TEST_CASE("A part that has begun has nothing, nor has one that nobody began", "[p2pd]") {
  Part part(100, {});
  CHECK(part.load().none());
  CHECK(part.load().size() == 100);
  CHECK(part.records.durable(kOther, place(), facts(), 100).none());
}

TEST_CASE("Only what it takes on the disk may have changed since a part was recorded", "[p2pd]") {
  Part part(100, {3, 4});
  FileState now = facts();
  now.allocated = 1'000'000;
  CHECK(part.load(now).count() == 2);
  SECTION("inode") {
    now.inode = 43;
  }
  SECTION("device") {
    now.device = 8;
  }
  SECTION("size") {
    now.size = 999'999;
  }
  SECTION("birth: the inode's number was used again") {
    now.birth_ns = 6;
  }
  CHECK(part.load(now).none());
}

TEST_CASE("A record counts for the place that it was made for", "[p2pd]") {
  Part part(100, {3, 4});
  PartPlace where = place();
  where.job = 18;
  CHECK(part.load(facts(), where).count() == 2);
  SECTION("another root") {
    where.destination.root = 0;
  }
  SECTION("another path") {
    where.destination.relative = "images/b.img";
  }
  SECTION("another part") {
    where.part = ".p2pd-b.part";
  }
  CHECK(part.load(facts(), where).none());
}

TEST_CASE("A part that begins again at the same place forgets what was recorded", "[p2pd]") {
  Part part(100, {3, 4});
  REQUIRE(part.records.begin(kId, place(), facts()));
  CHECK(part.load().none());
}

TEST_CASE("Pages of an older part do not count for a new one", "[p2pd]") {
  Part part(100, {3, 4});
  std::string old_page;
  part.change("bits/0000", [&](std::string& value) { old_page = value; });
  FileState later = facts();
  later.inode = 43;
  REQUIRE(part.records.begin(kId, place(), later));
  REQUIRE(part.records.record_durable(kId, later, bits(100, {5}), chunks({5})));
  CHECK(part.load(later) == bits(100, {5}));
  part.change("bits/0000", [&](std::string& value) { value = old_page; });
  CHECK(part.load(later).none());
}

TEST_CASE("Bits go to pages, and only the pages of new chunks are written", "[p2pd]") {
  const std::uint32_t count = 2 * kPage + 5;
  Part part(count, {0, kPage - 1, kPage, 2 * kPage, 2 * kPage + 4});
  CHECK(part.keys() == 4);
  CHECK(part.load() == bits(count, {0, kPage - 1, kPage, 2 * kPage, 2 * kPage + 4}));

  Bitfield have = bits(count, {0, 1, kPage - 1, kPage, kPage + 1, 2 * kPage, 2 * kPage + 4});
  REQUIRE(part.records.record_durable(kId, facts(), have, chunks({kPage + 1})));
  have.reset(1);
  CHECK(part.load() == have);
}

TEST_CASE("The largest file's bits fit the store's limits", "[p2pd]") {
  const std::uint32_t count = 2'097'152;
  Part part(count, {});
  std::vector<ChunkIndex> of_each_page;
  for (std::uint32_t i = 0; i < count; i += kPage) of_each_page.push_back(ChunkIndex{i});
  REQUIRE(part.records.record_durable(kId, facts(), Bitfield(count, true), of_each_page));
  CHECK(part.load().all());
}

TEST_CASE("A page that is damaged counts as nothing, the others stay", "[p2pd]") {
  const std::uint32_t count = 2 * kPage;
  Part part(count, {1, kPage + 1});
  const Bitfield rest = bits(count, {1});
  SECTION("a bit more than was recorded") {
    part.change("bits/0001", [](std::string& value) {
      proto::PartBits page;
      REQUIRE(page.ParseFromString(value));
      (*page.mutable_bits())[0] = '\x07';
      value = page.SerializeAsString();
    });
  }
  SECTION("cut short") {
    part.change("bits/0001", [](std::string& value) { value.resize(100); });
  }
  SECTION("fewer bits") {
    part.change("bits/0001", [](std::string& value) {
      proto::PartBits page;
      REQUIRE(page.ParseFromString(value));
      page.mutable_bits()->resize(10);
      value = page.SerializeAsString();
    });
  }
  SECTION("the page of other chunks") {
    std::string first;
    part.change("bits/0000", [&](std::string& value) { first = value; });
    part.change("bits/0001", [&](std::string& value) { value = first; });
  }
  SECTION("nonsense") {
    part.change("bits/0001", [](std::string& value) { value = "\xff nonsense"; });
  }
  CHECK(part.load() == rest);
}

TEST_CASE("A head that is damaged makes the whole record count as nothing", "[p2pd]") {
  Part part(100, {1, 2});
  SECTION("another job, with the old checksum") {
    part.change("head", [](std::string& value) {
      proto::PartRecord record;
      REQUIRE(record.ParseFromString(value));
      record.set_job(99);
      value = record.SerializeAsString();
    });
  }
  SECTION("nonsense") {
    part.change("head", [](std::string& value) { value = "\xff nonsense"; });
  }
  SECTION("empty") {
    part.change("head", [](std::string& value) { value.clear(); });
  }
  CHECK(part.load().none());
}

TEST_CASE("A page with more bits than the file has chunks claims no chunk that is not there",
          "[p2pd]") {
  Part part(100, {1, 98});
  CHECK(part.records.durable(kId, place(), facts(), 50) == bits(50, {1}));
}

TEST_CASE("Erasing leaves nothing of a record, and all of others'", "[p2pd]") {
  Part part(3 * kPage, {1, kPage, 2 * kPage});
  REQUIRE(part.records.begin(kOther, place(), facts()));
  REQUIRE(part.records.erase(kId));
  CHECK(part.keys() == 1);
  CHECK(part.load().none());
  CHECK(part.records.erase(kId));
}

TEST_CASE("Verified chunks are told apart from durable ones", "[p2pd]") {
  Part part(10'000, {3});
  REQUIRE(part.records.record_verified(kId, facts(), bits(10'000, {3, 4, 9'999}),
                                       chunks({4, 9'999})));
  CHECK(part.load() == bits(10'000, {3}));
  CHECK(part.records.verified(kId, place(), facts(), 10'000) == bits(10'000, {3, 4, 9'999}));
  FileState other = facts();
  other.inode = 43;
  CHECK(part.records.verified(kId, place(), other, 10'000).none());
}

TEST_CASE("A part is on record before there is a file, and then claims nothing", "[p2pd]") {
  MemoryStore store;
  const PartRecords records(store);
  REQUIRE(records.intend(kId, place()));
  const auto known = records.find(kId);
  REQUIRE(known);
  REQUIRE(known->has_value());
  CHECK((*known)->file.inode == 0);
  CHECK((*known)->place.destination.relative == "images/a.img");
  CHECK(records.durable(kId, place(), facts(), 100).none());
}

TEST_CASE("Another job takes a part over with all that is recorded of it", "[p2pd]") {
  Part part(100, {3, 4});
  REQUIRE(part.records.take_over(kId, 99));
  CHECK((*part.records.find(kId))->place.job == 99);
  CHECK(part.load().count() == 2);
}

TEST_CASE("All parts on record are listed, damaged records are not", "[p2pd]") {
  Part part(100, {3, 4});
  REQUIRE(part.records.intend(kOther, place()));
  auto all = part.records.list();
  REQUIRE(all);
  CHECK(all->size() == 2);
  StateBatch batch;
  batch.put("part/00/0000/head", "nonsense");
  REQUIRE(part.store.apply(batch));
  all = part.records.list();
  REQUIRE(all);
  CHECK(all->size() == 2);
}

}  // namespace p2p
