// What may be seen of a folder's content: see Privileged::list_folder.
#pragma once

#include <string>

#include "core/base/result.h"
#include "io/disk/fd.h"
#include "io/privileged/privileged.h"

namespace p2p {

// `folder` is open for reading; `path` is its name, for errors. Memory is that of one listing,
// however many names the folder has; the whole folder is read for each.
Result<FolderListing> list_entries(const Fd& folder, const std::string& after,
                                   const std::string& path);

}  // namespace p2p
