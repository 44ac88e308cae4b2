// Where a file may come from and where it lands on a node.
//
// Pure checks of texts: that a path really stays below its root, whatever links the file system
// holds, is the matter of io/privileged (openat2). Paths are raw bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace p2p {

inline constexpr std::size_t kMaxPathBytes = 4095;  // PATH_MAX without its final NUL
inline constexpr std::size_t kMaxPathComponentBytes = 255;
// Names that begin so are ours: parts of unfinished files, staging folders.
inline constexpr std::string_view kReservedPrefix = ".p2pd-";

// Absolute, names something below "/", within the limits; no ".", no "..", no reserved name.
// Repeated slashes and a trailing one are allowed.
Status check_source_path(std::string_view path);

// Also below one of the folders that the node may read: its shares, and its roots. denied, with
// both lists, when not. A comparison of texts: the node itself knows its links and asks again.
Status check_readable(std::string_view path, std::span<const std::string> shares,
                      std::span<const std::string> roots, std::string_view node_name);

// The last component of a path that passed check_source_path: "/srv/a.img/" → "a.img".
std::string base_name_of(std::string_view path);

struct ResolvedDestination {
  std::size_t root_index = 0;  // in the list of roots that was given
  std::string relative_path;   // below that root: no empty, "." or ".." part; never empty itself
  friend bool operator==(const ResolvedDestination&, const ResolvedDestination&) = default;
};

// An absolute `dest` must lie below one of `roots`, of which the longest that fits is taken; a
// relative one lies below the first. "{node}" stands for the node's name; another lower-case word
// in braces is an error, so that it can get a meaning later. A trailing "/" appends
// `source_base_name`, in which nothing is replaced. Repeated slashes count as one. Roots are
// absolute; whether they exist is not asked.
Result<ResolvedDestination> resolve_destination(std::string_view dest,
                                                std::span<const std::string> roots,
                                                std::string_view node_name,
                                                std::string_view source_base_name);

// Where that is: absolute, without repeated slashes.
std::string absolute_path(const ResolvedDestination& resolved, std::span<const std::string> roots);
// Repeated slashes and a trailing one taken out, so that texts of one path are equal.
std::string normal_path(std::string_view absolute);

// The absolute path of an old file on the node, written as a destination is: a relative one lies
// below the first root, an absolute one below any folder that the node may read.
Result<std::string> resolve_basis(std::string_view basis, std::span<const std::string> shares,
                                  std::span<const std::string> roots, std::string_view node_name,
                                  std::string_view source_base_name);

}  // namespace p2p
