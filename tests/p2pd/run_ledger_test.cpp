#include "p2pd/run_ledger.h"

#include "io/run/run_order.h"
#include "io/runtime/wall_clock.h"
#include "io/state/leveldb_store.h"
#include "io/state/memory_store.h"
#include "tests/support/catch.h"
#include "tests/support/power_cut.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

using enum RunState;
using std::chrono::hours;

const WallTime kNow = from_unix_millis(1'790'000'000'000);

RunId id_of(std::uint8_t number, Duration age = {}) {
  std::array<std::uint8_t, 16> random{};
  random[15] = number;
  return RunId::make(kNow - age, random);
}

struct Book {
  MemoryStore store;
  RunLedger ledger{store};

  static proto::RunOrder order(const RunId& id, const std::string& word = "true") {
    proto::RunOrder order = new_run_order(id);
    order.add_arguments(word);
    return order;
  }
  RunLedger::Answer take(const RunId& id, bool accepted_before = false) {
    const auto answer =
        ledger.take({.id = id, .accepted_before = accepted_before}, order(id), 17, kNow);
    REQUIRE(answer);
    return *answer;
  }
  RunState state(const RunId& id) {
    const auto found = ledger.find(id);
    REQUIRE(found);
    REQUIRE(*found);
    return state_of(**found);
  }
  static RunSight sight(bool begun, bool lives) {
    RunSight sight;
    sight.traces = {.begun = begun, .shim_lives = lives, .end = {}};
    return sight;
  }
  static RunSight exited_with(int code) {
    RunSight sight;
    sight.traces = {.begun = true, .shim_lives = false, .end = RunEnd::by_itself};
    sight.result.emplace();
    sight.result->set_end(proto::RunResult::EXITED);
    sight.result->set_has_code(true);
    sight.result->set_code(code);
    sight.result->set_text("exit code " + std::to_string(code));
    return sight;
  }
};

TEST_CASE("A run is on record before it is begun, and begun for one offer only", "[p2pd][runs]") {
  Book book;
  const RunId id = id_of(1);
  const auto first = book.take(id);
  CHECK(first.answer == OfferAnswer::begin);
  CHECK(state_of(first.record) == accepted);
  CHECK(first.record.job() == 17);
  CHECK(book.state(id) == accepted);
  for (const bool before : {false, true}) {
    const auto again = book.take(id, before);
    CHECK(again.answer == OfferAnswer::say_recorded);
    CHECK(state_of(again.record) == accepted);
  }
}

TEST_CASE("A run that is offered again after its end is answered with its end", "[p2pd][runs]") {
  Book book;
  const RunId id = id_of(1);
  book.take(id);
  const auto ended = book.ledger.update(id, Book::exited_with(3));
  REQUIRE(ended);
  CHECK(state_of(*ended) == exited);
  const auto again = book.take(id);
  CHECK(again.answer == OfferAnswer::say_recorded);
  CHECK(state_of(again.record) == exited);
  CHECK(again.record.code() == 3);
  CHECK(again.record.text() == "exit code 3");
}

TEST_CASE("One id never stands for two orders", "[p2pd][runs]") {
  Book book;
  const RunId id = id_of(1);
  book.take(id);
  const auto other = book.ledger.take({.id = id}, Book::order(id, "false"), 17, kNow);
  REQUIRE_FALSE(other);
  CHECK(other.error().code == Errc::invalid_argument);
  CHECK_FALSE(book.ledger.take({.id = id_of(2)}, Book::order(id), 17, kNow));
  CHECK_FALSE(*book.ledger.find(id_of(2)));
}

TEST_CASE("A run that cannot be written is not begun", "[p2pd][runs]") {
  class Broken final : public StateStore {
   public:
    Result<std::optional<Entry>> get(std::string_view) override { return std::optional<Entry>(); }
    Status apply(const StateBatch&, Durability durability) override {
      CHECK(durability == Durability::synced);
      return Error{Errc::exhausted, "disk full"};
    }
    Status scan(std::string_view, const Visitor&) override { return {}; }
  } broken;
  const RunLedger ledger(broken);
  const auto answer = ledger.take({.id = id_of(1)}, Book::order(id_of(1)), 17, kNow);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::exhausted);
}

TEST_CASE("A run whose ledger is lost is lost, and stays so", "[p2pd][runs]") {
  Book book;
  const auto answer = book.take(id_of(1), /*accepted_before=*/true);
  CHECK(answer.answer == OfferAnswer::say_lost);
  CHECK(answer.record.text().find("whether the command ran is not known") != std::string::npos);
  CHECK(book.state(id_of(1)) == lost);
  CHECK(book.take(id_of(1)).answer == OfferAnswer::say_recorded);
}

TEST_CASE("A run whose ledger is lost is lost, whatever its order is", "[p2pd][runs]") {
  Book book;
  proto::RunOrder order = Book::order(id_of(1));
  order.set_folder("relative");  // an earlier release may have allowed it
  const auto answer = book.ledger.take({.id = id_of(1), .accepted_before = true}, order, 17, kNow);
  REQUIRE(answer);
  CHECK(answer->answer == OfferAnswer::say_lost);
}

TEST_CASE("A run that is found without a record is on record again", "[p2pd][runs]") {
  Book book;
  const auto found = book.ledger.adopt(id_of(1), 17, "someone", 64 * 1024, kNow);
  REQUIRE(found);
  CHECK(state_of(*found) == accepted);
  CHECK(found->keep_bytes() == 64 * 1024);
  CHECK(book.take(id_of(1), /*accepted_before=*/true).answer == OfferAnswer::say_recorded);
  REQUIRE(book.ledger.update(id_of(1), Book::exited_with(3)));
  // What is on record stays.
  CHECK(state_of(*book.ledger.adopt(id_of(1), 17, "", 0, kNow)) == exited);
}

TEST_CASE("A run that is too old is rejected and nothing is kept of it", "[p2pd][runs]") {
  Book book;
  const RunId id = id_of(1, hours(24 * 41));
  const auto answer = book.take(id);
  CHECK(answer.answer == OfferAnswer::say_too_old);
  CHECK(state_of(answer.record) == rejected);
  CHECK(answer.record.text().find("nothing was started") != std::string::npos);
  CHECK_FALSE(*book.ledger.find(id));
}

TEST_CASE("A run that could not be started is rejected with the reason", "[p2pd][runs]") {
  Book book;
  book.take(id_of(1));
  const auto record = book.ledger.reject(id_of(1), {Errc::denied, "this node runs nothing"});
  REQUIRE(record);
  CHECK(state_of(*record) == rejected);
  CHECK(book.ledger.find(id_of(1)).value()->text() == "this node runs nothing");
  // Not one that has ended otherwise.
  book.take(id_of(2));
  REQUIRE(book.ledger.update(id_of(2), Book::exited_with(0)));
  CHECK(state_of(*book.ledger.reject(id_of(2), {Errc::denied, ""})) == exited);
  CHECK(book.ledger.reject(id_of(3), {Errc::denied, ""}).error().code == Errc::not_found);
}

TEST_CASE("After a crash each run is what its traces say, and none is started", "[p2pd][runs]") {
  Book book;
  test::TempFolder temp;
  const RunFolders folders(temp / "runs");  // no shim has been given any
  book.take(id_of(1));
  book.take(id_of(2));
  REQUIRE(book.ledger.update(id_of(2), Book::exited_with(5)));
  book.take(id_of(3));
  REQUIRE(book.ledger.update(id_of(3), Book::exited_with(0)));
  REQUIRE(book.ledger.set_reported(id_of(3)));

  const auto news = book.ledger.recover(folders);
  REQUIRE(news);
  REQUIRE(news->size() == 2);
  CHECK(state_of((*news)[0]) == lost);
  CHECK((*news)[0].text().find("whether the command ran is not known") != std::string::npos);
  CHECK(state_of((*news)[1]) == exited);
  CHECK((*news)[1].code() == 5);
  CHECK(book.state(id_of(1)) == lost);
  CHECK(book.take(id_of(1)).answer == OfferAnswer::say_recorded);
}

TEST_CASE("A run that goes on is running, also for the next agent", "[p2pd][runs]") {
  Book book;
  book.take(id_of(1));
  CHECK(state_of(*book.ledger.update(id_of(1), Book::sight(false, true))) == accepted);
  CHECK(state_of(*book.ledger.update(id_of(1), Book::sight(true, true))) == running);
  CHECK(state_of(*book.ledger.update(id_of(1), Book::sight(true, false))) == lost);
  CHECK(state_of(*book.ledger.update(id_of(1), Book::exited_with(0))) == lost);
}

TEST_CASE("A damaged record never leads to a second run", "[p2pd][runs]") {
  Book book;
  book.take(id_of(1));
  book.take(id_of(2));
  std::string key;
  std::string value;
  REQUIRE(book.store.scan("run/01/", [&](std::string_view k, const auto& entry) {
    key = k;
    value = entry.value;
    return false;
  }));
  value[value.size() / 2] ^= 1;
  StateBatch batch;
  batch.put(key, value);
  REQUIRE(book.store.apply(batch));
  const auto answer = book.ledger.take({.id = id_of(1)}, Book::order(id_of(1)), 17, kNow);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::corrupt);
  test::TempFolder temp;
  CHECK(book.ledger.recover(RunFolders(temp.path()))->size() == 1);
}

TEST_CASE("The ledger forgets what is old, over and known to the tracker", "[p2pd][runs]") {
  Book book;
  const RunId old = id_of(1, hours(24 * 39));
  const RunId open = id_of(2, hours(24 * 39));
  const RunId unsaid = id_of(4, hours(24 * 39));  // the tracker does not know its end
  for (const RunId& id : {old, open, id_of(3), unsaid}) book.take(id);
  REQUIRE(book.ledger.update(old, Book::exited_with(0)));
  REQUIRE(book.ledger.update(id_of(3), Book::exited_with(0)));
  REQUIRE(book.ledger.update(unsaid, Book::exited_with(0)));
  CHECK(book.ledger.set_reported(open).error().code == Errc::unavailable);
  for (const RunId& id : {old, id_of(3)}) REQUIRE(book.ledger.set_reported(id));
  const WallTime later = kNow + hours(24 * 22);
  CHECK(*book.ledger.forget(kNow) == std::vector<RunId>{});
  CHECK(*book.ledger.forget(later) == std::vector<RunId>{old});
  CHECK_FALSE(*book.ledger.find(old));
  CHECK(book.state(open) == accepted);
  CHECK(book.state(unsaid) == exited);
  // Its id would be refused now.
  const auto answer = book.ledger.take({.id = old}, Book::order(old), 17, later);
  CHECK(answer->answer == OfferAnswer::say_too_old);
}

TEST_CASE("The ledger outlives its process", "[p2pd][runs]") {
  test::TempFolder temp;
  {
    auto store = LevelDbStore::open(temp / "state");
    REQUIRE(store);
    const RunLedger ledger(**store);
    REQUIRE(ledger.take({.id = id_of(1)}, Book::order(id_of(1)), 17, kNow));
  }
  auto store = LevelDbStore::open(temp / "state");
  REQUIRE(store);
  const RunLedger ledger(**store);
  const auto again = ledger.take({.id = id_of(1)}, Book::order(id_of(1)), 17, kNow);
  CHECK(again->answer == OfferAnswer::say_recorded);
}

TEST_CASE("What is refused is on record, and a later offer of it starts nothing", "[p2pd][runs]") {
  Book book;
  for (const RunState end : {rejected, cancelled}) {
    const RunId id = id_of(end == rejected ? 1 : 2);
    const auto record = book.ledger.refuse(id, 17, end, "because", kNow);
    REQUIRE(record);
    CHECK(state_of(*record) == end);
    const auto answer = book.take(id);
    CHECK(answer.answer == OfferAnswer::say_recorded);
    CHECK(state_of(answer.record) == end);
    CHECK(answer.record.text() == "because");
  }
}

TEST_CASE("What is on record is not refused any more", "[p2pd][runs]") {
  Book book;
  book.take(id_of(1));
  const auto record = book.ledger.refuse(id_of(1), 17, cancelled, "", kNow);
  REQUIRE(record);
  CHECK(state_of(*record) == accepted);
}

TEST_CASE("Of refused ids that nobody would begin any more none is kept", "[p2pd][runs]") {
  Book book;
  const RunId old = id_of(1, hours(24 * 41));
  REQUIRE(book.ledger.refuse(old, 17, rejected, "", kNow));
  CHECK_FALSE(*book.ledger.find(old));
}

}  // namespace
}  // namespace p2p
