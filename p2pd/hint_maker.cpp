#include "p2pd/hint_maker.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

#include "core/base/buffer.h"
#include "core/delta/chunk_plan.h"
#include "io/content/recipe_codec.h"
#include "io/content/recipe_maker.h"
#include "io/disk/file_io.h"
#include "io/log/log.h"
#include "librsyncwrap/signature.h"
#include "librsyncwrap/signature_builder.h"

namespace p2p {
namespace {

constexpr std::size_t kReadBytes = 1024 * 1024;
// What one thread sums at a time: a multiple of every block.
constexpr std::uint64_t kStretchBytes = 256ull << 20;
constexpr unsigned kThreadsMax = 8;

std::string raw(const ContentId& id) {
  return std::string(id.digest.view());
}

RecipeInput input_of(const LoadedManifest& manifest, const Fd& file) {
  RecipeInput input;
  input.size = manifest.file().tree.size;
  input.data = manifest.file().data;
  input.read = [&file](std::uint64_t offset, std::span<std::uint8_t> out) {
    return read_at(file.get(), out, offset, "file");
  };
  return input;
}

// The bytes of [begin, end) that are data go through the builder; holes cost nothing.
Status sum_stretch(const Fd& file, const std::vector<ByteRange>& data, std::uint64_t begin,
                   std::uint64_t end, const std::function<bool()>& go_on,
                   rsync::SignatureBuilder& builder) {
  Buffer buffer(kReadBytes);
  std::uint64_t at = begin;
  for (const ByteRange& range : data) {
    if (range.end() <= at) continue;
    if (range.offset >= end) break;
    if (range.offset > at) {
      if (Status fed = builder.feed_zeros(range.offset - at); !fed) return fed;
      at = range.offset;
    }
    while (at < std::min(end, range.end())) {
      if (!go_on()) return Error{Errc::cancelled, "stopped"};
      const auto some = buffer.span().first(static_cast<std::size_t>(
          std::min<std::uint64_t>(buffer.size(), std::min(end, range.end()) - at)));
      if (Status read = read_exactly_at(file.get(), some, at, "file"); !read) return read;
      if (Status fed = builder.feed(some); !fed) return fed;
      at += some.size();
    }
  }
  if (at < end) {
    if (Status fed = builder.feed_zeros(end - at); !fed) return fed;
  }
  return builder.finish();
}

// Signatures beyond what a body may have would need larger blocks; so would ones above 64 MiB,
// which a receiver would rather do without.
Result<rsync::SignatureLayout> layout_for(std::uint64_t file_bytes) {
  constexpr std::uint64_t kMost = 64ull << 20;
  std::uint32_t block = rsync::block_bytes_for(file_bytes);
  for (;; block *= 2) {
    auto layout = rsync::SignatureLayout::of(file_bytes, block);
    if (!layout || layout->signature_bytes() <= kMost || block == rsync::kMaxBlockBytes) {
      return layout;
    }
  }
}

Result<MadeHint> make_signature(const HintStore& hints, const LoadedManifest& manifest,
                                const Fd& file, const std::function<bool()>& go_on) {
  const HashTree& tree = manifest.file().tree;
  auto layout = layout_for(tree.size);
  if (!layout) return layout.error();
  const auto header = rsync::encode_signature_header(*layout);
  std::string bytes(static_cast<std::size_t>(layout->signature_bytes()), '\0');
  std::copy(header.begin(), header.end(), bytes.begin());

  const std::uint64_t stretches = (tree.size + kStretchBytes - 1) / kStretchBytes;
  std::atomic<std::uint64_t> next{0};
  std::mutex mutex;
  Status done;
  const auto work = [&] {
    for (std::uint64_t i = next++; i < stretches; i = next++) {
      const std::uint64_t begin = i * kStretchBytes;
      const std::uint64_t end = std::min(tree.size, begin + kStretchBytes);
      rsync::SignatureBuilder builder(layout->block_bytes());
      Status summed = sum_stretch(file, manifest.file().data, begin, end, go_on, builder);
      const std::vector<std::uint8_t> records = builder.take();
      const std::lock_guard lock(mutex);
      if (!summed) {
        if (done) done = summed;
        next = stretches;
        return;
      }
      const std::uint64_t at =
          rsync::kHeaderBytes + rsync::kRecordBytes * (begin / layout->block_bytes());
      std::copy(records.begin(), records.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    }
  };
  std::vector<std::thread> threads;
  const unsigned count = std::clamp(std::thread::hardware_concurrency(), 1u, kThreadsMax);
  for (unsigned i = 1; i < count && i < stretches; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  if (!done) return done.error();

  auto stored = hints.save(bytes);
  if (!stored) return stored.error();
  MadeHint made;
  made.message.set_kind(proto::HINT_SIGNATURE);
  made.message.set_new_content(raw(manifest.id));
  made.message.set_new_root(std::string(tree.root.view()));
  made.message.set_root_record(stored->root_record);
  made.message.set_bytes(bytes.size());
  made.stored = std::move(*stored);
  return made;
}

Result<MadeHint> make_recipe(const ContentStore& contents, const HintStore& hints,
                             const ContentId& base, const LoadedManifest& manifest, const Fd& file,
                             const std::function<bool()>& go_on) {
  auto holding = contents.holding(base);
  if (!holding) return holding.error();
  if (!*holding) return Error{Errc::not_found, "this node does not hold it"};
  auto old_file = contents.open_held(**holding);
  if (!old_file) return old_file.error();
  auto old_manifest = contents.load_manifest(base);
  if (!old_manifest) return old_manifest.error();
  auto copies = find_copies(input_of(*old_manifest, *old_file), input_of(manifest, file), go_on);
  if (!copies) return copies.error();
  // A recipe of other bytes than its roots say would lead everybody astray.
  if (auto still = contents.open_held(**holding); !still) return still.error();
  Recipe recipe;
  recipe.old_file = {old_manifest->file().tree.size, old_manifest->file().tree.root};
  recipe.new_file = {manifest.file().tree.size, manifest.file().tree.root};
  recipe.copies = copies->ranges();
  auto made = keep_recipe(hints, base, manifest.id, recipe);
  if (!made) return made;
  // Exactly what receivers will not fetch.
  const ChunkSpace space(manifest.file().tree, manifest.file().data);
  std::uint64_t copied = 0;
  for (std::uint32_t i = 0; i < space.count(); ++i) {
    copied += plan_chunk(space, ChunkIndex{i}, recipe.copies).copied_bytes;
  }
  made->message.set_copied_bytes(copied);
  return made;
}

}  // namespace

Result<MadeHint> keep_recipe(const HintStore& hints, const ContentId& old_content,
                             const ContentId& new_content, const Recipe& recipe) {
  if (Status valid = validate(recipe); !valid) return valid.error();
  const std::string bytes = encode_recipe(recipe);
  auto stored = hints.save(bytes);
  if (!stored) return stored.error();
  MadeHint made;
  made.message.set_kind(proto::HINT_RECIPE);
  made.message.set_new_content(raw(new_content));
  made.message.set_new_root(std::string(recipe.new_file.root.view()));
  made.message.set_old_content(raw(old_content));
  made.message.set_old_root(std::string(recipe.old_file.root.view()));
  made.message.set_root_record(stored->root_record);
  made.message.set_bytes(bytes.size());
  std::uint64_t copied = 0;
  for (const CopyRange& copy : recipe.copies) copied += copy.length;
  made.message.set_copied_bytes(copied);
  made.stored = std::move(*stored);
  return made;
}

std::vector<MadeHint> make_hints(const ContentStore& contents, const HintStore& hints,
                                 const LoadedManifest& manifest, const Fd& file,
                                 const HintOrder& order, const std::function<bool()>& go_on) {
  std::vector<MadeHint> all;
  const auto before = facts_of(file);
  const auto take = [&](const char* what, Result<MadeHint> made) {
    // A hint of other bytes than the root says would lead everybody astray.
    if (const auto now = facts_of(file); made && (!before || !now || *now != *before)) {
      (void)hints.remove(made->stored.id);
      made = Error{Errc::corrupt, "the file changed meanwhile"};
    }
    if (made) {
      log_info("publish", "hint made",
               {{"hint", what}, {"of", manifest.id.short_hex()}, {"bytes", made->message.bytes()}});
      all.push_back(std::move(*made));
    } else if (made.error().code != Errc::cancelled) {
      log_info("publish", "no hint",
               {{"hint", what}, {"of", manifest.id.short_hex()}, {"why", made.error().detail}});
    }
  };
  if (manifest.file().tree.size == 0) return all;
  for (const ContentId& base : order.bases) {
    if (base == manifest.id || !go_on()) continue;
    take("recipe", make_recipe(contents, hints, base, manifest, file, go_on));
  }
  if (order.signature && go_on()) {
    take("signature", make_signature(hints, manifest, file, go_on));
  }
  return all;
}

}  // namespace p2p
