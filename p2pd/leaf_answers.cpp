#include "p2pd/leaf_answers.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <string>
#include <utility>

#include "io/content/merkle.h"

namespace p2p {
namespace {

// Of one peer, the one that is being read included. A receiver asks for one at a time.
constexpr std::size_t kWaitingMax = 16;
constexpr std::uint32_t kReadBytes = 256 * 1024;

// The digests of all blocks of the chunk, joined; empty when they are not those of the content.
Result<std::string> leaves_of(const ServeSource& source, ChunkIndex chunk) {
  const std::uint64_t begin = source.space.offset_of(chunk);
  const std::uint32_t size = source.space.size_of(chunk);
  Buffer bytes(std::min(size, kReadBytes));
  std::vector<Digest> leaves(source.space.leaves_of(chunk));
  for (std::uint32_t at = 0; at < size; at += kReadBytes) {
    const ByteRange range{begin + at, std::min(size - at, kReadBytes)};
    const auto into = bytes.span().first(range.length);
    if (Status read = read_blocking(source, {&range, 1}, into); !read) return read.error();
    hash_leaves(into, &leaves[at / kBlockBytes]);
  }
  if (source.has_changed()) return changed_while_served(source);
  // Rather nothing than what would be taken for a lie.
  if (!verify_chunk(source.space, chunk, leaves)) return std::string();
  std::string joined;
  joined.reserve(leaves.size() * sizeof(Digest));
  for (const Digest& leaf : leaves) joined += leaf.view();
  return joined;
}

}  // namespace

void LeafAnswers::on_wanted(NodeId peer, const ContentId& content, ChunkIndex chunk,
                            ServeSourcePtr source) {
  const auto found = queues_.find(peer);
  const std::size_t waiting = found == queues_.end() ? 0 : found->second->size();
  if (!source || waiting >= kWaitingMax) return mesh_.send_leaves(peer, content, chunk, {});
  std::shared_ptr<Queue>& queue = queues_[peer];
  if (!queue) queue = std::make_shared<Queue>();
  queue->push_back({content, chunk, std::move(source)});
  if (queue->size() == 1) read_next(peer, queue);
}

void LeafAnswers::read_next(NodeId peer, const std::shared_ptr<Queue>& queue) {
  const Wanted& next = queue->front();
  disk_.post([this, alive = alive_, &control = control_, peer, queue, chunk = next.chunk,
              source = next.source] {
    auto leaves = std::make_shared<Result<std::string>>(leaves_of(*source, chunk));
    boost::asio::post(control, [this, alive, peer, queue, source, leaves] {
      if (!*alive) return;
      if (!*leaves) failed_(source, leaves->error());
      const auto found = queues_.find(peer);
      if (found == queues_.end() || found->second != queue) return;
      const Wanted done = std::move(queue->front());
      queue->pop_front();
      mesh_.send_leaves(peer, done.content, done.chunk,
                        *leaves ? std::move(**leaves) : std::string());
      if (queue->empty()) {
        queues_.erase(peer);
      } else {
        read_next(peer, queue);
      }
    });
  });
}

}  // namespace p2p
