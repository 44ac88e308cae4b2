// A node that holds versions of files, for the tests of what is made of old ones.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/base/rng.h"
#include "io/content/file_hasher.h"
#include "io/content/manifest_codec.h"
#include "io/state/memory_store.h"
#include "p2pd/content_store.h"
#include "p2pd/hint_store.h"
#include "tests/io/privileged/node.h"

namespace p2p::test {

// Without a zero, so that none of it looks like a hole.
inline std::string random_bytes(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(1 + rng.below(255));
  return bytes;
}

inline std::span<const std::uint8_t> span_of(const std::string& bytes) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

// All of a file, whatever its length.
inline std::string bytes_of(const ServeSource& source) {
  std::string bytes(static_cast<std::size_t>(source.space.size()), '\0');
  const ByteRange all{0, bytes.size()};
  REQUIRE(read_blocking(source, {&all, 1},
                        {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()}));
  return bytes;
}

struct Versions : Node {
  MemoryStore state;
  ContentStore contents = must_be(ContentStore::open(state, base / "manifests", *privileged));
  HintStore hints = must_be(HintStore::open(base / "hints"));

  template <class T>
  static T must_be(Result<T> made) {
    INFO((made ? "" : made.error().detail));
    REQUIRE(made);
    return *std::move(made);
  }

  Fd opened(const std::string& path) const { return must_be(privileged->open_source(path)); }
  // Hashed; its manifest is kept.
  LoadedManifest describe(const std::string& path) const {
    const Fd file = opened(path);
    const FileFacts facts = must_be(facts_of(file));
    const PackedManifest packed = pack(
        must_be(make_file_manifest(fs::path(path).filename(), facts,
                                   must_be(hash_file(file.get(), facts.size, {.threads = 1})))));
    REQUIRE(contents.save_manifest(packed.content_id, packed.root_record_bytes, packed.body_bytes));
    return must_be(contents.load_manifest(packed.content_id));
  }
  // As a publisher does it: also on record with path and facts.
  LoadedManifest hold(const std::string& path) const {
    LoadedManifest manifest = describe(path);
    const FileFacts facts = must_be(facts_of(opened(path)));
    REQUIRE(contents.put_holding(holding_record(manifest.id, path, facts)));
    REQUIRE(contents.remember_hash(path, facts, manifest.id));
    return manifest;
  }
  LoadedManifest hold(const std::string& path, const std::string& bytes) const {
    put_file(path, bytes);
    return hold(path);
  }
};

// Writes these pieces into a new file; what lies between them is a hole.
inline void put_sparse(const std::string& path, std::uint64_t size,
                       const std::vector<std::pair<std::uint64_t, std::string>>& pieces) {
  const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  REQUIRE(file);
  REQUIRE(::ftruncate(file.get(), static_cast<off_t>(size)) == 0);
  for (const auto& [offset, bytes] : pieces) {
    REQUIRE(write_all_at(file.get(), span_of(bytes), offset, path));
  }
}

}  // namespace p2p::test
