#include "core/model/target_expression.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <unordered_map>

#include "core/base/check.h"
#include "core/base/text.h"
#include "core/model/node_set.h"

namespace p2p {
namespace {

constexpr std::size_t kExcerptBefore = 60;  // characters shown before the column of an error
constexpr std::size_t kExcerptAfter = 36;
constexpr std::size_t kNamesShown = 400;  // characters of folded names in an error

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("._-/:=[]").find(c) != std::string_view::npos;
}

// The neighbourhood of `at` in one line of visible ASCII, so that the caret below it lines up.
std::string caret_lines(std::string_view text, std::size_t at) {
  const std::size_t begin = at > kExcerptBefore ? at - kExcerptBefore : 0;
  const std::size_t end = std::min(text.size(), at + kExcerptAfter);
  std::string line = begin > 0 ? "..." : "";
  const std::size_t column = line.size() + (at - begin);
  for (const char c : text.substr(begin, end - begin)) {
    line += is_space(c) ? ' ' : c > ' ' && c < '\x7f' ? c : '?';
  }
  if (end < text.size()) line += "...";
  return "\n  " + line + "\n  " + std::string(column, ' ') + "^";
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<TargetExpression> run() {
    Status status = advance();
    if (status) status = parse_either();
    if (!status) return status.error();
    if (token_.kind == Kind::close) return error_at(token_.at, "')' without '('");
    if (token_.kind != Kind::end) return error_at(token_.at, operator_expected());
    return TargetExpression{std::string(text_), std::move(steps_)};
  }

 private:
  enum class Kind { word, all, open, close, either, comma, both, without, end };
  struct Token {
    Kind kind = Kind::end;
    std::size_t at = 0;
    std::string_view text;

    bool is_label() const { return kind == Kind::word && text.find('=') != std::string_view::npos; }
  };

  Error error_at(std::size_t at, std::string_view what) const {
    return Error{Errc::invalid_argument, "target expression, column " + std::to_string(at + 1) +
                                             ": " + std::string(what) + caret_lines(text_, at)};
  }

  std::string operator_expected() const {
    std::string what = "expected '&', '|', ',', '-' or the end here";
    if (previous_.kind == Kind::word && previous_.text.ends_with('-')) {
      what += " ('-' for \"without\" needs white space before it: after a name it is a letter)";
    }
    return what;
  }

  // Makes the next token the current one.
  Status advance() {
    previous_ = token_;
    std::size_t at = next_;
    while (at < text_.size() && is_space(text_[at])) ++at;
    token_ = Token{Kind::end, at, text_.substr(at, 1)};
    next_ = std::min(at + 1, text_.size());
    if (at == text_.size()) return {};
    switch (text_[at]) {
      case '*':
        return read_all();
      case '(':
        token_.kind = Kind::open;
        return {};
      case ')':
        token_.kind = Kind::close;
        return {};
      case '|':
        token_.kind = Kind::either;
        return {};
      case ',':
        token_.kind = Kind::comma;
        return {};
      case '&':
        token_.kind = Kind::both;
        return {};
      case '-':
        token_.kind = Kind::without;
        if (at > 0 && (text_[at - 1] == ')' || text_[at - 1] == '*')) {
          return error_at(at, "'-' needs white space before it");
        }
        return {};
      default:
        return read_word();
    }
  }

  Status read_all() {
    token_.kind = Kind::all;
    const std::size_t at = token_.at;
    const bool touches_word =
        (at > 0 && is_word_character(text_[at - 1])) ||
        (next_ < text_.size() && is_word_character(text_[next_]) && text_[next_] != '-');
    if (!touches_word) return {};
    return error_at(at, "'*' stands alone and means all nodes; names have ranges: web[01-20]");
  }

  // A name, a range or a label. A comma inside brackets belongs to the range.
  Status read_word() {
    const std::size_t begin = token_.at;
    std::size_t end = begin;
    while (end < text_.size() && is_word_character(text_[end])) {
      if (text_[end] == '[') {
        const std::size_t close = text_.find(']', end);
        if (close == std::string_view::npos) return error_at(end, "'[' without ']'");
        end = close;
      }
      ++end;
    }
    if (end == begin) return error_at(begin, "unexpected character");
    token_ = Token{Kind::word, begin, text_.substr(begin, end - begin)};
    next_ = end;
    return {};
  }

  Status parse_either() {
    Status status = parse_both();
    while (status && (token_.kind == Kind::either || token_.kind == Kind::comma)) {
      const Token sign = token_;
      const bool label_before = previous_.is_label();
      status = advance();
      if (status && sign.kind == Kind::comma && (label_before || token_.is_label())) {
        return error_at(sign.at, "',' joins names only: beside a label write '|' or '&'");
      }
      if (status) status = parse_both();
      if (status) emit_either();
    }
    return status;
  }

  Status parse_both() {
    Status status = parse_operand();
    while (status && (token_.kind == Kind::both || token_.kind == Kind::without)) {
      const SetOperator sign = token_.kind == Kind::both ? SetOperator::both : SetOperator::without;
      status = advance();
      if (status) status = parse_operand();
      if (status) steps_.emplace_back(sign);
    }
    return status;
  }

  Status parse_operand() {
    if (token_.kind == Kind::open) return parse_group();
    if (token_.kind == Kind::all) {
      steps_.emplace_back(AllNodes{});
    } else if (token_.kind == Kind::word) {
      Status status = token_.is_label() ? take_label() : take_names();
      if (!status) return status;
    } else {
      return error_at(token_.at, "expected a name, a label or '(' here");
    }
    return advance();
  }

  Status parse_group() {
    const std::size_t open_at = token_.at;
    if (++depth_ > kMaxTargetDepth) {
      return error_at(open_at, "more than " + std::to_string(kMaxTargetDepth) +
                                   " parentheses inside each other");
    }
    Status status = advance();
    if (status) status = parse_either();
    if (!status) return status;
    if (token_.kind == Kind::end) return error_at(open_at, "'(' without ')'");
    if (token_.kind != Kind::close) return error_at(token_.at, operator_expected());
    --depth_;
    return advance();
  }

  Status take_label() {
    const std::size_t sign = token_.text.find('=');
    LabelIs label{std::string(token_.text.substr(0, sign)),
                  std::string(token_.text.substr(sign + 1))};
    if (label.key.empty()) {
      return error_at(token_.at, "a label is written key=value, without white space");
    }
    if (Status status = check_label_key(label.key); !status) {
      return error_at(token_.at, status.error().detail);
    }
    if (Status status = check_label_value(label.value); !status) {
      return error_at(token_.at + sign + 1, status.error().detail);
    }
    steps_.emplace_back(std::move(label));
    return {};
  }

  Status take_names() {
    Result<std::vector<std::string>> names = expand_node_set(token_.text);
    if (!names) return error_at(token_.at, names.error().detail);
    if (names->size() > kMaxNodeSetNames - names_) {
      return error_at(token_.at, "more than " + std::to_string(kMaxNodeSetNames) +
                                     " names in one expression; use labels for sets that large");
    }
    names_ += names->size();
    steps_.emplace_back(NamedNodes{std::move(*names)});
    return {};
  }

  // Two lists of names become one, so that a long list is one step.
  void emit_either() {
    P2P_CHECK(steps_.size() >= 2);
    auto* left = std::get_if<NamedNodes>(&steps_[steps_.size() - 2]);
    auto* right = std::get_if<NamedNodes>(&steps_.back());
    if (left == nullptr || right == nullptr) {
      steps_.emplace_back(SetOperator::either);
      return;
    }
    std::move(right->names.begin(), right->names.end(), std::back_inserter(left->names));
    steps_.pop_back();
  }

  std::string_view text_;
  std::size_t next_ = 0;  // where the token after token_ begins, or white space before it
  Token previous_;
  Token token_;
  std::vector<TargetStep> steps_;
  std::size_t names_ = 0;
  int depth_ = 0;
};

using Words = std::vector<std::uint64_t>;  // one bit for each candidate, in natural name order

void set_bit(Words& words, std::size_t index) {
  words[index / 64] |= 1ull << (index % 64);
}
bool has_bit(const Words& words, std::size_t index) {
  return ((words[index / 64] >> (index % 64)) & 1) != 0;
}

// Evaluates one expression over one list of candidates, which it refers to.
class Selection {
 public:
  explicit Selection(std::span<const TargetCandidate> nodes) {
    for (const TargetCandidate& node : nodes) sorted_.push_back(&node);
    std::sort(sorted_.begin(), sorted_.end(),
              [](const auto* a, const auto* b) { return natural_less(a->name, b->name); });
  }

  Result<std::vector<NodeId>> run(const TargetExpression& expression) {
    std::vector<Words> stack;
    for (const TargetStep& step : expression.steps) {
      if (const auto* sign = std::get_if<SetOperator>(&step)) {
        P2P_CHECK(stack.size() >= 2);
        const Words right = std::move(stack.back());
        stack.pop_back();
        combine(*sign, stack.back(), right);
      } else {
        stack.push_back(set_of(step));
      }
    }
    P2P_CHECK(stack.size() == 1);
    if (!unknown_.empty()) return unknown_names();
    std::vector<NodeId> selected;
    for (std::size_t i = 0; i < sorted_.size(); ++i) {
      if (has_bit(stack.back(), i)) selected.push_back(sorted_[i]->id);
    }
    if (selected.empty()) return nobody(expression);
    return selected;
  }

 private:
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
      }
    }
  }

  Words set_of(const TargetStep& operand) {
    Words words((sorted_.size() + 63) / 64);
    if (const auto* named = std::get_if<NamedNodes>(&operand)) {
      for (const std::string& name : named->names) {
        const std::optional<std::size_t> index = index_of(name);
        if (index) {
          set_bit(words, *index);
        } else {
          unknown_.push_back(name);
        }
      }
    } else if (const auto* label = std::get_if<LabelIs>(&operand)) {
      for (const std::size_t index : labelled(*label)) set_bit(words, index);
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
  const std::vector<std::size_t>& labelled(const LabelIs& label) {
    if (by_label_.empty()) {
      for (std::size_t i = 0; i < sorted_.size(); ++i) {
        for (const auto& [key, value] : sorted_[i]->labels) {
          by_label_[key + "=" + value].push_back(i);
        }
      }
    }
    return by_label_[label.key + "=" + label.value];
  }

  // True when one of the unknown names is two known ones with '-' between them.
  bool looks_like_difference() const {
    return std::any_of(unknown_.begin(), unknown_.end(), [&](const std::string& name) {
      for (std::size_t at = name.find('-'); at != std::string::npos; at = name.find('-', at + 1)) {
        if (index_of(name.substr(0, at)) && index_of(name.substr(at + 1))) return true;
      }
      return false;
    });
  }

  Error unknown_names() const {
    std::string detail =
        "no such node: " + fold_names(unknown_, kNamesShown).str() + "; see p2pctl node list";
    if (looks_like_difference()) {
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
    return Error{Errc::not_found, what + "none of " + std::to_string(sorted_.size()) + " nodes (" +
                                      folded + ") fits; see p2pctl node list for their labels"};
  }

  std::vector<const TargetCandidate*> sorted_;
  std::unordered_map<std::string, std::vector<std::size_t>> by_label_;
  std::vector<std::string> unknown_;
};

}  // namespace

Result<TargetExpression> parse_targets(std::string_view text) {
  if (text.size() > kMaxTargetTextBytes) {
    return Error{Errc::invalid_argument,
                 "target expression of " + std::to_string(text.size()) + " bytes: at most " +
                     std::to_string(kMaxTargetTextBytes) + "; use ranges or labels"};
  }
  return Parser(text).run();
}

Result<std::vector<NodeId>> select(const TargetExpression& expression,
                                   std::span<const TargetCandidate> nodes) {
  return Selection(nodes).run(expression);
}

}  // namespace p2p
