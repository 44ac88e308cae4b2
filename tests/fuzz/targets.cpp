#include <google/protobuf/stubs/logging.h>

#include "tests/fuzz/target.h"

namespace p2p::fuzz {

const std::vector<Target>& targets() {
  static const std::vector<Target> all = [] {
    google::protobuf::SetLogHandler(nullptr);  // it has a line for each text that is no UTF-8
    std::vector<Target> list;
    for (const auto& part : {wire_targets(), neighbour_targets(), identity_targets(),
                             content_targets(), helper_targets(), text_targets()}) {
      list.insert(list.end(), part.begin(), part.end());
    }
    return list;
  }();
  return all;
}

}  // namespace p2p::fuzz
