#include "p2pd/agent_store.h"

#include <stdio.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "io/disk/file_io.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "io/state/leveldb_store.h"

namespace p2p {
namespace {

namespace fs = std::filesystem;

// What the records look like. A store without this key is of before the key.
constexpr std::string_view kFormatKey = "meta/format";
constexpr std::string_view kFormat = "1";
constexpr std::string_view kSearchKey = "meta/search-roots";

std::string damaged_prefix(const std::string& folder) {
  return folder + ".damaged-";
}

// A name that nothing has: a store can be damaged twice within a second.
std::string free_name(const std::string& folder) {
  const std::string name = damaged_prefix(folder) + std::to_string(unix_seconds(wall_now()));
  std::error_code ignored;
  if (!fs::exists(name, ignored)) return name;
  for (int i = 2;; ++i) {
    const std::string numbered = name + "-" + std::to_string(i);
    if (!fs::exists(numbered, ignored)) return numbered;
  }
}

bool lies_beside_a_damaged_one(const std::string& folder) {
  std::error_code failed;
  const std::string prefix = fs::path(damaged_prefix(folder)).filename();
  fs::directory_iterator names(fs::path(folder).parent_path(), failed);
  for (; !failed && names != fs::directory_iterator(); names.increment(failed)) {
    if (names->path().filename().string().starts_with(prefix)) return true;
  }
  return false;
}

// corrupt: what it holds cannot be used.
Result<std::unique_ptr<StateStore>> open_sound(const std::string& folder) {
  auto opened = LevelDbStore::open(folder);
  if (!opened) return opened.error();
  std::unique_ptr<StateStore> store = std::move(*opened);
  // LevelDB finds damage in a table when it reads it: here, and not in mid-transfer.
  if (Status read = store->scan("", [](std::string_view, const auto&) { return true; }); !read) {
    return read.error();
  }
  auto format = store->get(kFormatKey);
  if (!format) return format.error();
  if (*format && (*format)->value != kFormat) {
    return Error{Errc::corrupt, "state store " + folder +
                                    " is of another version of p2pd (format " + (*format)->value +
                                    ", this one writes " + std::string(kFormat) + ")"};
  }
  if (!*format) {
    StateBatch batch;
    batch.put(std::string(kFormatKey), std::string(kFormat));
    // In one batch, and judged by what lies there: the process that moved the damaged store aside
    // may have ended just then.
    if (lies_beside_a_damaged_one(folder)) batch.put(std::string(kSearchKey), "1");
    if (Status put = store->apply(batch); !put) return put.error();
  }
  return store;
}

}  // namespace

Result<AgentStore> open_agent_store(const std::string& data) {
  const std::string folder = data + "/state";
  AgentStore result;
  auto store = open_sound(folder);
  if (!store && store.error().code == Errc::corrupt) {
    result.moved_to = free_name(folder);
    log_error("state", "the state store cannot be used and is moved aside; a new one begins",
              {{"why", store.error().detail}, {"moved_to", result.moved_to}});
    if (::rename(folder.c_str(), result.moved_to.c_str()) != 0) {
      return error_from_errno(errno, "move " + folder + " to " + result.moved_to);
    }
    store = open_sound(folder);
  }
  if (!store) return store.error();
  result.store = std::move(*store);
  auto search = result.store->get(kSearchKey);
  if (!search) return search.error();
  result.search_roots = search->has_value();
  return result;
}

Status remember_search(StateStore& store) {
  StateBatch batch;
  batch.erase(std::string(kSearchKey));
  return store.apply(batch);
}

}  // namespace p2p
