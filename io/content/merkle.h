// Hash trees of BitTorrent v2 (BEP 52): SHA-256 over blocks of 16 KiB, the last at its real length.
//
// Missing leaves are 32 zero bytes, and a missing subtree is the tree over such leaves. The layer
// of a tree holds the roots of whole chunks; a run of bytes of one chunk or less has no layer.
// Everything here is thread-safe and keeps no state between calls.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/model/manifest.h"

namespace p2p {

Digest sha256(std::span<const std::uint8_t> data);
Digest sha256(std::string_view data);

// Hashes every block of `data` into `out`, which has room for one digest a block.
void hash_leaves(std::span<const std::uint8_t> data, Digest* out);
// SHA-256 of `bytes` zeros: the leaf of a block in a hole. At most kBlockBytes; free for a full
// block.
Digest zero_block_digest(std::uint32_t bytes);

// `padded_leaves`: a power of two, at least leaves.size(). The padding costs one hash a level.
Digest merkle_root(std::span<const Digest> leaves, std::uint32_t padded_leaves);
// Root above a layer of whole chunks of `chunk_blocks` blocks (a power of two) each.
Digest root_of_layer(std::span<const Digest> layer, std::uint32_t chunk_blocks);
// The tree of bytes that are all in memory: a manifest body.
HashTree tree_of_bytes(std::string_view bytes);

// Are these the leaves of this chunk? Errc::corrupt when they do not hash to what is expected.
Status verify_chunk(const ChunkSpace& space, ChunkIndex chunk, std::span<const Digest> leaves);
// Does the layer have the right length and hash up to the root? Errc::corrupt when not; for trees
// that came from outside. The root of a tree without a layer can be anything but zero.
Status check_tree(const HashTree& tree);

}  // namespace p2p
