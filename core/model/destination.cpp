#include "core/model/destination.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "core/base/text.h"
#include "core/model/node_set.h"

namespace p2p {
namespace {

using Components = std::vector<std::string_view>;

Error bad(std::string detail) {
  return Error{Errc::invalid_argument, std::move(detail)};
}

// The non-empty parts between slashes.
Components components_of(std::string_view path) {
  Components components;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end > 0) components.push_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return components;
}

// `what` is the whole text that the message quotes.
Status check_components(const Components& components, std::string_view what) {
  for (const std::string_view component : components) {
    if (component == "." || component == "..") {
      return bad(printable(what) + ": \"" + std::string(component) +
                 "\" is not allowed in a path; write the path without it");
    }
    if (component.starts_with(kReservedPrefix)) {
      return bad(printable(what) + ": names that begin with \"" + std::string(kReservedPrefix) +
                 "\" are reserved for p2pd; choose another name");
    }
    if (component.size() > kMaxPathComponentBytes) {
      return bad(printable(what) + ": a name of " + std::to_string(component.size()) +
                 " bytes; at most " + std::to_string(kMaxPathComponentBytes));
    }
    if (component.find('\0') != std::string_view::npos) {
      return bad(printable(what) + ": a zero byte in a path; write the path without it");
    }
  }
  return {};
}

Error too_long(std::string_view path, std::size_t bytes) {
  return bad(printable(path, 80) + ": a path of " + std::to_string(bytes) + " bytes; at most " +
             std::to_string(kMaxPathBytes));
}

Status check_base_name(std::string_view name) {
  if (name.empty() || name.find('/') != std::string_view::npos) {
    return bad("the source's own name " + quoted(name) +
               " is no file name; end --path with a name instead of '/'");
  }
  Status status = check_components({name}, name);
  return status ? status : Status(status.error().within("the source's own name"));
}

// Where in `text` a word in braces begins, and the word: "a{node}" → 1, "node".
struct Placeholder {
  std::size_t at = 0;
  std::string_view word;
};
std::optional<Placeholder> find_placeholder(std::string_view text, std::size_t from) {
  for (std::size_t at = text.find('{', from); at != std::string_view::npos;
       at = text.find('{', at + 1)) {
    const std::string_view rest = text.substr(at + 1);
    const std::size_t length =
        std::min(rest.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), rest.size());
    if (length > 0 && length < rest.size() && rest[length] == '}') {
      return Placeholder{at, rest.substr(0, length)};
    }
  }
  return std::nullopt;
}

Result<std::string> replace_placeholders(std::string_view dest, std::string_view node_name) {
  std::string replaced;
  std::size_t from = 0;
  while (const std::optional<Placeholder> found = find_placeholder(dest, from)) {
    if (found->word != "node") {
      return bad(printable(dest) + ": {" + std::string(found->word) +
                 "} has no meaning here; {node} is the node's name");
    }
    replaced += dest.substr(from, found->at - from);
    replaced += node_name;
    from = found->at + found->word.size() + 2;
  }
  replaced += dest.substr(from);
  return replaced;
}

// The root with the most components that `path` begins with.
std::optional<std::size_t> longest_root(const Components& path,
                                        std::span<const std::string> roots) {
  std::optional<std::size_t> best;
  std::size_t best_length = 0;
  for (std::size_t i = 0; i < roots.size(); ++i) {
    const Components root = components_of(roots[i]);
    const bool fits =
        root.size() <= path.size() && std::equal(root.begin(), root.end(), path.begin());
    if (!fits || (best && root.size() <= best_length)) continue;
    best = i;
    best_length = root.size();
  }
  return best;
}

std::string listed(std::span<const std::string> folders) {
  std::string list;
  for (const std::string& folder : folders) list += (list.empty() ? "" : ", ") + folder;
  return list.empty() ? "none" : printable(list, 400);
}

Error below_no_root(std::string_view path, std::span<const std::string> roots,
                    std::string_view node_name) {
  return Error{Errc::denied, printable(path) + " is not below a root of " + std::string(node_name) +
                                 " (roots: " + listed(roots) +
                                 "): start p2pd with --root or choose another --path"};
}

}  // namespace

Status check_source_path(std::string_view path) {
  if (!path.starts_with('/')) {
    return bad("source path " + quoted(path) + " is not absolute; write NODE:/path/of/the/file");
  }
  if (path.size() > kMaxPathBytes) return too_long(path, path.size());
  const Components components = components_of(path);
  if (components.empty()) {
    return bad("source path " + quoted(path) + " names no file; write NODE:/path/of/the/file");
  }
  return check_components(components, path);
}

std::string base_name_of(std::string_view path) {
  const Components components = components_of(path);
  return components.empty() ? std::string() : std::string(components.back());
}

Result<ResolvedDestination> resolve_destination(std::string_view dest,
                                                std::span<const std::string> roots,
                                                std::string_view node_name,
                                                std::string_view source_base_name) {
  if (Status status = check_node_name(node_name); !status) return status.error();
  if (dest.empty()) return bad("no destination: --path needs a path, such as images/web.img");
  if (dest.size() > kMaxPathBytes) return too_long(dest, dest.size());
  if (roots.empty()) {
    return Error{Errc::denied, std::string(node_name) +
                                   " receives nothing, because it has no roots: start p2pd there "
                                   "with --root DIR"};
  }
  Result<std::string> path = replace_placeholders(dest, node_name);
  if (!path) return path.error();
  if (path->ends_with('/')) {
    if (Status status = check_base_name(source_base_name); !status) return status.error();
    *path += source_base_name;
  }
  Components components = components_of(*path);
  if (Status status = check_components(components, *path); !status) return status.error();

  ResolvedDestination resolved;
  if (path->starts_with('/')) {
    const std::optional<std::size_t> root = longest_root(components, roots);
    if (!root) return below_no_root(*path, roots, node_name);
    resolved.root_index = *root;
    const std::size_t skipped = components_of(roots[*root]).size();
    components.erase(components.begin(), components.begin() + static_cast<std::ptrdiff_t>(skipped));
    if (components.empty()) {
      return bad(printable(*path) + " is a root of " + std::string(node_name) +
                 " itself: add a name, or a trailing '/' to keep the source's own");
    }
  }
  for (const std::string_view component : components) {
    if (!resolved.relative_path.empty()) resolved.relative_path += '/';
    resolved.relative_path += component;
  }
  const std::size_t bytes = roots[resolved.root_index].size() + 1 + resolved.relative_path.size();
  if (bytes > kMaxPathBytes) return too_long(*path, bytes);
  return resolved;
}

Status check_readable(std::string_view path, std::span<const std::string> shares,
                      std::span<const std::string> roots, std::string_view node_name) {
  if (Status valid = check_source_path(path); !valid) return valid;
  const auto parts = components_of(path);
  if (longest_root(parts, shares) || longest_root(parts, roots)) return {};
  return Error{Errc::denied, printable(path) + " is not below a folder that " +
                                 std::string(node_name) + " may read (shares: " + listed(shares) +
                                 "; roots: " + listed(roots) +
                                 "): start p2pd with --share to publish from elsewhere"};
}

std::string normal_path(std::string_view absolute) {
  std::string path;
  for (const std::string_view component : components_of(absolute)) {
    path += '/';
    path += component;
  }
  return path;
}

std::string absolute_path(const ResolvedDestination& resolved, std::span<const std::string> roots) {
  return normal_path(roots[resolved.root_index] + "/" + resolved.relative_path);
}

Result<std::string> resolve_basis(std::string_view basis, std::span<const std::string> shares,
                                  std::span<const std::string> roots, std::string_view node_name,
                                  std::string_view source_base_name) {
  if (!basis.starts_with('/')) {
    auto resolved = resolve_destination(basis, roots, node_name, source_base_name);
    if (!resolved) return resolved.error();
    return absolute_path(*resolved, roots);
  }
  Result<std::string> path = replace_placeholders(basis, node_name);
  if (!path) return path.error();
  if (path->ends_with('/')) *path += source_base_name;
  if (Status readable = check_readable(*path, shares, roots, node_name); !readable) {
    return readable.error();
  }
  return normal_path(*path);
}

}  // namespace p2p
