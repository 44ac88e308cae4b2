// Manifests and root records.
#include <string>

#include "core/base/check.h"
#include "io/content/manifest_codec.h"
#include "io/content/merkle.h"
#include "tests/fuzz/target.h"

namespace p2p::fuzz {
namespace {

constexpr std::uint64_t kKiB = 1024;

Manifest manifest_of(const std::string& content, std::vector<ByteRange> data) {
  ManifestEntry entry;
  entry.path = "image.raw";
  entry.mode = 0640;
  entry.owner = "images";
  entry.group = "staff";
  entry.mtime_ns = -1'500'000'000;
  entry.tree = tree_of_bytes(content);
  entry.data = std::move(data);
  Manifest manifest;
  manifest.entries.push_back(std::move(entry));
  return manifest;
}

Manifest sparse() {
  return manifest_of(std::string(3 * 256 * kKiB + 5, 'x'),
                     {{0, 64 * kKiB}, {320 * kKiB, 192 * kKiB}, {704 * kKiB, 64 * kKiB + 5}});
}

void run_body(Bytes input) {
  const auto manifest = decode_body(text_of(input));
  if (!manifest) {
    P2P_CHECK(!manifest.error().detail.empty());
    return;
  }
  // What was believed keeps what validate() promises, and its meaning survives another packing.
  const PackedManifest packed = pack(*manifest);
  const auto again = decode_body_of(packed.root_record, packed.body_bytes);
  P2P_CHECK(again && again->entries.size() == manifest->entries.size());
  for (const ManifestEntry& entry : manifest->entries) {
    const ChunkSpace space(entry.tree, entry.data);
    std::uint64_t bytes = 0;
    for (std::uint32_t i = 0; i < space.count() && i < 10'000; ++i) {
      const ChunkIndex chunk{i};
      P2P_CHECK(space.size_of(chunk) > 0 && space.data_bytes_of(chunk) <= space.size_of(chunk));
      bytes += space.size_of(chunk);
    }
    P2P_CHECK(space.count() > 10'000 || bytes == entry.tree.size);
  }
}

std::vector<std::string> body_seeds() {
  return {encode_body(sparse()), encode_body(manifest_of("small", {{0, 5}})),
          encode_body(manifest_of("", {}))};
}

void run_root_record(Bytes input) {
  const auto record = decode_root_record(text_of(input));
  if (!record) {
    P2P_CHECK(!record.error().detail.empty());
    return;
  }
  const auto again = decode_root_record(encode_root_record(*record));
  P2P_CHECK(again && again->body == record->body && again->total_bytes == record->total_bytes);
  const ChunkSpace space(record->body);
  P2P_CHECK(record->body.size == 0 || space.count() > 0);
}

std::vector<std::string> root_record_seeds() {
  return {pack(sparse()).root_record_bytes, pack(manifest_of("", {})).root_record_bytes};
}

}  // namespace

std::vector<Target> content_targets() {
  return {{"manifest_body", run_body, body_seeds},
          {"root_record", run_root_record, root_record_seeds}};
}

}  // namespace p2p::fuzz
