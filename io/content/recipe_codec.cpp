#include "io/content/recipe_codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include <utility>

#include "core/base/check.h"
#include "core/model/manifest.h"

namespace p2p {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

constexpr std::string_view kMagic = "p2pR";
constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kLeastRangeBytes = 3;
constexpr int kRootBytes = 32;

Error corrupt(std::string why) {
  return Error{Errc::corrupt, "recipe: " + std::move(why)};
}

void put(CodedOutputStream& out, const FileVersion& file) {
  out.WriteVarint64(file.size);
  out.WriteRaw(file.root.bytes.data(), kRootBytes);
}

bool get(CodedInputStream& in, FileVersion& file) {
  return in.ReadVarint64(&file.size) && in.ReadRaw(file.root.bytes.data(), kRootBytes);
}

// Offsets are below 2^44 in a valid recipe, so differences fit; of others only that no arithmetic
// goes wrong matters: it is done without signs.
std::uint64_t shift_of(const CopyRange& range) {
  return range.old_offset - range.new_offset;
}

}  // namespace

std::string encode_recipe(const Recipe& recipe) {
  P2P_CHECK(validate(recipe));
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    CodedOutputStream out(&stream);
    out.WriteRaw(kMagic.data(), static_cast<int>(kMagic.size()));
    out.WriteVarint64(kVersion);
    put(out, recipe.old_file);
    put(out, recipe.new_file);
    out.WriteVarint64(recipe.copies.size());
    std::uint64_t done = 0;
    std::uint64_t shift = 0;
    for (const CopyRange& range : recipe.copies) {
      out.WriteVarint64(range.new_offset - done);
      out.WriteVarint64(range.length);
      out.WriteVarint64(
          WireFormatLite::ZigZagEncode64(static_cast<std::int64_t>(shift_of(range) - shift)));
      done = range.new_end();
      shift = shift_of(range);
    }
  }
  P2P_CHECK(bytes.size() <= kMaxRecipeBytes);
  return bytes;
}

Result<Recipe> decode_recipe(std::string_view bytes) {
  if (bytes.size() > kMaxRecipeBytes) {
    return corrupt(std::to_string(bytes.size()) + " bytes are above the limit of " +
                   std::to_string(kMaxRecipeBytes));
  }
  if (bytes.substr(0, kMagic.size()) != kMagic) return corrupt("begins with something else");
  const std::string_view rest = bytes.substr(kMagic.size());
  CodedInputStream in(reinterpret_cast<const std::uint8_t*>(rest.data()),
                      static_cast<int>(rest.size()));
  const Error cut_short = corrupt("cut short or damaged");
  std::uint64_t version = 0;
  if (!in.ReadVarint64(&version)) return cut_short;
  if (version > kVersion) {
    return Error{Errc::invalid_argument, "recipe has version " + std::to_string(version) +
                                             ", this release reads version 1; update this node"};
  }
  if (version != kVersion) return corrupt("without a version");
  Recipe recipe;
  std::uint64_t count = 0;
  if (!get(in, recipe.old_file) || !get(in, recipe.new_file) || !in.ReadVarint64(&count)) {
    return cut_short;
  }
  const std::size_t left = rest.size() - static_cast<std::size_t>(in.CurrentPosition());
  if (count > recipe_ranges_max(recipe.new_file.size) || count > left / kLeastRangeBytes) {
    return corrupt(std::to_string(count) + " ranges in " + std::to_string(left) +
                   " bytes, for a file of " + std::to_string(recipe.new_file.size));
  }
  recipe.copies.reserve(static_cast<std::size_t>(count));
  std::uint64_t done = 0;
  std::uint64_t shift = 0;
  for (; count > 0; --count) {
    std::uint64_t gap = 0;
    std::uint64_t length = 0;
    std::uint64_t change = 0;
    if (!in.ReadVarint64(&gap) || !in.ReadVarint64(&length) || !in.ReadVarint64(&change)) {
      return cut_short;
    }
    // Also keeps the sums below from going round.
    if (gap > kMaxFileBytes || length > kMaxFileBytes) {
      return corrupt("a range of " + std::to_string(length) + " bytes behind a gap of " +
                     std::to_string(gap));
    }
    shift += static_cast<std::uint64_t>(WireFormatLite::ZigZagDecode64(change));
    const std::uint64_t offset = done + gap;
    recipe.copies.push_back({offset, offset + shift, length});
    done = offset + length;
  }
  if (static_cast<std::size_t>(in.CurrentPosition()) != rest.size()) {
    return corrupt("bytes behind its end");
  }
  if (const Status valid = validate(recipe); !valid) {
    return Error{Errc::corrupt, valid.error().detail};
  }
  return recipe;
}

}  // namespace p2p
