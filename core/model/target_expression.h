// What an operator writes after --to: which nodes a job is for.
//
//   expression = both { ("|" | ",") both }
//   both       = operand { ("&" | "-") operand }
//   operand    = "*" | name | range | label=value | "(" expression ")"
//
// "|" either, "&" both, "-" without; all from left to right. "," is "|" between names, with the
// same binding: "a,b & c" is a | (b & c). It may not stand beside a label, because elsewhere a
// comma between labels means "both". "-" is also a letter of names: as an operator it needs white
// space before it. Ranges are those of node_set.h. A label matches exactly; "key=" matches a label
// with an empty value.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/ids.h"
#include "core/base/result.h"

namespace p2p {

inline constexpr std::size_t kMaxTargetTextBytes = 64 * 1024;
inline constexpr int kMaxTargetDepth = 64;  // parentheses inside parentheses

struct AllNodes {
  friend bool operator==(const AllNodes&, const AllNodes&) = default;
};
struct NamedNodes {
  std::vector<std::string> names;  // expanded; kMaxNodeSetNames in a whole expression
  friend bool operator==(const NamedNodes&, const NamedNodes&) = default;
};
struct LabelIs {
  std::string key;
  std::string value;
  friend bool operator==(const LabelIs&, const LabelIs&) = default;
};
// Takes the two sets before it.
enum class SetOperator { either, both, without };

// An operand pushes a set, an operator replaces the last two by one. Other kinds of operands
// (groups, comparisons, samples) are further alternatives here.
using TargetStep = std::variant<AllNodes, NamedNodes, LabelIs, SetOperator>;

// Made by parse_targets only, which leaves exactly one set at the end. In postfix order, so that a
// list of thousands of names is no deep tree.
struct TargetExpression {
  std::string text;  // as written
  std::vector<TargetStep> steps;
};

// An error says the column (bytes from 1) and points at it in a second and third line.
Result<TargetExpression> parse_targets(std::string_view text);

struct TargetCandidate {
  NodeId id;
  std::string name;  // unique among the candidates
  std::map<std::string, std::string> labels;
};

// The selected nodes in natural order of their names. not_found when the expression names a node
// that is no candidate, even after "-" (a misspelt exception must not go unnoticed), and when it
// selects nobody.
Result<std::vector<NodeId>> select(const TargetExpression& expression,
                                   std::span<const TargetCandidate> nodes);

}  // namespace p2p
