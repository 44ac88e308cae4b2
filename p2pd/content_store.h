// What this node holds, on its own disk: manifests, which file holds which content, and the hashes
// of files that were published before.
//
// Blocking and thread-safe: call from disk threads.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "core/model/manifest.h"
#include "io/privileged/privileged.h"
#include "io/state/state_store.h"
#include "proto/records.pb.h"

namespace p2p {

struct LoadedManifest {
  ContentId id;
  std::string root_record_bytes;
  std::string body_bytes;
  RootRecord root_record;
  Manifest manifest;

  const ManifestEntry& file() const { return manifest.entries.front(); }
};

class ContentStore {
 public:
  // `folder` is made when missing.
  static Result<ContentStore> open(StateStore& store, std::string folder, Privileged& privileged);

  // Checked against the id before it is saved and after it was read.
  Status save_manifest(const ContentId& id, const std::string& root_record,
                       const std::string& body) const;
  Result<LoadedManifest> load_manifest(const ContentId& id) const;

  Result<std::vector<proto::HoldingRecord>> holdings() const;
  Result<std::optional<proto::HoldingRecord>> holding(const ContentId& id) const;
  Status put_holding(const proto::HoldingRecord& record) const;
  // A push has landed: holding and hash, together.
  Result<proto::HoldingRecord> put_landed(const ContentId& id, const std::string& path,
                                          const FileFacts& facts, std::uint64_t job) const;
  Status erase_holding(const ContentId& id) const;
  // Notes that the held file is not what was recorded, unless it is (again). The record stays, so
  // that trackers can be told for as long as a job may wait for it.
  Status mark_lost(const ContentId& id, WallTime now) const;
  // not_found or corrupt when the file is gone or not what was recorded (size, times, inode).
  Result<Fd> open_held(const proto::HoldingRecord& record) const;

  // The content of a file that was hashed before and has not changed since; nothing otherwise.
  std::optional<ContentId> cached_content(const std::string& path, const FileFacts& facts) const;
  Status remember_hash(const std::string& path, const FileFacts& facts, const ContentId& id) const;

 private:
  ContentStore(StateStore& store, std::string folder, Privileged& privileged)
      : store_(&store), folder_(std::move(folder)), privileged_(&privileged) {}
  std::string manifest_path(const ContentId& id, std::string_view suffix) const;

  StateStore* store_;
  std::string folder_;
  Privileged* privileged_;
};

// A record of a whole file with these facts.
proto::HoldingRecord holding_record(const ContentId& id, const std::string& path,
                                    const FileFacts& facts);

}  // namespace p2p
