// Hash trees against a reference that is slow, recursive and written from the text of BEP 52.
#include "io/content/merkle.h"

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/rng.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

std::string random_bytes(std::size_t size) {
  Rng rng(size + 1);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(rng.next());
  return bytes;
}

std::span<const std::uint8_t> as_span(std::string_view bytes) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

// The node over leaves [first, first + count) of a file whose missing leaves are zero.
Digest reference_node(std::string_view bytes, std::size_t first, std::size_t count) {
  if (count == 1) {
    const std::size_t at = first * kBlockBytes;
    return at < bytes.size() ? sha256(bytes.substr(at, kBlockBytes)) : Digest{};
  }
  const Digest left = reference_node(bytes, first, count / 2);
  const Digest right = reference_node(bytes, first + count / 2, count / 2);
  return sha256(std::string(left.view()) + std::string(right.view()));
}

HashTree reference_tree(std::string_view bytes) {
  HashTree tree;
  tree.size = bytes.size();
  if (bytes.empty()) return tree;
  const std::size_t blocks = (bytes.size() + kBlockBytes - 1) / kBlockBytes;
  tree.root = reference_node(bytes, 0, std::bit_ceil(blocks));
  const std::size_t chunk_blocks = chunk_bytes_for(bytes.size()) / kBlockBytes;
  if (blocks > chunk_blocks) {
    for (std::size_t at = 0; at < blocks; at += chunk_blocks) {
      tree.layer.push_back(reference_node(bytes, at, chunk_blocks));
    }
  }
  return tree;
}

std::vector<Digest> leaves_of(std::string_view bytes) {
  std::vector<Digest> leaves((bytes.size() + kBlockBytes - 1) / kBlockBytes);
  hash_leaves(as_span(bytes), leaves.data());
  return leaves;
}

}  // namespace

TEST_CASE("SHA-256 gives the values of FIPS 180", "[io][content]") {
  CHECK(sha256(std::string_view()).hex() ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256(as_span("abc")) == sha256("abc"));
}

TEST_CASE("A tree of bytes is that of BEP 52", "[io][content]") {
  const std::size_t size =
      GENERATE(0, 1, 16383, 16384, 16385, 40000, 49152, 49153, 256 * 1024 - 1, 256 * 1024,
               256 * 1024 + 1, 512 * 1024, 512 * 1024 + 1, 777777, 5 * 256 * 1024 + 16384);
  CAPTURE(size);
  const std::string bytes = random_bytes(size);
  const HashTree tree = tree_of_bytes(bytes);
  CHECK(tree == reference_tree(bytes));
  CHECK(tree.layer.empty() == (size <= 256 * 1024));
  CHECK(check_tree(tree));
}

TEST_CASE("An empty run of bytes has a zero root and no layer", "[io][content]") {
  CHECK(tree_of_bytes("") == HashTree{});
}

TEST_CASE("The last block is hashed at its real length", "[io][content]") {
  const std::string bytes = random_bytes(kBlockBytes + 5);
  const std::vector<Digest> leaves = leaves_of(bytes);
  REQUIRE(leaves.size() == 2);
  CHECK(leaves[0] == sha256(std::string_view(bytes).substr(0, kBlockBytes)));
  CHECK(leaves[1] == sha256(std::string_view(bytes).substr(kBlockBytes)));
}

TEST_CASE("Missing leaves are zero bytes, however many there are", "[io][content]") {
  const std::string bytes = random_bytes(3 * kBlockBytes);
  const std::vector<Digest> leaves = leaves_of(bytes);
  const std::uint32_t padded = GENERATE(4u, 8u, 512u, 4096u);
  CHECK(merkle_root(leaves, padded) == reference_node(bytes, 0, padded));
  std::vector<Digest> written_out = leaves;
  written_out.resize(padded);
  CHECK(merkle_root(leaves, padded) == merkle_root(written_out, padded));
  CHECK(merkle_root({}, padded) == merkle_root(std::vector<Digest>(padded), padded));
}

TEST_CASE("One leaf without padding is its own root", "[io][content]") {
  const std::vector<Digest> leaves = leaves_of("x");
  CHECK(merkle_root(leaves, 1) == sha256("x"));
}

TEST_CASE("A layer is padded with whole chunks of missing leaves", "[io][content]") {
  const std::vector<Digest> layer{sha256("a"), sha256("b"), sha256("c")};
  const std::uint32_t chunk_blocks = 32;
  std::vector<Digest> padded = layer;
  padded.push_back(merkle_root(std::vector<Digest>(chunk_blocks), chunk_blocks));
  CHECK(root_of_layer(layer, chunk_blocks) == merkle_root(padded, 4));
  CHECK(root_of_layer(layer, chunk_blocks) != merkle_root(layer, 4));
}

TEST_CASE("The digest of a zero block is that of as many zeros", "[io][content]") {
  const std::uint32_t bytes = GENERATE(0u, 1u, 16383u, 16384u);
  CHECK(zero_block_digest(bytes) == sha256(std::string(bytes, '\0')));
}

TEST_CASE("A chunk verifies with its own leaves only", "[io][content]") {
  const std::size_t size = GENERATE(20000, 256 * 1024, 2 * 256 * 1024 + 20000);
  const std::string bytes = random_bytes(size);
  const ChunkSpace space(tree_of_bytes(bytes));
  for (std::uint32_t i = 0; i < space.count(); ++i) {
    const ChunkIndex chunk{i};
    std::string part = bytes.substr(space.offset_of(chunk), space.size_of(chunk));
    CHECK(verify_chunk(space, chunk, leaves_of(part)));
    part.back() = static_cast<char>(part.back() ^ 1);
    const Status damaged = verify_chunk(space, chunk, leaves_of(part));
    REQUIRE_FALSE(damaged);
    CHECK(damaged.error().code == Errc::corrupt);
  }
}

TEST_CASE("A tree whose layer does not hash up to its root is refused", "[io][content]") {
  const HashTree good = tree_of_bytes(random_bytes(3 * 256 * 1024));
  REQUIRE(check_tree(good));

  HashTree bad = good;
  bad.layer[1].bytes[31] ^= 1;
  CHECK_FALSE(check_tree(bad));
  bad = good;
  std::swap(bad.layer[0], bad.layer[1]);
  CHECK_FALSE(check_tree(bad));
  bad = good;
  bad.root.bytes[0] ^= 0x80;
  CHECK_FALSE(check_tree(bad));
  bad = good;
  bad.layer.pop_back();
  CHECK_FALSE(check_tree(bad));
  bad = good;
  bad.size += 256 * 1024;
  CHECK_FALSE(check_tree(bad));
  bad = good;
  bad.size = ~0ull;
  CHECK_FALSE(check_tree(bad));
  bad = HashTree{};
  bad.root.bytes[0] = 1;
  CHECK_FALSE(check_tree(bad));
  bad = HashTree{};
  bad.size = 1;
  CHECK_FALSE(check_tree(bad));
}

}  // namespace p2p
