#include "p2pd/join.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <optional>
#include <string_view>

#include "core/base/text.h"
#include "io/disk/file_io.h"
#include "io/identity/credentials.h"
#include "io/identity/tls_context.h"
#include "io/identity/token.h"
#include "io/net/connection.h"
#include "io/net/listener.h"
#include "io/wire/hello.h"
#include "io/wire/proto_json.h"
#include "proto/control.pb.h"
#include "proto/node_file.pb.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

constexpr int kDialSeconds = 10;
constexpr int kAnswerSeconds = 30;
constexpr const char* kCredentials = "credentials";
// Of files that are being written (write_file_atomically).
constexpr std::string_view kTemporaryPrefix = ".p2pd-tmp-";

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

Error not_a_data_folder(const std::string& data, const std::string& why) {
  return Error{Errc::already_exists,
               data + " " + why + ": choose a --data that does not exist yet, or an empty folder"};
}

bool is_temporary(const std::string& name) {
  return name.starts_with(kTemporaryPrefix);
}

// What is there when a join was interrupted: credentials, whole or in part, and nothing else.
bool is_of_interrupted_join(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename();
  std::error_code failed;
  if (is_temporary(name)) return entry.symlink_status(failed).type() == fs::file_type::regular;
  if (name != kCredentials || entry.symlink_status(failed).type() != fs::file_type::directory) {
    return false;
  }
  fs::directory_iterator below(entry.path(), failed);
  for (; !failed && below != fs::directory_iterator(); below.increment(failed)) {
    const std::string file = below->path().filename();
    if (file != "identity.pem" && file != "bundle.pem" && !is_temporary(file)) return false;
  }
  return !failed;
}

// A slip of the pen must not put a key, and new rights, into somebody's folder. Changes nothing.
Status check_data_folder(const std::string& data) {
  std::error_code failed;
  const fs::file_status status = fs::status(data, failed);
  if (status.type() == fs::file_type::not_found) return {};
  if (status.type() != fs::file_type::directory) return not_a_data_folder(data, "is no folder");
  fs::directory_iterator entries(data, failed);
  for (; !failed && entries != fs::directory_iterator(); entries.increment(failed)) {
    if (is_of_interrupted_join(*entries)) continue;
    return not_a_data_folder(data, "is no agent's folder and not empty (there is " +
                                       printable(entries->path().filename().string(), 255) + ")");
  }
  if (failed) return Error{Errc::io_failed, "list folder " + data + ": " + failed.message()};
  return {};
}

// One question and its answer over the tracker's agent port.
class JoinCall final : public Connection::Handler {
 public:
  JoinCall(boost::asio::io_context& loop, proto::JoinRequest request)
      : loop_(loop), request_(std::move(request)) {}

  void start(std::shared_ptr<Connection> connection) {
    connection_ = std::move(connection);
    connection_->start(this);
  }
  void on_open(const std::optional<Identity>&) override {
    connection_->send(FrameType::hello, 0, make_hello(0).SerializeAsString());
    proto::AgentMessage message;
    *message.mutable_join() = request_;
    connection_->send(FrameType::control, 0, message.SerializeAsString());
  }
  void on_frame(const FrameHeader& header, Buffer body) override {
    if (header.type == FrameType::hello) {
      auto hello = read_hello(body.span());
      if (!hello) finish(hello.error().within("tracker " + connection_->peer()));
      return;
    }
    proto::TrackerMessage message;
    if (header.type != FrameType::control) return;
    if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
      return finish(Error{Errc::corrupt, "tracker " + connection_->peer() +
                                             ": sent an answer that cannot be read"});
    }
    if (message.has_refusal()) {
      return finish(Error{errc_from(message.refusal().code()).value_or(Errc::denied),
                          "the tracker refused: " + message.refusal().detail()});
    }
    if (message.has_joined()) finish(message.joined());
  }
  void on_data_sent(std::uint32_t) override {}
  void on_closed(const Error& why) override { finish(why.within("tracker")); }

  const std::optional<Result<proto::JoinReply>>& outcome() const { return outcome_; }

 private:
  void finish(Result<proto::JoinReply> outcome) {
    if (outcome_) return;
    outcome_ = std::move(outcome);
    connection_->close();
    loop_.stop();
  }

  boost::asio::io_context& loop_;
  proto::JoinRequest request_;
  std::shared_ptr<Connection> connection_;
  std::optional<Result<proto::JoinReply>> outcome_;
};

Result<proto::JoinReply> ask(const HostPort& tracker, const TlsContext& tls,
                             const proto::JoinRequest& request) {
  boost::asio::io_context loop(1);
  JoinCall call(loop, request);
  std::optional<Error> not_connected;
  dial(loop, tracker.host, tracker.port, kDialSeconds, [&](auto socket) {
    if (!socket) {
      not_connected = socket.error();
      return loop.stop();
    }
    call.start(Connection::make(loop, std::move(*socket), tls, Connection::Side::client,
                                Connection::Settings{}, tracker.str()));
  });
  loop.run_for(std::chrono::seconds(kDialSeconds + kAnswerSeconds));
  if (not_connected) return *not_connected;
  if (!call.outcome()) {
    return Error{Errc::timed_out, "tracker " + tracker.str() + ": no answer to the join request"};
  }
  return *call.outcome();
}

}  // namespace

std::string agent_credentials_folder(const std::string& data) {
  return data + "/" + kCredentials;
}

Result<NodeFile> load_node_file(const std::string& data) {
  auto text = read_file(data + "/node.json", 64 * 1024);
  if (!text) {
    return Error{Errc::not_found, data + " holds no identity: run p2pd join --data " + data +
                                      " first (" + text.error().detail + ")"};
  }
  proto::NodeFile stored;
  if (const Status parsed = from_json(*text, stored); !parsed) {
    return parsed.error().within(data + "/node.json");
  }
  return NodeFile{stored.node_id(), stored.name(), stored.cluster_id(), stored.tracker()};
}

Result<NodeFile> join(const JoinSettings& settings) {
  const std::string credentials_folder = agent_credentials_folder(settings.data);
  if (::access((settings.data + "/node.json").c_str(), F_OK) == 0) {
    return Error{Errc::already_exists, settings.data +
                                           " already holds a node's identity: choose "
                                           "another --data, or remove the folder to "
                                           "make a new node"};
  }
  if (const Status usable = check_data_folder(settings.data); !usable) return usable.error();
  auto token = parse_token(settings.token);
  if (!token) return token.error();
  auto tls = make_pinned_client_context(token->pin, {kAlpn});
  if (!tls) return tls.error();
  auto key = generate_key();
  if (!key) return key.error();
  auto csr = make_csr(*key);
  if (!csr) return csr.error();

  proto::JoinRequest request;
  request.set_token_id(token->id);
  request.set_token_secret(token->secret);
  request.set_csr_pem(*csr);
  request.set_name(settings.name);
  request.set_hostname(host_name());
  for (const auto& [label, value] : settings.labels) (*request.mutable_labels())[label] = value;
  auto reply = ask(settings.tracker, *tls, request);
  if (!reply) return reply.error();

  if (const Status made = make_folders(settings.data); !made) return made.error();
  ::chmod(settings.data.c_str(), 0700);
  const Credentials credentials{*key, reply->certificate().chain_pem(),
                                reply->certificate().bundle_pem()};
  if (const Status saved = save_credentials(credentials_folder, credentials); !saved) {
    return saved.error();
  }
  proto::NodeFile stored;
  stored.set_node_id(reply->node_id());
  stored.set_name(reply->name());
  stored.set_cluster_id(reply->cluster_id());
  stored.set_tracker(settings.tracker.str());
  // Last: a folder with this file is a whole identity.
  if (const Status written =
          write_file_atomically(settings.data + "/node.json", to_json(stored) + "\n", 0600);
      !written) {
    return written.error();
  }
  return NodeFile{stored.node_id(), stored.name(), stored.cluster_id(), stored.tracker()};
}

}  // namespace p2p
