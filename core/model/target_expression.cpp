#include "core/model/target_expression.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>

#include "core/base/check.h"
#include "core/base/text.h"
#include "core/model/node_set.h"

namespace p2p {
namespace {

constexpr std::size_t kExcerptBefore = 60;  // characters shown before the column of an error
constexpr std::size_t kExcerptAfter = 36;
constexpr std::string_view kSigns = "=!<>";
constexpr std::uint64_t kMostDrawn = 1'000'000'000;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("._-/:=[]!<>+~").find(c) != std::string_view::npos;
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
  enum class Kind { word, group, all, open, close, either, comma, both, without, one_only, end };
  struct Token {
    Kind kind = Kind::end;
    std::size_t at = 0;
    std::string_view text;

    bool is_comparison() const {
      return kind == Kind::word && text.find_first_of(kSigns) != std::string_view::npos;
    }
  };
  // What a comma stands beside.
  enum class Operand { names, comparison, phrase };

  Error error_at(std::size_t at, std::string_view what) const {
    return Error{Errc::invalid_argument, "target expression, column " + std::to_string(at + 1) +
                                             ": " + std::string(what) + caret_lines(text_, at)};
  }

  std::string operator_expected() const {
    std::string what = "expected '&', '|', ',', '-', '^' or the end here";
    if (token_.is_comparison() && kSigns.find(token_.text.front()) != std::string_view::npos) {
      what += " (a comparison is one word, without white space: mem>=64GB)";
    } else if (previous_.kind == Kind::word && previous_.text.ends_with('-')) {
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
      case '^':
        token_.kind = Kind::one_only;
        return {};
      case '@':
        return read_group();
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

  Status read_group() {
    const std::size_t at = token_.at;
    std::size_t end = at + 1;
    while (end < text_.size() && is_word_character(text_[end])) ++end;
    token_ = Token{Kind::group, at, text_.substr(at + 1, end - at - 1)};
    next_ = end;
    if (check_node_name(token_.text)) return {};
    return error_at(at, "a group is written @name, with 1 to 64 letters, digits, '.', '_' and '-'");
  }

  // A name, a range or a comparison. A comma inside brackets belongs to the range.
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
    while (status && (token_.kind == Kind::either || token_.kind == Kind::comma ||
                      token_.kind == Kind::one_only)) {
      const Token sign = token_;
      const Operand before = last_;
      status = advance();
      if (status && sign.kind == Kind::comma) status = check_comma(sign.at, before);
      if (status) status = parse_both();
      if (status && sign.kind == Kind::comma) status = check_comma(sign.at, first_);
      if (status && sign.kind == Kind::one_only) steps_.emplace_back(SetOperator::one_only);
      if (status && sign.kind != Kind::one_only) emit_either();
    }
    return status;
  }

  Status check_comma(std::size_t at, Operand beside) const {
    if (beside == Operand::comparison || token_.is_comparison()) {
      return error_at(at, "',' joins names only: beside a label write '|' or '&'");
    }
    if (beside == Operand::names) return {};
    return error_at(at, "',' joins names only: beside random or ip write '|', or parentheses");
  }

  // Leaves in first_ and last_ what it began and ended with.
  Status parse_both() {
    Status status = parse_operand();
    const Operand first = last_;
    while (status && (token_.kind == Kind::both || token_.kind == Kind::without)) {
      const SetOperator sign = token_.kind == Kind::both ? SetOperator::both : SetOperator::without;
      status = advance();
      if (status) status = parse_operand();
      if (status) steps_.emplace_back(sign);
    }
    first_ = first;
    return status;
  }

  Status parse_operand() {
    const Token begin = token_;
    last_ = Operand::names;
    switch (begin.kind) {
      case Kind::open:
        return parse_group();
      case Kind::all:
        steps_.emplace_back(AllNodes{});
        return advance();
      case Kind::group:
        steps_.emplace_back(GroupMembers{std::string(begin.text)});
        return advance();
      case Kind::word:
        break;
      default:
        return error_at(begin.at, "expected a name, a label or '(' here");
    }
    if (begin.is_comparison()) {
      last_ = Operand::comparison;
      Status status = take_comparison();
      return status ? advance() : status;
    }
    Status status = advance();
    // Two words in a row are a phrase, or a mistake.
    const bool is_phrase = token_.kind == Kind::word && !token_.is_comparison();
    if (status && is_phrase && begin.text == "random") return parse_random(begin);
    if (status && is_phrase && begin.text == "ip") return parse_ip_in();
    return status ? take_names(begin) : status;
  }

  // "random" was read, and a word follows.
  Status parse_random(const Token& begin) {
    std::uint64_t count = 0;
    const char* end = token_.text.data() + token_.text.size();
    const auto [stop, problem] = std::from_chars(token_.text.data(), end, count);
    if (problem != std::errc{} || stop != end || count == 0 || count > kMostDrawn) {
      return error_at(token_.at, "expected a number of nodes here: random 5 of dc=bj");
    }
    Status status = advance();
    if (!status) return status;
    if (token_.kind != Kind::word || token_.text != "of") {
      return error_at(token_.at, "expected \"of\" here: random 5 of dc=bj");
    }
    if (++depth_ > kMaxTargetDepth) return too_deep(begin.at);
    status = advance();
    if (status) status = parse_operand();
    if (!status) return status;
    --depth_;
    steps_.emplace_back(RandomOf{count});
    last_ = Operand::phrase;
    return {};
  }

  // "ip" was read, and a word follows.
  Status parse_ip_in() {
    if (token_.text != "in") {
      return error_at(token_.at, "expected \"in\" here: ip in 10.2.0.0/16");
    }
    Status status = advance();
    if (!status) return status;
    if (token_.kind != Kind::word) {
      return error_at(token_.at, "expected addresses here: ip in 10.2.0.0/16");
    }
    const auto range = parse_ip_range(token_.text);
    if (!range) return error_at(token_.at, range.error().detail);
    steps_.emplace_back(AddressIn{*range});
    last_ = Operand::phrase;
    return advance();
  }

  Error too_deep(std::size_t at) const {
    return error_at(
        at, "more than " + std::to_string(kMaxTargetDepth) + " parentheses inside each other");
  }

  Status parse_group() {
    const std::size_t open_at = token_.at;
    if (++depth_ > kMaxTargetDepth) return too_deep(open_at);
    Status status = advance();
    if (status) status = parse_either();
    if (!status) return status;
    if (token_.kind == Kind::end) return error_at(open_at, "'(' without ')'");
    if (token_.kind != Kind::close) return error_at(token_.at, operator_expected());
    --depth_;
    last_ = Operand::names;
    return advance();
  }

  Status take_comparison() {
    const std::size_t at = token_.text.find_first_of(kSigns);
    const std::string_view rest = token_.text.substr(at);
    LabelIs asked{std::string(token_.text.substr(0, at)), "", CompareSign::equal};
    if (asked.key.empty()) {
      return error_at(token_.at, "a label is written key=value, without white space");
    }
    std::size_t length = 1;
    if (rest.size() > 1 && rest[1] == '=' && rest[0] != '=') {
      length = 2;
      asked.sign = rest[0] == '!'   ? CompareSign::unequal
                   : rest[0] == '<' ? CompareSign::at_most
                                    : CompareSign::at_least;
    } else if (rest[0] == '!') {
      return error_at(token_.at + at, "\"not\" is written !=");
    } else if (rest[0] != '=') {
      asked.sign = rest[0] == '<' ? CompareSign::less : CompareSign::more;
    }
    asked.value = std::string(rest.substr(length));
    if (Status status = check_label_key(asked.key); !status) {
      return error_at(token_.at, status.error().detail);
    }
    if (Status status = check_value(asked); !status) {
      return error_at(token_.at + at + length, status.error().detail);
    }
    steps_.emplace_back(std::move(asked));
    return {};
  }

  static Status check_value(const LabelIs& asked) {
    // Facts may have them.
    std::string value = asked.value;
    std::replace_if(
        value.begin(), value.end(), [](char c) { return c == '+' || c == '~'; }, '-');
    if (Status status = check_label_value(value); !status) return check_label_value(asked.value);
    if (!asks_for_order(asked.sign) || is_ordered_value(value)) return {};
    return Error{Errc::invalid_argument,
                 quoted(asked.value) + " is text, which only = and != compare; " +
                     std::string(to_string(asked.sign)) +
                     " is for numbers, sizes and versions: mem>=64GB, os.version>=12"};
  }

  Status take_names(const Token& word) {
    Result<std::vector<std::string>> names = expand_node_set(word.text);
    if (!names) return error_at(word.at, names.error().detail);
    if (names->size() > kMaxNodeSetNames - names_) {
      return error_at(word.at, "more than " + std::to_string(kMaxNodeSetNames) +
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
  Operand first_ = Operand::names;
  Operand last_ = Operand::names;
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

}  // namespace p2p
