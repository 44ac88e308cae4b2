#include "io/log/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <utility>

#include "core/base/text.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxValueBytes = 2000;
// Ours is the text from the level on (%v); the time is UTC.
constexpr const char* kPattern = "%Y-%m-%dT%H:%M:%S.%eZ %v";
// The journal knows the time itself. "<4>" at the start of a line gives it the level
// (sd-daemon(3)).
constexpr char kPriority = '*';
constexpr const char* kJournalPattern = "%*%v";

class PriorityFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/,
              spdlog::memory_buf_t& line) override {
    const char* const priority = message.level >= spdlog::level::err    ? "<3>"
                                 : message.level == spdlog::level::warn ? "<4>"
                                 : message.level == spdlog::level::info ? "<6>"
                                                                        : "<7>";
    line.append(priority, priority + 3);
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<PriorityFlag>();
  }
};

std::unique_ptr<spdlog::formatter> make_formatter(LogForm form) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  if (form == LogForm::journal) formatter->add_flag<PriorityFlag>(kPriority);
  formatter->set_pattern(form == LogForm::journal ? kJournalPattern : kPattern);
  return formatter;
}

LogForm form_of_stderr() {
  return is_journal(std::getenv("JOURNAL_STREAM"), STDERR_FILENO) ? LogForm::journal
                                                                  : LogForm::timed;
}

class FunctionSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FunctionSink(LogSink write) : write_(std::move(write)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    base_sink::formatter_->format(message, line);
    std::string_view text(line.data(), line.size());
    if (text.ends_with('\n')) text.remove_suffix(1);
    write_(text);
  }
  void flush_() override {}

  LogSink write_;
};

std::shared_ptr<spdlog::logger> make_logger() {
  auto logger =
      std::make_shared<spdlog::logger>("p2p", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(make_formatter(form_of_stderr()));
  logger->set_level(spdlog::level::info);
  return logger;
}

// Made at first use and never destroyed: destructors of statics may still log.
spdlog::logger& logger() {
  static auto* const instance = new std::shared_ptr<spdlog::logger>(make_logger());
  return **instance;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warn:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string_view column(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "DEBUG ";
    case LogLevel::info:
      return "INFO  ";
    case LogLevel::warn:
      return "WARN  ";
    case LogLevel::error:
      return "ERROR ";
  }
  return "ERROR ";
}

void append_hex(std::string& out, unsigned char byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += "\\x";
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

// Appends `text` with control characters and bytes that are not UTF-8 as escapes. With `quotable`,
// also escapes '"' and '\'. True when anything was escaped.
bool append_escaped(std::string& out, std::string_view text, bool quotable) {
  bool escaped = false;
  while (!text.empty()) {
    const char c = text.front();
    const std::size_t length = visible_utf8_length(text);
    const bool is_quote = quotable && (c == '"' || c == '\\');
    if (length > 0 && !is_quote) {
      out += text.substr(0, length);
      text.remove_prefix(length);
      continue;
    }
    if (is_quote) {
      out += {'\\', c};
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else {
      append_hex(out, static_cast<unsigned char>(c));
    }
    text.remove_prefix(1);
    escaped = true;
  }
  return escaped;
}

std::string quoted_if_needed(std::string_view value) {
  std::string text;
  bool needs_quotes = append_escaped(text, value.substr(0, kMaxValueBytes), /*quotable=*/true);
  if (value.size() > kMaxValueBytes) text += "...";
  needs_quotes |= text.empty() || text.find_first_of(" =") != std::string::npos;
  return needs_quotes ? '"' + text + '"' : text;
}

template <class Number>
std::string number_text(Number number) {
  char digits[40];
  return std::string(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

}  // namespace

std::string LogField::text() const {
  return std::visit(
      [](const auto& value) {
        if constexpr (std::same_as<std::decay_t<decltype(value)>, std::string_view>) {
          return quoted_if_needed(value);
        } else {
          return number_text(value);
        }
      },
      value_);
}

void log_event(LogLevel level, std::string_view area, std::string_view message, LogFields fields) {
  spdlog::logger& out = logger();
  if (!out.should_log(spdlog_level(level))) return;
  std::string line(column(level));
  append_escaped(line, area, /*quotable=*/false);
  line += ' ';
  append_escaped(line, message, /*quotable=*/false);
  for (const LogField& field : fields) {
    line += ' ';
    append_escaped(line, field.key(), /*quotable=*/false);
    line += '=';
    line += field.text();
  }
  out.log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

Status set_log_level(std::string_view name) {
  for (const auto& [known, level] : {std::pair{"error", LogLevel::error},
                                     {"warn", LogLevel::warn},
                                     {"info", LogLevel::info},
                                     {"debug", LogLevel::debug}}) {
    if (name != known) continue;
    logger().set_level(spdlog_level(level));
    return {};
  }
  return Error{Errc::invalid_argument,
               "log level '" + std::string(name) + "' is unknown: use error, warn, info or debug"};
}

bool is_journal(const char* stream, int fd) {
  struct stat file {};
  if (stream == nullptr || ::fstat(fd, &file) != 0) return false;
  return stream == std::to_string(file.st_dev) + ':' + std::to_string(file.st_ino);
}

void set_log_sink(LogSink sink, LogForm form) {
  spdlog::logger& out = logger();
  if (sink) {
    out.sinks() = {std::make_shared<FunctionSink>(std::move(sink))};
  } else {
    out.sinks() = {std::make_shared<spdlog::sinks::stderr_sink_mt>()};
    form = form_of_stderr();
  }
  out.set_formatter(make_formatter(form));
}

}  // namespace p2p
