// What of a new file this node has already in an old one: finds the old file, has the hints
// fetched, and matches (docs/decisions/0009).
//
// Everything is told bit by bit, so that what is surely missing can be fetched while the rest is
// still looked for. Control thread only; a thread of its own reads and compares.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/byte_range.h"
#include "core/base/copy_map.h"
#include "core/delta/match_rules.h"
#include "librsyncwrap/signature.h"
#include "p2pd/old_file.h"
#include "p2pd/space_fetch.h"
#include "p2pd/transfer_parts.h"

namespace p2p {

// A hint that the tracker knows of.
struct KnownHint {
  bool recipe = false;
  ContentId id;
  std::string root_record;
  RootRecord record;
  Digest old_root;       // of recipes
  std::string old_name;  // domain/name@version, for people; may be empty
};

// What becomes of hints, and of peers that lie about them.
struct HintOwner {
  // The bytes of a hint may be served from now on, as far as `have` goes.
  virtual void share_hint(const ContentId& hint, ServeSourcePtr source, const Bitfield* have) = 0;
  virtual void unshare_hint(const ContentId& hint) = 0;
  // It is not what it should be, whoever has it, or it led to wrong bytes again and again although
  // the old file has not changed.
  virtual void on_hint_wrong(const ContentId& hint, const std::string& why) = 0;
  virtual void on_bad_peer(NodeId peer, ChunkIndex chunk, const std::string& reason) = 0;

 protected:
  ~HintOwner() = default;
};

class BasisSearch final : private SpaceFetch::Sink {
 public:
  struct Order {
    OldFileOrder old_file;
    HashTree tree;                // of the new file
    std::vector<ByteRange> data;  // its extents
    std::vector<KnownHint> hints;
    std::optional<std::uint64_t> bytes_per_second;  // that hints may be asked for; nothing: no cap
  };
  struct Owner {
    // The old file that everything that follows is about. Once, before it.
    virtual void on_old_file(std::shared_ptr<const OldFile> file) = 0;
    // These are in the old file; the rest of the stretch `decided` should be fetched.
    virtual void on_copies(std::vector<CopyRange> found, ByteRange decided) = 0;
    // There is no more to find. `how` is for people: what was used, or why nothing was.
    virtual void on_search_over(const std::string& how) = 0;

   protected:
    ~Owner() = default;
  };

  BasisSearch(const TransferParts& parts, Owner& owner, HintOwner& hints, Order order, Rng rng);
  ~BasisSearch();

  void start();
  // Removes what was fetched of a hint; nothing is called any more.
  void let_go();
  // The fetch of a hint, while there is one.
  SpaceFetch* fetch() { return fetch_.get(); }
  bool over() const { return over_; }
  // The hint that led to what was found; nothing when the files are equal or none was used.
  const std::optional<KnownHint>& used() const { return used_; }
  // A scan has found it, in a file that nobody has written to meanwhile.
  bool scanned() const { return scanned_; }
  std::uint64_t bytes_received() const;

 private:
  void found_old_file(OldFileFound found);
  const KnownHint* recipe_for(const Digest& root) const;
  const KnownHint* signature() const;
  void get(const KnownHint& hint);
  void fetch_hint(Result<Fd> file);
  void watch_progress();
  void hint_is_here(ServeSourcePtr source);
  void read_recipe(ServeSourcePtr source);
  bool sampled_now() const;
  void begin_sample();
  void sampled(Relation relation);
  void begin_scan();
  void wait_for_rolling(const ByteRange& stretch);
  void release_compared();
  void end(std::string how);
  void give_up_hint(const std::string& why);
  void remove_unfinished();
  std::string old_name() const;

  void write(ArrivedData data, std::vector<ByteRange> pieces,
             std::function<void(Status)> done) override;
  void on_chunk_ready(ChunkIndex chunk) override;
  void on_complete() override;
  void on_write_failed(const Error& why) override;
  void on_bad_peer(NodeId peer, ChunkIndex chunk, const std::string& reason) override;

  template <class Work, class Then>
  void on_disk(Work work, Then then);
  template <class Work>
  void on_thread(Work work);

  TransferParts parts_;
  Owner& owner_;
  HintOwner& hint_owner_;
  Order order_;
  Rng rng_;
  std::shared_ptr<const OldFile> old_;
  std::string not_the_named_one_;  // why; empty: it is, or none was named
  std::optional<KnownHint> used_;
  std::unique_ptr<SpaceFetch> fetch_;
  std::shared_ptr<ServeSource> hint_;  // the file that it is fetched into
  ServeSourcePtr hint_whole_;
  boost::asio::steady_timer timer_;
  std::deque<std::pair<Time, ByteRange>> compared_;  // in place, and until when it waits
  int stuck_looks_ = 0;
  std::uint64_t received_at_last_look_ = 0;
  std::uint64_t received_before_ = 0;  // by fetches that are over
  std::vector<ChunkIndex> sample_chunks_;
  std::optional<Relation> relation_;
  bool sampling_ = false;
  bool scanned_ = false;
  bool over_ = false;
  // The thread may outlive the search.
  std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  std::thread thread_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p
