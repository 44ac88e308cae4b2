#include "p2pd/content_store.h"

#include <xxhash.h>

#include <cstdio>

#include "io/content/manifest_codec.h"
#include "io/disk/file_io.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

constexpr std::string_view kHeldPrefix = "held/";
constexpr std::size_t kMaxStoredBody = 80 * 1024 * 1024;

std::string held_key(const ContentId& id) {
  const std::string hex = id.hex();
  return std::string(kHeldPrefix) + hex.substr(0, 2) + "/" + hex;
}

std::string hash_key(const std::string& path) {
  const XXH128_hash_t hash = XXH3_128bits(path.data(), path.size());
  char text[40];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return "hash/" + std::string(text, 2) + "/" + text;
}

bool same_file(const proto::HoldingRecord& record, const FileFacts& facts) {
  return record.size() == facts.size && record.mtime_ns() == facts.mtime_ns &&
         record.ctime_ns() == facts.ctime_ns && record.inode() == facts.inode &&
         record.device() == facts.device;
}

}  // namespace

proto::HoldingRecord holding_record(const ContentId& id, const std::string& path,
                                    const FileFacts& facts) {
  proto::HoldingRecord record;
  record.set_content_id(std::string(id.digest.view()));
  record.set_path(path);
  record.set_size(facts.size);
  record.set_mtime_ns(facts.mtime_ns);
  record.set_ctime_ns(facts.ctime_ns);
  record.set_inode(facts.inode);
  record.set_device(facts.device);
  return record;
}

Result<ContentStore> ContentStore::open(StateStore& store, std::string folder,
                                        Privileged& privileged) {
  if (const Status made = make_folders(folder); !made) return made.error();
  return ContentStore(store, std::move(folder), privileged);
}

std::string ContentStore::manifest_path(const ContentId& id, std::string_view suffix) const {
  const std::string hex = id.hex();
  return folder_ + "/" + hex.substr(0, 2) + "/" + hex + std::string(suffix);
}

Status ContentStore::save_manifest(const ContentId& id, const std::string& root_record,
                                   const std::string& body) const {
  auto record = decode_root_record_of(id, root_record);
  if (!record) return record.error();
  if (auto manifest = decode_body_of(*record, body); !manifest) return manifest.error();
  if (Status made = make_folders(folder_ + "/" + id.hex().substr(0, 2)); !made) return made;
  if (Status written = write_file_atomically(manifest_path(id, ".body"), body, 0600); !written) {
    return written;
  }
  return write_file_atomically(manifest_path(id, ".root"), root_record, 0600);
}

Result<LoadedManifest> ContentStore::load_manifest(const ContentId& id) const {
  LoadedManifest loaded;
  loaded.id = id;
  auto root = read_file(manifest_path(id, ".root"), kMaxRootRecordBytes);
  if (!root) return root.error();
  auto record = decode_root_record_of(id, *root);
  if (!record) return record.error();
  auto body = read_file(manifest_path(id, ".body"), kMaxStoredBody);
  if (!body) return body.error();
  auto manifest = decode_body_of(*record, *body);
  if (!manifest) return manifest.error();
  loaded.root_record_bytes = std::move(*root);
  loaded.body_bytes = std::move(*body);
  loaded.root_record = std::move(*record);
  loaded.manifest = std::move(*manifest);
  return loaded;
}

Result<std::vector<proto::HoldingRecord>> ContentStore::holdings() const {
  std::vector<proto::HoldingRecord> records;
  const Status scanned = store_->scan(kHeldPrefix, [&](std::string_view, const auto& entry) {
    proto::HoldingRecord record;
    // An unreadable record claims nothing: its file is simply not served.
    if (record.ParseFromString(entry.value)) records.push_back(std::move(record));
    return true;
  });
  if (!scanned) return scanned.error();
  return records;
}

Result<std::optional<proto::HoldingRecord>> ContentStore::holding(const ContentId& id) const {
  auto entry = store_->get(held_key(id));
  if (!entry) return entry.error();
  proto::HoldingRecord record;
  if (!*entry || !record.ParseFromString((*entry)->value)) {
    return std::optional<proto::HoldingRecord>();
  }
  return std::optional(std::move(record));
}

Status ContentStore::put_holding(const proto::HoldingRecord& record) const {
  const auto id = ContentId::from_raw(record.content_id());
  P2P_CHECK(id.has_value());
  StateBatch batch;
  batch.put(held_key(*id), record.SerializeAsString());
  return store_->apply(batch);
}

Result<proto::HoldingRecord> ContentStore::put_landed(const ContentId& id, const std::string& path,
                                                      const FileFacts& facts,
                                                      std::uint64_t job) const {
  proto::HoldingRecord record = holding_record(id, path, facts);
  record.set_landed(true);
  record.set_job(job);
  StateBatch batch;
  batch.put(held_key(id), record.SerializeAsString());
  batch.put(hash_key(path), holding_record(id, path, facts).SerializeAsString());
  if (const Status put = store_->apply(batch); !put) return put.error();
  return record;
}

Status ContentStore::erase_holding(const ContentId& id) const {
  StateBatch batch;
  batch.erase(held_key(id));
  return store_->apply(batch);
}

Status ContentStore::mark_lost(const ContentId& id, WallTime now) const {
  auto record = holding(id);
  if (!record) return record.error();
  // Another copy may have landed since it was looked at.
  if (!*record || (*record)->lost_unix() != 0 || open_held(**record)) return {};
  (*record)->set_lost_unix(unix_seconds(now));
  return put_holding(**record);
}

Result<Fd> ContentStore::open_held(const proto::HoldingRecord& record) const {
  auto file = privileged_->open_source(record.path());
  if (!file) return file.error();
  auto facts = facts_of(*file);
  if (!facts) return facts.error();
  if (!same_file(record, *facts)) {
    return Error{Errc::corrupt, record.path() + " has changed since it was hashed"};
  }
  return std::move(*file);
}

std::optional<ContentId> ContentStore::cached_content(const std::string& path,
                                                      const FileFacts& facts) const {
  auto entry = store_->get(hash_key(path));
  if (!entry || !*entry) return std::nullopt;
  proto::HoldingRecord record;
  if (!record.ParseFromString((*entry)->value)) return std::nullopt;
  if (record.path() != path || !same_file(record, facts)) return std::nullopt;
  return ContentId::from_raw(record.content_id());
}

Status ContentStore::remember_hash(const std::string& path, const FileFacts& facts,
                                   const ContentId& id) const {
  StateBatch batch;
  batch.put(hash_key(path), holding_record(id, path, facts).SerializeAsString());
  return store_->apply(batch);
}

}  // namespace p2p
