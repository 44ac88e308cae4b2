// Contents with roots, and hints as a node says that it has made them.
#pragma once

#include <string>

#include "tests/tracker/board_fixture.h"

namespace p2p::test {

inline proto::ContentRecord with_root(const PackedManifest& manifest, const std::string& bytes) {
  proto::ContentRecord record = content_record(manifest, "base.img");
  record.set_root(std::string(tree_of_bytes(bytes).root.view()));
  return record;
}
inline proto::ContentRecord content_of_bytes(const std::string& bytes) {
  return with_root(packed("base.img", bytes), bytes);
}

// A recipe, or without `old` a signature, whose bytes are `bytes`.
inline proto::HintMade hint_made(const proto::ContentRecord& content,
                                 const proto::ContentRecord* old, const std::string& bytes,
                                 std::uint64_t copied = 900) {
  proto::HintMade made;
  made.set_kind(old == nullptr ? proto::HINT_SIGNATURE : proto::HINT_RECIPE);
  made.set_new_content(content.content_id());
  made.set_new_root(content.root());
  if (old != nullptr) {
    made.set_old_content(old->content_id());
    made.set_old_root(old->root());
    made.set_copied_bytes(copied);
  }
  RootRecord record;
  record.body = tree_of_bytes(bytes);
  made.set_root_record(encode_root_record(record));
  made.set_bytes(bytes.size());
  return made;
}

// Puts a version of images/base into the catalogue.
inline proto::ContentRecord publish_version(Process& process, const std::string& bytes) {
  const PackedManifest manifest = packed("base.img", bytes);
  const auto record = with_root(manifest, bytes);
  REQUIRE(process.catalogue.write_manifest(manifest.content_id, manifest.root_record_bytes,
                                           manifest.body_bytes));
  StateBatch batch;
  const FileName name = must(process.catalogue.reserve({"images", "base", std::nullopt}));
  process.catalogue.publish(name, record, "n0", process.now, batch);
  REQUIRE(process.disk.store.apply(batch));
  return record;
}

inline ContentId id_of(const proto::ContentRecord& record) {
  return *ContentId::from_raw(record.content_id());
}

// What a node that has just connected holds: contents and where they lie.
struct HeldFile {
  proto::ContentRecord content;
  std::string path;
};
inline void connect_with(Process& process, const std::string& name,
                         const std::vector<HeldFile>& files) {
  process.online(name);
  proto::Holdings holdings;
  holdings.set_first(true);
  holdings.set_last(true);
  for (const HeldFile& file : files) {
    auto& holding = *holdings.add_holdings();
    holding.set_content_id(file.content.content_id());
    holding.set_complete(true);
    holding.set_bytes(file.content.total_bytes());
    holding.set_path(file.path);
  }
  process.board.on_holdings(process.id(name), holdings);
}

}  // namespace p2p::test
