// Makes recipes and signatures for a file that was published (docs/decisions/0009).
#pragma once

#include <functional>
#include <vector>

#include "core/delta/recipe.h"
#include "p2pd/content_store.h"
#include "p2pd/hint_store.h"
#include "proto/control.pb.h"

namespace p2p {

struct HintOrder {
  // Contents to make recipes from, as far as this node holds them whole.
  std::vector<ContentId> bases;
  bool signature = false;
  bool empty() const { return bases.empty() && !signature; }
};

struct MadeHint {
  proto::HintMade message;
  StoredHint stored;
};

// Blocks, for 0.6 CPU-seconds per GB of both files (a recipe) and 1.9 per GB on all cores (the
// signature). `file` is the whole published file. What cannot be made is logged and left out: a
// hint spares bytes, and nothing depends on it. `go_on` is asked about every MiB; false ends it.
std::vector<MadeHint> make_hints(const ContentStore& contents, const HintStore& hints,
                                 const LoadedManifest& manifest, const Fd& file,
                                 const HintOrder& order, const std::function<bool()>& go_on);

// A recipe as it is told to the tracker, stored. invalid_argument: the recipe is not valid.
Result<MadeHint> keep_recipe(const HintStore& hints, const ContentId& old_content,
                             const ContentId& new_content, const Recipe& recipe);

}  // namespace p2p
