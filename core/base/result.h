// Expected failures as values: Result<T> is a value or an Error, Status is an Error or nothing.
// The names follow std::expected, which g++ 12 offers in C++23 mode only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "core/base/check.h"

namespace p2p {

// What went wrong, by what the caller would do differently. The same codes travel in control
// messages and in JSON, by name.
enum class Errc {
  invalid_argument,  // the request itself is wrong: fix it
  not_found,         // it does not exist
  already_exists,    // it exists and may not be replaced
  corrupt,           // bytes are not what they claim to be
  timed_out,         // no answer in time
  unavailable,       // not reachable or not ready now: trying again may help
  cancelled,         // somebody asked to stop
  exhausted,         // disk, memory or a limit is full
  denied,            // not allowed
  io_failed,         // the operating system said no
};

std::string_view to_string(Errc code);
// Nothing when `name` is no code.
std::optional<Errc> errc_from(std::string_view name);

struct Error {
  Errc code = Errc::io_failed;
  std::string detail;  // what, where, why: "write /srv/a at 4096: No space left on device"

  // The same error with "context: " before its detail.
  Error within(std::string_view context) const {
    return Error{code, std::string(context) + ": " + detail};
  }
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & {
    P2P_CHECK(has_value());
    return std::get<0>(state_);
  }
  const T& value() const& {
    P2P_CHECK(has_value());
    return std::get<0>(state_);
  }
  T&& value() && {
    P2P_CHECK(has_value());
    return std::move(std::get<0>(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const {
    P2P_CHECK(!has_value());
    return std::get<1>(state_);
  }

 private:
  std::variant<T, Error> state_;
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  const Error& error() const {
    P2P_CHECK(error_.has_value());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

}  // namespace p2p
