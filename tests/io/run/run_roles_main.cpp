// The two roles of p2pd that runs need, without the rest of it: what its main() does for them.
//
//   run_roles shim --agent-user=UID [--account=NAME...]
//   run_roles launcher CHANNEL FOLDER POLICY [NAME...]
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "io/run/launcher.h"
#include "io/run/shim.h"

int main(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  p2p::Status ended = p2p::Error{p2p::Errc::invalid_argument, "run_roles: shim or launcher"};
  const std::vector<std::string> words(argv + std::min(argc, 2), argv + argc);
  if (role == "shim" && !words.empty()) {
    p2p::AccountRule rule;
    rule.agent = static_cast<uid_t>(std::stoul(words[0].substr(words[0].find('=') + 1)));
    for (std::size_t i = 1; i < words.size(); ++i) {
      rule.allowed.push_back(words[i].substr(words[i].find('=') + 1));
    }
    ended = p2p::run_shim(rule);
  }
  if (role == "launcher" && argc >= 5) {
    const auto policy = p2p::parse_exec_policy(argv[4]);
    if (!policy) return 2;
    ended = p2p::run_launcher(
        std::atoi(argv[2]),
        {.runs = argv[3], .policy = *policy, .accounts = {.allowed = {argv + 5, argv + argc}}});
  }
  if (ended) return 0;
  std::fprintf(stderr, "run_roles: %s\n", ended.error().detail.c_str());
  return 1;
}
