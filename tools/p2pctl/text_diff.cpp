#include "tools/p2pctl/text_diff.h"

#include <algorithm>
#include <vector>

namespace p2p {
namespace {

constexpr std::size_t kContextLines = 3;

using Lines = std::vector<std::string_view>;

// Each with its line break, so that a missing last one makes a difference.
Lines lines_of(std::string_view text) {
  Lines lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::size_t length = end == std::string_view::npos ? text.size() : end + 1;
    lines.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return lines;
}

struct Edit {
  enum class Kind { keep, remove, add };
  Kind kind = Kind::keep;
  std::string_view line;
};

// Where Myers' paths stand after so many edits, for each diagonal.
using Front = std::vector<std::size_t>;

class Comparison {
 public:
  Comparison(Lines before, Lines after) : before_(std::move(before)), after_(std::move(after)) {}

  std::vector<Edit> edits() {
    std::size_t head = 0;
    while (head < before_.size() && head < after_.size() && before_[head] == after_[head]) ++head;
    std::size_t tail = 0;
    while (tail < before_.size() - head && tail < after_.size() - head &&
           before_[before_.size() - 1 - tail] == after_[after_.size() - 1 - tail]) {
      ++tail;
    }
    first_ = head;
    n_ = before_.size() - head - tail;
    m_ = after_.size() - head - tail;
    std::vector<Edit> all;
    for (std::size_t i = 0; i < head; ++i) all.push_back({Edit::Kind::keep, before_[i]});
    const std::vector<Edit> middle = middle_edits();
    all.insert(all.end(), middle.begin(), middle.end());
    for (std::size_t i = before_.size() - tail; i < before_.size(); ++i) {
      all.push_back({Edit::Kind::keep, before_[i]});
    }
    return all;
  }

 private:
  std::string_view before(std::size_t i) const { return before_[first_ + i]; }
  std::string_view after(std::size_t i) const { return after_[first_ + i]; }

  // In `front` after d edits, diagonal k = x - y, of which every second one exists, is at (k + d)
  // / 2.
  static std::size_t x_before(const Front& front, long d, long k) {
    return front[static_cast<std::size_t>((k + d) / 2)];
  }
  // Does the best path to diagonal k with d edits come from above, by an added line?
  static bool comes_from_above(const Front& last, long d, long k) {
    if (k == -d) return true;
    if (k == d) return false;
    return x_before(last, d - 1, k - 1) < x_before(last, d - 1, k + 1);
  }

  std::vector<Edit> middle_edits() const {
    std::vector<Front> fronts;
    const long most = static_cast<long>(std::min(n_ + m_, kMaxDiffEdits));
    for (long d = 0; d <= most; ++d) {
      Front front(static_cast<std::size_t>(d) + 1);
      for (long k = -d; k <= d; k += 2) {
        std::size_t x = 0;
        if (d > 0) {
          const Front& last = fronts.back();
          x = comes_from_above(last, d, k) ? x_before(last, d - 1, k + 1)
                                           : x_before(last, d - 1, k - 1) + 1;
        }
        // Beyond the texts' ends there is nothing to find; such a path stays where it is.
        std::size_t y = static_cast<std::size_t>(static_cast<long>(x) - k);
        while (x < n_ && y < m_ && before(x) == after(y)) ++x, ++y;
        front[static_cast<std::size_t>((k + d) / 2)] = x;
        if (x >= n_ && y >= m_) {
          fronts.push_back(std::move(front));
          return way_back(fronts, d, k);
        }
      }
      fronts.push_back(std::move(front));
    }
    return replaced();
  }

  std::vector<Edit> way_back(const std::vector<Front>& fronts, long d, long k) const {
    std::vector<Edit> edits;
    std::size_t x = n_;
    std::size_t y = m_;
    for (; d >= 0; --d) {
      std::size_t start_x = 0;
      std::size_t start_y = 0;
      bool added = false;
      if (d > 0) {
        const Front& last = fronts[static_cast<std::size_t>(d) - 1];
        added = comes_from_above(last, d, k);
        k = added ? k + 1 : k - 1;
        start_x = x_before(last, d - 1, k);
        start_y = static_cast<std::size_t>(static_cast<long>(start_x) - k);
      }
      const std::size_t run_x = d == 0 ? 0 : start_x + (added ? 0 : 1);
      while (x > run_x) {
        --x, --y;
        edits.push_back({Edit::Kind::keep, before(x)});
      }
      if (d == 0) break;
      edits.push_back(added ? Edit{Edit::Kind::add, after(start_y)}
                            : Edit{Edit::Kind::remove, before(start_x)});
      x = start_x;
      y = start_y;
    }
    std::reverse(edits.begin(), edits.end());
    return edits;
  }

  std::vector<Edit> replaced() const {
    std::vector<Edit> edits;
    for (std::size_t i = 0; i < n_; ++i) edits.push_back({Edit::Kind::remove, before(i)});
    for (std::size_t i = 0; i < m_; ++i) edits.push_back({Edit::Kind::add, after(i)});
    return edits;
  }

  Lines before_, after_;
  std::size_t first_ = 0, n_ = 0, m_ = 0;
};

std::string range_text(std::size_t first, std::size_t count) {
  // Of nothing, diff names the line before.
  const std::string begin = std::to_string(count == 0 ? first : first + 1);
  return count == 1 ? begin : begin + "," + std::to_string(count);
}

void append_line(std::string& out, char mark, std::string_view line) {
  out += mark;
  out += line;
  if (line.empty() || line.back() != '\n') out += "\n\\ No newline at end of file\n";
}

}  // namespace

std::string unified_diff(std::string_view old_text, std::string_view new_text, DiffNames names) {
  if (old_text == new_text) return {};
  std::string out = "--- " + std::string(names.old_name) + "\n+++ " + std::string(names.new_name);
  out += '\n';
  if (old_text.find('\0') != std::string_view::npos ||
      new_text.find('\0') != std::string_view::npos) {
    return out + "Binary output differs\n";
  }
  const std::vector<Edit> edits = Comparison(lines_of(old_text), lines_of(new_text)).edits();
  std::size_t old_line = 0;
  std::size_t new_line = 0;
  std::size_t at = 0;
  const auto skip = [&](const Edit& edit) {
    if (edit.kind != Edit::Kind::add) ++old_line;
    if (edit.kind != Edit::Kind::remove) ++new_line;
  };
  const auto differs = [](const Edit& edit) { return edit.kind != Edit::Kind::keep; };
  while (true) {
    auto change = std::find_if(edits.begin() + static_cast<long>(at), edits.end(), differs);
    if (change == edits.end()) return out;
    const auto first_change = static_cast<std::size_t>(change - edits.begin());
    const std::size_t begin = std::max(at, first_change - std::min(first_change, kContextLines));
    // A hunk goes on while the next change is near enough for their contexts to touch.
    std::size_t end = first_change + 1;
    for (std::size_t i = end; i < edits.size() && i <= end + 2 * kContextLines; ++i) {
      if (differs(edits[i])) end = i + 1;
    }
    end = std::min(edits.size(), end + kContextLines);
    for (; at < begin; ++at) skip(edits[at]);
    const std::size_t old_first = old_line;
    const std::size_t new_first = new_line;
    std::string body;
    for (; at < end; ++at) {
      const Edit& edit = edits[at];
      skip(edit);
      const char mark = edit.kind == Edit::Kind::keep  ? ' '
                        : edit.kind == Edit::Kind::add ? '+'
                                                       : '-';
      append_line(body, mark, edit.line);
    }
    out += "@@ -" + range_text(old_first, old_line - old_first) + " +" +
           range_text(new_first, new_line - new_first) + " @@\n" + body;
  }
}

}  // namespace p2p
