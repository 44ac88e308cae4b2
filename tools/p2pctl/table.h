// An aligned table for people.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace p2p {

// Columns that a terminal needs for `text`: its code points.
std::size_t display_width(std::string_view text);

class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // One cell for each column; an empty cell is printed as "-", and control characters in foreign
  // text cannot steer the terminal.
  void add_row(std::vector<std::string> cells);
  // The titles and every row, each with a line break and no blanks at the end of a line.
  std::string str() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// "name:   value" lines with the values below each other.
class Facts {
 public:
  Facts& add(std::string name, std::string_view value);
  std::string str() const;

 private:
  std::vector<std::pair<std::string, std::string>> facts_;
};

}  // namespace p2p
