#include "tools/p2pctl/table.h"

#include <algorithm>
#include <cstdint>

#include "core/base/check.h"
#include "core/base/text.h"

namespace p2p {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kMaxCellBytes = 4096;

void append_cell(std::string& line, const std::string& text, std::size_t width,
                 Table::Align align) {
  const std::string padding(width - display_width(text), ' ');
  line += align == Table::Align::right ? padding + text : text + padding;
}

void end_line(std::string& out, std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  out += line;
  out += '\n';
}

}  // namespace

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<std::uint8_t>(c) & 0xc0) != 0x80;  // not a continuation byte of UTF-8
  }));
}

void Table::add_row(std::vector<std::string> cells) {
  P2P_CHECK(cells.size() == columns_.size());
  for (std::string& cell : cells) cell = cell.empty() ? "-" : printable(cell, kMaxCellBytes);
  rows_.push_back(std::move(cells));
}

std::string Table::str() const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width = display_width(columns_[i].title);
    for (const auto& row : rows_) width = std::max(width, display_width(row[i]));
    widths.push_back(width);
  }
  const auto line_of = [&](const auto& text_of) {
    std::string line;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (i > 0) line.append(kGap, ' ');
      append_cell(line, text_of(i), widths[i], columns_[i].align);
    }
    return line;
  };
  std::string out;
  end_line(out, line_of([&](std::size_t i) { return columns_[i].title; }));
  for (const auto& row : rows_) end_line(out, line_of([&](std::size_t i) { return row[i]; }));
  return out;
}

Facts& Facts::add(std::string name, std::string_view value) {
  facts_.emplace_back(std::move(name) + ":", value.empty() ? "-" : printable(value, kMaxCellBytes));
  return *this;
}

std::string Facts::str() const {
  std::size_t width = 0;
  for (const auto& [name, value] : facts_) width = std::max(width, display_width(name));
  std::string out;
  for (const auto& [name, value] : facts_) {
    std::string line;
    append_cell(line, name, width + 1, Table::Align::left);
    end_line(out, line + value);
  }
  return out;
}

}  // namespace p2p
