// The rules that every state store keeps, as one suite.
//
// `OpenStore` is a class with `std::unique_ptr<StateStore> operator()()`: an empty store at each
// call.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "io/state/state_limits.h"
#include "io/state/state_store.h"
#include "tests/support/catch.h"

namespace p2p::test {

using Found = std::vector<std::pair<std::string, std::string>>;

inline Found found_by_scan(StateStore& store, std::string_view prefix) {
  Found found;
  const Status scanned =
      store.scan(prefix, [&](std::string_view key, const StateStore::Entry& entry) {
        found.emplace_back(key, entry.value);
        return true;
      });
  REQUIRE(scanned);
  return found;
}

inline StateStore::Entry entry_of(StateStore& store, std::string_view key) {
  const auto entry = store.get(key);
  REQUIRE(entry);
  return entry->value_or(StateStore::Entry{"(absent)", 0});
}

// Adds one to the number in `key` by reading, writing on condition, and trying again.
inline void increment(StateStore& store, const std::string& key) {
  for (;;) {
    const auto before = store.get(key);
    if (!before) return;
    const int number = *before ? std::stoi((*before)->value) : 0;
    StateBatch batch;
    batch.put(key, std::to_string(number + 1), *before ? (*before)->version : 0);
    const Status applied = store.apply(batch, StateStore::Durability::unsynced);
    if (applied || applied.error().code != Errc::already_exists) return;
  }
}

inline void check_versions(StateStore& store) {
  CHECK(entry_of(store, "a").version == 0);
  REQUIRE(store.apply(StateBatch().put("a", "one")));
  CHECK(entry_of(store, "a").version == 1);
  REQUIRE(store.apply(StateBatch().put("a", "two", 1)));
  CHECK(entry_of(store, "a").version == 2);
  REQUIRE(store.apply(StateBatch().put("a", "three")));
  CHECK(entry_of(store, "a").version == 3);
  CHECK(entry_of(store, "a").value == "three");
  REQUIRE(store.apply(StateBatch().erase("a", 3)));
  CHECK(entry_of(store, "a").version == 0);
  REQUIRE(store.apply(StateBatch().put("a", "again", 0)));
  CHECK(entry_of(store, "a").version == 1);
}

inline void check_failing_batch(StateStore& store) {
  REQUIRE(store.apply(StateBatch().put("kept", "old").put("gone/not", "x")));
  const Status refused = store.apply(
      StateBatch().put("new", "n").put("kept", "changed").erase("gone/not").put("kept/2", "y", 7));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::already_exists);
  CHECK(refused.error().detail.find("kept/2") != std::string::npos);
  CHECK(found_by_scan(store, "") == Found{{"gone/not", "x"}, {"kept", "old"}});
  CHECK(entry_of(store, "kept").version == 1);
}

inline void check_preconditions(StateStore& store) {
  REQUIRE(store.apply(StateBatch().put("there", "x", 0)));
  CHECK_FALSE(store.apply(StateBatch().put("there", "y", 0)));
  CHECK_FALSE(store.apply(StateBatch().put("there", "y", 2)));
  CHECK_FALSE(store.apply(StateBatch().erase("there", 2)));
  CHECK_FALSE(store.apply(StateBatch().erase("absent", 1)));
  CHECK(store.apply(StateBatch().erase("absent")));
  CHECK(store.apply(StateBatch().erase("absent", 0)));
  CHECK(store.apply(StateBatch()));
  CHECK(entry_of(store, "there").value == "x");
}

inline void check_scan(StateStore& store) {
  REQUIRE(store.apply(StateBatch()
                          .put("a/10", "ten")
                          .put("b", "b")
                          .put("a/2", "two")
                          .put("a/1/x", "deep")
                          .put("a/1", "one")
                          .put("a", "a")));
  CHECK(found_by_scan(store, "a/1") == Found{{"a/1", "one"}, {"a/1/x", "deep"}, {"a/10", "ten"}});
  CHECK(found_by_scan(store, "a/1/") == Found{{"a/1/x", "deep"}});
  CHECK(found_by_scan(store, "c").empty());
  const Found all = found_by_scan(store, "");
  CHECK(all.size() == 6);
  CHECK(all.front().first == "a");
  CHECK(all.back().first == "b");

  int visits = 0;
  REQUIRE(
      store.scan("a", [&](std::string_view, const StateStore::Entry&) { return ++visits < 2; }));
  CHECK(visits == 2);
}

inline void check_scan_that_writes(StateStore& store) {
  REQUIRE(store.apply(StateBatch().put("q/1", "x").put("q/2", "y")));
  std::vector<std::string> seen;
  const Status scanned = store.scan("q/", [&](std::string_view key, const StateStore::Entry&) {
    seen.emplace_back(key);
    return store.apply(StateBatch().erase(std::string(key)).put("q/3", "z")).has_value();
  });
  REQUIRE(scanned);
  CHECK(seen == std::vector<std::string>{"q/1", "q/2"});
  CHECK(found_by_scan(store, "q/") == Found{{"q/3", "z"}});
}

inline void check_refused(StateStore& store, const StateBatch& batch) {
  const Status refused = store.apply(batch);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::invalid_argument);
}

inline void check_limits(StateStore& store) {
  for (const char* key :
       {"", "/", "/a", "a/", "a//b", "a\n", "a/\x7f", "\xc3\xa4", ".", "a/../b"}) {
    CAPTURE(key);
    check_refused(store, StateBatch().put(key, "x"));
    CHECK_FALSE(store.get(key));
  }
  check_refused(store, StateBatch().put(std::string(kMaxKeyBytes + 1, 'k'), "x"));
  check_refused(store, StateBatch().put("k", std::string(kMaxRecordBytes + 1, 'v')));
  check_refused(store, StateBatch().put("k", "x").erase("k"));

  const std::string largest(kMaxRecordBytes, 'v');
  StateBatch batch;
  for (int i = 0; i < 15; ++i) batch.put("k/" + std::to_string(i), largest);
  REQUIRE(store.apply(batch));
  CHECK(entry_of(store, "k/14").value == largest);
  for (int i = 15; i < 17; ++i) batch.put("k/" + std::to_string(i), largest);
  check_refused(store, batch);
  CHECK(found_by_scan(store, "k/").size() == 15);
}

inline void check_bytes(StateStore& store) {
  std::string every_byte;
  for (int i = 0; i < 256; ++i) every_byte.push_back(static_cast<char>(i));
  REQUIRE(store.apply(StateBatch().put("bytes", every_byte).put("empty", "")));
  CHECK(entry_of(store, "bytes").value == every_byte);
  CHECK(entry_of(store, "empty").value.empty());
  CHECK(entry_of(store, "empty").version == 1);
}

inline void check_two_writers(StateStore& store) {
  constexpr int kEach = 400;
  const auto work = [&store] {
    for (int i = 0; i < kEach; ++i) increment(store, "counter");
  };
  std::thread other(work);
  work();
  other.join();
  CHECK(entry_of(store, "counter").value == std::to_string(2 * kEach));
  CHECK(entry_of(store, "counter").version == 2 * kEach);
}

template <class OpenStore>
void check_conformance() {
  OpenStore open;
  const std::unique_ptr<StateStore> store = open();
  SECTION("versions count from 1 and start over after an erase") {
    check_versions(*store);
  }
  SECTION("a batch with a failing precondition changes nothing") {
    check_failing_batch(*store);
  }
  SECTION("preconditions name the version that a key must have") {
    check_preconditions(*store);
  }
  SECTION("a scan visits a byte prefix in byte order until it is told to stop") {
    check_scan(*store);
  }
  SECTION("a scan sees what was there when it began, and its visitor may write") {
    check_scan_that_writes(*store);
  }
  SECTION("bad keys and large records are refused and change nothing") {
    check_limits(*store);
  }
  SECTION("values are any bytes, also none") {
    check_bytes(*store);
  }
  SECTION("two threads that increment on condition lose no update") {
    check_two_writers(*store);
  }
}

}  // namespace p2p::test
