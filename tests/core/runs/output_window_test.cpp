#include "core/runs/output_window.h"

#include "tests/support/catch.h"

namespace p2p {
namespace {

RunId run(std::uint8_t number) {
  std::array<std::uint8_t, 16> random{};
  random[15] = number;
  return RunId::make(WallTime{std::chrono::hours(500'000)}, random);
}

struct Sender {
  OutputWindow window{64 * 1024};
  std::map<RunId, std::uint64_t> end;

  // A turn of a run that has more than it may send.
  std::size_t send(const RunId& id) {
    const std::size_t bytes = window.ask(id);
    if (bytes == 0) return 0;
    end[id] += bytes;
    window.sent(id, false, end[id], bytes);
    window.end_turn(id);
    return bytes;
  }
};

TEST_CASE("Output on the way never exceeds the window", "[core][runs]") {
  Sender sender;
  CHECK(sender.send(run(1)) == 32 * 1024);
  CHECK(sender.send(run(1)) == 32 * 1024);
  CHECK(sender.send(run(1)) == 0);
  sender.window.taken(run(1), false, 32 * 1024);
  CHECK(sender.window.next() == run(1));
  CHECK(sender.send(run(1)) == 32 * 1024);
  CHECK(sender.send(run(1)) == 0);
}

TEST_CASE("A turn that was not used leaves the room to others", "[core][runs]") {
  Sender sender;
  CHECK(sender.window.ask(run(1)) == 32 * 1024);
  CHECK(sender.window.ask(run(1)) == 0);  // one turn at a time
  CHECK(sender.window.ask(run(2)) == 32 * 1024);
  CHECK(sender.window.ask(run(3)) == 0);
  CHECK_FALSE(sender.window.next());
  sender.window.sent(run(1), true, 5, 5);
  sender.window.end_turn(run(1));
  CHECK(sender.window.next() == run(3));
  CHECK(sender.window.ask(run(3)) == 32 * 1024 - 5);
}

TEST_CASE("Runs that wait have their turns in order", "[core][runs]") {
  Sender sender;
  while (sender.send(run(1)) > 0) {
  }
  CHECK(sender.window.ask(run(2)) == 0);
  CHECK(sender.window.ask(run(3)) == 0);
  sender.window.forget(run(1));
  CHECK(sender.window.next() == run(2));
  CHECK(sender.window.ask(run(3)) == 0);  // not before run 2
  CHECK(sender.send(run(2)) > 0);
  CHECK(sender.window.next() == run(3));
}

TEST_CASE("A little room is no turn", "[core][runs]") {
  Sender sender;
  sender.send(run(1));
  sender.send(run(2));
  CHECK(sender.window.ask(run(3)) == 0);
  sender.window.taken(run(1), true, 32 * 1024);  // the other stream has nothing on the way
  CHECK_FALSE(sender.window.next());
  sender.window.taken(run(1), false, 32 * 1024 - 1);  // not to the end of the piece
  CHECK_FALSE(sender.window.next());
  sender.window.taken(run(1), false, 32 * 1024);
  CHECK(sender.window.next() == run(3));
}

TEST_CASE("With the connection goes what was on the way, and not a turn", "[core][runs]") {
  Sender sender;
  sender.send(run(1));
  CHECK(sender.window.ask(run(2)) == 32 * 1024);
  sender.window.forget_sent();
  CHECK(sender.window.ask(run(3)) == 32 * 1024);
  CHECK(sender.window.ask(run(4)) == 0);
  sender.window.end_turn(run(2));
  CHECK(sender.window.next() == run(4));
}

}  // namespace
}  // namespace p2p
