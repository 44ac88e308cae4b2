#include "p2pd/hint_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "io/content/manifest_codec.h"
#include "io/content/merkle.h"
#include "io/disk/file_io.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRoot = ".root";
constexpr std::string_view kBytes = ".hint";
constexpr std::string_view kUnfinished = ".part";

struct OnDisk {
  ContentId id;
  std::uint64_t bytes = 0;
  fs::file_time_type written;
};

// Hints that have both files, the oldest first.
std::vector<OnDisk> list(const std::string& folder) {
  std::vector<OnDisk> hints;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    if (entry.path().extension() != kBytes) continue;
    const auto id = ContentId::from_hex(entry.path().stem().string());
    std::error_code gone;
    const std::uint64_t bytes = entry.file_size(gone);
    const auto written = entry.last_write_time(gone);
    if (id && !gone) hints.push_back({*id, bytes, written});
  }
  std::sort(hints.begin(), hints.end(),
            [](const OnDisk& a, const OnDisk& b) { return a.written < b.written; });
  return hints;
}

}  // namespace

std::string HintStore::path_of(const ContentId& id, std::string_view suffix) const {
  return folder_ + "/" + id.hex() + std::string(suffix);
}

Result<HintStore> HintStore::open(std::string folder, const HintStoreLimits& limits) {
  if (Status made = make_folders(folder); !made) return made.error();
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    std::error_code ignored;
    if (entry.path().extension() == kUnfinished) fs::remove(entry.path(), ignored);
  }
  return HintStore(std::move(folder), limits);
}

Result<StoredHint> HintStore::find(const ContentId& id) const {
  StoredHint hint;
  hint.id = id;
  auto root = read_file(path_of(id, kRoot), kMaxRootRecordBytes);
  if (!root) return root.error();
  auto record = decode_root_record_of(id, *root);
  if (!record) return record.error();
  const std::string path = path_of(id, kBytes);
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return error_from_errno(errno, "open " + path);
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) return error_from_errno(errno, "look at " + path);
  if (static_cast<std::uint64_t>(facts.st_size) != record->body.size) {
    return Error{Errc::corrupt, path + " is not as long as it should be"};
  }
  auto source = std::make_shared<ServeSource>();
  source->space = ChunkSpace(record->body);
  source->file = std::move(file);
  source->name = path;
  source->look_at_file_system();
  source->watch();
  hint.root_record = std::move(*root);
  hint.source = std::move(source);
  return hint;
}

Result<std::vector<StoredHint>> HintStore::load() const {
  std::vector<StoredHint> hints;
  for (const OnDisk& there : list(folder_)) {
    auto hint = find(there.id);
    if (hint) {
      hints.push_back(std::move(*hint));
    } else if (Status removed = remove(there.id); !removed) {
      return removed.error();
    }
  }
  return hints;
}

Status HintStore::make_room(const ContentId& id, std::uint64_t bytes) const {
  std::vector<OnDisk> hints = list(folder_);
  std::erase_if(hints, [&](const OnDisk& hint) { return hint.id == id; });
  std::uint64_t sum = bytes;
  for (const OnDisk& hint : hints) sum += hint.bytes;
  std::size_t count = hints.size() + 1;
  for (const OnDisk& hint : hints) {
    if (sum <= limits_.bytes && count <= limits_.count) break;
    if (Status removed = remove(hint.id); !removed) return removed;
    sum -= hint.bytes;
    --count;
  }
  return {};
}

Result<StoredHint> HintStore::save(std::string_view bytes) const {
  if (bytes.empty() || bytes.size() > kMaxBodyBytes) {
    return Error{Errc::invalid_argument,
                 "a hint of " + std::to_string(bytes.size()) + " bytes cannot be kept"};
  }
  RootRecord record;
  record.body = tree_of_bytes(bytes);
  const std::string root = encode_root_record(record);
  const ContentId id = content_id_of(root);
  if (Status room = make_room(id, bytes.size()); !room) return room.error();
  if (Status written = write_file_atomically(path_of(id, kBytes), bytes, 0600); !written) {
    return written.error();
  }
  return put_root(id, root);
}

Result<Fd> HintStore::begin(const ContentId& id) const {
  const std::string path = path_of(id, kUnfinished);
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return error_from_errno(errno, "make " + path);
  return file;
}

Result<StoredHint> HintStore::keep(const ContentId& id, const std::string& root_record) const {
  const std::string unfinished = path_of(id, kUnfinished);
  const Fd file(::open(unfinished.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return error_from_errno(errno, "open " + unfinished);
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) return error_from_errno(errno, "look at " + unfinished);
  if (Status room = make_room(id, static_cast<std::uint64_t>(facts.st_size)); !room) {
    return room.error();
  }
  // Before the name: after a power cut others would be served whatever the disk has.
  if (Status synced = sync_data(file.get(), unfinished); !synced) return synced.error();
  const std::string path = path_of(id, kBytes);
  if (::rename(unfinished.c_str(), path.c_str()) != 0) {
    return error_from_errno(errno, "name " + path);
  }
  return put_root(id, root_record);
}

// It makes the hint one that is kept.
Result<StoredHint> HintStore::put_root(const ContentId& id, const std::string& root_record) const {
  if (Status written = write_file_atomically(path_of(id, kRoot), root_record, 0600); !written) {
    return written.error();
  }
  return find(id);
}

Status HintStore::give_up(const ContentId& id) const {
  return unlink_all(id, {kUnfinished});
}

Status HintStore::remove(const ContentId& id) const {
  return unlink_all(id, {kRoot, kBytes, kUnfinished});
}

Status HintStore::unlink_all(const ContentId& id,
                             std::initializer_list<std::string_view> suffixes) const {
  for (const std::string_view suffix : suffixes) {
    const std::string path = path_of(id, suffix);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
      return error_from_errno(errno, "remove " + path);
    }
  }
  return {};
}

}  // namespace p2p
