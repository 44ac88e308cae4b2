// What an operator writes after --to: which nodes a job is for.
//
//   expression = both { ("|" | "," | "^") both }
//   both       = operand { ("&" | "-") operand }
//   operand    = "*" | name | range | "@" group | comparison | "ip in" addresses
//              | "random" count "of" operand | "(" expression ")"
//   comparison = key ("=" | "!=" | "<" | "<=" | ">" | ">=") value, in one word
//
// "|" either, "^" one of the two but not both, "&" both, "-" without; all from left to right. ","
// is
// "|" between names and groups, with the same binding: "a,b & c" is a | (b & c). It may not stand
// beside a label, because elsewhere a comma between labels means "both", nor beside random or ip.
// "-" is also a letter of names: as an operator it needs white space before it. Ranges are those of
// node_set.h. "random", "of", "ip" and "in" are names everywhere else.
//
// A key is the name of a label; of a node that has no such label, the name of a fact. "=" is exact
// for labels, "key=" matches one with an empty value; facts: fact_value.h. "!=" matches all that
// "=" does not, also nodes that have no such label or fact; the others need one. Which nodes
// "random" draws depends on TargetWorld::seed; if there are no more than it may take, it takes them
// all.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/model/fact_value.h"
#include "core/model/ip_range.h"

namespace p2p {

inline constexpr std::size_t kMaxTargetTextBytes = 64 * 1024;
inline constexpr int kMaxTargetDepth = 64;         // parentheses and "of" inside each other
inline constexpr std::size_t kMaxGroupDepth = 16;  // groups inside groups
inline constexpr std::size_t kMaxTargetGroups = 256;
// What has to look at every node: comparisons of facts, address ranges, and their sum over groups.
inline constexpr std::size_t kMaxTargetLooks = 256;

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
  CompareSign sign = CompareSign::equal;
  friend bool operator==(const LabelIs&, const LabelIs&) = default;
};
struct GroupMembers {
  std::string name;
  friend bool operator==(const GroupMembers&, const GroupMembers&) = default;
};
struct AddressIn {
  IpRange range;
  friend bool operator==(const AddressIn&, const AddressIn&) = default;
};
// Takes the set before it, and leaves so many of it.
struct RandomOf {
  std::uint64_t count = 0;
  friend bool operator==(const RandomOf&, const RandomOf&) = default;
};
// Takes the two sets before it.
enum class SetOperator { either, both, without, one_only };

// An operand pushes a set, an operator replaces the last two by one.
using TargetStep =
    std::variant<AllNodes, NamedNodes, LabelIs, GroupMembers, AddressIn, RandomOf, SetOperator>;

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
  std::map<std::string, std::string> facts = {};
  std::vector<std::string> addresses = {};
};

// What an expression may refer to beside the nodes.
struct TargetWorld {
  // The expression of a group; nothing when there is none of that name.
  std::function<std::optional<std::string>(const std::string&)> group;
  std::uint64_t seed = 0;
};

// The selected nodes in natural order of their names. not_found when the expression names a node
// that is no candidate, even after "-" (a misspelt exception must not go unnoticed), or a group
// that does not exist, and when it selects nobody. invalid_argument when a group contains itself,
// or cannot be parsed.
Result<std::vector<NodeId>> select(const TargetExpression& expression,
                                   std::span<const TargetCandidate> nodes,
                                   const TargetWorld& world);
// Where there are no groups; "random" draws the same each time.
Result<std::vector<NodeId>> select(const TargetExpression& expression,
                                   std::span<const TargetCandidate> nodes);

}  // namespace p2p
