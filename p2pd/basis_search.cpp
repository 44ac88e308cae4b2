#include "p2pd/basis_search.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "core/base/check.h"
#include "core/base/units.h"
#include "io/content/recipe_codec.h"
#include "io/disk/file_io.h"
#include "io/log/log.h"
#include "io/runtime/wall_clock.h"
#include "p2pd/offload.h"
#include "p2pd/part.h"

namespace p2p {
namespace {

constexpr Duration kLookEvery = std::chrono::milliseconds(250);
// A hint of which nothing has arrived for so many looks is not waited for: nobody has it.
constexpr int kPatience = 8;
// Chunks of the signature that tell whether the rest is worth fetching, and at most this part of
// it.
constexpr std::uint32_t kSampleChunks = 4;
constexpr std::uint32_t kSamplePart = 4;

}  // namespace

BasisSearch::BasisSearch(const TransferParts& parts, Owner& owner, HintOwner& hints, Order order,
                         Rng rng)
    : parts_(parts),
      owner_(owner),
      hint_owner_(hints),
      order_(std::move(order)),
      rng_(rng),
      timer_(parts.control) {}

BasisSearch::~BasisSearch() {
  *alive_ = false;
  *stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void BasisSearch::let_go() {
  over_ = true;
  *alive_ = false;
  *stop_ = true;
  // It may be in the middle of a read that waits for a busy disk.
  if (thread_.joinable()) {
    parts_.disk.post(
        [thread = std::make_shared<std::thread>(std::move(thread_))] { thread->join(); });
  }
  if (!used_ || hint_whole_) return;
  // Also when it is about to be begun.
  remove_unfinished();
  if (!fetch_) return;
  hint_owner_.unshare_hint(used_->id);
  fetch_.reset();
}

// Behind whatever is being done about it.
void BasisSearch::remove_unfinished() {
  parts_.disk.post(content_lane(order_.old_file.content),
                   [&hints = parts_.hints, id = used_->id] { (void)hints.give_up(id); });
}

template <class Work, class Then>
void BasisSearch::on_disk(Work work, Then then) {
  offload(parts_.disk, content_lane(order_.old_file.content), parts_.control, alive_,
          std::move(work), [this, then = std::move(then)](auto result) mutable {
            if (!over_) then(std::move(result));
          });
}

std::uint64_t BasisSearch::bytes_received() const {
  return received_before_ + (fetch_ ? fetch_->download().bytes_received() : 0);
}

std::string BasisSearch::old_name() const {
  const std::string name = used_ && used_->recipe ? used_->old_name : "";
  return name.empty() ? old_->path : name + " (" + old_->path + ")";
}

void BasisSearch::start() {
  for (const KnownHint& hint : order_.hints) {
    if (hint.recipe) order_.old_file.recipe_roots.push_back(hint.old_root);
  }
  on_disk([&contents = parts_.contents, &privileged = parts_.part.privileged,
           order = order_.old_file] { return find_old_file(contents, privileged, order); },
          [this](OldFileFound found) { found_old_file(std::move(found)); });
}

const KnownHint* BasisSearch::recipe_for(const Digest& root) const {
  for (const KnownHint& hint : order_.hints) {
    if (hint.recipe && hint.old_root == root) return &hint;
  }
  return nullptr;
}

const KnownHint* BasisSearch::signature() const {
  for (const KnownHint& hint : order_.hints) {
    if (!hint.recipe) return &hint;
  }
  return nullptr;
}

void BasisSearch::found_old_file(OldFileFound found) {
  if (!found.file) return end(std::move(found.why_not));
  old_ = std::move(found.file);
  not_the_named_one_ = std::move(found.why_not);
  owner_.on_old_file(old_);
  if (old_->content && old_->root == order_.tree.root) {
    owner_.on_copies({{0, 0, order_.tree.size}}, {0, order_.tree.size});
    return end("the same bytes are at " + old_->path);
  }
  if (old_->content) {
    if (const KnownHint* recipe = recipe_for(old_->root)) return get(*recipe);
  }
  if (const KnownHint* sums = signature()) return get(*sums);
  end(old_->path + " may be older, but there is neither a recipe nor a signature");
}

void BasisSearch::get(const KnownHint& hint) {
  used_ = hint;
  struct Found {
    ServeSourcePtr here;
    Result<Fd> file = Error{Errc::not_found, "here already"};
  };
  on_disk(
      [&hints = parts_.hints, id = hint.id] {
        Found found;
        if (auto stored = hints.find(id)) {
          found.here = std::move(stored->source);
        } else {
          found.file = hints.begin(id);
        }
        return std::make_shared<Found>(std::move(found));
      },
      [this](std::shared_ptr<Found> found) {
        if (found->here) return hint_is_here(std::move(found->here));
        fetch_hint(std::move(found->file));
      });
}

void BasisSearch::fetch_hint(Result<Fd> file) {
  if (!file) return give_up_hint(file.error().detail);
  hint_ = std::make_shared<ServeSource>();
  hint_->space = ChunkSpace(used_->record.body);
  hint_->file = std::move(*file);
  hint_->name = "hint " + used_->id.short_hex();
  hint_->look_at_file_system();
  SpaceFetch::Sink& sink = *this;
  fetch_ = std::make_unique<SpaceFetch>(parts_.control, parts_.mesh, parts_.admission,
                                        SpaceKey{used_->id, /*body=*/true}, hint_->space, sink,
                                        rng_.split());
  fetch_->announce_chunks();
  fetch_->set_rate(order_.bytes_per_second);
  stuck_looks_ = 0;
  received_at_last_look_ = 0;
  const std::uint32_t chunks = hint_->space.count();
  if (!used_->recipe && chunks > kSamplePart) {
    sampling_ = true;
    const std::uint32_t samples = std::clamp(chunks / kSamplePart, 1u, kSampleChunks);
    for (std::uint32_t i = 0; i < samples; ++i) {
      sample_chunks_.push_back(ChunkIndex{i * (chunks / samples)});
    }
    for (std::uint32_t i = 0; i < chunks; ++i) {
      const ChunkIndex chunk{i};
      if (std::find(sample_chunks_.begin(), sample_chunks_.end(), chunk) == sample_chunks_.end()) {
        fetch_->hold_back(chunk);
      }
    }
  }
  hint_owner_.share_hint(used_->id, hint_, &fetch_->have());
  watch_progress();
  fetch_->start();
}

// Ends a fetch that gets nowhere.
void BasisSearch::watch_progress() {
  timer_.expires_after(kLookEvery);
  timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (error || !*alive || over_ || !fetch_) return;
    const std::uint64_t now = fetch_->download().bytes_received();
    stuck_looks_ = now == received_at_last_look_ && !sampled_now() ? stuck_looks_ + 1 : 0;
    received_at_last_look_ = now;
    if (stuck_looks_ >= kPatience) return give_up_hint("nobody who is connected has it");
    watch_progress();
  });
}

// All that is asked for is here: nothing more can arrive before the sample is judged.
bool BasisSearch::sampled_now() const {
  return sampling_ && std::all_of(sample_chunks_.begin(), sample_chunks_.end(),
                                  [&](ChunkIndex c) { return fetch_->have().test(c.value); });
}

void BasisSearch::write(ArrivedData data, std::vector<ByteRange>,
                        std::function<void(Status)> done) {
  auto shared = std::make_shared<ArrivedData>(std::move(data));
  parts_.disk.post([hint = hint_, shared, done = std::move(done), &control = parts_.control] {
    const std::uint64_t at = hint->space.offset_of(shared->range.chunk) + shared->range.offset;
    Status written = write_all_at(hint->file.get(), shared->payload(), at, hint->name);
    boost::asio::post(control, [done, written = std::move(written)] { done(written); });
  });
}

void BasisSearch::on_chunk_ready(ChunkIndex) {
  if (sampling_ && !relation_ && sampled_now() && !thread_.joinable()) begin_sample();
}

void BasisSearch::on_complete() {
  boost::asio::post(parts_.control, [this, alive = alive_] {
    if (!*alive || over_ || !fetch_) return;
    on_disk(
        [&hints = parts_.hints, id = used_->id, root = used_->root_record] {
          return std::make_shared<Result<StoredHint>>(hints.keep(id, root));
        },
        [this](std::shared_ptr<Result<StoredHint>> kept) {
          if (!*kept) return give_up_hint(kept->error().detail);
          hint_owner_.share_hint(used_->id, (*kept)->source, nullptr);
          received_before_ += fetch_->download().bytes_received();
          fetch_.reset();
          hint_is_here((*kept)->source);
        });
  });
}

void BasisSearch::on_write_failed(const Error& why) {
  boost::asio::post(parts_.control, [this, alive = alive_, why] {
    if (*alive && !over_ && fetch_) give_up_hint(why.detail);
  });
}

void BasisSearch::on_bad_peer(NodeId peer, ChunkIndex chunk, const std::string& reason) {
  hint_owner_.on_bad_peer(peer, chunk, reason);
}

void BasisSearch::give_up_hint(const std::string& why) {
  log_info("transfer", "a hint is not used",
           {{"hint", used_->id.short_hex()}, {"recipe", used_->recipe}, {"why", why}});
  if (fetch_) {
    hint_owner_.unshare_hint(used_->id);
    received_before_ += fetch_->download().bytes_received();
    // Not inside a call of the fetch.
    boost::asio::post(parts_.control, [fetch = std::shared_ptr<SpaceFetch>(std::move(fetch_))] {});
    remove_unfinished();
  }
  const bool recipe = used_->recipe;
  used_.reset();
  hint_whole_.reset();
  sampling_ = false;
  if (recipe) {
    if (const KnownHint* sums = signature()) return get(*sums);
  }
  end(old_->path + " is not used: " + why);
}

void BasisSearch::hint_is_here(ServeSourcePtr source) {
  hint_whole_ = source;
  if (used_->recipe) return read_recipe(std::move(source));
  sampling_ = false;
  if (relation_) return begin_scan();
  if (!thread_.joinable()) begin_sample();
}

void BasisSearch::read_recipe(ServeSourcePtr source) {
  on_disk(
      [source, old_root = old_->root, old_size = old_->facts.size,
       tree = order_.tree]() -> Result<std::vector<CopyRange>> {
        const std::uint64_t size = source->space.size();
        if (size > kMaxRecipeBytes) return Error{Errc::corrupt, "it is too large for a recipe"};
        std::string bytes(static_cast<std::size_t>(size), '\0');
        const std::span into(reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size());
        if (Status read = read_exactly_at(source->file.get(), into, 0, source->name); !read) {
          return read.error();
        }
        auto recipe = decode_recipe(bytes);
        if (!recipe) return recipe.error();
        if (recipe->new_file != FileVersion{tree.size, tree.root} ||
            recipe->old_file != FileVersion{old_size, old_root}) {
          return Error{Errc::corrupt, "it is about other files"};
        }
        return std::move(recipe->copies);
      },
      [this](Result<std::vector<CopyRange>> copies) {
        if (!copies) {
          const std::string why = "the recipe is wrong: " + copies.error().detail;
          if (copies.error().code == Errc::corrupt) hint_owner_.on_hint_wrong(used_->id, why);
          return give_up_hint(why);
        }
        owner_.on_copies(std::move(*copies), {0, order_.tree.size});
        end("recipe from " + old_name());
      });
}

void BasisSearch::end(std::string how) {
  if (std::exchange(over_, true)) return;
  timer_.cancel();
  if (!not_the_named_one_.empty()) how += "; " + not_the_named_one_;
  owner_.on_search_over(how);
}

}  // namespace p2p
