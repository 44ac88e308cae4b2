#include "core/swarm/hint_choice.h"

#include <algorithm>
#include <map>

namespace p2p {
namespace {

// The old contents that most candidates hold, as many as recipes are made from.
std::vector<ContentId> most_frequent(const HintFacts& facts, const HintRules& rules) {
  struct Count {
    std::size_t candidates = 0;
    std::size_t likelihood = 0;  // sum of the places: lower is likelier
  };
  std::map<ContentId, Count> counts;
  for (const auto& held : facts.candidates) {
    for (std::size_t place = 0; place < held.size(); ++place) {
      Count& count = counts[held[place]];
      ++count.candidates;
      count.likelihood += place;
    }
  }
  std::vector<ContentId> contents;
  for (const auto& [content, count] : counts) contents.push_back(content);
  std::stable_sort(contents.begin(), contents.end(), [&](const auto& a, const auto& b) {
    const Count& of_a = counts.at(a);
    const Count& of_b = counts.at(b);
    if (of_a.candidates != of_b.candidates) return of_a.candidates > of_b.candidates;
    return of_a.likelihood < of_b.likelihood;
  });
  contents.resize(std::min(contents.size(), rules.bases));
  return contents;
}

}  // namespace

std::optional<HintWish> wish_for(const HintFacts& facts, const HintRules& rules) {
  if (facts.candidates.empty() || facts.makers.empty()) return std::nullopt;
  std::vector<ContentId> missing = most_frequent(facts, rules);
  std::erase_if(missing, [&](const ContentId& content) {
    return facts.recipes.contains(content) || facts.in_vain.contains(content);
  });
  const auto held_by = [&](const HintFacts::Maker& maker) {
    return std::count_if(missing.begin(), missing.end(),
                         [&](const ContentId& content) { return maker.holds.contains(content); });
  };
  // The first of the best.
  const auto maker =
      std::max_element(facts.makers.begin(), facts.makers.end(),
                       [&](const auto& a, const auto& b) { return held_by(a) < held_by(b); });

  HintWish wish;
  wish.maker = maker->node;
  for (const ContentId& content : missing) {
    if (maker->holds.contains(content)) wish.bases.push_back(content);
  }
  const auto has_recipe = [&](const ContentId& content) {
    return facts.recipes.contains(content) ||
           std::find(wish.bases.begin(), wish.bases.end(), content) != wish.bases.end();
  };
  wish.signature =
      !facts.signature && std::any_of(facts.candidates.begin(), facts.candidates.end(),
                                      [&](const std::vector<ContentId>& held) {
                                        return std::none_of(held.begin(), held.end(), has_recipe);
                                      });
  if (wish.bases.empty() && !wish.signature) return std::nullopt;
  return wish;
}

}  // namespace p2p
