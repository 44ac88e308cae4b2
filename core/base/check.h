// P2P_CHECK: assertions about our own logic that stay on in release builds.
//
// An agent that stops and resumes from its checkpoint is safer than one that goes on with a broken
// invariant. Never for bytes from disk, network or a user: those are Errors.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace p2p {

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace p2p

#define P2P_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::p2p::check_failed(#condition, __FILE__, __LINE__))
