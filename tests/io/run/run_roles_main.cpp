// The two roles of p2pd that runs need, without the rest of it: what its main() does for them.
//
//   run_roles shim
//   run_roles launcher CHANNEL FOLDER POLICY
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "io/run/launcher.h"
#include "io/run/shim.h"

int main(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  p2p::Status ended = p2p::Error{p2p::Errc::invalid_argument, "run_roles: shim or launcher"};
  if (role == "shim") ended = p2p::run_shim();
  if (role == "launcher" && argc == 5) {
    const auto policy = p2p::parse_exec_policy(argv[4]);
    if (!policy) return 2;
    ended = p2p::run_launcher(std::atoi(argv[2]), {.runs = argv[3], .policy = *policy});
  }
  if (ended) return 0;
  std::fprintf(stderr, "run_roles: %s\n", ended.error().detail.c_str());
  return 1;
}
