#include "p2pd/old_file.h"

#include <algorithm>
#include <set>
#include <utility>

#include "io/content/file_hasher.h"

namespace p2p {
namespace {

class Search {
 public:
  Search(const ContentStore& contents, Privileged& privileged, const OldFileOrder& order)
      : contents_(contents), privileged_(privileged), order_(order) {}

  OldFileFound run() {
    if (!order_.basis.empty()) at_path(order_.basis, /*named=*/true);
    if (!best_) at_path(order_.final_path, /*named=*/false);
    for (const ContentId& content : order_.older) {
      if (best_) break;
      if (auto record = contents_.holding(content); record && *record) held(**record);
    }
    // Any file whose content a recipe begins with will do, whatever its name is.
    if (!best_) all_holdings();
    if (best_) return open_data(std::move(*best_));
    if (some_) return open_data(std::move(*some_));
    if (why_not_.empty()) why_not_ = "no older version on this node";
    return {nullptr, why_not_};
  }

 private:
  void at_path(const std::string& path, bool named) {
    auto file = privileged_.open_source(path);
    if (!file) {
      if (named) why_not_ = "the basis cannot be read: " + file.error().detail;
      return;
    }
    auto facts = facts_of(*file);
    if (!facts) return;
    if (facts->size == 0) {
      if (named) why_not_ = "the basis is empty: " + path;
      return;
    }
    OldFile old;
    old.path = path;
    old.content = contents_.cached_content(path, *facts);
    old.facts = std::move(*facts);
    old.file = std::move(*file);
    consider(std::move(old));
  }

  void held(const proto::HoldingRecord& record) {
    const auto content = ContentId::from_raw(record.content_id());
    if (!content || record.size() == 0 || record.lost_unix() != 0) return;
    auto file = contents_.open_held(record);
    if (!file) return;
    auto facts = facts_of(*file);
    if (!facts) return;
    OldFile old;
    old.path = record.path();
    old.content = *content;
    old.facts = std::move(*facts);
    old.file = std::move(*file);
    consider(std::move(old));
  }

  // Without opening what is of no use.
  void all_holdings() {
    auto records = contents_.holdings();
    if (!records) return;
    for (const proto::HoldingRecord& record : *records) {
      if (best_) return;
      const auto content = ContentId::from_raw(record.content_id());
      if (!content || looked_at_.contains(*content)) continue;
      const auto manifest = contents_.load_manifest(*content);
      if (manifest && fits(manifest->file().tree.root)) held(record);
    }
  }

  bool fits(const Digest& root) const {
    return root == order_.root || std::find(order_.recipe_roots.begin(), order_.recipe_roots.end(),
                                            root) != order_.recipe_roots.end();
  }

  void consider(OldFile old) {
    bool exact = false;
    if (old.content) {
      looked_at_.insert(*old.content);
      const auto manifest = contents_.load_manifest(*old.content);
      if (manifest) {
        old.root = manifest->file().tree.root;
        exact = fits(old.root);
      } else {
        old.content.reset();
      }
    }
    if (exact) {
      best_ = std::move(old);
    } else if (!some_) {
      some_ = std::move(old);
    }
  }

  OldFileFound open_data(OldFile old) const {
    auto data = data_extents_of(old.file.get(), old.facts.size);
    if (!data) return {nullptr, old.path + " cannot be used: " + data.error().detail};
    old.data = std::move(*data);
    return {std::make_shared<const OldFile>(std::move(old)), why_not_};
  }

  const ContentStore& contents_;
  Privileged& privileged_;
  const OldFileOrder& order_;
  std::optional<OldFile> best_;  // its content is known to fit
  std::optional<OldFile> some_;  // the first that may be worth a look
  std::set<ContentId> looked_at_;
  std::string why_not_;
};

}  // namespace

bool OldFile::unchanged() const {
  const auto now = facts_of(file);
  // Not the ctime: landing the new file takes the old one's name away.
  return now && now->size == facts.size && now->mtime_ns == facts.mtime_ns;
}

bool OldFile::untouched() const {
  const auto now = facts_of(file);
  return now && *now == facts;
}

OldFileFound find_old_file(const ContentStore& contents, Privileged& privileged,
                           const OldFileOrder& order) {
  return Search(contents, privileged, order).run();
}

}  // namespace p2p
