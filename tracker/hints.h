// Which hints there are for new files (docs/decisions/0009): a mirror in memory of soft records.
//
// Control thread only. Changes go into the caller's batch, as in tracker/registry.h. A record is
// its maker's word and no more: receivers check every byte that comes of it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "io/state/state_store.h"
#include "proto/control.pb.h"
#include "proto/records.pb.h"
#include "tracker/catalogue.h"

namespace p2p {

inline constexpr std::uint64_t kMaxRecipeHintBytes = 24ull << 20;
inline constexpr std::uint64_t kMaxSignatureHintBytes = 80ull << 20;
// A recipe that saves less of the new file's data is not worth its bytes.
inline constexpr unsigned kLeastSavedPercent = 10;

struct HintLimits {
  std::size_t recipes = 8;  // for one new file: those from the newest old ones stay
  std::size_t records = 100'000;
  std::size_t blames = 3;  // of different nodes; then the hint is dropped
};

class Hints {
 public:
  // Records that cannot be read are passed over: nothing but bytes is lost with them.
  static Result<Hints> load(StateStore& store, const HintLimits& limits = {});

  // Checks what can be checked without knowing the contents. Errc::invalid_argument or corrupt.
  static Result<proto::HintRecord> read(const proto::HintMade& made, NodeId maker, WallTime now);

  // Fails when it is not kept, with the reason: the contents are not those of the catalogue, it
  // saves too little, somebody else's stands, this maker's was dropped, or there are enough newer
  // ones.
  Status add(proto::HintRecord record, const Catalogue& catalogue, StateBatch& batch);

  // `by` says that the hint led to wrong bytes. What was dropped for it, if that was one too many.
  std::optional<proto::HintRecord> blame(const ContentId& hint, NodeId by, StateBatch& batch);

  const proto::HintRecord* recipe(const Digest& new_root, const Digest& old_root) const;
  const proto::HintRecord* signature(const Digest& new_root) const;
  // All that can be offered: the recipe that saves most first, the signature last.
  std::vector<const proto::HintRecord*> of(const Digest& new_root) const;
  const proto::HintRecord* find(const ContentId& hint) const;
  std::size_t size() const { return by_age_.size(); }

 private:
  // The old root is all zeros for a signature: no recipe is from an empty file.
  struct Key {
    Digest new_root, old_root;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  using ByOld = std::map<Digest, proto::HintRecord>;

  static Key key_of(const proto::HintRecord& record);
  static std::string text_of(const Key& key);
  Status check_contents(const proto::HintRecord& record, const Catalogue& catalogue) const;
  proto::HintRecord* at(const Key& key);
  void put(const Key& key, proto::HintRecord record, StateBatch& batch);
  void insert(const Key& key, proto::HintRecord record);
  void take_out(const Key& key);
  void erase(const Key& key, StateBatch& batch);
  bool make_room(const Key& key, const Catalogue& catalogue, StateBatch& batch);

  HintLimits limits_;
  std::map<Digest, ByOld> by_new_;
  std::map<ContentId, Key> by_hint_;
  std::set<std::pair<std::int64_t, Key>> by_age_;  // made_unix first
};

}  // namespace p2p
