#include "tools/p2pctl/output_store.h"

#include <algorithm>

#include "core/base/units.h"

namespace p2p {

std::uint32_t OutputStore::keep(std::string_view bytes) {
  const auto known = numbers_.find(bytes);
  if (known != numbers_.end()) return known->second;
  const auto number = static_cast<std::uint32_t>(blocks_.size());
  blocks_.emplace_back(bytes);
  numbers_.emplace(blocks_.back(), number);
  bytes_ += bytes.size();
  return number;
}

std::string_view OutputStream::place(std::uint64_t offset, std::string_view bytes) {
  if (offset < end_) {
    bytes.remove_prefix(std::min<std::uint64_t>(end_ - offset, bytes.size()));
    offset = end_;
  }
  if (bytes.empty()) return bytes;
  if (offset > end_) gaps_.push_back({kept_, offset - end_});
  end_ = offset + bytes.size();
  kept_ += bytes.size();
  return bytes;
}

std::string_view OutputStream::pass(std::uint64_t offset, std::string_view bytes) {
  return place(offset, bytes);
}

std::string_view OutputStream::add(OutputStore& store, std::uint64_t offset,
                                   std::string_view bytes) {
  bytes = place(offset, bytes);
  std::string_view rest = bytes;
  while (tail_.size() + rest.size() >= OutputStore::kBlockBytes) {
    const std::size_t taken = OutputStore::kBlockBytes - tail_.size();
    if (tail_.empty()) {
      blocks_.push_back(store.keep(rest.substr(0, taken)));
    } else {
      tail_ += rest.substr(0, taken);
      blocks_.push_back(store.keep(tail_));
      tail_.clear();
    }
    rest.remove_prefix(taken);
  }
  tail_ += rest;
  return bytes;
}

void OutputStream::finish(OutputStore& store, std::uint64_t written) {
  if (!tail_.empty()) {
    blocks_.push_back(store.keep(tail_));
    tail_ = {};
  }
  blocks_.shrink_to_fit();
  if (written <= end_) return;
  gaps_.push_back({kept_, written - end_});
  end_ = written;
}

void OutputStream::visit(const OutputStore& store, const OnPart& on_part) const {
  std::uint64_t at = 0;
  auto gap = gaps_.begin();
  const auto tell = [&](std::string_view bytes) {
    while (!bytes.empty()) {
      for (; gap != gaps_.end() && gap->at == at; ++gap) on_part({}, gap->bytes);
      const std::uint64_t before_gap = gap == gaps_.end() ? bytes.size() : gap->at - at;
      const std::string_view part = bytes.substr(0, before_gap);
      on_part(part, 0);
      at += part.size();
      bytes.remove_prefix(part.size());
    }
  };
  for (const std::uint32_t number : blocks_) tell(store.block(number));
  tell(tail_);
  for (; gap != gaps_.end(); ++gap) on_part({}, gap->bytes);
}

std::string OutputStream::text(const OutputStore& store) const {
  std::string text;
  visit(store, [&](std::string_view bytes, std::uint64_t missing) {
    if (missing == 0) {
      text += bytes;
      return;
    }
    if (!text.empty() && text.back() != '\n') text += '\n';
    text += missing_text(missing) + "\n";
  });
  return text;
}

std::string missing_text(std::uint64_t bytes) {
  return "[... " + format_bytes(bytes) + " not kept ...]";
}

}  // namespace p2p
