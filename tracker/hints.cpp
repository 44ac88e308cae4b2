#include "tracker/hints.h"

#include <algorithm>
#include <tuple>

#include "io/content/manifest_codec.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"

namespace p2p {
namespace {

constexpr std::string_view kPrefix = "hint/";
constexpr int kMaxRefusedMakers = 16;
// Records that one batch erases because there are too many.
constexpr int kErasedAtOnce = 16;

Error refused(std::string detail) {
  return Error{Errc::invalid_argument, std::move(detail)};
}

// A dropped hint keeps its record, without content, so that its maker cannot bring it again.
bool is_dropped(const proto::HintRecord& record) {
  return record.root_record().empty();
}

bool names(const google::protobuf::RepeatedPtrField<std::string>& list, const std::string& node) {
  return std::find(list.begin(), list.end(), node) != list.end();
}

std::optional<Digest> root_of(const std::string& raw) {
  const auto root = Digest::from_raw(raw);
  return root && *root != Digest{} ? root : std::nullopt;
}

}  // namespace

Hints::Key Hints::key_of(const proto::HintRecord& record) {
  const bool is_recipe = record.kind() == proto::HINT_RECIPE;
  return {Digest::from_raw(record.new_root()).value_or(Digest{}),
          is_recipe ? Digest::from_raw(record.old_root()).value_or(Digest{}) : Digest{}};
}

std::string Hints::text_of(const Key& key) {
  const std::string root = key.new_root.hex();
  return std::string(kPrefix) + root.substr(0, 2) + "/" + root + "/" +
         (key.old_root == Digest{} ? "sig" : key.old_root.hex());
}

Result<Hints> Hints::load(StateStore& store, const HintLimits& limits) {
  Hints hints;
  hints.limits_ = limits;
  const Status scanned = store.scan(kPrefix, [&](std::string_view text, const auto& entry) {
    proto::HintRecord record;
    if (!record.ParseFromString(entry.value) || text_of(key_of(record)) != text) {
      log_warn("hints", "a record that cannot be read; passed over", {{"key", std::string(text)}});
      return true;
    }
    const Key key = key_of(record);
    hints.insert(key, std::move(record));
    return true;
  });
  if (!scanned) return scanned.error();
  return hints;
}

Result<proto::HintRecord> Hints::read(const proto::HintMade& made, NodeId maker, WallTime now) {
  const bool is_recipe = made.kind() == proto::HINT_RECIPE;
  if (!is_recipe && made.kind() != proto::HINT_SIGNATURE) return refused("a hint of no known kind");
  if (!root_of(made.new_root())) return refused("a hint without the root of the new file");
  if (is_recipe && (!root_of(made.old_root()) || !ContentId::from_raw(made.old_content()) ||
                    made.old_root() == made.new_root())) {
    return refused("a recipe that names no old file");
  }
  const std::uint64_t most = is_recipe ? kMaxRecipeHintBytes : kMaxSignatureHintBytes;
  if (made.bytes() == 0 || made.bytes() > most) {
    return refused("a hint of " + std::to_string(made.bytes()) + " bytes; 1 to " +
                   std::to_string(most) + " are allowed");
  }
  const auto root_record = decode_root_record(made.root_record());
  if (!root_record) return root_record.error().within("the hint's root record");
  if (root_record->total_bytes != 0 || root_record->data_bytes != 0 ||
      root_record->body.size != made.bytes()) {
    return refused("the hint's root record is not that of a hint of this size");
  }
  proto::HintRecord record;
  record.set_kind(made.kind());
  record.set_new_root(made.new_root());
  if (is_recipe) {
    record.set_old_root(made.old_root());
    record.set_old_content(made.old_content());
    record.set_copied_bytes(made.copied_bytes());
  }
  record.set_root_record(made.root_record());
  record.set_bytes(made.bytes());
  record.set_maker(maker.str());
  record.set_made_unix(unix_seconds(now));
  return record;
}

Status Hints::check_contents(const proto::HintRecord& record, const Catalogue& catalogue) const {
  if (record.kind() != proto::HINT_RECIPE) return {};
  const auto old_id = ContentId::from_raw(record.old_content());
  const auto* old = old_id ? catalogue.content(*old_id) : nullptr;
  if (old == nullptr || old->root() != record.old_root()) {
    return refused("a recipe from a file that is not known here");
  }
  return {};
}

Status Hints::add(proto::HintRecord record, const Catalogue& catalogue, StateBatch& batch) {
  if (const Status known = check_contents(record, catalogue); !known) return known;
  const Key key = key_of(record);
  if (const proto::HintRecord* present = at(key)) {
    if (names(present->refused_makers(), record.maker())) {
      return Error{Errc::denied, "a hint of this maker was dropped, because it led to wrong bytes"};
    }
    if (!is_dropped(*present) && present->maker() != record.maker()) {
      return Error{Errc::already_exists, "another node has made this hint"};
    }
    // Making it again makes nothing good.
    *record.mutable_blamed_by() = is_dropped(*present)
                                      ? google::protobuf::RepeatedPtrField<std::string>()
                                      : present->blamed_by();
    *record.mutable_refused_makers() = present->refused_makers();
  }
  put(key, std::move(record), batch);
  if (!make_room(key, catalogue, batch)) {
    return Error{Errc::exhausted, "there are enough recipes from newer files"};
  }
  return {};
}

// Forgets the recipe from the oldest file, and the oldest records of all. False: that was `key`.
bool Hints::make_room(const Key& key, const Catalogue& catalogue, StateBatch& batch) {
  std::vector<Key> too_many;
  for (const bool dropped : {false, true}) {
    std::vector<std::tuple<std::int64_t, std::int64_t, Digest>> by_age;
    for (const auto& [old_root, record] : by_new_.at(key.new_root)) {
      if (old_root == Digest{} || is_dropped(record) != dropped) continue;
      const auto old_id = ContentId::from_raw(record.old_content());
      const auto* old = old_id ? catalogue.content(*old_id) : nullptr;
      by_age.emplace_back(old == nullptr ? 0 : old->known_unix(), record.made_unix(), old_root);
    }
    std::sort(by_age.begin(), by_age.end());
    for (std::size_t i = 0; i + limits_.recipes < by_age.size(); ++i) {
      too_many.push_back({key.new_root, std::get<Digest>(by_age[i])});
    }
  }
  auto oldest = by_age_.begin();
  for (int i = 0; i < kErasedAtOnce && by_age_.size() > limits_.records + too_many.size() &&
                  oldest != by_age_.end();
       ++i, ++oldest) {
    if (std::find(too_many.begin(), too_many.end(), oldest->second) == too_many.end()) {
      too_many.push_back(oldest->second);
    }
  }
  for (const Key& old : too_many) erase(old, batch);
  return at(key) != nullptr;
}

std::optional<proto::HintRecord> Hints::blame(const ContentId& hint, NodeId by, StateBatch& batch) {
  const auto found = by_hint_.find(hint);
  if (found == by_hint_.end()) return std::nullopt;
  const Key key = found->second;
  proto::HintRecord record = *at(key);
  if (names(record.blamed_by(), by.str())) return std::nullopt;
  record.add_blamed_by(by.str());
  if (static_cast<std::size_t>(record.blamed_by_size()) < limits_.blames) {
    put(key, std::move(record), batch);
    return std::nullopt;
  }
  proto::HintRecord dropped = record;
  record.clear_root_record();
  record.clear_blamed_by();
  auto& makers = *record.mutable_refused_makers();
  *makers.Add() = record.maker();
  if (makers.size() > kMaxRefusedMakers) makers.erase(makers.begin());
  put(key, std::move(record), batch);
  return dropped;
}

proto::HintRecord* Hints::at(const Key& key) {
  const auto found = by_new_.find(key.new_root);
  if (found == by_new_.end()) return nullptr;
  const auto record = found->second.find(key.old_root);
  return record == found->second.end() ? nullptr : &record->second;
}

void Hints::insert(const Key& key, proto::HintRecord record) {
  take_out(key);
  by_age_.emplace(record.made_unix(), key);
  if (!is_dropped(record)) by_hint_[content_id_of(record.root_record())] = key;
  by_new_[key.new_root][key.old_root] = std::move(record);
}

void Hints::take_out(const Key& key) {
  const proto::HintRecord* record = at(key);
  if (record == nullptr) return;
  by_age_.erase({record->made_unix(), key});
  if (!is_dropped(*record)) {
    const auto hint = by_hint_.find(content_id_of(record->root_record()));
    if (hint != by_hint_.end() && hint->second == key) by_hint_.erase(hint);
  }
  const auto of_new = by_new_.find(key.new_root);
  of_new->second.erase(key.old_root);
  if (of_new->second.empty()) by_new_.erase(of_new);
}

void Hints::put(const Key& key, proto::HintRecord record, StateBatch& batch) {
  batch.put(text_of(key), record.SerializeAsString());
  insert(key, std::move(record));
}

void Hints::erase(const Key& key, StateBatch& batch) {
  take_out(key);
  // At most one change for each key: what was just put is not put then.
  const std::string text = text_of(key);
  std::erase_if(batch.changes, [&](const auto& change) { return change.key == text; });
  batch.erase(text);
}

const proto::HintRecord* Hints::recipe(const Digest& new_root, const Digest& old_root) const {
  const proto::HintRecord* record = const_cast<Hints*>(this)->at({new_root, old_root});
  return record == nullptr || is_dropped(*record) ? nullptr : record;
}

const proto::HintRecord* Hints::signature(const Digest& new_root) const {
  return recipe(new_root, Digest{});
}

std::vector<const proto::HintRecord*> Hints::of(const Digest& new_root) const {
  std::vector<const proto::HintRecord*> list;
  const auto found = by_new_.find(new_root);
  if (found == by_new_.end()) return list;
  for (const auto& [old_root, record] : found->second) {
    if (old_root != Digest{} && !is_dropped(record)) list.push_back(&record);
  }
  std::stable_sort(list.begin(), list.end(), [](const auto* a, const auto* b) {
    return a->copied_bytes() > b->copied_bytes();
  });
  if (const auto* signature_record = signature(new_root)) list.push_back(signature_record);
  return list;
}

const proto::HintRecord* Hints::find(const ContentId& hint) const {
  const auto found = by_hint_.find(hint);
  return found == by_hint_.end() ? nullptr : const_cast<Hints*>(this)->at(found->second);
}

}  // namespace p2p
