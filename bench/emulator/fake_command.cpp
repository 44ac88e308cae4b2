#include "bench/emulator/fake_command.h"

#include <charconv>
#include <optional>

#include "io/runtime/wall_clock.h"

namespace p2p::emulator {
namespace {

constexpr const char* kKnown = "true, false, echo, hostname, uname, sleep and exit";
constexpr double kLongestSleep = 24.0 * 3600;

std::string joined(const proto::RunOrder& order, int from) {
  std::string text;
  for (int i = from; i < order.arguments_size(); ++i) {
    if (i > from) text += ' ';
    text += order.arguments(i);
  }
  return text + "\n";
}

// The one number that stands behind the command's name.
std::optional<double> number_of(const proto::RunOrder& order) {
  if (order.arguments_size() != 2) return std::nullopt;
  const std::string& text = order.arguments(1);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Error wrong_number(const std::string& name) {
  return {Errc::not_found, name + ": an emulated node wants one number behind it"};
}

proto::RunResult times(WallTime begun, WallTime ended) {
  proto::RunResult result;
  result.set_begun_unix_ms(unix_millis(begun));
  result.set_ended_unix_ms(unix_millis(ended));
  return result;
}

}  // namespace

Result<FakeCommand> fake_command(const proto::RunOrder& order, const std::string& node) {
  FakeCommand command;
  if (order.is_script()) return command;
  const std::string path = order.arguments_size() > 0 ? order.arguments(0) : std::string();
  const std::string name = path.substr(path.rfind('/') + 1);
  if (name == "true") return command;
  if (name == "false") {
    command.code = 1;
  } else if (name == "echo") {
    command.out = joined(order, 1);
  } else if (name == "hostname") {
    command.out = node + "\n";
  } else if (name == "uname") {
    command.out = "6.1.0-emulated\n";
  } else if (name == "exit") {
    const auto number = number_of(order);
    if (!number || *number < 0 || *number > 255) return wrong_number(name);
    command.code = static_cast<int>(*number);
  } else if (name == "sleep") {
    const auto number = number_of(order);
    if (!number || *number < 0 || *number > kLongestSleep) return wrong_number(name);
    command.takes = from_seconds(*number);
  } else {
    return Error{Errc::not_found,
                 path + ": this node is emulated and runs nothing; it knows " + kKnown};
  }
  const Duration timeout = std::chrono::milliseconds(order.timeout_ms());
  if (order.timeout_ms() > 0 && command.takes > timeout) {
    command.takes = timeout;
    command.timed_out = true;
  }
  return command;
}

proto::RunResult result_of(const FakeCommand& command, WallTime begun, WallTime ended) {
  proto::RunResult result = times(begun, ended);
  if (command.timed_out) {
    result.set_end(proto::RunResult::TIMED_OUT);
    result.set_signal(15);
    result.set_text("ran out of time; nothing of it is left");
    return result;
  }
  result.set_end(proto::RunResult::EXITED);
  result.set_has_code(true);
  result.set_code(command.code);
  result.mutable_out()->set_bytes(command.out.size());
  result.mutable_out()->set_head(command.out.size());
  result.mutable_out()->set_tail_begin(command.out.size());
  result.mutable_out()->set_stored(command.out.size());
  return result;
}

proto::RunResult cancelled_result(WallTime begun, WallTime ended) {
  proto::RunResult result = times(begun, ended);
  result.set_end(proto::RunResult::CANCELLED);
  result.set_signal(15);
  result.set_text("cancelled; nothing of it is left");
  return result;
}

}  // namespace p2p::emulator
