// One line for each event, to stderr:
//   2026-05-02T10:11:12.345Z INFO  transfer chunk space complete file=images/base@7 bytes=1048576
//
// Levels by who reads them: error: somebody must act; warn: somebody might need to; info: once in
// the life of a file, job or peer; debug: each message. Thread-safe. Values may come from anybody:
// what could break a line or steer a terminal is escaped.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "core/base/result.h"

namespace p2p {

enum class LogLevel { debug, info, warn, error };

// One key=value of a line. Refers to the caller's text: valid within the call that it is made for.
class LogField {
 public:
  LogField(std::string_view key, std::string_view value) : key_(key), value_(value) {}
  template <std::integral T>
  LogField(std::string_view key, T value) : key_(key) {
    if constexpr (std::same_as<T, bool>) {
      value_ = value ? std::string_view("true") : std::string_view("false");
    } else if constexpr (std::signed_integral<T>) {
      value_ = static_cast<std::int64_t>(value);
    } else {
      value_ = static_cast<std::uint64_t>(value);
    }
  }
  template <std::floating_point T>
  LogField(std::string_view key, T value) : key_(key), value_(static_cast<double>(value)) {}

  std::string_view key() const { return key_; }
  // As it stands in the line: quoted when it is empty or holds a space, a quote, '=' or an escape;
  // cut after 2,000 bytes.
  std::string text() const;

 private:
  std::string_view key_;
  std::variant<std::string_view, std::int64_t, std::uint64_t, double> value_;
};

using LogFields = std::initializer_list<LogField>;

// `area` is a room of the program ("transfer", "api"), `message` a fixed text: what varies is a
// field.
void log_event(LogLevel level, std::string_view area, std::string_view message,
               LogFields fields = {});

inline void log_error(std::string_view area, std::string_view message, LogFields fields = {}) {
  log_event(LogLevel::error, area, message, fields);
}
inline void log_warn(std::string_view area, std::string_view message, LogFields fields = {}) {
  log_event(LogLevel::warn, area, message, fields);
}
inline void log_info(std::string_view area, std::string_view message, LogFields fields = {}) {
  log_event(LogLevel::info, area, message, fields);
}
inline void log_debug(std::string_view area, std::string_view message, LogFields fields = {}) {
  log_event(LogLevel::debug, area, message, fields);
}

// error, warn, info (at start) or debug: that level and those above it are written.
Status set_log_level(std::string_view name);

// Gets each whole line without its end; calls do not overlap.
using LogSink = std::function<void(std::string_view line)>;
// timed: begins with the time in UTC. journal: begins with the level as systemd's journal reads it.
enum class LogForm { timed, journal };
// Whether `fd` is the stream that systemd names as "device:inode" in JOURNAL_STREAM; null: not set.
// Lines on stderr have the form that this asks for.
bool is_journal(const char* stream, int fd);
// Sends lines to `sink` instead of stderr; an empty one restores stderr. Not while other threads
// log.
void set_log_sink(LogSink sink, LogForm form = LogForm::timed);

}  // namespace p2p
