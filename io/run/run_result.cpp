#include "io/run/run_result.h"

#include <string.h>

#include <cstdio>

namespace p2p {
namespace {

std::string seconds_text(std::uint64_t milliseconds) {
  char text[32];
  if (milliseconds % 1000 == 0) {
    std::snprintf(text, sizeof text, "%llu s",
                  static_cast<unsigned long long>(milliseconds / 1000));
  } else {
    std::snprintf(text, sizeof text, "%.3g s", static_cast<double>(milliseconds) / 1000);
  }
  return text;
}

std::string processes(std::uint32_t count, const char* one, const char* many) {
  return std::to_string(count) + (count == 1 ? one : many);
}

std::string how_it_ended(const proto::RunResult& result) {
  if (result.has_code()) return "exit code " + std::to_string(result.code());
  const char* name = ::sigabbrev_np(result.signal());
  return "ended by signal " + std::to_string(result.signal()) +
         (name != nullptr ? std::string(" (") + name + ")" : std::string());
}

void add_stream(const proto::RunResult::Stream& stream, const char* name, std::string& text) {
  if (!stream.problem().empty()) {
    text += std::string("; ") + name + " is not kept whole: " + stream.problem();
  } else if (stream.head() < stream.tail_begin()) {
    text += std::string("; of ") + name + ", " + std::to_string(stream.bytes()) +
            " bytes, only head and tail are kept";
  }
}

}  // namespace

std::string text_of_result(const proto::RunResult& result, std::uint64_t timeout_ms) {
  std::string text;
  switch (result.end()) {
    case proto::RunResult::EXITED:
      text = how_it_ended(result);
      if (result.told_by_signal() != 0) {
        const char* name = ::sigabbrev_np(static_cast<int>(result.told_by_signal()));
        text += std::string("; ended because its node was shutting down (SIG") +
                (name != nullptr ? name : "?") + " to its shim)";
      }
      if (result.killed() > 0) {
        text += "; " + processes(result.killed(), " process", " processes") + " needed KILL";
      }
      if (result.left_running() > 0) {
        text += "; " + processes(result.left_running(), " process that it started still runs",
                                 " processes that it started still run");
      }
      break;
    case proto::RunResult::TIMED_OUT:
    case proto::RunResult::CANCELLED:
      text = result.end() == proto::RunResult::TIMED_OUT
                 ? "timed out after " + seconds_text(timeout_ms)
                 : std::string("cancelled");
      text += result.killed() == 0
                  ? "; all of it ended on TERM"
                  : "; " + processes(result.killed(), " process", " processes") + " needed KILL";
      break;
    default:
      return result.text();
  }
  add_stream(result.out(), "stdout", text);
  add_stream(result.err(), "stderr", text);
  return text;
}

}  // namespace p2p
