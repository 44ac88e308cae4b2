// Names, versions and contents that the cluster knows: a mirror in memory of the store, and the
// manifests on the tracker's disk.
//
// Control thread only, but for the two functions that read and write manifests (any thread, they
// block). Changes go into the caller's batch, as in tracker/registry.h.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "core/model/file_name.h"
#include "io/state/state_store.h"
#include "proto/records.pb.h"

namespace p2p {

class Catalogue {
 public:
  // `folder` holds DIR/<first two hex digits>/<content id>.root and .body; made when missing.
  static Result<Catalogue> load(StateStore& store, std::string folder);

  // Chooses the version (the next integer when none is given); already_exists when it is taken.
  // Names that jobs under way have been promised count as taken.
  Result<FileName> reserve(const FileName& wanted);
  void release(const FileName& reserved);
  void publish(const FileName& name, const proto::ContentRecord& content,
               const std::string& published_by, WallTime now, StateBatch& batch);
  // Of a content that is known already only its publishers are taken over; the latest 16 are kept.
  void add_content(const proto::ContentRecord& content, StateBatch& batch);

  // The content, and with it every version of it, can be had from nobody any more.
  void withdraw(const ContentId& id, const std::string& why, StateBatch& batch);
  // Somebody has it whole again.
  void restore(const ContentId& id, StateBatch& batch);

  // "latest" or no version: the last published that is not withdrawn, or the last of all.
  const proto::FileRecord* find(const FileName& name) const;
  const proto::ContentRecord* content(const ContentId& id) const;
  const std::map<ContentId, proto::ContentRecord>& contents() const { return contents_; }
  bool is_latest(const proto::FileRecord& file) const;
  // The newest name of a content; nothing when it has none.
  const proto::FileRecord* name_of(const ContentId& id) const;
  // Those of a name that are not withdrawn, the newest first.
  std::vector<const proto::FileRecord*> versions_of(const std::string& domain,
                                                    const std::string& name) const;
  std::vector<const proto::FileRecord*> files() const;
  static Error unknown_file(const std::string& name);

  Status write_manifest(const ContentId& id, const std::string& root_record,
                        const std::string& body) const;
  Result<std::string> read_root_record(const ContentId& id) const;
  Result<std::string> read_body(const ContentId& id) const;

 private:
  using Versions = std::map<std::string, proto::FileRecord>;  // by version

  void note_name(const proto::FileRecord& file);
  void set_withdrawn(const ContentId& id, const std::string& why, StateBatch& batch);
  std::string manifest_path(const ContentId& id, std::string_view suffix) const;

  std::string folder_;
  std::map<std::string, Versions> names_;  // by "domain/name"
  // Names of a content: for each task that is offered somebody asks for some.
  std::map<ContentId, std::vector<const proto::FileRecord*>> names_of_;
  std::map<std::string, std::vector<std::string>> reserved_;
  std::map<ContentId, proto::ContentRecord> contents_;
  std::uint64_t sequence_ = 0;
};

}  // namespace p2p
