#include "p2pd/delta_fill.h"

#include <algorithm>
#include <utility>

#include "core/delta/reflink_rules.h"
#include "io/log/log.h"
#include "p2pd/offload.h"

namespace p2p {
namespace {

// Chunks that came out wrong by the old file's bytes, after which its hint is not believed.
constexpr int kBlamesMax = 3;
constexpr const char* kWrongRun = "sent wrong bytes of a chunk";

bool overlap(const ByteRange& a, std::uint64_t offset, std::uint64_t end) {
  return a.offset < end && offset < a.end();
}

// Bytes of [offset, end) that lie in `ranges`.
std::uint64_t bytes_in(const std::vector<ByteRange>& ranges, std::uint64_t offset,
                       std::uint64_t end) {
  std::uint64_t sum = 0;
  for (const ByteRange& range : ranges) {
    if (overlap(range, offset, end)) {
      sum += std::min(end, range.end()) - std::max(offset, range.offset);
    }
  }
  return sum;
}

// The copies without what lies in `taken` (rising, without overlap).
std::vector<CopyRange> without(const std::vector<CopyRange>& copies,
                               const std::vector<ByteRange>& taken) {
  std::vector<CopyRange> rest;
  for (const CopyRange& copy : copies) {
    std::uint64_t at = copy.new_offset;
    const auto keep = [&](std::uint64_t end) {
      if (at < end) rest.push_back({at, copy.old_offset + (at - copy.new_offset), end - at});
    };
    for (const ByteRange& range : taken) {
      if (!overlap(range, at, copy.new_end())) continue;
      keep(range.offset);
      at = range.end();
    }
    keep(copy.new_end());
  }
  return rest;
}

// Both together, rising and merged.
std::vector<ByteRange> joined(std::vector<ByteRange> a, const std::vector<ByteRange>& b) {
  a.insert(a.end(), b.begin(), b.end());
  std::sort(a.begin(), a.end(),
            [](const ByteRange& x, const ByteRange& y) { return x.offset < y.offset; });
  std::vector<ByteRange> all;
  for (const ByteRange& range : a) {
    if (!all.empty() && range.offset <= all.back().end()) {
      all.back().length = std::max(all.back().end(), range.end()) - all.back().offset;
    } else {
      all.push_back(range);
    }
  }
  return all;
}

}  // namespace

DeltaFill::DeltaFill(const TransferParts& parts, Owner& owner, BasisSearch::Order order,
                     std::shared_ptr<Part> part, SpaceFetch& fetch, bool may_share, Rng rng)
    : parts_(parts),
      owner_(owner),
      part_(std::move(part)),
      fetch_(fetch),
      content_(order.old_file.content),
      tree_(order.tree),
      undecided_(fetch.space().count()),
      assembling_(fetch.space().count()),
      may_share_(may_share) {
  BasisSearch::Owner& search_owner = *this;
  search_ = std::make_unique<BasisSearch>(parts, search_owner, owner, std::move(order), rng);
}

DeltaFill::~DeltaFill() {
  *alive_ = false;
}

void DeltaFill::start() {
  search_->start();
}

void DeltaFill::let_go_of_files() {
  *alive_ = false;
  if (search_) search_->let_go();
  search_.reset();
  assembler_.reset();
  let_go(parts_.disk, std::move(old_file_));
  part_.reset();
}

void DeltaFill::on_old_file(std::shared_ptr<const OldFile> file) {
  old_file_ = std::move(file);
  assembler_ = std::make_unique<Assembler>(parts_.control, parts_.disk, part_,
                                           std::shared_ptr<const Fd>(old_file_, &old_file_->file));
  assembler_->set_paused(paused_);
}

void DeltaFill::set_paused(bool paused) {
  paused_ = paused;
  if (assembler_) assembler_->set_paused(paused);
}

void DeltaFill::on_copies(std::vector<CopyRange> found, ByteRange decided) {
  if (abandoned_) found.clear();
  // The file may be whole before the last of the old one has been looked at.
  if (basis_.empty() && !found.empty()) basis_ = "signature against " + old_file_->path;
  const ChunkSpace& space = fetch_.space();
  // Chunks that are decided already and not begun: there may be less to fetch now. And undecided
  // ones that need nothing more.
  std::set<ChunkIndex> again;
  std::set<ChunkIndex> perhaps_whole;
  for (const CopyRange& copy : found) {
    if (copy.length == 0 || copy.new_end() > space.size()) continue;
    const auto last = static_cast<std::uint32_t>((copy.new_end() - 1) / space.chunk_bytes());
    auto i = static_cast<std::uint32_t>(copy.new_offset / space.chunk_bytes());
    for (; i <= last; ++i) {
      if (undecided_.test(i)) {
        perhaps_whole.insert(ChunkIndex{i});
      } else if (!assembling_.test(i)) {
        again.insert(ChunkIndex{i});
      }
    }
  }
  copies_.merge(std::move(found));
  if (assembler_) {
    assembler_->set_sharing(may_share_ && !too_fragmented(copies_.ranges(), space.size()));
  }
  for (const ChunkIndex chunk : again) {
    if (fetch_.download().is_wanted(chunk) && !repaired_.contains(chunk)) {
      decide(chunk, /*held=*/false);
    }
  }
  std::vector<ChunkIndex> now;
  for (const ChunkIndex chunk : perhaps_whole) {
    const ChunkPlan plan = plan_chunk(space, chunk, copies_.ranges());
    if (!plan.copies.empty() && plan.missing.empty()) now.push_back(chunk);
  }
  for (const ChunkIndex chunk : now) {
    undecided_.reset(chunk.value);
    decide(chunk, /*held=*/true);
  }
  now.clear();
  auto i = static_cast<std::uint32_t>(decided.offset / space.chunk_bytes());
  for (i = undecided_.find(i, true); i < space.count(); i = undecided_.find(i + 1, true)) {
    const ChunkIndex chunk{i};
    const std::uint64_t begin = space.offset_of(chunk);
    if (begin + space.size_of(chunk) > decided.end()) break;
    if (begin >= decided.offset) now.push_back(chunk);
  }
  for (const ChunkIndex chunk : now) {
    undecided_.reset(chunk.value);
    decide(chunk, /*held=*/true);
  }
  owner_.on_delta_moved();
}

void DeltaFill::on_search_over(const std::string& how) {
  if (!abandoned_) basis_ = how;
  log_info("transfer", "old file", {{"path", part_->source()->name}, {"basis", how}});
  on_copies({}, {0, fetch_.space().size()});
}

void DeltaFill::consider(ChunkIndex chunk) {
  if (search_ && !search_->over()) {
    undecided_.set(chunk.value);
  } else {
    decide(chunk, /*held=*/true);
  }
}

void DeltaFill::decide(ChunkIndex chunk, bool held) {
  ChunkPlan plan;
  if (!abandoned_) plan = plan_chunk(fetch_.space(), chunk, copies_.ranges());
  const auto before = plans_.find(chunk);
  if (!held && before != plans_.end() && before->second.copied_bytes >= plan.copied_bytes) return;
  if (!held && plan.copies.empty()) return;
  plans_.erase(chunk);
  if (!plan.copies.empty() && plan.missing.empty()) {
    if (!held) fetch_.hold_back(chunk);
    fetch_.shorten(chunk, {});
    assembling_.set(chunk.value);
    return assemble(chunk, std::move(plan), /*fetched=*/false);
  }
  fetch_.shorten(chunk, plan.missing);
  if (!plan.copies.empty()) plans_[chunk] = std::move(plan);
  if (held) fetch_.release(chunk);
}

void DeltaFill::put_together(ChunkIndex chunk) {
  assemble(chunk, plans_.at(chunk), /*fetched=*/true);
}

void DeltaFill::assemble(ChunkIndex chunk, ChunkPlan plan, bool fetched) {
  assembler_->add(chunk, plan,
                  [this, alive = alive_, chunk, plan, fetched](Part::PutTogether result) {
                    if (*alive) assembled(chunk, plan, fetched, std::move(result));
                  });
}

void DeltaFill::assembled(ChunkIndex chunk, const ChunkPlan& plan, bool fetched,
                          Part::PutTogether result) {
  assembling_.reset(chunk.value);
  if (result.status) {
    bytes_copied_ += plan.copied_bytes;
    bytes_shared_ += result.shared_bytes;
    plans_.erase(chunk);
    repaired_.erase(chunk);
    if (fetched) {
      fetch_.run_checked(chunk, {});
    } else {
      fetch_.on_found(chunk);
    }
    return owner_.on_delta_moved();
  }
  if (result.status.error().code == Errc::exhausted) {
    return owner_.on_delta_failed(result.status.error());
  }
  Wrong wrong{plan, std::move(result.leaves), {}};
  if (fetched) wrong.contributors = fetch_.run_checked(chunk, result.status);
  if (wrong.leaves.empty()) {
    log_warn("transfer", "the old file cannot be used for a chunk",
             {{"chunk", chunk.value}, {"why", result.status.error().detail}});
  }
  on_wrong(chunk, std::move(wrong));
}

// Held back now, whatever it was before.
void DeltaFill::on_wrong(ChunkIndex chunk, Wrong wrong) {
  plans_.erase(chunk);
  const auto before = repaired_.find(chunk);
  if (before != repaired_.end()) drop_liar(chunk, wrong, std::exchange(before->second, {}));
  if (wrong.leaves.empty() || abandoned_ || before != repaired_.end()) return fetch_whole(chunk);
  wrong_[chunk] = std::move(wrong);
  fetch_.ask_leaves(chunk);
}

// Repaired, and wrong again: what was wrong the first time came as whole blocks this time.
void DeltaFill::drop_liar(ChunkIndex chunk, const Wrong& wrong, const std::vector<Digest>& right) {
  if (wrong.contributors.size() != 1) return;
  for (std::size_t i = 0; i < right.size() && i < wrong.leaves.size(); ++i) {
    const auto [begin, end] = block_in(chunk, i);
    if (right[i] == wrong.leaves[i] || bytes_in(wrong.plan.missing, begin, end) < end - begin) {
      continue;
    }
    return fetch_.drop(wrong.contributors.front(), chunk, kWrongRun);
  }
}

std::pair<std::uint64_t, std::uint64_t> DeltaFill::block_in(ChunkIndex chunk, std::size_t i) const {
  const std::uint64_t begin = i * std::uint64_t{kBlockBytes};
  return {begin, std::min<std::uint64_t>(fetch_.space().size_of(chunk), begin + kBlockBytes)};
}

void DeltaFill::fetch_whole(ChunkIndex chunk) {
  wrong_.erase(chunk);
  fetch_.shorten(chunk, {});
  fetch_.fetch_alone(chunk);
  fetch_.release(chunk);
  owner_.on_delta_moved();
}

void DeltaFill::on_leaves(ChunkIndex chunk, const std::optional<std::vector<Digest>>& leaves) {
  const auto found = wrong_.find(chunk);
  if (found == wrong_.end()) return;
  if (!leaves) return fetch_whole(chunk);
  const Wrong wrong = std::move(found->second);
  wrong_.erase(found);
  repair(chunk, wrong, *leaves);
}

void DeltaFill::repair(ChunkIndex chunk, const Wrong& wrong, const std::vector<Digest>& right) {
  std::vector<ByteRange> bad;
  bool old_is_wrong = false;
  bool run_is_wrong = false;
  for (std::size_t i = 0; i < right.size() && i < wrong.leaves.size(); ++i) {
    if (right[i] == wrong.leaves[i]) continue;
    const auto [begin, end] = block_in(chunk, i);
    const std::uint64_t fetched = bytes_in(wrong.plan.missing, begin, end);
    // Of a block that has bytes of both nobody can tell.
    old_is_wrong = old_is_wrong || fetched == 0;
    run_is_wrong = run_is_wrong || fetched == end - begin;
    bad = joined(std::move(bad), {{begin, end - begin}});
  }
  if (bad.empty()) return fetch_whole(chunk);
  log_info("transfer", "a chunk is repaired",
           {{"chunk", chunk.value}, {"stretches", bad.size()}, {"old_file", old_is_wrong}});
  if (run_is_wrong && wrong.contributors.size() == 1) {
    fetch_.drop(wrong.contributors.front(), chunk, kWrongRun);
  }
  ChunkPlan plan;
  plan.copies = without(wrong.plan.copies, bad);
  plan.missing = joined(wrong.plan.missing, bad);
  for (const ByteRange& piece : plan.missing) {
    plan.missing_bytes += static_cast<std::uint32_t>(piece.length);
  }
  for (const CopyRange& copy : plan.copies) {
    plan.copied_bytes += static_cast<std::uint32_t>(copy.length);
  }
  repaired_[chunk] = right;
  plans_[chunk] = std::move(plan);
  fetch_.shorten(chunk, std::move(bad));
  fetch_.release(chunk);
  if (old_is_wrong) blame_old_file();
  owner_.on_delta_moved();
}

void DeltaFill::blame_old_file() {
  if (abandoned_ || ++blames_ < kBlamesMax) return;
  offload(
      parts_.disk, content_lane(content_), parts_.control, alive_,
      [old = old_file_] { return old->untouched(); },
      [this](bool unchanged) { abandon(unchanged); });
}

// Everything that is not under way yet is fetched whole.
void DeltaFill::abandon(bool unchanged) {
  if (std::exchange(abandoned_, true)) return;
  const std::string why =
      unchanged ? "its hint has led to wrong bytes " + std::to_string(kBlamesMax) + " times"
                : "somebody has written to it meanwhile";
  log_warn("transfer", "the old file is not used any more",
           {{"path", old_file_->path}, {"why", why}});
  basis_ = old_file_->path + " is not used any more: " + why;
  copies_ = CopyMap();
  for (auto it = plans_.begin(); it != plans_.end();) {
    const bool idle = !repaired_.contains(it->first) && fetch_.shorten(it->first, {});
    it = idle ? plans_.erase(it) : std::next(it);
  }
  if (unchanged && search_ && search_->used()) {
    owner_.on_hint_wrong(search_->used()->id, why);
  }
}

std::optional<Recipe> DeltaFill::found_recipe() const {
  if (blames_ > 0 || abandoned_ || !search_ || !search_->scanned() || !search_->over() ||
      !old_file_ || !old_file_->content || copies_.ranges().empty()) {
    return std::nullopt;
  }
  Recipe recipe;
  recipe.old_file = {old_file_->facts.size, old_file_->root};
  recipe.new_file = {tree_.size, tree_.root};
  recipe.copies = copies_.ranges();
  if (!validate(recipe)) return std::nullopt;
  return recipe;
}

}  // namespace p2p
