// The agent's state store, opened so that a damaged one never keeps a node from working.
#pragma once

#include <memory>
#include <string>

#include "core/base/result.h"
#include "io/state/state_store.h"

namespace p2p {

struct AgentStore {
  std::unique_ptr<StateStore> store;
  // Where a store that could not be used lies now; empty when there was none.
  std::string moved_to;
  // The records of parts were lost, in this process or an earlier one, and the roots have not been
  // searched through since: parts may lie there that no record knows.
  bool search_roots = false;
};

// Opens DATA/state, or makes it. What it holds can all be had again (parts by hashing, files that
// are held by publishing or pushing them again), so one that is damaged, or that another version of
// p2pd has written, is moved aside, said once, and a new one begins. Other errors stay errors: a
// disk that cannot be read is no damage. Blocks; reads everything.
Result<AgentStore> open_agent_store(const std::string& data);
// The roots have been searched through.
Status remember_search(StateStore& store);

}  // namespace p2p
