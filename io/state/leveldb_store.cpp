#include "io/state/leveldb_store.h"

#include <leveldb/db.h>
#include <leveldb/write_batch.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "io/state/state_limits.h"

namespace p2p {
namespace {

constexpr std::size_t kVersionBytes = 8;

leveldb::Slice slice(std::string_view text) {
  return {text.data(), text.size()};
}

std::string encode(std::uint64_t version, const std::string& value) {
  std::string stored;
  stored.reserve(kVersionBytes + value.size());
  for (std::size_t i = 0; i < kVersionBytes; ++i) {
    stored.push_back(static_cast<char>((version >> (8 * i)) & 0xff));
  }
  return stored += value;
}

std::optional<StateStore::Entry> decode(std::string_view stored) {
  if (stored.size() < kVersionBytes) return std::nullopt;
  StateStore::Entry entry;
  for (std::size_t i = 0; i < kVersionBytes; ++i) {
    entry.version |= std::uint64_t{static_cast<unsigned char>(stored[i])} << (8 * i);
  }
  entry.value = stored.substr(kVersionBytes);
  return entry;
}

bool mentions(const leveldb::Status& status, std::string_view text) {
  return status.ToString().find(text) != std::string::npos;
}

Error corrupt(const std::string& folder, const std::string& why) {
  return Error{Errc::corrupt, "state store " + folder + " is damaged (" + why +
                                  "): restore the folder from a backup, or move it away to start "
                                  "with an empty one"};
}

// LevelDB maps its tables, and calls it an invalid argument when one is shorter than the part of it
// that it looks for.
bool is_cut_table(const leveldb::Status& status) {
  return status.IsIOError() && mentions(status, std::string(".ldb: ") + std::strerror(EINVAL));
}

Error error_from(const leveldb::Status& status, const std::string& folder) {
  if (status.IsCorruption() || is_cut_table(status)) return corrupt(folder, status.ToString());
  const bool full = mentions(status, "No space left") || mentions(status, "quota exceeded");
  return Error{full ? Errc::exhausted : Errc::io_failed,
               "state store " + folder + ": " + status.ToString() +
                   (full ? ": make room and start again" : "")};
}

Error open_error(const leveldb::Status& status, const std::string& folder) {
  // LevelDB has no code for this; both texts come from its LockFile.
  const bool in_use = mentions(status, "already held by process") ||
                      (mentions(status, "lock ") && mentions(status, std::strerror(EAGAIN)));
  if (in_use) {
    return Error{Errc::unavailable, "state store " + folder +
                                        " is in use by another process: stop that one first, or "
                                        "give this one a data folder of its own"};
  }
  return error_from(status, folder);
}

Status make_folder(const std::string& folder) {
  struct stat facts {};
  if (::mkdir(folder.c_str(), 0700) == 0) return {};
  const int why = errno;
  if (why == EEXIST && ::stat(folder.c_str(), &facts) == 0) {
    if (S_ISDIR(facts.st_mode)) return {};
    return Error{Errc::invalid_argument, "state store " + folder + " is not a folder"};
  }
  if (why == ENOENT) {
    return Error{Errc::not_found, "state store " + folder +
                                      ": the folder that should hold it does not exist: make it, "
                                      "or correct the path"};
  }
  return Error{why == EACCES || why == EPERM ? Errc::denied : Errc::io_failed,
               "state store " + folder + " cannot be made: " + std::strerror(why)};
}

// LevelDB takes a folder without CURRENT as a new database and deletes the tables that it finds
// there; a folder with tables or logs has had one.
Status check_not_headless(const std::string& folder) {
  std::error_code failed;
  if (std::filesystem::exists(folder + "/CURRENT", failed)) return {};
  std::filesystem::directory_iterator files(folder, failed);
  if (failed) {
    return Error{failed == std::errc::permission_denied ? Errc::denied : Errc::io_failed,
                 "state store " + folder + " cannot be read: " + failed.message()};
  }
  for (; !failed && files != std::filesystem::directory_iterator(); files.increment(failed)) {
    const std::filesystem::path extension = files->path().extension();
    if (extension == ".ldb" || extension == ".sst" || extension == ".log") {
      return corrupt(folder, "CURRENT is missing beside " + files->path().filename().string());
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<LevelDbStore>> LevelDbStore::open(const std::string& folder) {
  if (Status ok = make_folder(folder); !ok) return ok.error();
  if (Status ok = check_not_headless(folder); !ok) return ok.error();
  leveldb::Options options;
  options.create_if_missing = true;
  // Damage is an error and not a reason to go on with fewer records. The torn end of a log that a
  // power cut leaves is no damage to LevelDB.
  options.paranoid_checks = true;
  leveldb::DB* opened = nullptr;
  const leveldb::Status status = leveldb::DB::Open(options, folder, &opened);
  if (!status.ok()) return open_error(status, folder);
  return std::unique_ptr<LevelDbStore>(
      new LevelDbStore(folder, std::unique_ptr<leveldb::DB>(opened)));
}

LevelDbStore::LevelDbStore(std::string folder, std::unique_ptr<leveldb::DB> db)
    : folder_(std::move(folder)), db_(std::move(db)) {}

LevelDbStore::~LevelDbStore() = default;

Result<std::optional<StateStore::Entry>> LevelDbStore::get(std::string_view key) {
  if (Status ok = check_state_key(key); !ok) return ok.error();
  leveldb::ReadOptions options;
  options.verify_checksums = true;
  std::string stored;
  const leveldb::Status status = db_->Get(options, slice(key), &stored);
  if (status.IsNotFound()) return std::optional<Entry>();
  if (!status.ok()) return error_from(status, folder_);
  std::optional<Entry> entry = decode(stored);
  if (!entry) return corrupt(folder_, "the record of '" + std::string(key) + "' is too short");
  return entry;
}

Status LevelDbStore::apply(const StateBatch& batch, Durability durability) {
  if (Status ok = check_state_batch(batch); !ok) return ok;
  const std::lock_guard lock(apply_mutex_);
  if (failed_) return *failed_;
  leveldb::WriteBatch writes;
  for (const StateBatch::Change& change : batch.changes) {
    const Result<std::optional<Entry>> before = get(change.key);
    if (!before) return before.error();
    const std::uint64_t version = *before ? (*before)->version : 0;
    if (change.expected_version && *change.expected_version != version) {
      return precondition_failed(change.key, *change.expected_version, version);
    }
    if (change.value) {
      writes.Put(slice(change.key), slice(encode(version + 1, *change.value)));
    } else {
      writes.Delete(slice(change.key));
    }
  }
  leveldb::WriteOptions options;
  options.sync = durability == Durability::synced;
  const leveldb::Status status = db_->Write(options, &writes);
  if (status.ok()) return {};
  // LevelDB goes on behind a torn record, and drops what is there when it reads its log again.
  failed_ = error_from(status, folder_);
  return *failed_;
}

Status LevelDbStore::scan(std::string_view prefix, const Visitor& visit) {
  leveldb::ReadOptions options;
  options.verify_checksums = true;
  options.fill_cache = false;
  const std::unique_ptr<leveldb::Iterator> it(db_->NewIterator(options));
  for (it->Seek(slice(prefix)); it->Valid() && it->key().starts_with(slice(prefix)); it->Next()) {
    const std::string_view key(it->key().data(), it->key().size());
    const std::optional<Entry> entry = decode({it->value().data(), it->value().size()});
    if (!entry) return corrupt(folder_, "the record of '" + std::string(key) + "' is too short");
    if (!visit(key, *entry)) return {};
  }
  if (!it->status().ok()) return error_from(it->status(), folder_);
  return {};
}

}  // namespace p2p
