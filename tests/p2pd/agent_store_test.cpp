#include "p2pd/agent_store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "io/disk/fd.h"
#include "io/log/log.h"
#include "io/state/leveldb_store.h"
#include "tests/support/temp_folder.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;
using test::put_file;
using test::text_of;

struct Data {
  test::TempFolder folder;
  std::string state = folder / "state";

  Data() {
    set_log_sink([](std::string_view) {});
  }
  ~Data() { set_log_sink({}); }

  AgentStore open() const {
    auto opened = open_agent_store(folder.path());
    INFO((opened ? "" : opened.error().detail));
    REQUIRE(opened);
    return std::move(*opened);
  }
  Error refusal() const {
    const auto opened = open_agent_store(folder.path());
    REQUIRE_FALSE(opened);
    return opened.error();
  }
  // The agent runs, writes a record, and ends. Opened twice, so that it lies in a table.
  void run_once() const {
    put("test/key", "value");
    open();
  }
  void put(const std::string& key, const std::string& value) const {
    StateBatch batch;
    batch.put(key, value);
    REQUIRE(open().store->apply(batch));
  }
  std::string only_file(const std::string& extension) const {
    std::string found;
    for (const auto& entry : fs::directory_iterator(state)) {
      if (entry.path().extension() != extension) continue;
      REQUIRE(found.empty());
      found = entry.path();
    }
    REQUIRE_FALSE(found.empty());
    return found;
  }
  std::vector<std::string> moved_aside() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder.path())) {
      if (entry.path().filename() != "state") found.push_back(entry.path());
    }
    return found;
  }
};

bool has_record(const AgentStore& opened) {
  const auto entry = opened.store->get("test/key");
  REQUIRE(entry);
  return entry->has_value();
}

// This thread has no more rights to files than anybody, as long as it lives.
class Unprivileged {
 public:
  Unprivileged() {
    if (::geteuid() == 0) ::setfsuid(65534);
  }
  ~Unprivileged() {
    if (::geteuid() == 0) ::setfsuid(0);
  }
};

// Another process that holds the lock of a store, as a second agent would.
class OtherProcess {
 public:
  explicit OtherProcess(const std::string& lock) {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    child_ = ::fork();
    if (child_ == 0) {
      const int file = ::open(lock.c_str(), O_RDWR);
      struct flock whole {};
      whole.l_type = F_WRLCK;
      const char held = ::fcntl(file, F_SETLK, &whole) == 0 ? 'y' : 'n';
      (void)!::write(ready[1], &held, 1);
      for (;;) ::pause();
    }
    REQUIRE(child_ > 0);
    char held = 'n';
    const bool heard = ::read(ready[0], &held, 1) == 1;
    ::close(ready[0]);
    ::close(ready[1]);
    REQUIRE(heard);
    REQUIRE(held == 'y');
  }
  ~OtherProcess() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }

 private:
  pid_t child_ = -1;
};

}  // namespace

TEST_CASE("A new store is empty, and there are no lost parts to look for", "[p2pd][store]") {
  Data data;
  {
    const AgentStore opened = data.open();
    CHECK(opened.moved_to.empty());
    CHECK_FALSE(opened.search_roots);
    CHECK_FALSE(has_record(opened));
  }
  CHECK_FALSE(data.open().search_roots);
}

TEST_CASE("A sound store is opened again with what it holds", "[p2pd][store]") {
  Data data;
  data.run_once();
  const AgentStore opened = data.open();
  CHECK(has_record(opened));
  CHECK(opened.moved_to.empty());
  CHECK_FALSE(opened.search_roots);
}

TEST_CASE("A store that cannot be used is moved aside, and an empty one begins", "[p2pd][store]") {
  Data data;
  data.run_once();
  SECTION("CURRENT is empty") {
    put_file(data.state + "/CURRENT", "");
  }
  SECTION("CURRENT names nothing") {
    put_file(data.state + "/CURRENT", "MANIFEST-999999\n");
  }
  SECTION("CURRENT is gone") {
    fs::remove(data.state + "/CURRENT");
  }
  SECTION("a table is garbage") {
    const std::string table = data.only_file(".ldb");
    put_file(table, std::string(fs::file_size(table), 'x'));
  }
  SECTION("one byte of a table is another") {
    const std::string table = data.only_file(".ldb");
    std::string bytes = text_of(table);
    bytes[5] = static_cast<char>(bytes[5] ^ 1);
    put_file(table, bytes);
  }
  SECTION("a table is cut") {
    fs::resize_file(data.only_file(".ldb"), 10);
  }
  SECTION("a table is empty") {
    fs::resize_file(data.only_file(".ldb"), 0);
  }
  SECTION("the list of tables is empty") {
    std::string name = text_of(data.state + "/CURRENT");
    name.pop_back();
    fs::resize_file(data.state + "/" + name, 0);
  }
  SECTION("a table is gone") {
    fs::remove(data.only_file(".ldb"));
  }
  SECTION("another version of p2pd has written it") {
    data.put("meta/format", "2");
  }
  const AgentStore opened = data.open();
  CHECK_FALSE(has_record(opened));
  CHECK(opened.search_roots);
  CHECK_THAT(opened.moved_to, Catch::StartsWith(data.state + ".damaged-"));
  CHECK(data.moved_aside() == std::vector{opened.moved_to});
  CHECK(fs::exists(opened.moved_to + "/LOG"));
}

TEST_CASE("A store without a format is of before formats, and gets one", "[p2pd][store]") {
  Data data;
  data.run_once();
  StateBatch batch;
  batch.erase("meta/format");
  REQUIRE(data.open().store->apply(batch));
  const AgentStore opened = data.open();
  CHECK(has_record(opened));
  CHECK(opened.moved_to.empty());
  const auto format = opened.store->get("meta/format");
  REQUIRE(format);
  REQUIRE(format->has_value());
  CHECK((*format)->value == "1");
}

TEST_CASE("That the roots are to be searched is remembered until they were", "[p2pd][store]") {
  Data data;
  data.run_once();
  put_file(data.state + "/CURRENT", "");
  CHECK(data.open().search_roots);
  CHECK(data.open().search_roots);
  {
    const AgentStore opened = data.open();
    CHECK(opened.moved_to.empty());
    CHECK(opened.search_roots);
    REQUIRE(remember_search(*opened.store));
  }
  CHECK_FALSE(data.open().search_roots);
}

TEST_CASE("The roots are searched also when the process ended right after the move",
          "[p2pd][store]") {
  Data data;
  data.run_once();
  fs::rename(data.state, data.state + ".damaged-1700000000");
  CHECK(data.open().search_roots);
  CHECK(data.open().search_roots);
}

TEST_CASE("Each store that was damaged is kept, also of one second", "[p2pd][store]") {
  Data data;
  for (int i = 0; i < 4; ++i) {
    data.run_once();
    put_file(data.state + "/CURRENT", "");
    data.open();
  }
  CHECK(data.moved_aside().size() == 4);
}

TEST_CASE("A lack of rights is an error, and nothing is moved aside", "[p2pd][store]") {
  Data data;
  data.run_once();
  REQUIRE(::chmod(data.folder.path().c_str(), 0755) == 0);
  const mode_t before = 0700;
  std::string locked;
  SECTION("to the folder") {
    locked = data.state;
  }
  SECTION("to CURRENT") {
    locked = data.state + "/CURRENT";
    for (const auto& entry : fs::directory_iterator(data.state)) {
      REQUIRE(::chmod(entry.path().c_str(), 0666) == 0);
    }
    REQUIRE(::chmod(data.state.c_str(), 0777) == 0);
  }
  SECTION("to a table") {
    for (const auto& entry : fs::directory_iterator(data.state)) {
      REQUIRE(::chmod(entry.path().c_str(), 0666) == 0);
    }
    REQUIRE(::chmod(data.state.c_str(), 0777) == 0);
    locked = data.only_file(".ldb");
  }
  REQUIRE(::chmod(locked.c_str(), 0) == 0);
  Errc code{};
  std::string detail;
  {
    const Unprivileged thread;
    const auto opened = open_agent_store(data.folder.path());
    if (!opened) {
      code = opened.error().code;
      detail = opened.error().detail;
    }
  }
  REQUIRE(::chmod(locked.c_str(), before) == 0);
  CAPTURE(detail);
  CHECK((code == Errc::denied || code == Errc::io_failed));
  CHECK_THAT(detail, Contains(data.state) && Contains("ermission denied"));
  CHECK(data.moved_aside().empty());
  CHECK(has_record(data.open()));
}

TEST_CASE("A store that another process uses is an error, and stays where it is", "[p2pd][store]") {
  Data data;
  data.run_once();
  {
    const OtherProcess other(data.state + "/LOCK");
    const Error refusal = data.refusal();
    CHECK(refusal.code == Errc::unavailable);
    CHECK_THAT(refusal.detail, Contains("in use by another process"));
    CHECK(data.moved_aside().empty());
  }
  CHECK(has_record(data.open()));
}

TEST_CASE("A store in a folder that is not there, or is a file, is an error", "[p2pd][store]") {
  Data data;
  const auto opened = open_agent_store(data.folder / "none");
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::not_found);
  put_file(data.state, "");
  CHECK(data.refusal().code == Errc::invalid_argument);
  CHECK(data.moved_aside().empty());
}

}  // namespace p2p
