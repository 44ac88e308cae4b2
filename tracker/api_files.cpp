// The API's calls about files and contents.
#include <algorithm>

#include "core/model/manifest.h"
#include "core/model/node_set.h"
#include "io/runtime/wall_clock.h"
#include "tracker/api.h"

namespace p2p {

proto::File Api::file_view(const proto::FileRecord* file,
                           const proto::ContentRecord& content) const {
  proto::File view;
  const ContentId id = *ContentId::from_raw(content.content_id());
  if (file != nullptr) {
    view.set_name(file->domain() + "/" + file->name());
    view.set_version(file->version());
    view.set_published_by(file->published_by());
    view.set_published_at(rfc3339(from_unix_seconds(file->published_unix())));
    view.set_latest(catalogue_.is_latest(*file));
    view.set_withdrawn(file->withdrawn());
  }
  view.set_content_id(id.hex());
  view.set_total_bytes(content.total_bytes());
  view.set_data_bytes(content.data_bytes());
  view.set_chunks(chunk_count_for(content.total_bytes()));
  view.set_chunk_bytes(chunk_bytes_for(content.total_bytes()));
  if (const auto root = Digest::from_raw(content.root())) view.set_root(root->hex());
  view.set_original_name(content.original_name());
  if (const Swarm* swarm = board_.swarm_of(id)) {
    for (const auto& [node, holder] : swarm->holders()) {
      if (holder.complete) {
        view.set_seeds(view.seeds() + 1);
      } else {
        view.set_partial(view.partial() + 1);
      }
    }
  }
  return view;
}

void Api::list_files(const Exchange& exchange, const std::vector<std::string>&) {
  proto::FileList list;
  for (const auto* file : catalogue_.files()) {
    const auto* content = catalogue_.content(*ContentId::from_raw(file->content_id()));
    if (content != nullptr) *list.add_files() = file_view(file, *content);
  }
  reply(exchange, list);
}

// These two answer the exchange themselves when there is no such file.
std::optional<Api::Found> Api::file_of(const Exchange& exchange,
                                       const std::vector<std::string>& parts) {
  auto name = parse_file_name(parts[2] + "/" + parts[3]);
  if (!name) {
    reply(exchange, name.error());
    return std::nullopt;
  }
  const auto* file = catalogue_.find(*name);
  const auto* content =
      file == nullptr ? nullptr : catalogue_.content(*ContentId::from_raw(file->content_id()));
  if (content != nullptr) return Found{file, content};
  reply(exchange, Catalogue::unknown_file(name->str()));
  return std::nullopt;
}

std::optional<Api::Found> Api::content_of(const Exchange& exchange,
                                          const std::vector<std::string>& parts) {
  const auto id = ContentId::from_hex(parts[2]);
  const auto* content = id ? catalogue_.content(*id) : nullptr;
  if (content != nullptr) return Found{catalogue_.name_of(*id), content};
  reply(exchange, Catalogue::unknown_file(parts[2]));
  return std::nullopt;
}

void Api::show_file(const Exchange& exchange, const std::vector<std::string>& parts) {
  if (const auto found = file_of(exchange, parts)) {
    reply(exchange, file_view(found->file, *found->content));
  }
}

void Api::show_content(const Exchange& exchange, const std::vector<std::string>& parts) {
  if (const auto found = content_of(exchange, parts)) {
    reply(exchange, file_view(found->file, *found->content));
  }
}

void Api::reply_holders(const Exchange& exchange, const proto::FileRecord* file,
                        const proto::ContentRecord& content) {
  proto::Holders view;
  *view.mutable_file() = file_view(file, content);
  if (const Swarm* swarm = board_.swarm_of(*ContentId::from_raw(content.content_id()))) {
    for (const auto& [id, holder] : swarm->holders()) {
      const NodeEntry* node = registry_.find(id);
      proto::Holder& entry = *view.add_holders();
      entry.set_node(node == nullptr ? id.str() : node->record.name());
      entry.set_online(node != nullptr && node->online);
      entry.set_complete(holder.complete);
      entry.set_bytes(holder.bytes);
      entry.set_path(holder.path);
    }
  }
  std::sort(view.mutable_holders()->begin(), view.mutable_holders()->end(),
            [](const auto& a, const auto& b) { return natural_less(a.node(), b.node()); });
  reply(exchange, view);
}

void Api::file_holders(const Exchange& exchange, const std::vector<std::string>& parts) {
  if (const auto found = file_of(exchange, parts)) {
    reply_holders(exchange, found->file, *found->content);
  }
}

void Api::content_holders(const Exchange& exchange, const std::vector<std::string>& parts) {
  if (const auto found = content_of(exchange, parts)) {
    reply_holders(exchange, found->file, *found->content);
  }
}

}  // namespace p2p
