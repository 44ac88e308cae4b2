// Manifests and root records as bytes, and the content id that names them.
//
// What a publisher packs is serialised once; from then on the bytes are what is stored, sent and
// hashed. Bytes that came from outside are never made again from a decoded form: two versions of a
// serialiser may write the same manifest differently, and an id must not depend on that.
#pragma once

#include <string>
#include <string_view>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/model/manifest.h"

namespace p2p {

struct PackedManifest {
  std::string root_record_bytes;
  std::string body_bytes;
  ContentId content_id;
  RootRecord root_record;
};

// For the publisher only. The manifest must be valid (see validate).
PackedManifest pack(const Manifest& manifest);
std::string encode_body(const Manifest& manifest);
std::string encode_root_record(const RootRecord& record);

// The result is valid and its layers hash up to their roots. Errc::corrupt: not such a record;
// Errc::invalid_argument: made by a newer release than this. Unknown fields are passed over.
// At most kMaxBodyBytes and kMaxRootRecordBytes; memory stays within a few times the limits,
// whatever the bytes say.
Result<Manifest> decode_body(std::string_view bytes);
Result<RootRecord> decode_root_record(std::string_view bytes);

// The same for bytes that must be what somebody asked for: also Errc::corrupt when they do not hash
// to the id or to the record's tree, or when the record's sums are not those of the body.
Result<Manifest> decode_body_of(const RootRecord& record, std::string_view bytes);
Result<RootRecord> decode_root_record_of(const ContentId& id, std::string_view bytes);

ContentId content_id_of(std::string_view root_record_bytes);

}  // namespace p2p
