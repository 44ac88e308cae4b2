#include "tracker/audit.h"

#include <string>

#include "io/content/merkle.h"
#include "io/runtime/wall_clock.h"
#include "io/state/memory_store.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;

constexpr WallTime kNow = from_unix_seconds(1'800'000'000);

struct Book {
  MemoryStore store;
  Audit audit = load();

  Audit load() {
    auto loaded = Audit::load(store);
    INFO((loaded ? std::string() : loaded.error().detail));
    REQUIRE(loaded);
    return *std::move(loaded);
  }
  void add(const std::string& what) {
    proto::AuditRecord entry;
    entry.set_who("ann");
    entry.set_what(what);
    StateBatch batch;
    audit.add(entry, kNow, batch);
    REQUIRE(store.apply(batch));
  }
  void add_many(int count) {
    for (int i = 1; i <= count; ++i) add("call " + std::to_string(i));
  }
  proto::AuditList read(std::uint64_t from = 1) {
    const auto list = audit.read(from, audit.last());
    REQUIRE(list);
    return *list;
  }
  static std::string key(int number) {
    std::string digits = std::to_string(number);
    digits.insert(0, 9 - digits.size(), '0');
    return "audit/" + digits.substr(0, 3) + "/" + digits.substr(3, 3) + "/" + digits.substr(6);
  }
  std::string value(int number) {
    const auto entry = store.get(key(number));
    REQUIRE(entry);
    REQUIRE(*entry);
    return (*entry)->value;
  }
  void put(int number, const std::string& value) {
    REQUIRE(store.apply(StateBatch{}.put(key(number), value)));
  }
};

}  // namespace

TEST_CASE("Each audit record is hashed with the one before, as the API's contract says",
          "[tracker]") {
  Book book;
  book.add_many(3);
  const auto list = book.read();
  CHECK(list.problem().empty());
  CHECK(list.last() == 3);
  REQUIRE(list.entries_size() == 3);
  std::string before(32, '\0');
  for (int i = 0; i < 3; ++i) {
    const auto& entry = list.entries(i);
    CHECK(entry.number() == static_cast<std::uint64_t>(i + 1));
    CHECK(entry.what() == "call " + std::to_string(i + 1));
    const Digest hash = sha256(before + entry.record());
    CHECK(entry.hash() == hash.hex());
    before = std::string(hash.view());
  }
}

TEST_CASE("The chain goes on after a restart", "[tracker]") {
  Book book;
  book.add_many(2);
  book.audit = book.load();
  CHECK(book.audit.last() == 2);
  book.add("call 3");
  CHECK(book.read().problem().empty());
  CHECK(book.read().entries_size() == 3);
}

TEST_CASE("A changed byte of an audit record is found and named", "[tracker]") {
  Book book;
  book.add_many(5);
  std::string bytes = book.value(3);
  const std::size_t at = bytes.find("call 3");
  REQUIRE(at != std::string::npos);
  bytes[at + 5] = '4';
  book.put(3, bytes);
  CHECK_THAT(book.read().problem(), Contains("audit record 3 ") && Contains("other bytes"));
  CHECK_THAT(book.read(4).problem(), Contains("audit record 3 "));
  CHECK(book.read(5).problem().empty());
}

TEST_CASE("An audit record that was changed together with its hash is found by the next one",
          "[tracker]") {
  Book book;
  book.add_many(4);
  proto::StoredAuditRecord stored;
  REQUIRE(stored.ParseFromString(book.value(2)));
  proto::AuditRecord record;
  REQUIRE(record.ParseFromString(stored.record()));
  record.set_who("nobody");
  stored.set_record(record.SerializeAsString());
  stored.set_hash(std::string(sha256(record.previous() + stored.record()).view()));
  book.put(2, stored.SerializeAsString());
  CHECK_THAT(book.read().problem(), Contains("audit record 3 does not continue record 2"));
}

TEST_CASE("A removed audit record is found and named", "[tracker]") {
  Book book;
  book.add_many(4);
  REQUIRE(book.store.apply(StateBatch{}.erase(Book::key(2))));
  const auto list = book.read();
  CHECK_THAT(list.problem(), Contains("audit record 2 is missing"));
  // The others are shown.
  CHECK(list.entries_size() == 3);
  // And no later record takes its number.
  book.audit = book.load();
  CHECK(book.audit.last() == 4);
}

TEST_CASE("Audit records that have changed places are found and named", "[tracker]") {
  Book book;
  book.add_many(4);
  const std::string second = book.value(2);
  book.put(2, book.value(3));
  book.put(3, second);
  CHECK_THAT(book.read().problem(), Contains("audit record 2 is record 3 in its place"));
}

TEST_CASE("The whole chain is verified, and where it is broken is said", "[tracker]") {
  Book book;
  book.add_many(1002);
  const auto whole = verify_audit(book.store);
  REQUIRE(whole);
  CHECK_THAT(*whole, Contains("1002 audit records") && Contains(book.audit.newest_hash()));
  REQUIRE(book.store.apply(StateBatch{}.erase(Book::key(501))));
  const auto broken = verify_audit(book.store);
  REQUIRE_FALSE(broken);
  CHECK_THAT(broken.error().detail, Contains("audit record 501 is missing"));
}

TEST_CASE("A record that could not be stored is taken back, and the chain goes on", "[tracker]") {
  Book book;
  book.add_many(2);
  StateBatch lost;
  const std::uint64_t number = book.audit.add({}, kNow, lost);
  CHECK(number == 3);
  book.audit.take_back(number);
  book.add("call 3");
  CHECK(book.read().problem().empty());
  CHECK(book.read().entries_size() == 3);
}

TEST_CASE("What is noted of a job names its nodes folded, as many as there is room for",
          "[tracker]") {
  Book book;
  std::vector<std::string> nodes;
  for (int i = 0; i < 2000; ++i) {
    std::string name = "n" + std::to_string(i * 7919 % 100'003);
    nodes.push_back(name + (i % 2 == 0 ? "-a" : ".b"));
  }
  StateBatch batch;
  book.audit.add(audit_of_job("j7", "ann", "push", nodes, std::string(32, 'h')), kNow, batch);
  REQUIRE(book.store.apply(batch));
  const auto entry = book.read().entries(0);
  CHECK(entry.job() == "j7");
  CHECK(entry.targets().size() <= 4096);
  CHECK_THAT(entry.targets(), Contains(" more"));
  CHECK(entry.detail() == "2000 nodes");
  CHECK(audit_of_job("j7", "ann", "push", {"web2", "web1"}, "").targets() == "web[1-2]");
}

TEST_CASE("A tracker does not go on behind a newest audit record that was changed", "[tracker]") {
  Book book;
  book.add_many(2);
  std::string bytes = book.value(2);
  bytes[bytes.find("call 2")] = 'x';
  book.put(2, bytes);
  const auto loaded = Audit::load(book.store);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == Errc::corrupt);
  CHECK_THAT(loaded.error().detail, Contains("audit record 2 "));
}

TEST_CASE("Audit records are read a page at a time, and each page continues the one before",
          "[tracker]") {
  Book book;
  book.add_many(1203);
  CHECK(book.load().last() == 1203);
  CHECK(book.read().entries_size() == static_cast<int>(kAuditPage));
  const auto third = book.read(1001);
  CHECK(third.entries_size() == 203);
  CHECK(third.entries(0).number() == 1001);
  CHECK(third.last() == 1203);
  CHECK(third.problem().empty());
  CHECK(book.read(1204).entries_size() == 0);
}

TEST_CASE("An audit record fits the store however long its texts are", "[tracker]") {
  Book book;
  proto::AuditRecord entry;
  entry.set_who(std::string(50'000, 'w'));
  entry.set_what(std::string(50'000, 'x') + "\x1b");
  entry.set_targets(std::string(50'000, 't'));
  entry.set_outcome(std::string(50'000, '\x01'));
  entry.set_detail(std::string(50'000, 'd'));
  StateBatch batch;
  book.audit.add(entry, kNow, batch);
  REQUIRE(book.store.apply(batch));
  const auto list = book.read();
  CHECK(list.problem().empty());
  REQUIRE(list.entries_size() == 1);
  CHECK(list.entries(0).targets().size() == 4096 + 3);
}

}  // namespace p2p
