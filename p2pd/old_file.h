// Finds an old version of a file on this node: what the receiver need not fetch is copied from it.
//
// Blocking: call from disk threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/byte_range.h"
#include "core/base/ids.h"
#include "p2pd/content_store.h"

namespace p2p {

// An open file. It may be changed by anybody at any time: chunks are hashed, so that costs bytes.
struct OldFile {
  Fd file;
  std::string path;
  FileFacts facts;                   // when it was opened
  std::vector<ByteRange> data;       // what is no hole
  std::optional<ContentId> content;  // what it holds, when this node knows
  Digest root;                       // of that

  // Nobody has written to it since.
  bool unchanged() const;
  // Nor has anything else been done to it, such as setting its mtime back after a write: then what
  // it holds is certainly what it was. For blaming others.
  bool untouched() const;
};

struct OldFileOrder {
  ContentId content;       // the new file
  Digest root;             // its root
  std::string final_path;  // where it will be
  std::string basis;       // path that the operator has named; empty: none
  // Contents that are likely to be an older version, the likeliest first.
  std::vector<ContentId> older;
  std::vector<Digest> recipe_roots;  // of old files that there are recipes for
};

struct OldFileFound {
  std::shared_ptr<const OldFile> file;  // nothing: there is none
  std::string why_not;  // why there is none, or why it is not the one that the operator has named
};

// The first of these: a file whose content equals the new one's; one that there is a recipe for;
// the operator's; the one at the destination; an older version elsewhere. Empty files count as
// none.
OldFileFound find_old_file(const ContentStore& contents, Privileged& privileged,
                           const OldFileOrder& order);

}  // namespace p2p
