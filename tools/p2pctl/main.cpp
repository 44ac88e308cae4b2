// p2pctl: the operator's command line.
#include <signal.h>

#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include "tools/p2pctl/command_line.h"
#include "tools/p2pctl/commands.h"

namespace {

int carry_out(const p2p::ParsedLine& line) {
  if (const auto* information = std::get_if<p2p::Information>(&line)) {
    std::fputs(information->text.c_str(), stdout);
    return 0;
  }
  if (const auto* wrong = std::get_if<p2p::UsageError>(&line)) {
    return p2p::Output(wrong->output).fail(wrong->failure);
  }
  const auto& invocation = std::get<p2p::Invocation>(line);
  p2p::Session session(invocation);
  return std::visit([&](const auto& command) { return p2p::run(session, command); },
                    invocation.command);
}

}  // namespace

int main(int argc, char** argv) {
  // A tracker that closes a connection is an error value, not the end of the process.
  ::signal(SIGPIPE, SIG_IGN);
  const int exit_code =
      carry_out(p2p::parse_command_line(std::vector<std::string>(argv + 1, argv + argc)));
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fputs("p2pctl: stdout cannot be written: the output is not complete\n", stderr);
    return exit_code == 0 ? static_cast<int>(p2p::ExitCode::usage_or_internal) : exit_code;
  }
  return exit_code;
}
