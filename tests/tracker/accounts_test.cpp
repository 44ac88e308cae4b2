#include "tracker/accounts.h"

#include <string>

#include "io/state/memory_store.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

using Catch::Contains;

struct Book {
  MemoryStore store;
  Accounts accounts = load();

  Accounts load() {
    auto loaded = Accounts::load(store);
    REQUIRE(loaded);
    return *std::move(loaded);
  }
  Status set(const proto::AccountRecord& account) {
    StateBatch batch;
    Status set = accounts.set(account, batch);
    if (set) {
      REQUIRE(store.apply(batch));
    } else {
      CHECK(batch.changes.empty());
    }
    return set;
  }
  std::string refusal(const proto::AccountRecord& account) {
    const Status refused = set(account);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::invalid_argument);
    return refused.error().detail;
  }
};

proto::AccountRecord account(const std::string& name, const std::string& user) {
  proto::AccountRecord record;
  record.set_name(name);
  record.set_user(user);
  return record;
}

Caller administrator() {
  return {"root", "id", /*admin=*/true, {}};
}
Caller user_with(std::vector<std::string> roles) {
  return {"ann", "id", /*admin=*/false, std::move(roles)};
}

}  // namespace

TEST_CASE("An account may be used by its roles and by administrators, also after a restart",
          "[tracker]") {
  Book book;
  auto web = account("web", "www-data");
  web.add_roles("deployer");
  web.set_memory_bytes(1 << 30);
  REQUIRE(book.set(web));
  book.accounts = book.load();
  const auto used = book.accounts.usable("web", user_with({"viewer", "deployer"}));
  REQUIRE(used);
  CHECK(used->user() == "www-data");
  CHECK(used->memory_bytes() == 1 << 30);
  CHECK(book.accounts.usable("web", administrator()));
  CHECK_FALSE(book.accounts.usable("web", user_with({"viewer"})));
}

TEST_CASE("Who may not use an account does not learn whether there is one", "[tracker]") {
  Book book;
  REQUIRE(book.set(account("aaa", "root")));
  const auto there = book.accounts.usable("aaa", user_with({"viewer"}));
  const auto absent = book.accounts.usable("bbb", user_with({"viewer"}));
  REQUIRE_FALSE(there);
  REQUIRE_FALSE(absent);
  CHECK(there.error().code == Errc::denied);
  CHECK(absent.error().code == Errc::denied);
  std::string words = absent.error().detail;
  words.replace(words.find("bbb"), 3, "aaa");
  CHECK(there.error().detail == words);

  const auto for_admin = book.accounts.usable("bbb", administrator());
  REQUIRE_FALSE(for_admin);
  CHECK(for_admin.error().code == Errc::not_found);
}

TEST_CASE("An account without roles is for administrators only", "[tracker]") {
  Book book;
  REQUIRE(book.set(account("root", "root")));
  CHECK_FALSE(book.accounts.usable("root", user_with({})));
  CHECK_FALSE(book.accounts.usable("root", user_with({"root"})));
}

TEST_CASE("What is wrong with an account is said when it is set", "[tracker]") {
  Book book;
  CHECK_THAT(book.refusal(account("a b", "www")), Contains("cannot be the name of an account"));
  CHECK_THAT(book.refusal(account("web", "")), Contains("--user"));
  CHECK_THAT(book.refusal(account("web", "-rf")), Contains("no name of a user"));
  CHECK_THAT(book.refusal(account("web", "a/b")), Contains("no name of a user"));
  auto wrong = account("web", "www");
  wrong.add_environment("LANG");
  CHECK_THAT(book.refusal(wrong), Contains("NAME=VALUE"));
  wrong = account("web", "www");
  wrong.set_folder("srv");
  CHECK_THAT(book.refusal(wrong), Contains("absolute"));
  wrong = account("web", "www");
  wrong.set_nodes("role=");
  CHECK(book.set(wrong));
  wrong.set_nodes("web[1-");
  CHECK_THAT(book.refusal(wrong), Contains("account web: nodes"));
  wrong = account("web", "www");
  wrong.set_umask(01000);
  CHECK_THAT(book.refusal(wrong), Contains("umask"));
  wrong = account("web", "www");
  wrong.add_roles("a b");
  CHECK_THAT(book.refusal(wrong), Contains("role"));
  wrong = account("web", "www");
  for (int i = 0; i < 400; ++i) wrong.add_environment("A=" + std::string(100, 'x'));
  CHECK_THAT(book.refusal(wrong), Contains("too long"));
}

TEST_CASE("A removed account is gone, also after a restart", "[tracker]") {
  Book book;
  REQUIRE(book.set(account("web", "www")));
  StateBatch batch;
  REQUIRE(book.accounts.remove("web", batch));
  REQUIRE(book.store.apply(batch));
  CHECK_FALSE(book.accounts.usable("web", administrator()));
  book.accounts = book.load();
  CHECK(book.accounts.list().empty());
  const auto again = book.accounts.remove("web", batch);
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Errc::not_found);
}

}  // namespace p2p
