#include "io/log/log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <regex>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace p2p {
namespace {

// Collects lines while it lives.
class Lines {
 public:
  explicit Lines(LogForm form = LogForm::timed) {
    set_log_sink([this](std::string_view line) { lines_.emplace_back(line); }, form);
  }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;
  ~Lines() {
    set_log_sink({});
    static_cast<void>(set_log_level("info"));
  }

  std::size_t size() const { return lines_.size(); }
  std::string last() const { return lines_.empty() ? "(none)" : lines_.back(); }
  // Without the time.
  std::string last_event() const { return last().substr(std::min<std::size_t>(25, last().size())); }

 private:
  std::vector<std::string> lines_;
};

TEST_CASE("A line holds time, level, area, message and fields") {
  const Lines lines;
  log_info(
      "transfer", "chunk space complete",
      {{"file", "images/base@7"}, {"bytes", 12u}, {"delta", -3}, {"done", true}, {"rate", 0.5}});
  CHECK(std::regex_match(lines.last(),
                         std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO  transfer )"
                                    R"(chunk space complete file=images/base@7 bytes=12 delta=-3 )"
                                    R"(done=true rate=0\.5)")));
}

TEST_CASE("Values that hold a space, '=' or nothing are quoted") {
  const Lines lines;
  log_warn("a", "m", {{"k", "two words"}, {"l", ""}, {"m", "x=y"}, {"n", "say \"hi\" \\"}});
  CHECK(lines.last_event() == R"(WARN  a m k="two words" l="" m="x=y" n="say \"hi\" \\")");
}

TEST_CASE("No value and no message can start a line or steer a terminal") {
  const Lines lines;
  log_error("a", "m\nn",
            {{"k", "x\n2026 ERROR fake\r\t"}, {"l", "\x1b[2J"}, {"m", "\xc2\x9b"}, {"n", "\xff"}});
  CHECK(lines.size() == 1);
  CHECK(lines.last_event() ==
        R"(ERROR a m\nn k="x\n2026 ERROR fake\r\t" l="\x1b[2J" m="\xc2\x9b" n="\xff")");
}

TEST_CASE("UTF-8 text stays readable") {
  const Lines lines;
  log_info("a", "m", {{"name", "Grü\xc3\x9f"}});
  CHECK(lines.last_event() == "INFO  a m name=Grü\xc3\x9f");
}

TEST_CASE("A long value is cut") {
  const Lines lines;
  log_info("a", "m", {{"k", std::string(5000, 'x')}});
  CHECK(lines.last_event() == "INFO  a m k=" + std::string(2000, 'x') + "...");
}

TEST_CASE("The log level hides what is below it") {
  const Lines lines;
  log_debug("a", "hidden");
  CHECK(lines.size() == 0);
  REQUIRE(set_log_level("debug"));
  log_debug("a", "shown");
  CHECK(lines.last_event() == "DEBUG a shown");
  REQUIRE(set_log_level("error"));
  log_warn("a", "hidden");
  CHECK(lines.size() == 1);
  CHECK_FALSE(set_log_level("loud"));
}

TEST_CASE("A line for the journal begins with its level and leaves the time to it") {
  const Lines lines(LogForm::journal);
  REQUIRE(set_log_level("debug"));
  log_error("agent", "stopping", {{"why", "the disk is gone"}});
  CHECK(lines.last() == "<3>ERROR agent stopping why=\"the disk is gone\"");
  log_warn("agent", "stopping");
  CHECK(lines.last() == "<4>WARN  agent stopping");
  log_info("agent", "stopping");
  CHECK(lines.last() == "<6>INFO  agent stopping");
  log_debug("agent", "stopping");
  CHECK(lines.last() == "<7>DEBUG agent stopping");
}

TEST_CASE("Only the stream that systemd names is the journal") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  struct stat file {};
  REQUIRE(::fstat(ends[1], &file) == 0);
  const std::string name = std::to_string(file.st_dev) + ":" + std::to_string(file.st_ino);
  CHECK(is_journal(name.c_str(), ends[1]));
  CHECK_FALSE(is_journal((name + "1").c_str(), ends[1]));
  CHECK_FALSE(is_journal("", ends[1]));
  CHECK_FALSE(is_journal(nullptr, ends[1]));
  ::close(ends[0]);
  ::close(ends[1]);
  CHECK_FALSE(is_journal(name.c_str(), ends[1]));
}

}  // namespace
}  // namespace p2p
