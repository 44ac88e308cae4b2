// Draws a download among neighbours in strings, and plays the neighbours.
//
//   DrawnSwarm swarm({"chunks  0 1 2 3",   // how many there are
//                     "we      x . . .",   // what was here before
//                     "peer a  x x . x"});
//   swarm.asked() == "a1 a3"               // peer a was asked for chunks 1 and 3
//
// A peer whose row is full is a seed. Nothing is asked for before the whole picture is known. The
// download's invariants are checked after every step.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/transfer/download.h"
#include "tests/support/catch.h"

namespace p2p::test {

inline NodeId node(char name) {
  NodeId id;
  id.bytes[0] = static_cast<std::uint8_t>(name);
  return id;
}

inline char name_of(NodeId id) {
  return static_cast<char>(id.bytes[0]);
}

// Chunks of 256 KiB (up to 2048 of them), asked for in requests of 64 KiB; all data, no holes.
inline ChunkSpace space_of(std::uint32_t chunks) {
  HashTree tree;
  tree.size = std::uint64_t{chunks} * kMinChunkBytes;
  tree.layer.resize(chunks > 1 ? chunks : 0);
  return ChunkSpace(tree);
}

// "x . x": bits 0 and 2 of three; spaces do not count.
inline Bitfield bits_of(const std::string& cells) {
  std::string drawn = cells;
  std::erase(drawn, ' ');
  Bitfield bits(static_cast<std::uint32_t>(drawn.size()));
  for (std::uint32_t i = 0; i < bits.size(); ++i) {
    REQUIRE((drawn[i] == 'x' || drawn[i] == '.'));
    if (drawn[i] == 'x') bits.set(i);
  }
  return bits;
}

// Four requests for a chunk of 256 KiB, so that parts of chunks can be drawn, and all slots from
// the beginning.
inline DownloadSettings in_quarters() {
  DownloadSettings settings;
  settings.requests_for_a_chunk = 4;
  settings.chunks_in_flight_at_first = settings.chunks_in_flight_max = 16;
  return settings;
}

class DrawnSwarm {
 public:
  using Arrival = Download::Arrival;

  explicit DrawnSwarm(const std::vector<std::string>& rows,
                      const DownloadSettings& settings = in_quarters(), std::uint64_t seed = 1)
      : DrawnSwarm(space_of(chunks_in(rows.front())), settings, seed) {
    download_.set_accepting(false, now_);
    for (std::size_t i = 1; i < rows.size(); ++i) draw(rows[i]);
    download_.set_accepting(true, now_);
    look();
  }
  explicit DrawnSwarm(const ChunkSpace& space, const DownloadSettings& settings = in_quarters(),
                      std::uint64_t seed = 1)
      : space_(space), download_(space, settings, Rng(seed)) {}

  Download& download() { return download_; }
  const ChunkSpace& space() const { return space_; }
  Time now() const { return now_; }

  // What happened since the last call, in rising order: "a0 a1 b3" (peer and chunk), "a b".
  std::string asked() { return in_one_line(std::exchange(asked_, {})); }
  std::string cancelled() { return in_one_line(std::exchange(cancelled_, {})); }
  std::string dropped() { return in_one_line(std::exchange(dropped_, {})); }
  // The reason of the last drop.
  const std::string& drop_reason() const { return drop_reason_; }

  // Requests that the peer has neither answered nor been told to forget.
  const std::vector<ChunkRange>& owed_by(char peer) { return owed_[peer]; }
  // Everything that is owed by anybody: "a0 b3".
  std::string owed() const {
    std::set<std::string> items;
    for (const auto& [peer, ranges] : owed_) {
      for (const ChunkRange& range : ranges) items.insert(item(peer, range.chunk));
    }
    return in_one_line(items);
  }
  // Payload of all requests so far.
  std::uint64_t bytes_asked() const { return bytes_asked_; }

  void joins(char peer, const Bitfield& chunks) {
    download_.on_peer_joined(node(peer), now_);
    if (!chunks.none()) download_.on_have(node(peer), runs_of(chunks), now_);
    look();
  }
  void joins(char peer, const std::string& cells) { joins(peer, bits_of(cells)); }
  void has(char peer, const std::vector<ChunkRun>& runs) {
    download_.on_have(node(peer), runs, now_);
    look();
  }
  void leaves(char peer) {
    owed_.erase(peer);
    download_.on_peer_left(node(peer), now_);
    look();
  }
  void refuses(char peer, std::uint32_t chunk) {
    const auto range = std::find_if(owed_[peer].begin(), owed_[peer].end(),
                                    [&](const ChunkRange& r) { return r.chunk.value == chunk; });
    REQUIRE(range != owed_[peer].end());
    const ChunkRange refused = *range;
    download_.on_refused(node(peer), refused, now_);
    look();
  }
  // Bytes come from a peer, asked for or not.
  Arrival arrives(char peer, const ChunkRange& data) {
    for (ChunkRange& range : owed_[peer]) {
      if (range.chunk != data.chunk || range.offset != data.offset) continue;
      if (range.of_run != data.of_run || data.end() > range.end()) continue;
      range = {range.chunk, data.end(), range.end() - data.end(), range.of_run};
      break;
    }
    std::erase_if(owed_[peer], [](const ChunkRange& range) { return range.length == 0; });
    const Arrival arrival = download_.on_data(node(peer), data, now_);
    look();
    return arrival;
  }
  // The peer sends all that it owes of the chunk, as far as it is not cancelled meanwhile. Whole
  // chunks are not verified.
  Arrival sends(char peer, std::uint32_t chunk) {
    REQUIRE(owes(peer, chunk));
    Arrival arrival = Arrival::unsolicited;
    while (owes(peer, chunk)) arrival = arrives(peer, first_owed(peer, chunk));
    return arrival;
  }
  // The same, and the chunk turns out to be right.
  void gives(char peer, std::uint32_t chunk) {
    REQUIRE(sends(peer, chunk) == Arrival::store_and_last);
    verified(chunk);
  }
  void verified(std::uint32_t chunk) {
    download_.on_chunk_verified(ChunkIndex{chunk}, now_);
    look();
  }
  void corrupt(std::uint32_t chunk) {
    download_.on_chunk_corrupt(ChunkIndex{chunk}, now_);
    look();
  }
  void releases(std::uint32_t chunk) {
    download_.release(ChunkIndex{chunk}, now_);
    look();
  }
  // An old file has all of the chunk but so many bytes.
  void shortens(std::uint32_t chunk, std::vector<std::uint32_t> requests) {
    download_.shorten(ChunkIndex{chunk}, std::move(requests));
  }
  void loses(std::uint32_t chunk) {
    download_.on_lost(ChunkIndex{chunk}, now_);
    look();
  }
  void set_rate(std::optional<std::uint64_t> bytes_per_second) {
    download_.set_rate(bytes_per_second, now_);
    look();
  }
  void set_accepting(bool accepting) {
    download_.set_accepting(accepting, now_);
    look();
  }
  // Everybody answers everything at once, right bytes.
  void all_give_all() {
    for (bool again = true; again;) {
      again = false;
      for (auto& [peer, ranges] : owed_) {
        if (ranges.empty()) continue;
        const std::uint32_t chunk = ranges.front().chunk.value;
        if (sends(peer, chunk) == Arrival::store_and_last) verified(chunk);
        again = true;
        break;
      }
    }
  }
  // Time passes; the download is called when it wants to be and at no other moment.
  void passes(Duration time) {
    const Time end = now_ + time;
    while (download_.next_deadline() <= end) {
      now_ = std::max(now_, download_.next_deadline());
      download_.on_tick(now_);
      look();
      INFO("a deadline that has passed would have the owner call on_tick() without end");
      REQUIRE(download_.next_deadline() > now_);
    }
    now_ = end;
  }

 private:
  static std::uint32_t chunks_in(const std::string& row) {
    std::istringstream words(row);
    std::string word;
    REQUIRE((words >> word && word == "chunks"));
    std::uint32_t count = 0;
    while (words >> word) ++count;
    return count;
  }
  static std::string item(char peer, ChunkIndex chunk) {
    return peer + std::to_string(chunk.value);
  }
  static std::string in_one_line(const std::set<std::string>& items) {
    std::string text;
    for (const std::string& one : items) text += (text.empty() ? "" : " ") + one;
    return text;
  }

  void draw(const std::string& row) {
    std::istringstream words(row);
    std::string word;
    char peer = 0;
    words >> word;
    if (word == "peer") words >> peer;
    std::string cells;
    std::getline(words, cells);
    const Bitfield bits = bits_of(cells);
    REQUIRE(bits.size() == space_.count());
    if (word == "peer") return joins(peer, bits);
    REQUIRE(word == "we");
    for (std::uint32_t i = 0; i < bits.size(); ++i) {
      if (bits.test(i)) download_.on_restored(ChunkIndex{i});
    }
  }
  bool owes(char peer, std::uint32_t chunk) {
    return std::any_of(owed_[peer].begin(), owed_[peer].end(),
                       [&](const ChunkRange& range) { return range.chunk.value == chunk; });
  }
  ChunkRange first_owed(char peer, std::uint32_t chunk) {
    return *std::find_if(owed_[peer].begin(), owed_[peer].end(),
                         [&](const ChunkRange& range) { return range.chunk.value == chunk; });
  }
  void look() {
    for (const Download::Effect& effect : download_.take_effects()) {
      if (const auto* request = std::get_if<Download::SendRequest>(&effect)) {
        const char peer = name_of(request->peer);
        owed_[peer].push_back(request->range);
        asked_.insert(item(peer, request->range.chunk));
        bytes_asked_ += request->range.length;
      } else if (const auto* cancel = std::get_if<Download::SendCancel>(&effect)) {
        const char peer = name_of(cancel->peer);
        INFO("a cancel names exactly what is still owed");
        REQUIRE(std::erase(owed_[peer], cancel->range) == 1);
        cancelled_.insert(item(peer, cancel->range.chunk));
      } else if (const auto* drop = std::get_if<Download::DropPeer>(&effect)) {
        owed_.erase(name_of(drop->peer));
        dropped_.insert(std::string(1, name_of(drop->peer)));
        drop_reason_ = drop->reason;
      }
    }
    download_.check_invariants();
  }

  ChunkSpace space_;
  Download download_;
  Time now_{std::chrono::seconds(1)};
  std::map<char, std::vector<ChunkRange>> owed_;
  std::set<std::string> asked_, cancelled_, dropped_;
  std::string drop_reason_;
  std::uint64_t bytes_asked_ = 0;
};

}  // namespace p2p::test
