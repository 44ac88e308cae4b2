// Calls of the tracker's API (proto/api.proto) as values and Failures.
//
// Blocking; a connection of its own for each call, so that a restarted tracker is no matter.
#pragma once

#include <google/protobuf/message.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/time.h"
#include "tools/p2pctl/failure.h"
#include "tools/p2pctl/home.h"

namespace p2p {

// For connecting, and for an answer that does not come.
inline constexpr Duration kApiTimeout = std::chrono::seconds(30);

// What the tracker's answer of a status of 400 and above means here. `body` is a proto::ApiError,
// or whatever a stranger sent.
Failure failure_from_answer(int status, std::string_view body);
// The same for a connection that failed.
Failure failure_from_connection(const Error& error);
// JSON into `message`; unknown fields of a newer tracker are no error.
Status read_answer(std::string_view json, google::protobuf::Message& message);

class ApiClient {
 public:
  // `api_option`: see load_api_access, which the first call does.
  explicit ApiClient(std::string api_option) : api_option_(std::move(api_option)) {}

  // Targets are paths with "/v1/" in front; the answer goes into `reply`.
  std::optional<Failure> get(const std::string& target, google::protobuf::Message& reply);
  // Without `body` an empty one is sent.
  std::optional<Failure> post(const std::string& target, const google::protobuf::Message* body,
                              google::protobuf::Message& reply);
  std::optional<Failure> put(const std::string& target, const google::protobuf::Message& body,
                             google::protobuf::Message& reply);
  std::optional<Failure> erase(const std::string& target, google::protobuf::Message& reply);
  // One call of `on_line` for each line of a stream, until it returns false, the stream ends, or
  // `stop` becomes true. Neither end is a failure.
  std::optional<Failure> stream(const std::string& target,
                                const std::function<bool(std::string_view line)>& on_line,
                                const std::atomic<bool>& stop);

  // HOST:PORT of the API; empty before the first call.
  std::string address() const { return access_ ? access_->api.str() : std::string(); }
  // HOST of the API; empty before the first call.
  std::string host() const { return access_ ? access_->api.host : std::string(); }

 private:
  std::optional<Failure> prepare();
  std::optional<Failure> call(const char* method, const std::string& target,
                              const std::string& body, google::protobuf::Message& reply);

  std::string api_option_;
  std::optional<ApiAccess> access_;
};

}  // namespace p2p
