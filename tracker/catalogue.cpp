#include "tracker/catalogue.h"

#include <algorithm>
#include <tuple>

#include "io/content/manifest_codec.h"
#include "io/disk/file_io.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

constexpr std::string_view kFilePrefix = "file/";
constexpr std::string_view kContentPrefix = "content/";
constexpr std::size_t kMaxStoredBody = 80 * 1024 * 1024;
constexpr int kMaxPublishers = 16;

std::string plain_name(const FileName& name) {
  return name.domain + "/" + name.name;
}

std::string file_key(const proto::FileRecord& file) {
  return std::string(kFilePrefix) + file.domain() + "/" + file.name() + "/" + file.version();
}

std::string content_key(const ContentId& id) {
  const std::string hex = id.hex();
  return std::string(kContentPrefix) + hex.substr(0, 2) + "/" + hex;
}

Error bad_record(std::string_view key) {
  return Error{Errc::corrupt, "state store: record " + std::string(key) + " cannot be read"};
}

}  // namespace

Result<Catalogue> Catalogue::load(StateStore& store, std::string folder) {
  Catalogue catalogue;
  catalogue.folder_ = std::move(folder);
  if (const Status made = make_folders(catalogue.folder_); !made) return made.error();
  std::optional<Error> bad;
  const Status files = store.scan(kFilePrefix, [&](std::string_view key, const auto& entry) {
    proto::FileRecord record;
    if (!record.ParseFromString(entry.value)) {
      bad = bad_record(key);
      return false;
    }
    catalogue.sequence_ = std::max(catalogue.sequence_, record.sequence());
    proto::FileRecord& file =
        catalogue.names_[record.domain() + "/" + record.name()][record.version()];
    file = std::move(record);
    catalogue.note_name(file);
    return true;
  });
  if (!files) return files.error();
  const Status contents = store.scan(kContentPrefix, [&](std::string_view key, const auto& entry) {
    proto::ContentRecord record;
    std::optional<ContentId> id;
    if (record.ParseFromString(entry.value)) id = ContentId::from_raw(record.content_id());
    if (!id) {
      bad = bad_record(key);
      return false;
    }
    catalogue.contents_[*id] = std::move(record);
    return true;
  });
  if (!contents) return contents.error();
  if (bad) return *bad;
  return catalogue;
}

Result<FileName> Catalogue::reserve(const FileName& wanted) {
  if (const Status fit = check_publishable(wanted); !fit) return fit.error();
  const std::string name = plain_name(wanted);
  std::vector<std::string> taken = reserved_[name];
  if (const auto found = names_.find(name); found != names_.end()) {
    for (const auto& [version, record] : found->second) taken.push_back(version);
  }
  FileName chosen = wanted;
  if (!wanted.version) {
    auto next = next_version(taken);
    if (!next) return next.error();
    chosen.version = std::move(*next);
  } else if (std::find(taken.begin(), taken.end(), *wanted.version) != taken.end()) {
    return Error{Errc::already_exists,
                 wanted.str() +
                     " exists already and versions are written once: publish another "
                     "version, or leave @" +
                     *wanted.version + " out for the next number"};
  }
  reserved_[name].push_back(*chosen.version);
  return chosen;
}

void Catalogue::release(const FileName& reserved) {
  const auto found = reserved_.find(plain_name(reserved));
  if (found == reserved_.end()) return;
  std::erase(found->second, reserved.version.value_or(""));
  if (found->second.empty()) reserved_.erase(found);
}

void Catalogue::publish(const FileName& name, const proto::ContentRecord& content,
                        const std::string& published_by, WallTime now, StateBatch& batch) {
  proto::FileRecord file;
  file.set_domain(name.domain);
  file.set_name(name.name);
  file.set_version(name.version.value_or("1"));
  file.set_content_id(content.content_id());
  file.set_published_unix(unix_seconds(now));
  file.set_published_by(published_by);
  file.set_sequence(++sequence_);
  add_content(content, batch);
  batch.put(file_key(file), file.SerializeAsString());
  proto::FileRecord& kept = names_[plain_name(name)][file.version()];
  kept = std::move(file);
  note_name(kept);
  release(name);
}

void Catalogue::add_content(const proto::ContentRecord& content, StateBatch& batch) {
  const auto id = ContentId::from_raw(content.content_id());
  P2P_CHECK(id.has_value());
  const auto [known, is_new] = contents_.emplace(*id, content);
  auto& publishers = *known->second.mutable_publishers();
  bool changed = is_new;
  for (const std::string& node : content.publishers()) {
    if (!publishers.empty() && *publishers.rbegin() == node) continue;
    publishers.erase(std::remove(publishers.begin(), publishers.end(), node), publishers.end());
    *publishers.Add() = node;
    if (publishers.size() > kMaxPublishers) publishers.erase(publishers.begin());
    changed = true;
  }
  if (changed) batch.put(content_key(*id), known->second.SerializeAsString());
}

void Catalogue::withdraw(const ContentId& id, const std::string& why, StateBatch& batch) {
  set_withdrawn(id, why, batch);
}

void Catalogue::restore(const ContentId& id, StateBatch& batch) {
  set_withdrawn(id, "", batch);
}

void Catalogue::set_withdrawn(const ContentId& id, const std::string& why, StateBatch& batch) {
  const auto content = contents_.find(id);
  // The first reason stays.
  const auto changes = [&](const std::string& now) { return now.empty() != why.empty(); };
  if (content != contents_.end() && changes(content->second.withdrawn())) {
    content->second.set_withdrawn(why);
    batch.put(content_key(id), content->second.SerializeAsString());
  }
  for (auto& [name, versions] : names_) {
    for (auto& [version, file] : versions) {
      if (file.content_id() != id.digest.view() || !changes(file.withdrawn())) continue;
      file.set_withdrawn(why);
      batch.put(file_key(file), file.SerializeAsString());
    }
  }
}

// Records stay where they are for as long as this lives.
void Catalogue::note_name(const proto::FileRecord& file) {
  if (const auto id = ContentId::from_raw(file.content_id())) names_of_[*id].push_back(&file);
}

const proto::FileRecord* Catalogue::find(const FileName& name) const {
  const auto found = names_.find(plain_name(name));
  if (found == names_.end() || found->second.empty()) return nullptr;
  if (!name.version || *name.version == kLatestVersion) {
    const auto last = std::max_element(found->second.begin(), found->second.end(),
                                       [](const auto& a, const auto& b) {
                                         const bool a_counts = a.second.withdrawn().empty();
                                         if (a_counts != b.second.withdrawn().empty())
                                           return !a_counts;
                                         return a.second.sequence() < b.second.sequence();
                                       });
    return &last->second;
  }
  const auto version = found->second.find(*name.version);
  return version == found->second.end() ? nullptr : &version->second;
}

const proto::ContentRecord* Catalogue::content(const ContentId& id) const {
  const auto found = contents_.find(id);
  return found == contents_.end() ? nullptr : &found->second;
}

bool Catalogue::is_latest(const proto::FileRecord& file) const {
  return file.withdrawn().empty() &&
         find(FileName{file.domain(), file.name(), std::nullopt}) == &file;
}

const proto::FileRecord* Catalogue::name_of(const ContentId& id) const {
  const auto found = names_of_.find(id);
  if (found == names_of_.end()) return nullptr;
  return *std::max_element(found->second.begin(), found->second.end(),
                           [](auto* a, auto* b) { return a->sequence() < b->sequence(); });
}

std::vector<const proto::FileRecord*> Catalogue::versions_of(const std::string& domain,
                                                             const std::string& name) const {
  std::vector<const proto::FileRecord*> list;
  const auto found = names_.find(domain + "/" + name);
  if (found == names_.end()) return list;
  for (const auto& [version, file] : found->second) {
    if (file.withdrawn().empty()) list.push_back(&file);
  }
  std::sort(list.begin(), list.end(),
            [](auto* a, auto* b) { return a->sequence() > b->sequence(); });
  return list;
}

std::vector<const proto::FileRecord*> Catalogue::files() const {
  std::vector<const proto::FileRecord*> list;
  for (const auto& [name, versions] : names_) {
    for (const auto& [version, file] : versions) list.push_back(&file);
  }
  std::sort(list.begin(), list.end(), [](const auto* a, const auto* b) {
    return std::tuple(std::string_view(a->domain()), std::string_view(a->name()), a->sequence()) <
           std::tuple(std::string_view(b->domain()), std::string_view(b->name()), b->sequence());
  });
  return list;
}

Error Catalogue::unknown_file(const std::string& name) {
  return Error{Errc::not_found, "no file " + name + ": p2pctl file list shows them"};
}

std::string Catalogue::manifest_path(const ContentId& id, std::string_view suffix) const {
  const std::string hex = id.hex();
  return folder_ + "/" + hex.substr(0, 2) + "/" + hex + std::string(suffix);
}

Status Catalogue::write_manifest(const ContentId& id, const std::string& root_record,
                                 const std::string& body) const {
  if (Status made = make_folders(folder_ + "/" + id.hex().substr(0, 2)); !made) return made;
  if (Status body_written = write_file_atomically(manifest_path(id, ".body"), body, 0600);
      !body_written) {
    return body_written;
  }
  return write_file_atomically(manifest_path(id, ".root"), root_record, 0600);
}

Result<std::string> Catalogue::read_root_record(const ContentId& id) const {
  auto bytes = read_file(manifest_path(id, ".root"), kMaxRootRecordBytes);
  if (!bytes) return bytes;
  if (content_id_of(*bytes) != id) {
    return Error{Errc::corrupt, manifest_path(id, ".root") + " does not hash to its name"};
  }
  return bytes;
}

Result<std::string> Catalogue::read_body(const ContentId& id) const {
  return read_file(manifest_path(id, ".body"), kMaxStoredBody);
}

}  // namespace p2p
