#include "tools/p2pctl/api_client.h"

#include "core/base/text.h"
#include "io/identity/tls_context.h"
#include "io/net/http_client.h"
#include "io/wire/proto_json.h"
#include "proto/api.pb.h"
#include "tools/p2pctl/output.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxForeignTextBytes = 2000;

// The server's certificate must be one of a tracker of our cluster: an agent has one too.
Status verify_tracker(const SSL* ssl, const ApiAccess& access) {
  auto identity = peer_identity(ssl, access.cluster_id);
  if (!identity) return identity.error();
  if (identity->role == Role::tracker) return {};
  return Error{Errc::denied, access.api.str() + " is no tracker of cluster " + access.cluster_name +
                                 " but another member of it: check --api"};
}

Result<std::unique_ptr<HttpClient>> connect(const ApiAccess& access) {
  HttpClientSettings settings;
  settings.host = access.api.host;
  settings.port = access.api.port;
  settings.context = access.tls.get();
  settings.verify = [&access](const SSL* ssl) { return verify_tracker(ssl, access); };
  settings.timeout = kApiTimeout;
  return HttpClient::connect(std::move(settings));
}

}  // namespace

Failure failure_from_connection(const Error& error) {
  Failure failure{ExitCode::no_tracker, error, false};
  failure.may_pass = error.code == Errc::unavailable || error.code == Errc::timed_out;
  if (error.code == Errc::denied) failure.exit_code = ExitCode::not_authorised;
  return failure;
}

Failure failure_from_answer(int status, std::string_view body) {
  Failure failure;
  if (status == 401 || status == 403) failure.exit_code = ExitCode::not_authorised;
  failure.may_pass = status >= 500;
  proto::ApiError answer;
  if (!read_answer(body, answer) || answer.error().detail().empty()) {
    failure.error =
        Error{Errc::corrupt, "the tracker answered with HTTP status " + std::to_string(status) +
                                 " and no explanation: " + printable(body, kMaxForeignTextBytes)};
    return failure;
  }
  failure.error.code = errc_from(answer.error().code()).value_or(Errc::io_failed);
  failure.error.detail = answer.error().detail();
  return failure;
}

Status read_answer(std::string_view json, google::protobuf::Message& message) {
  const Status read = from_json(json, message, UnknownFields::ignored);
  if (read) return {};
  return Error{Errc::corrupt, "the tracker's answer is not the JSON that was expected (" +
                                  printable(read.error().detail, kMaxForeignTextBytes) +
                                  "): is it another version?"};
}

std::optional<Failure> ApiClient::prepare() {
  if (access_) return std::nullopt;
  auto access = load_api_access(api_option_);
  if (!access) return Failure{ExitCode::usage_or_internal, access.error(), false};
  access_ = *std::move(access);
  return std::nullopt;
}

std::optional<Failure> ApiClient::call(const char* method, const std::string& target,
                                       const std::string& body, google::protobuf::Message& reply) {
  if (auto failure = prepare()) return failure;
  auto client = connect(*access_);
  if (!client) return failure_from_connection(client.error());
  auto response = (*client)->request(method, target, body);
  if (!response) return failure_from_connection(response.error());
  if (response->status >= 300) {
    return failure_from_answer(static_cast<int>(response->status), response->body);
  }
  if (Status read = read_answer(response->body, reply); !read) {
    return Failure{ExitCode::usage_or_internal, read.error(), false};
  }
  return std::nullopt;
}

std::optional<Failure> ApiClient::get(const std::string& target, google::protobuf::Message& reply) {
  return call("GET", target, {}, reply);
}

std::optional<Failure> ApiClient::post(const std::string& target,
                                       const google::protobuf::Message* body,
                                       google::protobuf::Message& reply) {
  return call("POST", target, body == nullptr ? "" : to_json(*body), reply);
}

std::optional<Failure> ApiClient::put(const std::string& target,
                                      const google::protobuf::Message& body,
                                      google::protobuf::Message& reply) {
  return call("PUT", target, to_json(body), reply);
}

std::optional<Failure> ApiClient::erase(const std::string& target,
                                        google::protobuf::Message& reply) {
  return call("DELETE", target, {}, reply);
}

std::optional<Failure> ApiClient::stream(const std::string& target,
                                         const std::function<bool(std::string_view line)>& on_line,
                                         const std::atomic<bool>& stop) {
  if (auto failure = prepare()) return failure;
  auto client = connect(*access_);
  if (!client) return failure_from_connection(client.error());
  auto response = (*client)->request_stream("GET", target, {}, on_line, &stop);
  if (!response) {
    if (response.error().code == Errc::cancelled) return std::nullopt;
    return failure_from_connection(response.error());
  }
  if (response->status >= 300) {
    return failure_from_answer(static_cast<int>(response->status), response->body);
  }
  return std::nullopt;
}

}  // namespace p2p
