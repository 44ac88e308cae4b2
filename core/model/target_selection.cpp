// What a parsed target expression selects: sets of bits over the candidates.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>

#include "core/base/check.h"
#include "core/base/rng.h"
#include "core/base/text.h"
#include "core/model/node_set.h"
#include "core/model/target_expression.h"

namespace p2p {
namespace {

constexpr std::size_t kNamesShown = 400;  // characters of folded names in an error

using Words = std::vector<std::uint64_t>;  // one bit for each candidate, in natural name order

void set_bit(Words& words, std::size_t index) {
  words[index / 64] |= 1ull << (index % 64);
}
bool has_bit(const Words& words, std::size_t index) {
  return ((words[index / 64] >> (index % 64)) & 1) != 0;
}

bool fits(CompareSign sign, int order) {
  switch (sign) {
    case CompareSign::less:
      return order < 0;
    case CompareSign::at_most:
      return order <= 0;
    case CompareSign::more:
      return order > 0;
    case CompareSign::at_least:
      return order >= 0;
    case CompareSign::equal:
      return order == 0;
    case CompareSign::unequal:
      return order != 0;
  }
  return false;
}

// Evaluates one expression over one list of candidates, which it refers to.
class Selection {
 public:
  Selection(std::span<const TargetCandidate> nodes, const TargetWorld& world)
      : world_(world), rng_(world.seed) {
    for (const TargetCandidate& node : nodes) sorted_.push_back(&node);
    std::sort(sorted_.begin(), sorted_.end(),
              [](const auto* a, const auto* b) { return natural_less(a->name, b->name); });
  }

  Result<std::vector<NodeId>> run(const TargetExpression& expression) {
    const Result<Words> words = evaluate(expression);
    if (!words) return words.error();
    std::vector<NodeId> selected;
    for (std::size_t i = 0; i < sorted_.size(); ++i) {
      if (has_bit(*words, i)) selected.push_back(sorted_[i]->id);
    }
    if (selected.empty()) return nobody(expression);
    return selected;
  }

 private:
  Result<Words> evaluate(const TargetExpression& expression) {
    std::vector<Words> stack;
    std::vector<std::string> unknown;
    for (const TargetStep& step : expression.steps) {
      if (const auto* sign = std::get_if<SetOperator>(&step)) {
        P2P_CHECK(stack.size() >= 2);
        const Words right = std::move(stack.back());
        stack.pop_back();
        combine(*sign, stack.back(), right);
      } else if (const auto* random = std::get_if<RandomOf>(&step)) {
        P2P_CHECK(!stack.empty());
        draw(random->count, stack.back());
      } else {
        Result<Words> words = set_of(step, unknown);
        if (!words) return words;
        stack.push_back(*std::move(words));
      }
    }
    P2P_CHECK(stack.size() == 1);
    if (!unknown.empty()) return in_group(unknown_names(std::move(unknown)));
    return std::move(stack.back());
  }

  static void combine(SetOperator sign, Words& left, const Words& right) {
    for (std::size_t i = 0; i < left.size(); ++i) {
      switch (sign) {
        case SetOperator::either:
          left[i] |= right[i];
          break;
        case SetOperator::both:
          left[i] &= right[i];
          break;
        case SetOperator::without:
          left[i] &= ~right[i];
          break;
        case SetOperator::one_only:
          left[i] ^= right[i];
          break;
      }
    }
  }

  void draw(std::uint64_t count, Words& words) {
    std::vector<std::size_t> members;
    for (std::size_t i = 0; i < sorted_.size(); ++i) {
      if (has_bit(words, i)) members.push_back(i);
    }
    rng_.shuffle(members);
    if (count < members.size()) members.resize(static_cast<std::size_t>(count));
    words.assign(words.size(), 0);
    for (const std::size_t index : members) set_bit(words, index);
  }

  Words nothing() const { return Words((sorted_.size() + 63) / 64); }

  Result<Words> set_of(const TargetStep& operand, std::vector<std::string>& unknown) {
    Words words = nothing();
    if (const auto* named = std::get_if<NamedNodes>(&operand)) {
      names_ += named->names.size();
      if (names_ > kMaxNodeSetNames) {
        return in_group(Error{Errc::invalid_argument,
                              "more than " + std::to_string(kMaxNodeSetNames) +
                                  " names in all groups together; use labels for sets that large"});
      }
      for (const std::string& name : named->names) {
        const std::optional<std::size_t> index = index_of(name);
        if (index) {
          set_bit(words, *index);
        } else {
          unknown.push_back(name);
        }
      }
    } else if (const auto* asked = std::get_if<LabelIs>(&operand)) {
      return compared(*asked);
    } else if (const auto* group = std::get_if<GroupMembers>(&operand)) {
      return members_of(group->name);
    } else if (const auto* addresses = std::get_if<AddressIn>(&operand)) {
      return addressed(addresses->range);
    } else {
      for (std::size_t i = 0; i < sorted_.size(); ++i) set_bit(words, i);
    }
    return words;
  }

  std::optional<std::size_t> index_of(std::string_view name) const {
    const auto place = std::lower_bound(
        sorted_.begin(), sorted_.end(), name,
        [](const auto* node, std::string_view sought) { return natural_less(node->name, sought); });
    if (place == sorted_.end() || (*place)->name != name) return std::nullopt;
    return static_cast<std::size_t>(place - sorted_.begin());
  }

  // Indexed at the first question: an expression may ask for thousands of labels.
  void index_values() {
    if (indexed_) return;
    indexed_ = true;
    for (std::size_t i = 0; i < sorted_.size(); ++i) {
      for (const auto& [key, value] : sorted_[i]->labels) {
        by_label_[key + "=" + value].push_back(i);
        label_keys_.insert(key);
      }
      for (const auto& [key, value] : sorted_[i]->facts) fact_keys_.insert(key);
    }
  }

  Result<Words> compared(const LabelIs& asked) {
    index_values();
    const bool is_fact = fact_keys_.contains(asked.key);
    if (!is_fact && !label_keys_.contains(asked.key)) unknown_keys_.insert(asked.key);
    if (asks_for_order(asked.sign)) return ordered(asked);
    Words words = nothing();
    if (const auto found = by_label_.find(asked.key + "=" + asked.value);
        found != by_label_.end()) {
      for (const std::size_t index : found->second) set_bit(words, index);
    }
    if (is_fact) {
      if (Status few = look(); !few) return few.error();
      for (std::size_t i = 0; i < sorted_.size(); ++i) {
        if (sorted_[i]->labels.contains(asked.key)) continue;
        const auto fact = sorted_[i]->facts.find(asked.key);
        if (fact != sorted_[i]->facts.end() && equal_values(fact->second, asked.value)) {
          set_bit(words, i);
        }
      }
    }
    if (asked.sign == CompareSign::unequal) {
      for (std::uint64_t& word : words) word = ~word;
    }
    return words;
  }

  Result<Words> ordered(const LabelIs& asked) {
    if (Status few = look(); !few) return few.error();
    Words words = nothing();
    bool comparable = false;
    const TargetCandidate* other = nullptr;  // one with a value that has no such order
    for (std::size_t i = 0; i < sorted_.size(); ++i) {
      const std::string* value = value_of(*sorted_[i], asked.key);
      if (value == nullptr) continue;
      const std::optional<int> order = compare_values(*value, asked.value);
      if (!order) other = other == nullptr ? sorted_[i] : other;
      comparable = comparable || order.has_value();
      if (order && fits(asked.sign, *order)) set_bit(words, i);
    }
    if (comparable || other == nullptr) return words;
    return in_group(Error{Errc::invalid_argument,
                          asked.key + std::string(to_string(asked.sign)) + asked.value +
                              ": the values of " + asked.key + " have no such order, as " +
                              quoted(*value_of(*other, asked.key)) + " at " + other->name +
                              "; only = and != compare text"});
  }

  static const std::string* value_of(const TargetCandidate& node, const std::string& key) {
    if (const auto label = node.labels.find(key); label != node.labels.end()) return &label->second;
    const auto fact = node.facts.find(key);
    return fact == node.facts.end() ? nullptr : &fact->second;
  }

  Result<Words> addressed(const IpRange& range) {
    if (Status few = look(); !few) return few.error();
    Words words = nothing();
    for (std::size_t i = 0; i < sorted_.size(); ++i) {
      const auto& addresses = sorted_[i]->addresses;
      const bool inside = std::any_of(addresses.begin(), addresses.end(), [&](const auto& text) {
        const auto address = parse_ip(text);
        return address && range.contains(*address);
      });
      if (inside) set_bit(words, i);
    }
    return words;
  }

  Status look() {
    if (++looks_ <= kMaxTargetLooks) return {};
    return in_group(Error{Errc::invalid_argument,
                          "more than " + std::to_string(kMaxTargetLooks) +
                              " comparisons of facts and address ranges in one target expression, "
                              "groups included; use labels"});
  }

  // A group counts once, wherever it is named: also "random" in it has one outcome.
  Result<Words> members_of(const std::string& name) {
    if (const auto known = members_.find(name); known != members_.end()) return known->second;
    if (const auto begin = std::find(chain_.begin(), chain_.end(), name); begin != chain_.end()) {
      std::string circle;
      for (auto link = begin; link != chain_.end(); ++link) circle += "@" + *link + " > ";
      return Error{Errc::invalid_argument, "group @" + name + " contains itself: " + circle + "@" +
                                               name + "; see p2pctl group show " + name};
    }
    if (chain_.size() == kMaxGroupDepth || members_.size() == kMaxTargetGroups) {
      return in_group(Error{Errc::invalid_argument, "more than " + std::to_string(kMaxGroupDepth) +
                                                        " groups inside each other, or more than " +
                                                        std::to_string(kMaxTargetGroups) +
                                                        " in one target expression"});
    }
    const auto text = world_.group ? world_.group(name) : std::nullopt;
    if (!text) {
      return in_group(
          Error{Errc::not_found, "no such group: @" + name + "; see p2pctl group list"});
    }
    chain_.push_back(name);
    const Result<TargetExpression> expression = parse_targets(*text);
    if (!expression) return in_group(expression.error());
    Result<Words> words = evaluate(*expression);
    if (!words) return words;
    chain_.pop_back();
    members_.emplace(name, *words);
    return words;
  }

  // Where the expression that is wrong stands.
  Error in_group(const Error& error) const {
    if (chain_.empty()) return error;
    std::string where = "group";
    for (const std::string& name : chain_) where += (where == "group" ? " @" : " > @") + name;
    return error.within(where);
  }

  // True when one of the unknown names is two known ones with '-' between them.
  bool looks_like_difference(const std::vector<std::string>& unknown) const {
    return std::any_of(unknown.begin(), unknown.end(), [&](const std::string& name) {
      for (std::size_t at = name.find('-'); at != std::string::npos; at = name.find('-', at + 1)) {
        if (index_of(name.substr(0, at)) && index_of(name.substr(at + 1))) return true;
      }
      return false;
    });
  }

  Error unknown_names(std::vector<std::string> unknown) const {
    const bool difference = looks_like_difference(unknown);
    std::string detail = "no such node: " + fold_names(std::move(unknown), kNamesShown).str() +
                         "; see p2pctl node list";
    if (difference) {
      detail += " ('-' for \"without\" needs white space before it: after a name it is a letter)";
    }
    return Error{Errc::not_found, std::move(detail)};
  }

  Error nobody(const TargetExpression& expression) const {
    const std::string what = "target expression " + quoted(expression.text) + " selects nothing: ";
    if (sorted_.empty()) {
      return Error{Errc::not_found, what + "no node has joined; see p2pctl token create"};
    }
    std::vector<std::string> names;
    for (const TargetCandidate* node : sorted_) names.push_back(node->name);
    const std::string folded = fold_names(std::move(names), kNamesShown).str();
    std::string detail = what + "none of " + std::to_string(sorted_.size()) + " nodes (" + folded +
                         ") fits; see p2pctl node list for their labels";
    if (!unknown_keys_.empty()) {
      detail += " (no node has a label or a fact named " + quoted(*unknown_keys_.begin()) + ")";
    }
    return Error{Errc::not_found, std::move(detail)};
  }

  const TargetWorld& world_;
  Rng rng_;
  std::vector<const TargetCandidate*> sorted_;
  bool indexed_ = false;
  std::unordered_map<std::string, std::vector<std::size_t>> by_label_;
  std::set<std::string> label_keys_, fact_keys_, unknown_keys_;
  std::unordered_map<std::string, Words> members_;  // of groups
  std::vector<std::string> chain_;                  // of groups that are being evaluated
  std::size_t names_ = 0;
  std::size_t looks_ = 0;
};

}  // namespace

Result<std::vector<NodeId>> select(const TargetExpression& expression,
                                   std::span<const TargetCandidate> nodes,
                                   const TargetWorld& world) {
  return Selection(nodes, world).run(expression);
}

Result<std::vector<NodeId>> select(const TargetExpression& expression,
                                   std::span<const TargetCandidate> nodes) {
  return select(expression, nodes, TargetWorld{});
}

}  // namespace p2p
