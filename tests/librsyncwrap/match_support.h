// Signatures and matches of files in memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "core/base/copy_map.h"
#include "librsyncwrap/file_match.h"
#include "librsyncwrap/signature.h"
#include "librsyncwrap/signature_builder.h"
#include "tests/support/catch.h"
#include "tests/support/delta_data.h"

namespace p2p::rsync {

using delta_data::Bytes;
using delta_data::Pair;

inline SignatureLayout layout_of(std::uint64_t file_bytes, std::uint32_t block_bytes) {
  const auto layout = SignatureLayout::of(file_bytes, block_bytes);
  REQUIRE(layout);
  return *layout;
}

// Header and records.
inline Bytes signature_of(std::span<const std::uint8_t> file, std::uint32_t block_bytes) {
  const auto header = encode_signature_header(layout_of(file.size(), block_bytes));
  Bytes signature(header.begin(), header.end());
  SignatureBuilder builder(block_bytes);
  REQUIRE(builder.feed(file));
  REQUIRE(builder.finish());
  const Bytes records = builder.take();
  signature.insert(signature.end(), records.begin(), records.end());
  return signature;
}

inline std::vector<Record> records_of(std::span<const std::uint8_t> file,
                                      std::uint32_t block_bytes) {
  const Bytes signature = signature_of(file, block_bytes);
  return decode_records(std::span(signature).subspan(kHeaderBytes));
}

inline MatchInput input_of(const Bytes& old_file, const Bytes& signature) {
  MatchInput input;
  input.old_bytes = old_file.size();
  if (!old_file.empty()) input.old_data = {{0, old_file.size()}};
  input.read_old = [&old_file](std::uint64_t offset,
                               std::span<std::uint8_t> out) -> Result<std::size_t> {
    if (offset >= old_file.size()) return std::size_t{0};
    const std::size_t count = std::min<std::size_t>(out.size(), old_file.size() - offset);
    std::memcpy(out.data(), old_file.data() + offset, count);
    return count;
  };
  input.read_signature = [&signature](std::uint64_t offset, std::span<std::uint8_t> out) -> Status {
    REQUIRE(offset + out.size() <= signature.size());
    std::memcpy(out.data(), signature.data() + offset, out.size());
    return {};
  };
  return input;
}

// Bytes of the map that are not what the old file has there.
inline std::uint64_t wrong_bytes(const CopyMap& map, const Bytes& old_file, const Bytes& new_file) {
  std::uint64_t wrong = 0;
  for (const CopyRange& range : map.ranges()) {
    REQUIRE(range.new_end() <= new_file.size());
    if (range.old_end() > old_file.size() ||
        !std::equal(new_file.begin() + static_cast<std::ptrdiff_t>(range.new_offset),
                    new_file.begin() + static_cast<std::ptrdiff_t>(range.new_end()),
                    old_file.begin() + static_cast<std::ptrdiff_t>(range.old_offset))) {
      wrong += range.length;
    }
  }
  return wrong;
}

inline MatchResult match(const Pair& pair, std::uint32_t block_bytes,
                         const MatchOptions& options = {}) {
  const Bytes signature = signature_of(pair.new_file, block_bytes);
  const std::vector<ByteRange> all{{0, pair.new_file.size()}};
  auto result = match_file(layout_of(pair.new_file.size(), block_bytes), all,
                           input_of(pair.old_file, signature), options);
  REQUIRE(result);
  CHECK(wrong_bytes(result->map, pair.old_file, pair.new_file) == 0);
  return *std::move(result);
}

}  // namespace p2p::rsync
