#include "bench/emulator/identities.h"

#include <boost/asio/io_context.hpp>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "io/identity/tls_context.h"
#include "io/identity/token.h"
#include "io/net/connection.h"
#include "io/net/listener.h"
#include "io/wire/hello.h"

namespace p2p::emulator {
namespace {

constexpr const char* kKey = "emulator/key";
constexpr int kDialSeconds = 30;
constexpr std::size_t kInRack = 40;
constexpr std::size_t kRacksInCentre = 4;
// Identities that are stored with one synced write.
constexpr std::size_t kStoredTogether = 64;

std::string key_of(const std::string& name) {
  return "emulator/" + name.substr(name.size() - 2) + "/" + name;
}

std::string with_zeros(std::size_t number, std::size_t digits) {
  const std::string text = std::to_string(number);
  return std::string(digits > text.size() ? digits - text.size() : 0, '0') + text;
}

Member member_of(proto::JoinReply reply, const std::string& key) {
  Credentials credentials{key, reply.certificate().chain_pem(), reply.certificate().bundle_pem()};
  return {std::move(reply), std::move(credentials)};
}

Result<std::string> shared_key(StateStore& store) {
  const auto stored = store.get(kKey);
  if (!stored) return stored.error();
  if (*stored) return (*stored)->value;
  auto key = generate_key();
  if (!key) return key.error();
  StateBatch batch;
  batch.put(kKey, *key, 0);
  if (Status saved = store.apply(batch); !saved) return saved.error();
  return *key;
}

// Joins several nodes at a time on one loop.
class Joins {
 public:
  Joins(const JoinPlan& plan, TlsContext tls, proto::JoinRequest request,
        std::vector<std::string> names, std::function<Status(proto::JoinReply)> joined)
      : plan_(plan),
        tls_(std::move(tls)),
        request_(std::move(request)),
        names_(std::move(names)),
        joined_(std::move(joined)) {}

  Status run() {
    for (std::size_t i = 0; i < std::min(plan_.at_once, names_.size()); ++i) begin_next();
    loop_.run();
    calls_.clear();
    return failed_;
  }

 private:
  // One node's question and its answer.
  struct Call final : Connection::Handler {
    Call(Joins& owner, std::string name) : owner_(owner), name_(std::move(name)) {}

    void on_open(const std::optional<Identity>&) override {
      connection_->send(FrameType::hello, 0, make_hello(0).SerializeAsString());
      proto::AgentMessage message;
      *message.mutable_join() = owner_.request_;
      message.mutable_join()->set_name(name_);
      const std::size_t number = std::stoul(name_.substr(name_.find('-') + 1));
      for (const auto& [label, value] : labels_of(number)) {
        (*message.mutable_join()->mutable_labels())[label] = value;
      }
      connection_->send(FrameType::control, 0, message.SerializeAsString());
    }
    void on_frame(const FrameHeader& header, Buffer body) override {
      if (header.type != FrameType::control) return;
      proto::TrackerMessage message;
      if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
        return end(Error{Errc::corrupt, "the answer cannot be read"});
      }
      if (message.has_refusal()) return end(Error{Errc::denied, message.refusal().detail()});
      if (message.has_joined()) end(owner_.joined_(message.joined()));
    }
    void on_data_sent(std::uint32_t) override {}
    void on_closed(const Error& why) override { end(why); }

    void end(const Status& how) {
      connection_->close();
      owner_.ended(this, how);
    }

    Joins& owner_;
    std::string name_;
    std::shared_ptr<Connection> connection_;
  };

  void begin_next() {
    if (next_ == names_.size() || !failed_) return;
    const std::string name = names_[next_++];
    dial(loop_, plan_.tracker.host, plan_.tracker.port, kDialSeconds,
         [this, name](Result<Connection::Socket> socket) {
           if (!socket) return ended(nullptr, socket.error().within(name));
           Connection::Settings settings;
           settings.handshake_seconds = kDialSeconds;
           auto call = std::make_unique<Call>(*this, name);
           Call* raw = call.get();
           raw->connection_ = Connection::make(loop_, std::move(*socket), tls_,
                                               Connection::Side::client, settings, name);
           calls_[raw] = std::move(call);
           raw->connection_->start(raw);
         });
  }
  void ended(Call* call, const Status& how) {
    if (!how && failed_) {
      failed_ = call != nullptr ? how.error().within("join of " + call->name_) : how.error();
    }
    if (call != nullptr) {
      // It is on the stack.
      std::shared_ptr<Call> last = std::move(calls_[call]);
      calls_.erase(call);
      boost::asio::post(loop_, [last] {});
    }
    begin_next();
  }

  const JoinPlan& plan_;
  TlsContext tls_;
  proto::JoinRequest request_;
  std::vector<std::string> names_;
  std::function<Status(proto::JoinReply)> joined_;
  boost::asio::io_context loop_{1};
  std::map<Call*, std::unique_ptr<Call>> calls_;
  std::size_t next_ = 0;
  Status failed_;
};

Result<proto::JoinRequest> request_of(const Token& token, const std::string& key) {
  auto csr = make_csr(key);
  if (!csr) return csr.error();
  proto::JoinRequest request;
  request.set_token_id(token.id);
  request.set_token_secret(token.secret);
  request.set_csr_pem(std::move(*csr));
  request.set_hostname("emulator");
  return request;
}

}  // namespace

std::string name_of(std::size_t number) {
  return "emu-" + with_zeros(number, 5);
}

std::map<std::string, std::string> labels_of(std::size_t number) {
  const std::size_t rack = (number - 1) / kInRack;
  return {{"dc", "emu-" + std::to_string(rack / kRacksInCentre + 1)},
          {"rack", "r" + with_zeros(rack + 1, 2)},
          {"role", "emulated"}};
}

Result<std::vector<Member>> members(StateStore& store, const JoinPlan& plan,
                                    const std::function<void(std::size_t)>& progress) {
  const auto key = shared_key(store);
  if (!key) return key.error();
  std::map<std::string, Member> all;
  std::vector<std::string> missing;
  for (std::size_t number = 1; number <= plan.nodes; ++number) {
    const std::string name = name_of(number);
    const auto stored = store.get(key_of(name));
    if (!stored) return stored.error();
    proto::JoinReply reply;
    if (*stored && reply.ParseFromString((*stored)->value)) {
      all.emplace(name, member_of(std::move(reply), *key));
    } else {
      missing.push_back(name);
    }
  }
  if (!missing.empty()) {
    if (plan.token.empty()) {
      return Error{Errc::invalid_argument,
                   std::to_string(missing.size()) + " of " + std::to_string(plan.nodes) +
                       " nodes have no identity yet: give --token-file with a token of so many "
                       "uses (p2pctl token create --uses " +
                       std::to_string(missing.size()) + ")"};
    }
    const auto token = parse_token(plan.token);
    if (!token) return token.error();
    auto tls = make_pinned_client_context(token->pin, {kAlpn});
    if (!tls) return tls.error();
    auto request = request_of(*token, *key);
    if (!request) return request.error();
    StateBatch batch;
    const auto store_batch = [&]() -> Status {
      if (batch.changes.empty()) return {};
      Status saved = store.apply(batch);
      batch.changes.clear();
      if (progress) progress(all.size());
      return saved;
    };
    Joins joins(plan, *tls, std::move(*request), missing, [&](proto::JoinReply reply) -> Status {
      const std::string name = reply.name();
      batch.put(key_of(name), reply.SerializeAsString());
      all.emplace(name, member_of(std::move(reply), *key));
      return batch.changes.size() < kStoredTogether ? Status() : store_batch();
    });
    const Status joined = joins.run();
    if (Status saved = store_batch(); !saved) return saved.error();
    if (!joined) return joined.error();
  }
  std::vector<Member> found;
  found.reserve(all.size());
  for (auto& [name, member] : all) found.push_back(std::move(member));
  return found;
}

}  // namespace p2p::emulator
