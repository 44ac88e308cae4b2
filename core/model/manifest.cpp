#include "core/model/manifest.h"

#include <algorithm>
#include <bit>
#include <string_view>
#include <utility>

#include "core/base/check.h"

namespace p2p {
namespace {

constexpr std::size_t kMaxNameBytes = 255;  // NAME_MAX of Linux; also for owner and group
constexpr std::uint64_t kChunksAimedAt = 2048;
constexpr std::uint32_t kPermissionBits = 07777;

Error refused(std::string why) {
  return Error{Errc::invalid_argument, std::move(why)};
}

// Foreign bytes made fit for a terminal.
std::string quoted(std::string_view raw) {
  constexpr std::size_t kMost = 64;
  std::string text = "\"";
  for (const char c : raw.substr(0, kMost)) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\') {
      text += c;
    } else {
      text += "\\x" + to_hex(&byte, 1);
    }
  }
  return text + (raw.size() > kMost ? "...\"" : "\"");
}

Status check_path(std::string_view path) {
  if (path.empty()) return refused("the entry has an empty path; a file needs its base name");
  if (path.size() > kMaxNameBytes) {
    return refused("path " + quoted(path) + " is longer than 255 bytes; rename the file");
  }
  if (path.find('\0') != path.npos || path.find('/') != path.npos || path == "." || path == "..") {
    return refused("path " + quoted(path) + " is not a plain base name");
  }
  if (path.starts_with(".p2pd-")) {
    return refused("path " + quoted(path) +
                   ": names that begin with .p2pd- are reserved for"
                   " unfinished files; rename the file");
  }
  return {};
}

Status check_account(std::string_view name, std::string_view what) {
  if (name.size() > kMaxNameBytes || name.find('\0') != name.npos) {
    return refused(std::string(what) + " " + quoted(name) +
                   " is longer than 255 bytes or has a NUL");
  }
  return {};
}

Status check_tree_shape(const HashTree& tree, std::uint64_t max_bytes) {
  const std::string size = std::to_string(tree.size);
  if (tree.size > max_bytes) {
    return refused("size " + size + " is above the limit of " + std::to_string(max_bytes));
  }
  if ((tree.size == 0) != (tree.root == Digest{})) {
    return refused("size " + size + ": the root must be zero for an empty run of bytes, only");
  }
  const std::uint32_t chunks = chunk_count_for(tree.size);
  const std::size_t wanted = chunks > 1 ? chunks : 0;
  if (tree.layer.size() != wanted) {
    return refused("size " + size + " needs a layer of " + std::to_string(wanted) +
                   " digests, found " + std::to_string(tree.layer.size()));
  }
  return {};
}

// `min_hole`: what every gap, also before the first and after the last extent, must come to.
Status check_extents(const std::vector<ByteRange>& data, std::uint64_t size,
                     std::uint64_t min_hole) {
  if (data.size() > kMaxDataExtents) {
    return refused(std::to_string(data.size()) + " data extents are more than the limit of " +
                   std::to_string(kMaxDataExtents));
  }
  std::uint64_t covered = 0;  // end of the extent before
  const auto bad_gap = [&](std::uint64_t next) {
    return next != covered && next - covered < min_hole;
  };
  for (const ByteRange& range : data) {
    const std::string where = "data extent at " + std::to_string(range.offset);
    if (range.offset >= size || range.length == 0 || range.length > size - range.offset) {
      return refused(where + " with length " + std::to_string(range.length) +
                     " is empty or outside the file of " + std::to_string(size) + " bytes");
    }
    if (range.offset % kBlockBytes != 0 ||
        (range.end() % kBlockBytes != 0 && range.end() != size)) {
      return refused(where + " with length " + std::to_string(range.length) +
                     " is not made of whole blocks");
    }
    if (range.offset < covered || (range.offset == covered && covered != 0)) {
      return refused(where + " touches, overlaps or precedes the one before it");
    }
    if (bad_gap(range.offset)) return refused(where + " follows a hole that is too short");
    covered = range.end();
  }
  if (bad_gap(size)) return refused("the hole at the end of the file is too short");
  return {};
}

std::uint32_t blocks_in(std::uint32_t bytes) {
  return (bytes + kBlockBytes - 1) / kBlockBytes;
}

}  // namespace

std::uint32_t chunk_bytes_for(std::uint64_t file_bytes) {
  std::uint32_t bytes = kMinChunkBytes;
  while (bytes < kMaxChunkBytes && bytes * kChunksAimedAt < file_bytes) bytes *= 2;
  return bytes;
}

std::uint32_t chunk_count_for(std::uint64_t file_bytes) {
  P2P_CHECK(file_bytes <= kMaxFileBytes);
  const std::uint64_t chunk = chunk_bytes_for(file_bytes);
  return static_cast<std::uint32_t>((file_bytes + chunk - 1) / chunk);
}

Status validate(const Manifest& manifest) {
  if (manifest.entries.size() != 1) {
    return refused("a manifest must have exactly one entry, found " +
                   std::to_string(manifest.entries.size()));
  }
  const ManifestEntry& entry = manifest.entries.front();
  if (Status path = check_path(entry.path); !path) return path;
  const std::string name = "entry " + quoted(entry.path);
  if (entry.type != EntryType::regular) return refused(name + " has an unknown type");
  if ((entry.mode & ~kPermissionBits) != 0) {
    return refused(name + ": mode " + std::to_string(entry.mode) +
                   " has more than permission bits");
  }
  for (const Status& status :
       {check_account(entry.owner, "owner"), check_account(entry.group, "group"),
        check_tree_shape(entry.tree, kMaxFileBytes),
        check_extents(entry.data, entry.tree.size, kMinHoleBytes)}) {
    if (!status) return status.error().within(name);
  }
  return {};
}

Status validate(const RootRecord& record) {
  if (record.total_bytes > kMaxFileBytes) {
    return refused("root record: total of " + std::to_string(record.total_bytes) +
                   " bytes is above the limit of " + std::to_string(kMaxFileBytes));
  }
  if (record.data_bytes > record.total_bytes) {
    return refused("root record: " + std::to_string(record.data_bytes) + " bytes of data in " +
                   std::to_string(record.total_bytes) + " bytes in all");
  }
  if (record.body.size == 0) return refused("root record: the manifest body is empty");
  if (Status body = check_tree_shape(record.body, kMaxBodyBytes); !body) {
    return body.error().within("root record: manifest body");
  }
  return {};
}

ChunkSpace::ChunkSpace(HashTree tree, std::vector<ByteRange> data)
    : tree_(std::move(tree)),
      data_(std::move(data)),
      chunk_bytes_(chunk_bytes_for(tree_.size)),
      count_(chunk_count_for(tree_.size)) {
  P2P_CHECK(tree_.layer.size() == (count_ > 1 ? count_ : 0));
  P2P_CHECK(check_extents(data_, tree_.size, kBlockBytes));
  for (const ByteRange& range : data_) data_bytes_ += range.length;
}

ChunkSpace::ChunkSpace(HashTree tree)
    : ChunkSpace(tree, tree.size == 0 ? std::vector<ByteRange>{}
                                      : std::vector<ByteRange>{{0, tree.size}}) {}

std::uint64_t ChunkSpace::offset_of(ChunkIndex chunk) const {
  P2P_CHECK(chunk.value < count_);
  return std::uint64_t{chunk.value} * chunk_bytes_;
}

std::uint32_t ChunkSpace::size_of(ChunkIndex chunk) const {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(chunk_bytes_, tree_.size - offset_of(chunk)));
}

std::uint32_t ChunkSpace::data_bytes_of(ChunkIndex chunk) const {
  std::uint64_t bytes = 0;
  for (const ByteRange& range : ranges_of(chunk, chunk_bytes_)) bytes += range.length;
  return static_cast<std::uint32_t>(bytes);
}

const Digest& ChunkSpace::expected(ChunkIndex chunk) const {
  P2P_CHECK(chunk.value < count_);
  return tree_.layer.empty() ? tree_.root : tree_.layer[chunk.value];
}

std::uint32_t ChunkSpace::leaves_of(ChunkIndex chunk) const {
  return blocks_in(size_of(chunk));
}

std::uint32_t ChunkSpace::padded_leaves_of(ChunkIndex chunk) const {
  return count_ > 1 ? chunk_bytes_ / kBlockBytes : std::bit_ceil(leaves_of(chunk));
}

std::vector<ByteRange> ChunkSpace::ranges_of(ChunkIndex chunk, std::uint32_t most) const {
  P2P_CHECK(most > 0 && most % kBlockBytes == 0);
  const std::uint64_t begin = offset_of(chunk);
  const std::uint64_t end = begin + size_of(chunk);
  std::vector<ByteRange> ranges;
  auto extent = std::upper_bound(data_.begin(), data_.end(), begin,
                                 [](std::uint64_t at, const ByteRange& r) { return at < r.end(); });
  for (; extent != data_.end() && extent->offset < end; ++extent) {
    const std::uint64_t stop = std::min(extent->end(), end);
    for (std::uint64_t at = std::max(extent->offset, begin); at < stop; at += most) {
      ranges.push_back({at - begin, std::min<std::uint64_t>(most, stop - at)});
    }
  }
  return ranges;
}

}  // namespace p2p
