// Fills what it can of a transfer from an old file: decides for each chunk whether it is copied,
// fetched, or both, has it put together, and finds out who is to blame when it is wrong.
//
// Control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/copy_map.h"
#include "core/delta/chunk_plan.h"
#include "core/delta/recipe.h"
#include "p2pd/assembler.h"
#include "p2pd/basis_search.h"

namespace p2p {

class DeltaFill final : private BasisSearch::Owner {
 public:
  struct Owner : HintOwner {
    // Chunks came or were let go: it may be time to land, or to do more.
    virtual void on_delta_moved() = 0;
    // Writing a chunk failed: the transfer cannot go on.
    virtual void on_delta_failed(const Error& why) = 0;

   protected:
    ~Owner() = default;
  };

  // `fetch` is the one of the data, outlives this, and is told nothing of chunks that are
  // undecided: it holds them back. `part` is what it is written to.
  // `may_share`: blocks may be shared with the old file.
  DeltaFill(const TransferParts& parts, Owner& owner, BasisSearch::Order order,
            std::shared_ptr<Part> part, SpaceFetch& fetch, bool may_share, Rng rng);
  ~DeltaFill();

  // These chunks are held back until it is known what of them is here. Before start().
  void take(const Bitfield& undecided) { undecided_ = undecided; }
  void start();
  // The fetch of a hint, while there is one.
  SpaceFetch* hint_fetch() { return search_ ? search_->fetch() : nullptr; }
  // One more that is held back.
  void consider(ChunkIndex chunk);
  // See SpaceFetch::Sink.
  void put_together(ChunkIndex chunk);
  void on_leaves(ChunkIndex chunk, const std::optional<std::vector<Digest>>& leaves);
  // While true nothing is copied.
  void set_paused(bool paused);
  // Nothing is being put together or asked about.
  bool idle() const { return (!assembler_ || assembler_->idle()) && wrong_.empty(); }
  // Closes the old file on a disk thread; nothing is called any more.
  void let_go_of_files();

  std::uint64_t bytes_copied() const { return bytes_copied_; }
  // Of these, such that were not written, because the file system shares them.
  std::uint64_t bytes_shared() const { return bytes_shared_; }
  // Of hints.
  std::uint64_t bytes_received() const { return search_ ? search_->bytes_received() : 0; }
  // For people: the old file and how it was used, or why there was none; empty as long as
  // nothing was found.
  const std::string& basis() const { return basis_; }
  // What a scan found out and others need not find out again: nothing when there was a recipe, or
  // when it is not known what the old file was.
  std::optional<Recipe> found_recipe() const;
  const std::shared_ptr<const OldFile>& old_file() const { return old_file_; }

 private:
  struct Wrong {
    ChunkPlan plan;
    std::vector<Digest> leaves;  // what it came to
    std::vector<NodeId> contributors;
  };

  void decide(ChunkIndex chunk, bool held);
  void assemble(ChunkIndex chunk, ChunkPlan plan, bool fetched);
  void assembled(ChunkIndex chunk, const ChunkPlan& plan, bool fetched, Part::PutTogether result);
  void on_wrong(ChunkIndex chunk, Wrong wrong);
  void repair(ChunkIndex chunk, const Wrong& wrong, const std::vector<Digest>& right);
  void drop_liar(ChunkIndex chunk, const Wrong& wrong, const std::vector<Digest>& right);
  // Where its i-th block begins and ends.
  std::pair<std::uint64_t, std::uint64_t> block_in(ChunkIndex chunk, std::size_t i) const;
  void fetch_whole(ChunkIndex chunk);
  void blame_old_file();
  void abandon(bool unchanged);

  void on_old_file(std::shared_ptr<const OldFile> file) override;
  void on_copies(std::vector<CopyRange> found, ByteRange decided) override;
  void on_search_over(const std::string& how) override;

  TransferParts parts_;
  Owner& owner_;
  std::shared_ptr<Part> part_;
  SpaceFetch& fetch_;
  ContentId content_;
  HashTree tree_;
  std::unique_ptr<BasisSearch> search_;
  std::shared_ptr<const OldFile> old_file_;
  std::unique_ptr<Assembler> assembler_;
  CopyMap copies_;
  Bitfield undecided_;                     // held back until the search has passed them
  Bitfield assembling_;                    // held back: all of it is in the old file
  std::map<ChunkIndex, ChunkPlan> plans_;  // of chunks that are shortened
  std::map<ChunkIndex, Wrong> wrong_;      // whose leaves are asked for
  // Once, with their leaves; the next time they are fetched whole.
  std::map<ChunkIndex, std::vector<Digest>> repaired_;
  bool paused_ = false;
  int blames_ = 0;
  bool abandoned_ = false;
  std::uint64_t bytes_copied_ = 0;
  std::uint64_t bytes_shared_ = 0;
  bool may_share_ = false;
  std::string basis_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
