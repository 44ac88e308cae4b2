// Recipes and signatures on this node's disk (docs/decisions/0009): made here or fetched, and kept
// for others for a while. Losing one costs bytes, nothing else.
//
// Blocking and thread-safe: call from disk threads.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/model/manifest.h"
#include "io/disk/fd.h"
#include "p2pd/serve_source.h"

namespace p2p {

struct StoredHint {
  ContentId id;
  std::string root_record;
  ServeSourcePtr source;  // its bytes, as a body
};

// What all hints together may be: the oldest go first. A signature has at most 64 MiB up to 512 GiB
// of file, a recipe at most 24.
struct HintStoreLimits {
  std::uint64_t bytes = 512ull << 20;
  std::size_t count = 64;
};

class HintStore {
 public:
  // `folder` is made when missing. Opens what is there; what is not whole is removed.
  static Result<HintStore> open(std::string folder, const HintStoreLimits& limits = {});

  // Those that are kept.
  Result<std::vector<StoredHint>> load() const;
  // not_found when it is not here.
  Result<StoredHint> find(const ContentId& id) const;
  // One that was made here. Makes room for it.
  Result<StoredHint> save(std::string_view bytes) const;
  // A file for one that is to be fetched, for reading and writing; empty. An error when somebody
  // else fetches it.
  Result<Fd> begin(const ContentId& id) const;
  // What was fetched of it so far is not wanted any more.
  Status give_up(const ContentId& id) const;
  // All of it is there, verified.
  Result<StoredHint> keep(const ContentId& id, const std::string& root_record) const;
  // It led astray.
  Status remove(const ContentId& id) const;

 private:
  HintStore(std::string folder, const HintStoreLimits& limits)
      : folder_(std::move(folder)), limits_(limits) {}
  std::string path_of(const ContentId& id, std::string_view suffix) const;
  // For this one, which may be here already.
  Status make_room(const ContentId& id, std::uint64_t bytes) const;
  Status unlink_all(const ContentId& id, std::initializer_list<std::string_view> suffixes) const;
  Result<StoredHint> put_root(const ContentId& id, const std::string& root_record) const;

  std::string folder_;
  HintStoreLimits limits_;
};

}  // namespace p2p
