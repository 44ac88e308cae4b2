// script put, list and show.
#include "core/base/units.h"
#include "core/runs/shebang.h"
#include "tools/p2pctl/commands.h"
#include "tools/p2pctl/input_file.h"
#include "tools/p2pctl/table.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxScriptFileBytes = 960 * 1024;
constexpr std::size_t kShortHashDigits = 12;

std::string reference(const proto::Script& script) {
  return script.name() + "@" + std::to_string(script.version());
}

}  // namespace

int run(Session& session, const ScriptPutCommand& command) {
  const auto fail = [&](const Error& error) {
    return session.output.fail({ExitCode::usage_or_internal, error, false});
  };
  auto body = read_input(command.file, "script", kMaxScriptFileBytes);
  if (!body) return fail(body.error());
  if (auto shebang = parse_shebang(*body); !shebang) {
    return fail(shebang.error().within(command.file));
  }
  proto::Script script;
  script.set_name(command.name);
  script.set_body(*std::move(body));
  proto::Script stored;
  if (auto failure = session.api.post("/v1/scripts", &script, stored)) {
    return session.output.fail(*failure);
  }
  stored.clear_body();
  if (session.output.format() != OutputFormat::table) {
    session.output.print(stored);
    return 0;
  }
  session.output.print(reference(stored) + "\n");
  if (stored.already()) session.output.say("the newest version had these bytes already");
  return 0;
}

int run(Session& session, const ScriptListCommand&) {
  proto::ScriptList list;
  if (auto failure = session.api.get("/v1/scripts", list)) return session.output.fail(*failure);
  print_list(session.output, list, list.scripts(), [&] {
    Table table(
        {{"SCRIPT"}, {"SIZE", Table::Align::right}, {"INTERPRETER"}, {"PUT"}, {"BY"}, {"SHA256"}});
    for (const proto::Script& script : list.scripts()) {
      table.add_row({reference(script) + (script.latest() ? " (latest)" : ""),
                     format_bytes(script.bytes()), script.interpreter(), script.put_at(),
                     script.put_by(), script.sha256().substr(0, kShortHashDigits)});
    }
    return table.str();
  });
  return 0;
}

int run(Session& session, const ScriptShowCommand& command) {
  proto::Script script;
  if (auto failure = session.api.get("/v1/scripts/" + command.script, script)) {
    return session.output.fail(*failure);
  }
  if (session.output.format() != OutputFormat::table) {
    session.output.print(script);
    return 0;
  }
  if (command.body) {
    session.output.print(script.body());
    return 0;
  }
  Facts facts;
  facts.add("script", reference(script) + (script.latest() ? " (latest)" : ""))
      .add("sha256", script.sha256())
      .add("size", format_bytes(script.bytes()) + " (" + std::to_string(script.bytes()) + " bytes)")
      .add("interpreter", script.interpreter())
      .add("put", script.put_at() + " by " + script.put_by());
  session.output.print(facts.str());
  return 0;
}

}  // namespace p2p
