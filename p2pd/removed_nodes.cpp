#include "p2pd/removed_nodes.h"

#include <utility>

#include "io/disk/file_io.h"

namespace p2p {
namespace {

constexpr std::uint32_t kMode = 0600;

}  // namespace

Status RemovedNodes::load(const std::string& file, WallTime now) {
  const auto statement = read_file(file, kMaxDenyListBytes + kMaxSignerBytes);
  if (!statement) {
    return statement.error().code == Errc::not_found ? Status{} : Status(statement.error());
  }
  const auto taken = take(*statement, now);
  return taken ? Status{} : Status(taken.error().within(file));
}

Status RemovedNodes::store(const std::string& file, const std::string& statement) {
  return write_file_atomically(file, statement, kMode);
}

Result<bool> RemovedNodes::take(std::string_view statement, WallTime now) {
  auto list = verify_deny_list(verifier_, statement, now);
  if (!list) return list.error();
  if (list->version <= list_.version) return false;
  list_ = std::move(*list);
  statement_ = std::string(statement);
  return true;
}

RemovedNodes::Answer RemovedNodes::on_peer_version(NodeId id, std::uint64_t version) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return Answer::nothing;
  Peer& peer = found->second;
  if (version > list_.version) return peer.ignored ? Answer::nothing : Answer::version;
  if (version == list_.version || peer.sent >= list_.version) return Answer::nothing;
  peer.sent = list_.version;
  return Answer::list;
}

Result<bool> RemovedNodes::on_peer_list(NodeId id, std::string_view statement, WallTime now) {
  const auto found = peers_.find(id);
  if (found == peers_.end() || found->second.ignored) return false;
  Peer& peer = found->second;
  auto taken = take(statement, now);
  peer.without_news = taken && *taken ? 0 : peer.without_news + 1;
  peer.ignored = !taken || peer.without_news >= kListsWithoutNews;
  return taken;
}

}  // namespace p2p
