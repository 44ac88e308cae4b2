// The API's calls about nodes.
#include <algorithm>
#include <map>
#include <set>

#include "core/model/node_set.h"
#include "io/runtime/wall_clock.h"
#include "tracker/api.h"
#include "tracker/views.h"

namespace p2p {

namespace {

// How many contents each node holds whole; counted for all at once, or a list of many nodes would
// look into every file once for each.
class FilesHeld {
 public:
  FilesHeld(const Catalogue& catalogue, const JobBoard& board) {
    std::set<ContentId> contents;
    for (const auto* file : catalogue.files()) {
      contents.insert(*ContentId::from_raw(file->content_id()));
    }
    for (const ContentId& content : contents) {
      const Swarm* swarm = board.swarm_of(content);
      if (swarm == nullptr) continue;
      for (const auto& [node, holder] : swarm->holders()) counts_[node] += holder.complete ? 1 : 0;
    }
  }
  std::uint32_t of(const NodeEntry& node) const {
    const auto found = counts_.find(node.id);
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  std::map<NodeId, std::uint32_t> counts_;
};

}  // namespace

void Api::list_nodes(const Exchange& exchange, const std::vector<std::string>&) {
  proto::NodeList list;
  std::vector<const NodeEntry*> nodes;
  for (const auto& [id, node] : registry_.nodes()) {
    if (!node.record.removed()) nodes.push_back(&node);
  }
  std::sort(nodes.begin(), nodes.end(), [](const NodeEntry* a, const NodeEntry* b) {
    return natural_less(a->record.name(), b->record.name());
  });
  const FilesHeld held(catalogue_, board_);
  for (const NodeEntry* node : nodes) *list.add_nodes() = node_view(*node, held.of(*node));
  reply(exchange, list);
}

void Api::show_node(const Exchange& exchange, const std::vector<std::string>& parts) {
  const NodeEntry* node = registry_.find(parts[2]);
  if (node == nullptr) return reply(exchange, Registry::unknown_node(parts[2]));
  proto::Node view = node_view(*node, FilesHeld(catalogue_, board_).of(*node));
  // A release before runs knows no figures.
  if (!node->online || node->exec.empty()) return reply(exchange, view);
  figures_.ask(node->id, [exchange, view](std::optional<proto::NodeFigures> figures) mutable {
    if (figures) *view.mutable_figures() = *std::move(figures);
    reply(exchange, view);
  });
}

void Api::remove_node(const Exchange& exchange, const std::vector<std::string>& parts) {
  removal_.remove(parts[2], wall_now(), [exchange](const Result<proto::RemovedNode>& removed) {
    if (!removed) return reply(exchange, removed.error());
    reply(exchange, *removed);
  });
}

void Api::label_node(const Exchange& exchange, const std::vector<std::string>& parts) {
  NodeEntry* node = registry_.find(parts[2]);
  if (node == nullptr) return reply(exchange, Registry::unknown_node(parts[2]));
  proto::SetLabelsRequest request;
  if (!read_body(exchange, request)) return;
  StateBatch batch;
  const Status set =
      registry_.set_labels(*node, {request.labels().begin(), request.labels().end()}, batch);
  if (!set) return reply(exchange, set.error());
  board_.on_labels_changed(*node);
  const proto::Node view = node_view(*node, FilesHeld(catalogue_, board_).of(*node));
  journal_.commit(std::move(batch), [exchange, view](const Status& stored) {
    if (!stored) return reply(exchange, stored.error());
    reply(exchange, view);
  });
}

}  // namespace p2p
