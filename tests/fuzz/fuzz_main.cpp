// One target under libFuzzer: P2P_FUZZ_TARGET is its name.
#include <algorithm>

#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const p2p::fuzz::Target target = [] {
    const auto& all = p2p::fuzz::targets();
    return *std::find_if(all.begin(), all.end(), [](const p2p::fuzz::Target& candidate) {
      return candidate.name == P2P_FUZZ_TARGET;
    });
  }();
  target.run({data, size});
  return 0;
}
