// A download among peers who come and go, serve, refuse, stall and lie, drawn from a seed.
//
// Each peer answers in order, in pieces of its own choice; what it has put on the wire arrives even
// when it was cancelled meanwhile.
#include <deque>
#include <map>
#include <set>
#include <sstream>

#include "core/transfer/download.h"
#include "tests/support/drawn_swarm.h"

namespace p2p {
namespace {

using std::chrono::milliseconds;
using test::name_of;
using test::node;

constexpr std::uint32_t kChunks = 40;
const std::string kHonest = "abcdefg";  // `a` has everything and does not leave by itself
const std::string kLiars = "xyz";

class Chaos {
 public:
  explicit Chaos(std::uint64_t seed)
      : rng_(seed), download_(test::space_of(kChunks), {}, Rng(seed)) {
    for (std::uint32_t i = 0; i < kChunks; ++i) {
      if (rng_.chance(1, 10)) {
        download_.on_restored(ChunkIndex{i});
      } else if (rng_.chance(1, 4)) {
        shorten(ChunkIndex{i});
      }
    }
    download_.on_peer_joined(node('a'), now_);
    download_.on_have(node('a'), {{0, kChunks}}, now_);
    peers_['a'].have = Bitfield(kChunks, true);
    peers_['a'].last_word = now_;
    look();
  }

  void run() {
    for (int step = 0; step < 3000 && !download_.complete(); ++step) {
      something_happens();
      check();
    }
    // From here on everybody serves; the end must come.
    download_.set_rate(std::nullopt, now_);
    download_.set_accepting(true, now_);
    look();
    for (auto& [name, peer] : peers_) peer.silent = false;
    if (!peers_.contains('a')) joins('a');
    for (int step = 0; step < 30'000 && !download_.complete(); ++step) {
      for (auto& [name, peer] : std::map(peers_)) {
        sends(name);
        arrives(name);
      }
      verify_one();
      passes(milliseconds(5));
      check();
    }
    REQUIRE(download_.complete());
    REQUIRE(download_.bytes_have() == std::uint64_t{kChunks} * kMinChunkBytes);
    REQUIRE(download_.bytes_received() == delivered_);
  }
  // Every effect, with its time.
  std::string transcript() const { return transcript_.str(); }

 private:
  struct Peer {
    Bitfield have;
    std::deque<ChunkRange> queue;  // asked for, not answered
    std::deque<ChunkRange> wire;   // sent, not arrived
    bool silent = false;
    Time last_word{};
  };

  // An old file has the most of it.
  void shorten(ChunkIndex chunk) {
    std::vector<std::uint32_t> requests(1 + rng_.below(3));
    for (std::uint32_t& length : requests) {
      length = 1 + static_cast<std::uint32_t>(rng_.below(kBlockBytes));
    }
    download_.shorten(chunk, requests);
    runs_.insert(chunk.value);
  }

  bool is_liar(char name) const { return kLiars.find(name) != std::string::npos; }

  char anybody() {
    const std::string names = kHonest + kLiars;
    return names[static_cast<std::size_t>(rng_.below(names.size()))];
  }

  void something_happens() {
    const char name = anybody();
    const std::uint64_t what = rng_.below(100);
    if (!peers_.contains(name)) {
      if (what < 20) joins(name);
    } else if (what < 40) {
      sends(name);
    } else if (what < 80) {
      arrives(name);
    } else if (what < 83) {
      refuses(name);
    } else if (what < 85) {
      if (name != 'a') leaves(name);
    } else if (what < 87) {
      peers_[name].silent = !peers_[name].silent;
    } else if (what < 92) {
      announces(name);
    }
    if (rng_.chance(1, 2)) verify_one();
    if (rng_.chance(1, 100)) {
      const bool capped = rng_.chance(1, 2);
      download_.set_rate(capped ? std::optional(10'000 + rng_.below(10'000'000)) : std::nullopt,
                         now_);
      look();
    }
    if (rng_.chance(1, 50)) {
      download_.set_accepting(rng_.chance(2, 3), now_);
      look();
    }
    passes(milliseconds(rng_.below(rng_.chance(1, 50) ? 8000 : 60)));
  }

  void joins(char name) {
    Peer& peer = peers_[name];
    peer.last_word = now_;
    peer.have = Bitfield(kChunks);
    const std::uint64_t tenths = name == 'a' ? 10 : rng_.below(11);
    for (std::uint32_t i = 0; i < kChunks; ++i) {
      if (rng_.below(10) < tenths) peer.have.set(i);
    }
    const std::vector<ChunkRun> runs = runs_of(peer.have);
    download_.on_peer_joined(node(name), now_);
    download_.on_have(node(name), runs, now_);
    look();
  }
  void leaves(char name) {
    peers_.erase(name);
    download_.on_peer_left(node(name), now_);
    look();
  }
  void announces(char name) {
    const auto chunk = static_cast<std::uint32_t>(rng_.below(kChunks));
    peers_[name].have.set(chunk);
    peers_[name].last_word = now_;
    download_.on_have(node(name), {{chunk, 1}}, now_);
    look();
  }
  void sends(char name) {
    const auto found = peers_.find(name);
    if (found == peers_.end() || found->second.silent || found->second.queue.empty()) return;
    Peer& peer = found->second;
    ChunkRange& request = peer.queue.front();
    ChunkRange piece = request;
    if (request.of_run) {
      piece.length = 1 + static_cast<std::uint32_t>(rng_.below(request.length));
    } else {
      const std::uint32_t blocks = request.length / kBlockBytes;
      piece.length = static_cast<std::uint32_t>(1 + rng_.below(blocks)) * kBlockBytes;
    }
    peer.wire.push_back(piece);
    request.offset += piece.length;
    request.length -= piece.length;
    if (request.length == 0) peer.queue.pop_front();
  }
  void arrives(char name) {
    const auto found = peers_.find(name);
    if (found == peers_.end() || found->second.wire.empty()) return;
    const ChunkRange piece = found->second.wire.front();
    found->second.wire.pop_front();
    found->second.last_word = now_;
    delivered_ += piece.length;
    const Download::Arrival arrival = download_.on_data(node(name), piece, now_);
    REQUIRE(arrival != Download::Arrival::unsolicited);
    if (arrival == Download::Arrival::store || arrival == Download::Arrival::store_and_last) {
      auto& blocks = wrong_blocks_[piece.chunk.value];
      const bool lies = is_liar(name) && rng_.chance(1, 2);
      if (piece.of_run && lies) wrong_runs_.insert(piece.chunk.value);
      for (std::uint32_t at = piece.offset; !piece.of_run && at < piece.end(); at += kBlockBytes) {
        if (lies) {
          blocks.insert(at);
        } else {
          blocks.erase(at);
        }
      }
    }
    if (arrival == Download::Arrival::store_and_last) whole_.push_back(piece.chunk);
    look();
  }
  void refuses(char name) {
    Peer& peer = peers_[name];
    if (peer.queue.empty() || name == 'a') return;
    const ChunkRange range = peer.queue.front();
    peer.queue.pop_front();
    peer.last_word = now_;
    download_.on_refused(node(name), range, now_);
    look();
  }
  void verify_one() {
    if (whole_.empty()) return;
    const ChunkIndex chunk = whole_.front();
    whole_.pop_front();
    if (runs_.contains(chunk.value)) {
      // A wrong run is the peer's fault or the old file's; what is still wrong then comes as
      // another run, or the chunk whole.
      if (wrong_runs_.erase(chunk.value) == 0 && !rng_.chance(1, 5)) {
        download_.on_chunk_verified(chunk, now_);
      } else {
        REQUIRE_FALSE(download_.on_run_wrong(chunk, now_).empty());
        download_.check_invariants();
        runs_.erase(chunk.value);
        wrong_blocks_.erase(chunk.value);
        if (rng_.chance(1, 2)) shorten(chunk);
        download_.fetch_alone(chunk);
        download_.release(chunk, now_);
      }
    } else if (wrong_blocks_[chunk.value].empty()) {
      download_.on_chunk_verified(chunk, now_);
    } else {
      download_.on_chunk_corrupt(chunk, now_);
    }
    look();
  }
  void passes(Duration time) {
    const Time end = now_ + time;
    for (int ticks = 0; download_.next_deadline() <= end; ++ticks) {
      REQUIRE(ticks < 10'000);
      now_ = std::max(now_, download_.next_deadline());
      download_.on_tick(now_);
      look();
      REQUIRE(download_.next_deadline() > now_);
    }
    now_ = end;
  }

  void look() {
    for (const Download::Effect& effect : download_.take_effects()) {
      if (const auto* request = std::get_if<Download::SendRequest>(&effect)) {
        const char name = name_of(request->peer);
        note("ask", name, request->range.chunk, request->range.offset);
        REQUIRE(peers_.contains(name));
        REQUIRE(peers_[name].have.test(request->range.chunk.value));
        REQUIRE_FALSE(download_.have().test(request->range.chunk.value));
        REQUIRE(request->range.of_run == runs_.contains(request->range.chunk.value));
        peers_[name].queue.push_back(request->range);
      } else if (const auto* cancel = std::get_if<Download::SendCancel>(&effect)) {
        const char name = name_of(cancel->peer);
        note("cancel", name, cancel->range.chunk, cancel->range.offset);
        const ChunkRange& range = cancel->range;
        std::erase_if(peers_[name].queue, [&](const ChunkRange& queued) {
          return queued.chunk == range.chunk && queued.of_run == range.of_run &&
                 queued.offset >= range.offset && queued.offset < range.end();
        });
      } else if (const auto* drop = std::get_if<Download::DropPeer>(&effect)) {
        const char name = name_of(drop->peer);
        note("drop", name, drop->chunk, 0);
        INFO("dropped " << name << ": " << drop->reason);
        // The rest after a first stall, and a second stall.
        const bool mute = now_ - peers_[name].last_word >= std::chrono::seconds(25);
        REQUIRE((is_liar(name) || mute));
        peers_.erase(name);
      }
    }
  }
  void note(const char* what, char name, ChunkIndex chunk, std::uint32_t offset) {
    transcript_ << now_.since_start.count() << ' ' << what << ' ' << name << ' ' << chunk.value
                << ' ' << offset << '\n';
  }
  void check() {
    download_.check_invariants();
    REQUIRE(download_.peer_count() == peers_.size());
  }

  Rng rng_;
  Download download_;
  Time now_{std::chrono::seconds(1)};
  std::map<char, Peer> peers_;
  std::deque<ChunkIndex> whole_;  // waiting to be verified
  std::map<std::uint32_t, std::set<std::uint32_t>> wrong_blocks_;
  std::set<std::uint32_t> runs_;        // chunks that are asked for as runs
  std::set<std::uint32_t> wrong_runs_;  // of these, such that a liar sent of
  std::uint64_t delivered_ = 0;
  std::ostringstream transcript_;
};

TEST_CASE("Whatever the peers do, the download ends complete and blames no honest one",
          "[core][download]") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    Chaos(seed).run();
  }
}

TEST_CASE("A whole history of trouble repeats itself from its seed", "[core][download]") {
  Chaos first(99);
  Chaos second(99);
  Chaos other(98);
  first.run();
  second.run();
  other.run();
  CHECK(first.transcript() == second.transcript());
  CHECK(first.transcript() != other.transcript());
}

}  // namespace
}  // namespace p2p
