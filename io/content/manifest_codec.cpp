#include "io/content/manifest_codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include <cstring>
#include <utility>

#include "core/base/check.h"
#include "io/content/merkle.h"
#include "proto/content.pb.h"

namespace p2p {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr std::uint32_t kVersion = 1;
// An extent is three fields (itself, offset, length); everything else together is a handful.
constexpr std::size_t kMaxFields = 3 * kMaxDataExtents + 256;

Error corrupt(std::string why) {
  return Error{Errc::corrupt, std::move(why)};
}

template <class Message>
std::string serialised(const Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream output(&stream);
    output.SetSerializationDeterministic(true);
    P2P_CHECK(message.SerializeToCodedStream(&output));
  }
  return bytes;
}

void to_proto(const HashTree& tree, proto::Tree& message) {
  message.set_size(tree.size);
  if (tree.size == 0) return;
  message.set_root(std::string(tree.root.view()));
  std::string layer;
  layer.reserve(tree.layer.size() * 32);
  for (const Digest& digest : tree.layer) layer += digest.view();
  message.set_layer(std::move(layer));
}

Result<HashTree> from_proto(const proto::Tree& message) {
  HashTree tree;
  tree.size = message.size();
  if (!message.root().empty()) {
    const auto root = Digest::from_raw(message.root());
    if (!root) return corrupt("a root of " + std::to_string(message.root().size()) + " bytes");
    tree.root = *root;
  }
  const std::string& layer = message.layer();
  if (layer.size() % 32 != 0) {
    return corrupt("a layer of " + std::to_string(layer.size()) + " bytes is no list of digests");
  }
  tree.layer.resize(layer.size() / 32);
  for (std::size_t i = 0; i < tree.layer.size(); ++i) {
    std::memcpy(tree.layer[i].bytes.data(), layer.data() + 32 * i, 32);
  }
  return tree;
}

// Walks the fields of a serialised manifest body without keeping anything, because two bytes on the
// wire (an empty extent) would cost the parser fifty in memory.
class BodyScan {
 public:
  // False when the bytes are no message or have more entries or fields than any manifest needs.
  bool fits(std::string_view bytes) {
    CodedInputStream input(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                           static_cast<int>(bytes.size()));
    return message(input, Kind::body);
  }

 private:
  enum class Kind { body, entry, leaf };

  bool message(CodedInputStream& input, Kind kind) {
    while (const std::uint32_t tag = input.ReadTag()) {
      if (++fields_ > kMaxFields || !field(input, kind, tag)) return false;
    }
    return input.ConsumedEntireMessage();
  }

  bool field(CodedInputStream& input, Kind kind, std::uint32_t tag) {
    switch (WireFormatLite::GetTagWireType(tag)) {
      case WireFormatLite::WIRETYPE_VARINT: {
        std::uint64_t value = 0;
        return input.ReadVarint64(&value);
      }
      case WireFormatLite::WIRETYPE_FIXED32:
        return input.Skip(4);
      case WireFormatLite::WIRETYPE_FIXED64:
        return input.Skip(8);
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
        return delimited(input, kind, WireFormatLite::GetTagFieldNumber(tag));
      case WireFormatLite::WIRETYPE_START_GROUP:
      case WireFormatLite::WIRETYPE_END_GROUP:
        return false;
    }
    return false;
  }

  bool delimited(CodedInputStream& input, Kind kind, int number) {
    int length = 0;
    if (!input.ReadVarintSizeAsInt(&length)) return false;
    const bool is_entry = kind == Kind::body && number == proto::ManifestBody::kEntriesFieldNumber;
    const bool is_leaf = kind == Kind::entry && (number == proto::Entry::kTreeFieldNumber ||
                                                 number == proto::Entry::kDataFieldNumber);
    if (!is_entry && !is_leaf) return input.Skip(length);
    if (is_entry && ++entries_ > 1) return false;
    const CodedInputStream::Limit limit = input.PushLimit(length);
    const bool good =
        message(input, is_entry ? Kind::entry : Kind::leaf) && input.BytesUntilLimit() == 0;
    input.PopLimit(limit);
    return good;
  }

  std::size_t fields_ = 0;
  std::size_t entries_ = 0;
};

Error newer(std::string_view what, std::uint32_t version) {
  return Error{Errc::invalid_argument, std::string(what) + " has version " +
                                           std::to_string(version) +
                                           ", this release reads version 1; update this node"};
}

Result<ManifestEntry> from_proto(const proto::Entry& message) {
  if (message.type() != proto::Entry::REGULAR) {
    return corrupt("manifest entry of unknown type " + std::to_string(message.type()));
  }
  Result<HashTree> tree = from_proto(message.tree());
  if (!tree) return tree.error().within("manifest entry");
  ManifestEntry entry;
  entry.path = message.path();
  entry.mode = message.mode();
  entry.owner = message.owner();
  entry.group = message.group();
  entry.mtime_ns = message.mtime_ns();
  entry.tree = *std::move(tree);
  entry.data.reserve(static_cast<std::size_t>(message.data_size()));
  for (const proto::Extent& extent : message.data()) {
    entry.data.push_back({extent.offset(), extent.length()});
  }
  return entry;
}

std::uint64_t total_bytes_of(const Manifest& manifest) {
  std::uint64_t bytes = 0;
  for (const ManifestEntry& entry : manifest.entries) bytes += entry.tree.size;
  return bytes;
}

std::uint64_t data_bytes_of(const Manifest& manifest) {
  std::uint64_t bytes = 0;
  for (const ManifestEntry& entry : manifest.entries) {
    for (const ByteRange& range : entry.data) bytes += range.length;
  }
  return bytes;
}

}  // namespace

std::string encode_body(const Manifest& manifest) {
  P2P_CHECK(validate(manifest));
  proto::ManifestBody body;
  body.set_version(kVersion);
  for (const ManifestEntry& entry : manifest.entries) {
    proto::Entry& message = *body.add_entries();
    message.set_path(entry.path);
    message.set_type(proto::Entry::REGULAR);
    message.set_mode(entry.mode);
    message.set_owner(entry.owner);
    message.set_group(entry.group);
    message.set_mtime_ns(entry.mtime_ns);
    to_proto(entry.tree, *message.mutable_tree());
    for (const ByteRange& range : entry.data) {
      proto::Extent& extent = *message.add_data();
      extent.set_offset(range.offset);
      extent.set_length(range.length);
    }
  }
  std::string bytes = serialised(body);
  P2P_CHECK(bytes.size() <= kMaxBodyBytes);
  return bytes;
}

std::string encode_root_record(const RootRecord& record) {
  P2P_CHECK(validate(record));
  proto::RootRecord message;
  message.set_version(kVersion);
  message.set_total_bytes(record.total_bytes);
  message.set_data_bytes(record.data_bytes);
  to_proto(record.body, *message.mutable_body());
  std::string bytes = serialised(message);
  P2P_CHECK(bytes.size() <= kMaxRootRecordBytes);
  return bytes;
}

PackedManifest pack(const Manifest& manifest) {
  PackedManifest packed;
  packed.body_bytes = encode_body(manifest);
  packed.root_record = RootRecord{total_bytes_of(manifest), data_bytes_of(manifest),
                                  tree_of_bytes(packed.body_bytes)};
  packed.root_record_bytes = encode_root_record(packed.root_record);
  packed.content_id = content_id_of(packed.root_record_bytes);
  return packed;
}

Result<Manifest> decode_body(std::string_view bytes) {
  if (bytes.size() > kMaxBodyBytes) {
    return corrupt("manifest body of " + std::to_string(bytes.size()) +
                   " bytes is above the limit of " + std::to_string(kMaxBodyBytes));
  }
  proto::ManifestBody body;
  if (!BodyScan{}.fits(bytes) ||
      !body.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return corrupt("manifest body of " + std::to_string(bytes.size()) +
                   " bytes is cut short, damaged or has more fields than a manifest can need");
  }
  if (body.version() > kVersion) return newer("manifest body", body.version());
  if (body.version() != kVersion) return corrupt("manifest body without a version");
  Manifest manifest;
  for (const proto::Entry& message : body.entries()) {
    Result<ManifestEntry> entry = from_proto(message);
    if (!entry) return entry.error();
    manifest.entries.push_back(*std::move(entry));
  }
  if (const Status valid = validate(manifest); !valid) {
    return corrupt("manifest body: " + valid.error().detail);
  }
  for (const ManifestEntry& entry : manifest.entries) {
    if (const Status tree = check_tree(entry.tree); !tree) {
      return tree.error().within("manifest body");
    }
  }
  return manifest;
}

Result<RootRecord> decode_root_record(std::string_view bytes) {
  if (bytes.size() > kMaxRootRecordBytes) {
    return corrupt("root record of " + std::to_string(bytes.size()) +
                   " bytes is above the limit of " + std::to_string(kMaxRootRecordBytes));
  }
  proto::RootRecord message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return corrupt("root record of " + std::to_string(bytes.size()) +
                   " bytes is cut short or damaged");
  }
  if (message.version() > kVersion) return newer("root record", message.version());
  if (message.version() != kVersion) return corrupt("root record without a version");
  Result<HashTree> tree = from_proto(message.body());
  if (!tree) return tree.error().within("root record");
  RootRecord record{message.total_bytes(), message.data_bytes(), *std::move(tree)};
  if (const Status valid = validate(record); !valid) return corrupt(valid.error().detail);
  if (const Status sound = check_tree(record.body); !sound) {
    return sound.error().within("root record");
  }
  return record;
}

Result<Manifest> decode_body_of(const RootRecord& record, std::string_view bytes) {
  if (bytes.size() != record.body.size || tree_of_bytes(bytes) != record.body) {
    return corrupt("manifest body of " + std::to_string(bytes.size()) +
                   " bytes does not hash to what its root record says; fetch it again");
  }
  Result<Manifest> manifest = decode_body(bytes);
  if (manifest && (total_bytes_of(*manifest) != record.total_bytes ||
                   data_bytes_of(*manifest) != record.data_bytes)) {
    return corrupt(
        "the sums in the root record are not those of the manifest body;"
        " publish the file again");
  }
  return manifest;
}

Result<RootRecord> decode_root_record_of(const ContentId& id, std::string_view bytes) {
  if (content_id_of(bytes) != id) {
    return corrupt("root record of " + std::to_string(bytes.size()) +
                   " bytes does not hash to content id " + id.hex() + "; fetch it again");
  }
  return decode_root_record(bytes);
}

ContentId content_id_of(std::string_view root_record_bytes) {
  return ContentId{sha256(root_record_bytes)};
}

}  // namespace p2p
