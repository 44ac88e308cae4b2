// What a manifest may say, its geometry, and its form as bytes.
#include "core/model/manifest.h"

#include <functional>
#include <string>
#include <vector>

#include "core/base/rng.h"
#include "io/content/manifest_codec.h"
#include "io/content/merkle.h"
#include "proto/content.pb.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kChunk = 256 * kKiB;

// A file of 3 chunks and 5 bytes with two holes: [64 KiB, 320 KiB) and [512 KiB, 704 KiB).
Manifest sample() {
  ManifestEntry entry;
  entry.path = "image.raw";
  entry.mode = 0640;
  entry.owner = "images";
  entry.group = "staff";
  entry.mtime_ns = -1'500'000'000;
  entry.tree = tree_of_bytes(std::string(3 * kChunk + 5, 'x'));
  entry.data = {{0, 64 * kKiB}, {320 * kKiB, 192 * kKiB}, {704 * kKiB, 64 * kKiB + 5}};
  Manifest manifest;
  manifest.entries.push_back(entry);
  return manifest;
}

bool same(const ManifestEntry& a, const ManifestEntry& b) {
  return a.path == b.path && a.type == b.type && a.mode == b.mode && a.owner == b.owner &&
         a.group == b.group && a.mtime_ns == b.mtime_ns && a.tree == b.tree && a.data == b.data;
}

std::string refusal(const std::function<void(Manifest&, ManifestEntry&)>& spoil) {
  Manifest manifest = sample();
  REQUIRE(validate(manifest));
  spoil(manifest, manifest.entries.front());
  const Status status = validate(manifest);
  return status ? "accepted" : status.error().detail;
}

std::string refusal_of_path(const std::string& path) {
  return refusal([&](Manifest&, ManifestEntry& entry) { entry.path = path; });
}

std::string refusal_of_data(const std::vector<ByteRange>& data) {
  return refusal([&](Manifest&, ManifestEntry& entry) { entry.data = data; });
}

std::string refusal_of_record(const std::function<void(RootRecord&)>& spoil) {
  RootRecord record = pack(sample()).root_record;
  REQUIRE(validate(record));
  spoil(record);
  const Status status = validate(record);
  return status ? "accepted" : status.error().detail;
}

// The body of sample() changed by somebody who can serialise, too.
std::string forged_body(const std::function<void(proto::ManifestBody&)>& forge) {
  proto::ManifestBody body;
  REQUIRE(body.ParseFromString(encode_body(sample())));
  forge(body);
  return body.SerializeAsString();
}

std::string forged_record(const std::function<void(proto::RootRecord&)>& forge) {
  proto::RootRecord record;
  REQUIRE(record.ParseFromString(pack(sample()).root_record_bytes));
  forge(record);
  return record.SerializeAsString();
}

std::string body_of_empty_extents(std::size_t count) {
  std::string entry;
  entry.reserve(2 * count);
  for (std::size_t i = 0; i < count; ++i) entry += {'\x42', '\0'};
  std::string bytes = "\x12";
  for (int shift = 0; shift < 28; shift += 7) {  // the length as a varint of four bytes
    bytes += static_cast<char>((entry.size() >> shift & 127) | (shift < 21 ? 128 : 0));
  }
  return bytes + entry;
}

}  // namespace

using Catch::Matchers::Contains;

TEST_CASE("A chunk is the smallest power of two of at least size / 2048", "[io][content]") {
  CHECK(chunk_bytes_for(0) == kChunk);
  CHECK(chunk_bytes_for(1) == kChunk);
  CHECK(chunk_bytes_for(2048 * kChunk) == kChunk);
  CHECK(chunk_bytes_for(2048 * kChunk + 1) == 2 * kChunk);
  CHECK(chunk_bytes_for(4096 * kChunk) == 2 * kChunk);
  CHECK(chunk_bytes_for(2048ull * kMaxChunkBytes) == kMaxChunkBytes);
  CHECK(chunk_bytes_for(kMaxFileBytes) == kMaxChunkBytes);
}

TEST_CASE("A file has as many chunks as cover it", "[io][content]") {
  CHECK(chunk_count_for(0) == 0);
  CHECK(chunk_count_for(1) == 1);
  CHECK(chunk_count_for(kChunk) == 1);
  CHECK(chunk_count_for(kChunk + 1) == 2);
  CHECK(chunk_count_for(2048 * kChunk) == 2048);
  CHECK(chunk_count_for(2048 * kChunk + 1) == 1025);
  CHECK(chunk_count_for(kMaxFileBytes) == 2'097'152);
}

TEST_CASE("A manifest with other than one entry is refused", "[io][content]") {
  CHECK_THAT(refusal([](Manifest& m, ManifestEntry&) { m.entries.clear(); }),
             Contains("one entry"));
  CHECK_THAT(refusal([](Manifest& m, ManifestEntry&) { m.entries.push_back(m.entries[0]); }),
             Contains("one entry"));
}

TEST_CASE("A path that is no plain base name is refused", "[io][content]") {
  CHECK_THAT(refusal_of_path(""), Contains("empty path"));
  CHECK_THAT(refusal_of_path("."), Contains("plain base name"));
  CHECK_THAT(refusal_of_path(".."), Contains("plain base name"));
  CHECK_THAT(refusal_of_path("a/b"), Contains("plain base name"));
  CHECK_THAT(refusal_of_path("/etc"), Contains("plain base name"));
  CHECK_THAT(refusal_of_path(std::string("a\0b", 3)), Contains("plain base name"));
  CHECK_THAT(refusal_of_path(std::string(256, 'a')), Contains("longer than 255"));
  CHECK_THAT(refusal_of_path(".p2pd-x"), Contains("reserved"));
}

TEST_CASE("A path may be any other bytes of up to 255", "[io][content]") {
  CHECK(refusal_of_path("..a") == "accepted");
  CHECK(refusal_of_path("\xff\n \x1b[31m") == "accepted");
  CHECK(refusal_of_path(std::string(255, 'a')) == "accepted");
}

TEST_CASE("Foreign bytes do not reach a terminal as they are", "[io][content]") {
  CHECK_THAT(refusal_of_path("\x1b[31m/"), Contains("\\x1b") && !Contains("\x1b"));
}

TEST_CASE("Accounts, modes and types outside their limits are refused", "[io][content]") {
  CHECK_THAT(refusal([](Manifest&, ManifestEntry& e) { e.owner = std::string(256, 'o'); }),
             Contains("owner"));
  CHECK_THAT(refusal([](Manifest&, ManifestEntry& e) { e.group = std::string(1, '\0'); }),
             Contains("group"));
  CHECK_THAT(refusal([](Manifest&, ManifestEntry& e) { e.mode = 0100644; }), Contains("mode"));
  CHECK_THAT(refusal([](Manifest&, ManifestEntry& e) { e.type = static_cast<EntryType>(7); }),
             Contains("type"));
}

TEST_CASE("A size, root and layer that do not fit each other are refused", "[io][content]") {
  CHECK_THAT(refusal([](Manifest&, ManifestEntry& e) { e.tree.size = kMaxFileBytes + 1; }),
             Contains("above the limit"));
  CHECK_THAT(refusal([](Manifest&, ManifestEntry& e) { e.tree.size = ~0ull; }),
             Contains("above the limit"));
  CHECK_THAT(refusal([](Manifest&, ManifestEntry& e) { e.tree.layer.pop_back(); }),
             Contains("layer of 4"));
  CHECK_THAT(refusal([](Manifest&, ManifestEntry& e) { e.tree.root = Digest{}; }),
             Contains("root"));
  CHECK_THAT(refusal([](Manifest&, ManifestEntry& e) { e.tree.size = 0; }), Contains("root"));
  CHECK_THAT(refusal([](Manifest&, ManifestEntry& e) { e.tree.size = kChunk; }),
             Contains("layer of 0"));
}

TEST_CASE("Data extents that break a rule are refused", "[io][content]") {
  const std::uint64_t end = 3 * kChunk + 5;
  CHECK_THAT(refusal_of_data({{0, end + 1}}), Contains("outside the file"));
  CHECK_THAT(refusal_of_data({{kChunk, ~0ull}}), Contains("outside the file"));
  CHECK_THAT(refusal_of_data({{0, 0}}), Contains("is empty"));
  CHECK_THAT(refusal_of_data({{kChunk + 1, kBlockBytes}}), Contains("whole blocks"));
  CHECK_THAT(refusal_of_data({{kChunk, kBlockBytes + 1}}), Contains("whole blocks"));
  CHECK_THAT(refusal_of_data({{0, kChunk}, {kChunk, kChunk}}), Contains("touches"));
  CHECK_THAT(refusal_of_data({{0, 2 * kChunk}, {kChunk, kChunk}}), Contains("touches"));
  CHECK_THAT(refusal_of_data({{2 * kChunk, kBlockBytes}, {0, kBlockBytes}}), Contains("touches"));
  CHECK_THAT(refusal_of_data({{0, kBlockBytes}, {4 * kBlockBytes, kBlockBytes}}),
             Contains("too short"));
  CHECK_THAT(refusal_of_data({{kBlockBytes, end - kBlockBytes}}), Contains("too short"));
  CHECK_THAT(refusal_of_data({{0, end - 5}}), Contains("too short"));
  CHECK_THAT(refusal_of_data(std::vector<ByteRange>(kMaxDataExtents + 1)), Contains("limit"));
}

TEST_CASE("A file may be one hole, or empty, or all data", "[io][content]") {
  const std::uint64_t end = 3 * kChunk + 5;
  CHECK(refusal_of_data({}) == "accepted");
  CHECK(refusal_of_data({{0, end}}) == "accepted");
  CHECK(refusal_of_data({{0, kBlockBytes}, {5 * kBlockBytes, kBlockBytes}}) == "accepted");
  CHECK(refusal([](Manifest&, ManifestEntry& e) {
          e.tree = HashTree{};
          e.data.clear();
        }) == "accepted");
}

TEST_CASE("A root record with impossible sizes is refused", "[io][content]") {
  CHECK_THAT(refusal_of_record([](RootRecord& r) { r.total_bytes = kMaxFileBytes + 1; }),
             Contains("above the limit"));
  CHECK_THAT(refusal_of_record([](RootRecord& r) { r.data_bytes = r.total_bytes + 1; }),
             Contains("bytes of data"));
  CHECK_THAT(refusal_of_record([](RootRecord& r) { r.body = HashTree{}; }), Contains("empty"));
  CHECK_THAT(refusal_of_record([](RootRecord& r) { r.body.size = kMaxBodyBytes + 1; }),
             Contains("above the limit"));
  CHECK_THAT(refusal_of_record([](RootRecord& r) { r.body.layer.resize(1); }), Contains("layer"));
}

TEST_CASE("Chunks lie one after the other and the last may be short", "[io][content]") {
  const ManifestEntry entry = sample().entries.front();
  const ChunkSpace space(entry.tree, entry.data);
  REQUIRE(space.count() == 4);
  CHECK(space.chunk_bytes() == kChunk);
  CHECK(space.size() == 3 * kChunk + 5);
  CHECK(space.offset_of(ChunkIndex{3}) == 3 * kChunk);
  CHECK(space.size_of(ChunkIndex{2}) == kChunk);
  CHECK(space.size_of(ChunkIndex{3}) == 5);
  CHECK(space.leaves_of(ChunkIndex{2}) == 16);
  CHECK(space.leaves_of(ChunkIndex{3}) == 1);
  CHECK(space.padded_leaves_of(ChunkIndex{3}) == 16);
  CHECK(space.expected(ChunkIndex{3}) == entry.tree.layer[3]);
}

TEST_CASE("A file of one chunk or less pads to a power of two of its own blocks", "[io][content]") {
  const ChunkSpace space(tree_of_bytes(std::string(4 * kBlockBytes + 1, 'x')));
  REQUIRE(space.count() == 1);
  CHECK(space.leaves_of(ChunkIndex{0}) == 5);
  CHECK(space.padded_leaves_of(ChunkIndex{0}) == 8);
  CHECK(space.expected(ChunkIndex{0}) == space.tree().root);
}

TEST_CASE("An empty file has no chunks", "[io][content]") {
  CHECK(ChunkSpace().count() == 0);
  CHECK(ChunkSpace(HashTree{}).count() == 0);
  CHECK(ChunkSpace(HashTree{}).data_bytes() == 0);
}

TEST_CASE("Only data is requested, cut at the longest request", "[io][content]") {
  //  chunk   0                    1                     2                      3
  //  data    0-64 Ki              320-512 Ki            704-768 Ki             5 bytes
  const ManifestEntry entry = sample().entries.front();
  const ChunkSpace space(entry.tree, entry.data);
  using Ranges = std::vector<ByteRange>;
  CHECK(space.ranges_of(ChunkIndex{0}, kChunk) == Ranges{{0, 64 * kKiB}});
  CHECK(space.ranges_of(ChunkIndex{1}, kChunk) == Ranges{{64 * kKiB, 192 * kKiB}});
  CHECK(space.ranges_of(ChunkIndex{2}, kChunk) == Ranges{{192 * kKiB, 64 * kKiB}});
  CHECK(space.ranges_of(ChunkIndex{3}, kChunk) == Ranges{{0, 5}});
  CHECK(space.ranges_of(ChunkIndex{1}, 128 * kKiB) ==
        Ranges{{64 * kKiB, 128 * kKiB}, {192 * kKiB, 64 * kKiB}});
  CHECK(space.data_bytes_of(ChunkIndex{1}) == 192 * kKiB);
  CHECK(space.data_bytes_of(ChunkIndex{3}) == 5);
  CHECK(space.data_bytes() == 320 * kKiB + 5);
}

TEST_CASE("A chunk with several extents has several ranges and a hole has none", "[io][content]") {
  HashTree tree = sample().entries.front().tree;
  const ChunkSpace space(tree, {{0, kBlockBytes}, {128 * kKiB, kBlockBytes}});
  CHECK(space.ranges_of(ChunkIndex{0}, kChunk) ==
        std::vector<ByteRange>{{0, kBlockBytes}, {128 * kKiB, kBlockBytes}});
  CHECK(space.ranges_of(ChunkIndex{1}, kChunk).empty());
  CHECK(space.data_bytes_of(ChunkIndex{1}) == 0);
  CHECK(ChunkSpace(tree, {}).data_bytes() == 0);
  CHECK(ChunkSpace(tree).data_bytes() == tree.size);
}

TEST_CASE("A packed manifest comes back as it was", "[io][content]") {
  const Manifest manifest = sample();
  const PackedManifest packed = pack(manifest);
  CHECK(packed.content_id.digest == sha256(packed.root_record_bytes));
  CHECK(packed.root_record.total_bytes == 3 * kChunk + 5);
  CHECK(packed.root_record.data_bytes == 320 * kKiB + 5);
  CHECK(packed.root_record.body == tree_of_bytes(packed.body_bytes));

  const auto record = decode_root_record_of(packed.content_id, packed.root_record_bytes);
  REQUIRE(record);
  CHECK(record->total_bytes == packed.root_record.total_bytes);
  CHECK(record->data_bytes == packed.root_record.data_bytes);
  CHECK(record->body == packed.root_record.body);
  const auto body = decode_body_of(*record, packed.body_bytes);
  REQUIRE(body);
  CHECK(same(body->entries.front(), manifest.entries.front()));
}

TEST_CASE("An empty file can be packed", "[io][content]") {
  Manifest manifest = sample();
  manifest.entries.front().tree = HashTree{};
  manifest.entries.front().data.clear();
  const PackedManifest packed = pack(manifest);
  const auto body = decode_body_of(packed.root_record, packed.body_bytes);
  REQUIRE(body);
  CHECK(same(body->entries.front(), manifest.entries.front()));
}

TEST_CASE("The content id of a manifest is the same in every release", "[io][content]") {
  CHECK(pack(sample()).content_id.hex() ==
        "1db5150e3bcb9b12d8f361ea9e39e8874ee01277988403639fe0ac1475ce5000");
}

TEST_CASE("A body or record that is cut short is refused", "[io][content]") {
  const PackedManifest packed = pack(sample());
  for (std::size_t size = 0; size < packed.body_bytes.size(); ++size) {
    CAPTURE(size);
    REQUIRE_FALSE(decode_body(packed.body_bytes.substr(0, size)));
  }
  for (std::size_t size = 0; size < packed.root_record_bytes.size(); ++size) {
    CAPTURE(size);
    REQUIRE_FALSE(decode_root_record(packed.root_record_bytes.substr(0, size)));
  }
}

TEST_CASE("A flipped bit is refused by whoever knows the id", "[io][content]") {
  const PackedManifest packed = pack(sample());
  for (std::size_t bit = 0; bit < packed.body_bytes.size() * 8; ++bit) {
    std::string bytes = packed.body_bytes;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    static_cast<void>(decode_body(bytes));  // may pass: a time is as good as another
    const auto body = decode_body_of(packed.root_record, bytes);
    REQUIRE_FALSE(body);
    REQUIRE(body.error().code == Errc::corrupt);
  }
  for (std::size_t bit = 0; bit < packed.root_record_bytes.size() * 8; ++bit) {
    std::string bytes = packed.root_record_bytes;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    static_cast<void>(decode_root_record(bytes));
    const auto record = decode_root_record_of(packed.content_id, bytes);
    REQUIRE_FALSE(record);
    REQUIRE(record.error().code == Errc::corrupt);
  }
}

TEST_CASE("A flipped bit in a layer is refused without knowing the id", "[io][content]") {
  const std::string bytes = forged_body([](proto::ManifestBody& body) {
    (*body.mutable_entries(0)->mutable_tree()->mutable_layer())[40] ^= 1;
  });
  const auto body = decode_body(bytes);
  REQUIRE_FALSE(body);
  CHECK_THAT(body.error().detail, Contains("does not hash up to the root"));
}

TEST_CASE("A well-formed body that breaks a rule is corrupt", "[io][content]") {
  const auto refused = [](const std::function<void(proto::Entry&)>& forge) {
    const auto body = decode_body(
        forged_body([&](proto::ManifestBody& message) { forge(*message.mutable_entries(0)); }));
    return !body && body.error().code == Errc::corrupt;
  };
  CHECK_FALSE(refused([](proto::Entry&) {}));
  CHECK(refused([](proto::Entry& e) { e.set_path("../x"); }));
  CHECK(refused([](proto::Entry& e) { e.set_type(static_cast<proto::Entry::Type>(9)); }));
  CHECK(refused([](proto::Entry& e) { e.mutable_data(0)->set_offset(~0ull); }));
  CHECK(refused([](proto::Entry& e) { e.mutable_tree()->set_size(kMaxFileBytes * 2); }));
  CHECK(refused([](proto::Entry& e) { e.mutable_tree()->mutable_root()->push_back('x'); }));
  CHECK(refused([](proto::Entry& e) { e.mutable_tree()->mutable_layer()->push_back('x'); }));
  CHECK(refused([](proto::Entry& e) { e.clear_tree(); }));
}

TEST_CASE("A newer version is refused with the advice to update", "[io][content]") {
  const auto body = decode_body(forged_body([](proto::ManifestBody& b) { b.set_version(2); }));
  REQUIRE_FALSE(body);
  CHECK(body.error().code == Errc::invalid_argument);
  CHECK_THAT(body.error().detail, Contains("update this node"));
  const auto record =
      decode_root_record(forged_record([](proto::RootRecord& r) { r.set_version(2); }));
  REQUIRE_FALSE(record);
  CHECK(record.error().code == Errc::invalid_argument);
}

TEST_CASE("A record whose sums are not those of its body is refused", "[io][content]") {
  const PackedManifest packed = pack(sample());
  RootRecord record = packed.root_record;
  record.total_bytes += 1;
  CHECK_FALSE(decode_body_of(record, packed.body_bytes));
  record = packed.root_record;
  record.data_bytes -= 1;
  CHECK_FALSE(decode_body_of(record, packed.body_bytes));
}

TEST_CASE("Bytes above the limits are refused unread", "[io][content]") {
  CHECK_FALSE(decode_root_record(std::string(kMaxRootRecordBytes + 1, '\0')));
  CHECK_FALSE(decode_body(std::string(kMaxBodyBytes + 1, '\0')));
}

TEST_CASE("A small body that would fill memory is refused before it is parsed", "[io][content]") {
  // Two bytes on the wire for each extent. A few of them are parsed and miss the version.
  const auto few_extents = decode_body(body_of_empty_extents(1000));
  REQUIRE_FALSE(few_extents);
  CHECK_THAT(few_extents.error().detail, Contains("without a version"));
  const auto many_extents = decode_body(body_of_empty_extents(8'000'000));
  REQUIRE_FALSE(many_extents);
  CHECK_THAT(many_extents.error().detail, Contains("more fields than"));

  std::string entries;
  while (entries.size() < 1u << 20) entries += {'\x12', '\0'};
  const auto many_entries = decode_body(entries);
  REQUIRE_FALSE(many_entries);
  CHECK_THAT(many_entries.error().detail, Contains("more fields than"));
}

TEST_CASE("Random bytes never decode and never crash", "[io][content]") {
  Rng rng(7);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes(rng.below(64), '\0');
    for (char& byte : bytes) byte = static_cast<char>(rng.next());
    REQUIRE_FALSE(decode_body(bytes));
    REQUIRE_FALSE(decode_root_record(bytes));
  }
}

}  // namespace p2p
