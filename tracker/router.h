// Which call of the operator's API is whose: paths to handlers, and who may call them.
//
// Control thread. A handler answers the exchange, now or later.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/net/http_server.h"
#include "io/wire/proto_json.h"
#include "tracker/caller.h"
#include "tracker/journal.h"

namespace p2p {

using Exchange = std::shared_ptr<HttpExchange>;

// Answers in the API's forms.
void reply(const Exchange& exchange, const google::protobuf::Message& message);
void reply(const Exchange& exchange, const Error& error);
// 403: it is the caller who may not do this. For who calls, not for what stands in the call, such
// as a path outside of all shares.
void reply_forbidden(const Exchange& exchange, const Error& error);
// Answers when the batch is stored, or could not be.
void commit_and_reply(Journal& journal, StateBatch batch, const Exchange& exchange,
                      const google::protobuf::Message& message);
// False when it has answered: the body is not such a message. An empty body is an empty one.
bool read_body(const Exchange& exchange, google::protobuf::Message& message);

struct ApiCall {
  Exchange exchange;
  std::vector<std::string> parts;  // of the path, "v1" the first
  Caller caller;

  // The value of ?NAME= in the target, percent-decoded; nothing when it is not there.
  std::optional<std::string> query(std::string_view name) const;
};

enum class Who { administrators, users };
// Calls that may change something are noted, others are not.
enum class Effect { as_its_method, none };

class Router {
 public:
  using Handler = std::function<void(const ApiCall&)>;
  // Who is behind the identity of a request (HttpServerSettings::authenticate); denied: nobody.
  using FindCaller = std::function<Result<Caller>(const std::string& identity)>;
  // Called before a call that may change something is carried out; and for one that was refused,
  // with the reason. The call goes on with `then`: not at all when it could not be noted.
  using Then = std::function<void(Status noted)>;
  using Note = std::function<void(const ApiCall& call, const Status& allowed, Then then)>;

  Router(FindCaller find_caller, Note note)
      : find_caller_(std::move(find_caller)), note_(std::move(note)) {}

  // "*" in a path matches one part.
  void add(std::string_view method, std::vector<std::string_view> path, Who who, Handler handler,
           Effect effect = Effect::as_its_method);
  // Before all routes that there are so far, and only for calls of which `when` (if there is one)
  // says yes: it looks at the call before it is known who calls.
  using When = std::function<bool(const ApiCall&)>;
  void add_first(std::string_view method, std::vector<std::string_view> path, Who who, When when,
                 Handler handler);
  void handle(Exchange exchange) const;

 private:
  struct Route {
    std::string_view method;
    std::vector<std::string_view> path;
    Who who = Who::administrators;
    Handler handler;
    Effect effect = Effect::as_its_method;
    When when;
  };
  FindCaller find_caller_;
  Note note_;
  std::vector<Route> routes_;
};

}  // namespace p2p
