// Which hints are worth making before a push (docs/decisions/0009), and who is asked for them.
//
// Pure: facts in, at most one wish out. Hints are never worth failing for.
#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <vector>

#include "core/base/ids.h"

namespace p2p {

struct HintRules {
  // Old contents that recipes are made from; more of them are the signature's matter.
  std::size_t bases = 4;
};

struct HintFacts {
  // One for each target that may start from an old file: the contents that it holds, the likeliest
  // first. Empty: it has a file of which nobody knows what it is.
  std::vector<std::vector<ContentId>> candidates;
  std::set<ContentId> recipes;  // old contents from which there is a recipe already
  std::set<ContentId> in_vain;  // ... from which one was asked for, and none came
  bool signature = false;       // there is one, or it was asked for in vain

  struct Maker {
    NodeId node;
    std::set<ContentId> holds;  // of the candidates' contents
  };
  // Those who hold the new content whole and can be asked now, the best first.
  std::vector<Maker> makers;
};

struct HintWish {
  NodeId maker;
  std::vector<ContentId> bases;  // the most frequent first
  bool signature = false;
};

// Recipes from the most frequent old contents, from the maker that holds most of them; a signature
// when a candidate would be left without a recipe for anything that it holds. Nothing: there is
// nothing to make, or nobody to ask.
std::optional<HintWish> wish_for(const HintFacts& facts, const HintRules& rules = {});

}  // namespace p2p
