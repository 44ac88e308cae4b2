#include "tracker/users.h"

#include <string>

#include "io/state/memory_store.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;

struct Book {
  MemoryStore store;
  Users users = load();

  Users load() {
    auto loaded = Users::load(store);
    REQUIRE(loaded);
    return *std::move(loaded);
  }
  Status add(const std::string& name, const std::string& id,
             const std::vector<std::string>& roles = {}) {
    proto::UserRecord user;
    user.set_name(name);
    user.set_id(id);
    *user.mutable_roles() = {roles.begin(), roles.end()};
    if (Status valid = users.check(user); !valid) return valid;
    StateBatch batch;
    users.add(user, batch);
    REQUIRE(store.apply(batch));
    return {};
  }
  void remove(const std::string& name) {
    StateBatch batch;
    REQUIRE(users.remove(name, batch));
    REQUIRE(store.apply(batch));
  }
};

}  // namespace

TEST_CASE("A user is known by the id of the certificate, also after a restart", "[tracker]") {
  Book book;
  REQUIRE(book.add("ann", "id-1", {"deployer"}));
  book.users = book.load();
  const auto ann = book.users.caller("id-1");
  REQUIRE(ann);
  CHECK(ann->name == "ann");
  CHECK_FALSE(ann->admin);
  CHECK(ann->has_role("deployer"));
  CHECK_FALSE(ann->has_role("admin"));
}

TEST_CASE("A removed user is refused at once, also after a restart, and told so", "[tracker]") {
  Book book;
  REQUIRE(book.add("ann", "id-1"));
  book.remove("ann");
  for (int start = 0; start < 2; ++start) {
    const auto ann = book.users.caller("id-1");
    REQUIRE_FALSE(ann);
    CHECK(ann.error().code == Errc::denied);
    CHECK_THAT(ann.error().detail, Contains("user ann was removed"));
    CHECK(book.users.list().empty());
    book.users = book.load();
  }
}

TEST_CASE("A certificate of a removed user does not come back with the next one of that name",
          "[tracker]") {
  Book book;
  REQUIRE(book.add("ann", "id-1"));
  CHECK(book.add("ann", "id-2").error().code == Errc::already_exists);
  book.remove("ann");
  REQUIRE(book.add("ann", "id-2"));
  CHECK(book.users.caller("id-2"));
  CHECK_FALSE(book.users.caller("id-1"));
}

TEST_CASE("An id that no user has is refused", "[tracker]") {
  CHECK(Book().users.caller("id-1").error().code == Errc::denied);
}

TEST_CASE("There is room for 1,000 users, and removed ones take none", "[tracker]") {
  Book book;
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(book.add("u" + std::to_string(i), "id-" + std::to_string(i)));
  }
  CHECK(book.add("more", "id").error().code == Errc::exhausted);
  book.remove("u5");
  REQUIRE(book.add("more", "id"));
  CHECK_FALSE(book.users.caller("id-5"));
  int stored = 0;
  REQUIRE(book.store.scan("user/", [&](std::string_view, const auto&) { return ++stored > 0; }));
  CHECK(stored == 1000);
}

TEST_CASE("Names and roles of users are checked", "[tracker]") {
  Book book;
  CHECK_THAT(book.add("a/b", "id").error().detail, Contains("cannot be the name of a user"));
  CHECK_THAT(book.add("", "id").error().detail, Contains("cannot be the name of a user"));
  CHECK_THAT(book.add("ann", "id", {"a b"}).error().detail, Contains("role"));
}

}  // namespace p2p
