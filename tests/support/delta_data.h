// Small old and new files that differ in the ways that real ones do (delta.md §1), from a seed.
//
// Random bytes on purpose: nothing matches by chance, so that what a matcher finds is exact.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/base/rng.h"

namespace p2p::delta_data {

using Bytes = std::vector<std::uint8_t>;

struct Pair {
  Bytes old_file;
  Bytes new_file;
};

inline void append_random(Bytes& out, Rng& rng, std::size_t count) {
  const std::size_t begin = out.size();
  out.resize(begin + count);
  for (std::size_t i = 0; i < count; i += 8) {
    const std::uint64_t word = rng.next();
    std::memcpy(out.data() + begin + i, &word, std::min<std::size_t>(8, count - i));
  }
}

inline Bytes random_bytes(std::uint64_t seed, std::size_t count) {
  Rng rng(seed);
  Bytes bytes;
  append_random(bytes, rng, count);
  return bytes;
}

inline void overwrite(Bytes& bytes, Rng& rng, std::size_t offset, std::size_t count) {
  Bytes fresh;
  append_random(fresh, rng, count);
  std::copy(fresh.begin(), fresh.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
}

// An image: extents of 64 to 512 KiB, 30 % zero, 5 % repetitions of earlier ones; the new one has
// 1 % of its pages of 4 KiB overwritten where they are.
inline Pair vm_image(std::uint64_t seed, std::size_t size) {
  Rng rng(seed);
  Pair pair;
  Bytes& image = pair.old_file;
  while (image.size() < size) {
    const std::size_t extent =
        std::min<std::size_t>((16 + rng.below(113)) * 4096, size - image.size());
    const std::uint64_t kind = rng.below(100);
    if (kind < 30) {
      image.resize(image.size() + extent, 0);
    } else if (kind < 35 && image.size() > 2 * extent) {
      const std::size_t from = rng.below((image.size() - extent) / 4096) * 4096;
      image.resize(image.size() + extent);
      std::memcpy(image.data() + image.size() - extent, image.data() + from, extent);
    } else {
      append_random(image, rng, extent);
    }
  }
  pair.new_file = image;
  const std::size_t pages = size / 4096;
  for (std::size_t i = 0; i < pages / 100; ++i) {
    overwrite(pair.new_file, rng, rng.below(pages) * 4096, 4096);
  }
  return pair;
}

// An archive of files of 512 bytes to 128 KiB behind headers of 512 bytes: 1 % are gone, 2 % have
// up to 2000 bytes inserted, 1 % are new, so that everything behind the first of them is shifted.
// With `touched`, 24 bytes change in every header, too.
inline Pair archive(std::uint64_t seed, int files, bool touched) {
  Rng rng(seed);
  Pair pair;
  const auto pad = [](Bytes& out) { out.resize((out.size() + 511) / 512 * 512, 0); };
  for (int i = 0; i < files; ++i) {
    Bytes header;
    append_random(header, rng, 512);
    Bytes body;
    append_random(body, rng, 512 + rng.below(rng.chance(1, 4) ? 128 * 1024 : 16 * 1024));
    pair.old_file.insert(pair.old_file.end(), header.begin(), header.end());
    pair.old_file.insert(pair.old_file.end(), body.begin(), body.end());
    pad(pair.old_file);
    const std::uint64_t fate = rng.below(100);
    if (fate == 0) continue;
    if (fate <= 2) {
      Bytes inserted;
      append_random(inserted, rng, 1 + rng.below(2000));
      body.insert(body.begin() + static_cast<std::ptrdiff_t>(rng.below(body.size())),
                  inserted.begin(), inserted.end());
    }
    if (touched) overwrite(header, rng, 136, 24);
    pair.new_file.insert(pair.new_file.end(), header.begin(), header.end());
    pair.new_file.insert(pair.new_file.end(), body.begin(), body.end());
    pad(pair.new_file);
    if (fate == 3) {
      append_random(pair.new_file, rng, 512 + rng.below(16 * 1024));
      pad(pair.new_file);
    }
  }
  return pair;
}

// 16 bytes change in every page of 4 KiB: timestamps, sequence numbers.
inline Pair dense_edits(std::uint64_t seed, std::size_t size) {
  Rng rng(seed);
  Pair pair;
  append_random(pair.old_file, rng, size);
  pair.new_file = pair.old_file;
  for (std::size_t page = 0; page + 4096 <= size; page += 4096) {
    overwrite(pair.new_file, rng, page + rng.below(4096 - 16), 16);
  }
  return pair;
}

}  // namespace p2p::delta_data
