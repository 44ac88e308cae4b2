#include "tools/p2pctl/terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "io/disk/fd.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxAnswerBytes = 100;
constexpr std::size_t kUsualColumns = 80;
constexpr Duration kInterruptPoll = std::chrono::milliseconds(100);

// A signal handler can reach nothing but a global.
std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void on_signal(int) {
  interrupted = true;
}

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

void write_stderr(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

bool stderr_can_draw() {
  return ::isatty(STDERR_FILENO) == 1 && environment("TERM") != "dumb";
}

std::size_t stderr_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualColumns;
  return size.ws_col;
}

bool colour_allowed() {
  return stderr_can_draw() && environment("NO_COLOR").empty();
}

std::string LivePainter::back_to_start() const {
  std::string text = "\r";
  if (drawn_ > 1) text += "\x1b[" + std::to_string(drawn_ - 1) + "A";
  return text;
}

void LivePainter::draw(const std::vector<std::string>& lines) {
  std::string text = back_to_start();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) text += '\n';
    text += lines[i] + "\x1b[K";
  }
  write_stderr(text + "\x1b[J");
  drawn_ = lines.size();
}

void LivePainter::clear() {
  if (drawn_ == 0) return;
  write_stderr(back_to_start() + "\x1b[J");
  drawn_ = 0;
}

void LivePainter::leave() {
  if (drawn_ == 0) return;
  write_stderr("\n");
  drawn_ = 0;
}

std::atomic<bool>& watch_for_interrupt() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESETHAND;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  return interrupted;
}

bool can_ask() {
  if (::isatty(STDERR_FILENO) != 1) return false;
  const Fd terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC));
  return static_cast<bool>(terminal);
}

std::optional<std::string> ask_terminal(const std::string& question) {
  const Fd terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC));
  if (!terminal) return std::nullopt;
  write_stderr(question);
  std::string line;
  char c = 0;
  while (line.size() < kMaxAnswerBytes) {
    // Ctrl-C ends the reading, too: its handler does not restart calls.
    if (::read(terminal.get(), &c, 1) != 1) return std::nullopt;
    if (c == '\n') return line;
    line += c;
  }
  return line;
}

void sleep_unless(const std::atomic<bool>& stop, Duration duration) {
  const Time end = monotonic_now() + duration;
  for (Time now = monotonic_now(); now < end && !stop; now = monotonic_now()) {
    std::this_thread::sleep_for(std::min(kInterruptPoll, end - now));
  }
}

Time monotonic_now() {
  return Time{std::chrono::steady_clock::now().time_since_epoch()};
}

WallTime wall_now() {
  return WallTime{std::chrono::system_clock::now().time_since_epoch()};
}

}  // namespace p2p
