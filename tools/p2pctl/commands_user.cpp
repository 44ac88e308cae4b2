// People beside the administrators. Their keys are made here and never leave the folder.
#include <chrono>

#include "io/identity/cluster.h"
#include "io/identity/credentials.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

std::string roles_text(const proto::User& user) {
  std::string text;
  for (const std::string& role : user.roles()) text += (text.empty() ? "" : ", ") + role;
  return text;
}

}  // namespace

int run(Session& session, const UserAddCommand& command) {
  const auto fail = [&](const Error& error) {
    return session.output.fail({ExitCode::usage_or_internal, error, false});
  };
  // Before anything is made: a folder that has a credential loses it otherwise.
  if (Status free = check_home_is_free(command.home); !free) return fail(free.error());
  auto key = generate_key();
  if (!key) return fail(key.error());
  auto csr = make_csr(*key);
  if (!csr) return fail(csr.error());
  proto::User request;
  request.set_name(command.name);
  for (const std::string& role : command.roles) request.add_roles(role);
  request.set_csr_pem(*csr);
  proto::User user;
  if (auto failure = session.api.post("/v1/users", &request, user)) {
    return session.output.fail(*failure);
  }
  const Credentials credentials{*key, user.chain_pem(), user.bundle_pem()};
  const AdminConfig config{session.api.address(), user.cluster(), user.cluster_id()};
  if (Status saved = save_home(command.home, credentials, config); !saved) {
    return fail(saved.error().within("user " + command.name +
                                     " exists now, but their credential cannot be written: remove "
                                     "the user (p2pctl user rm " +
                                     command.name + ") and add them again"));
  }
  user.clear_csr_pem();
  user.clear_chain_pem();
  user.clear_bundle_pem();
  if (session.output.format() != OutputFormat::table) {
    session.output.print(user);
    return 0;
  }
  Facts facts;
  facts.add("user", user.name() + " (" + user.id() + ")")
      .add("roles", roles_text(user))
      .add("credential", command.home + ", valid until " + user.certificate_expires_at());
  session.output.print(facts.str() +
                       "\nIt is all that they need: give it to them by a safe way.\n"
                       "  P2PCTL_HOME=" +
                       command.home + " p2pctl node list\n");
  return 0;
}

int run(Session& session, const UserListCommand&) {
  proto::UserList list;
  if (auto failure = session.api.get("/v1/users", list)) return session.output.fail(*failure);
  print_list(session.output, list, list.users(), [&] {
    Table table({{"USER"}, {"ROLES"}, {"ADDED"}, {"BY"}, {"CERTIFICATE UNTIL"}, {"ID"}});
    for (const proto::User& user : list.users()) {
      table.add_row({user.name(), roles_text(user), user.added_at(), user.added_by(),
                     user.certificate_expires_at(), user.id()});
    }
    return table.str();
  });
  return 0;
}

int run(Session& session, const UserRemoveCommand& command) {
  proto::User user;
  if (auto failure = session.api.erase("/v1/users/" + command.name, user)) {
    return session.output.fail(*failure);
  }
  if (session.output.format() != OutputFormat::table) {
    session.output.print(user);
  } else {
    session.output.print("user " + command.name + " removed: their credential is refused\n");
  }
  return 0;
}

}  // namespace p2p
