#include "io/content/merkle.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/check.h"

namespace p2p {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// Looking the algorithm up costs more than hashing a tree node, so each thread does it once and
// keeps its context.
EVP_MD_CTX* thread_context() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  P2P_CHECK(algorithm != nullptr);
  thread_local const std::unique_ptr<EVP_MD_CTX, FreeContext> context = [] {
    std::unique_ptr<EVP_MD_CTX, FreeContext> fresh(EVP_MD_CTX_new());
    P2P_CHECK(fresh != nullptr && EVP_DigestInit_ex2(fresh.get(), algorithm, nullptr) == 1);
    return fresh;
  }();
  return context.get();
}

Digest sha256(const void* data, std::size_t size) {
  EVP_MD_CTX* const context = thread_context();
  Digest digest;
  // Fails only when the library itself is broken: memory is in place already.
  P2P_CHECK(EVP_DigestInit_ex2(context, nullptr, nullptr) == 1 &&
            EVP_DigestUpdate(context, data, size) == 1 &&
            EVP_DigestFinal_ex(context, digest.bytes.data(), nullptr) == 1);
  return digest;
}

Digest parent_of(const Digest& left, const Digest& right) {
  std::array<std::uint8_t, 64> both;
  std::copy(left.bytes.begin(), left.bytes.end(), both.begin());
  std::copy(right.bytes.begin(), right.bytes.end(), both.begin() + 32);
  return sha256(both.data(), both.size());
}

// Root of a tree of 2^height missing leaves.
const Digest& padding(unsigned height) {
  static const std::array<Digest, 33> table = [] {
    std::array<Digest, 33> roots;
    for (std::size_t i = 1; i < roots.size(); ++i) roots[i] = parent_of(roots[i - 1], roots[i - 1]);
    return roots;
  }();
  return table[height];
}

// Root over 2^height nodes, of which `nodes` are the first; the nodes are roots of trees of
// `node_height` levels.
Digest root_over(std::span<const Digest> nodes, unsigned height, unsigned node_height) {
  if (nodes.empty()) return padding(node_height + height);
  std::vector<Digest> level(nodes.begin(), nodes.end());
  for (unsigned h = node_height; h < node_height + height; ++h) {
    if (level.size() % 2 != 0) level.push_back(padding(h));
    for (std::size_t i = 0; i < level.size() / 2; ++i) {
      level[i] = parent_of(level[2 * i], level[2 * i + 1]);
    }
    level.resize(level.size() / 2);
  }
  return level.front();
}

unsigned log2_of(std::uint32_t power) {
  P2P_CHECK(std::has_single_bit(power));
  return static_cast<unsigned>(std::countr_zero(power));
}

Error corrupt(std::string why) {
  return Error{Errc::corrupt, std::move(why)};
}

}  // namespace

Digest sha256(std::span<const std::uint8_t> data) {
  return sha256(data.data(), data.size());
}

Digest sha256(std::string_view data) {
  return sha256(data.data(), data.size());
}

void hash_leaves(std::span<const std::uint8_t> data, Digest* out) {
  while (!data.empty()) {
    const std::size_t block = std::min<std::size_t>(kBlockBytes, data.size());
    *out++ = sha256(data.first(block));
    data = data.subspan(block);
  }
}

Digest zero_block_digest(std::uint32_t bytes) {
  static constexpr std::array<std::uint8_t, kBlockBytes> kZeros{};
  static const Digest full = sha256(std::span(kZeros));
  P2P_CHECK(bytes <= kBlockBytes);
  return bytes == kBlockBytes ? full : sha256(std::span(kZeros).first(bytes));
}

Digest merkle_root(std::span<const Digest> leaves, std::uint32_t padded_leaves) {
  P2P_CHECK(leaves.size() <= padded_leaves);
  return root_over(leaves, log2_of(padded_leaves), 0);
}

Digest root_of_layer(std::span<const Digest> layer, std::uint32_t chunk_blocks) {
  P2P_CHECK(!layer.empty() && layer.size() <= chunk_count_for(kMaxFileBytes));
  const auto padded = std::bit_ceil(static_cast<std::uint32_t>(layer.size()));
  return root_over(layer, log2_of(padded), log2_of(chunk_blocks));
}

HashTree tree_of_bytes(std::string_view bytes) {
  HashTree tree;
  tree.size = bytes.size();
  if (bytes.empty()) return tree;
  const std::uint32_t chunk_bytes = chunk_bytes_for(bytes.size());
  const std::uint32_t chunk_blocks = chunk_bytes / kBlockBytes;
  std::vector<Digest> leaves((bytes.size() + kBlockBytes - 1) / kBlockBytes);
  hash_leaves({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, leaves.data());
  if (bytes.size() <= chunk_bytes) {
    tree.root = merkle_root(leaves, std::bit_ceil(static_cast<std::uint32_t>(leaves.size())));
    return tree;
  }
  for (std::span<const Digest> rest(leaves); !rest.empty();) {
    const std::size_t count = std::min<std::size_t>(chunk_blocks, rest.size());
    tree.layer.push_back(merkle_root(rest.first(count), chunk_blocks));
    rest = rest.subspan(count);
  }
  tree.root = root_of_layer(tree.layer, chunk_blocks);
  return tree;
}

Status verify_chunk(const ChunkSpace& space, ChunkIndex chunk, std::span<const Digest> leaves) {
  P2P_CHECK(leaves.size() == space.leaves_of(chunk));
  if (merkle_root(leaves, space.padded_leaves_of(chunk)) == space.expected(chunk)) return {};
  return corrupt("chunk " + std::to_string(chunk.value) + " at " +
                 std::to_string(space.offset_of(chunk)) +
                 " does not hash to what the manifest says; fetch it again from somebody else");
}

Status check_tree(const HashTree& tree) {
  const std::string what = "hash tree of " + std::to_string(tree.size) + " bytes";
  if (tree.size > kMaxFileBytes) return corrupt(what + ": larger than any file may be");
  if ((tree.size == 0) != (tree.root == Digest{})) {
    return corrupt(what + ": the root must be zero for an empty run of bytes, only");
  }
  const std::uint32_t chunks = chunk_count_for(tree.size);
  if (tree.layer.size() != (chunks > 1 ? chunks : 0)) {
    return corrupt(what + ": a layer of " + std::to_string(tree.layer.size()) +
                   " digests does not fit the size");
  }
  if (tree.layer.empty()) return {};
  if (root_of_layer(tree.layer, chunk_bytes_for(tree.size) / kBlockBytes) != tree.root) {
    return corrupt(what + ": the layer does not hash up to the root");
  }
  return {};
}

}  // namespace p2p
