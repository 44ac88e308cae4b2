// A download with one honest neighbour and one that says whatever the input says.
//
// The honest one must never be blamed, and when the other one is gone the download must end.
#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <variant>

#include "core/base/check.h"
#include "core/transfer/download.h"
#include "io/wire/frames.h"
#include "tests/fuzz/target.h"

namespace p2p::fuzz {
namespace {

constexpr std::uint32_t kChunks = 5;
// The last chunk ends in the middle of a block.
constexpr std::uint64_t kSize = kChunks * std::uint64_t{kMinChunkBytes} - 12'345;

// Beyond the frames of the protocol: steps of the world around the connection.
constexpr std::uint8_t kTimePasses = 200;
constexpr std::uint8_t kConnectsAgain = 201;
// A flag of DATA: the chunk is the number of a request instead.
constexpr std::uint8_t kAnswers = 4;

NodeId node(std::uint8_t name) {
  NodeId id;
  id.bytes[0] = name;
  return id;
}
const NodeId kHonest = node('h');
const NodeId kHostile = node('x');

ChunkSpace space() {
  HashTree tree;
  tree.size = kSize;
  tree.layer.resize(kChunks);
  return ChunkSpace(tree);
}

class Neighbourhood {
 public:
  Neighbourhood() {
    download_.on_peer_joined(kHonest, now_);
    download_.on_have(kHonest, {{0, kChunks}}, now_);
    connect();
  }

  void take(const FrameHeader& header, Bytes body) {
    const auto type = static_cast<std::uint8_t>(header.type);
    if (type == kTimePasses) {
      passes(std::chrono::milliseconds(1 + 4 * header.flags));
    } else if (type == kConnectsAgain) {
      disconnect();
      connect();
    } else if (connected_) {
      hear(header, body);
    }
    look();
  }

  void end() {
    disconnect();
    look();
    for (int step = 0; !download_.complete(); ++step) {
      P2P_CHECK(step < 10'000);
      passes(std::chrono::milliseconds(100));
      look();
    }
  }

 private:
  void connect() {
    connected_ = true;
    download_.on_peer_joined(kHostile, now_);
    look();
  }
  void disconnect() {
    if (connected_) download_.on_peer_left(kHostile, now_);
    connected_ = false;
    asked_.clear();
  }

  void hear(const FrameHeader& header, Bytes body) {
    if (header.type == FrameType::have) {
      if (const auto runs = decode_have(body)) download_.on_have(kHostile, *runs, now_);
    } else if (header.type == FrameType::offer) {
      const auto offer = decode_offer(body);
      if (!offer) return;
      std::optional<ChunkIndex> chunk;
      if (offer->chunk != Offer::kAllOut) chunk = ChunkIndex{offer->chunk};
      download_.on_offer(kHostile, chunk, now_);
    } else if (header.type == FrameType::cancel) {
      const auto range = decode_range(body);
      if (!range) return;
      if (header.flags & kBusy) {
        download_.on_busy(kHostile, *range, now_);
      } else {
        download_.on_refused(kHostile, *range, now_);
      }
    } else if (header.type == FrameType::data) {
      // The payload is of no matter here: twelve bytes say what it would be.
      const auto range = decode_range(body);
      if (!range) return;
      const bool wrong = header.flags & 1;
      if (header.flags & kAnswers) return answer(range->chunk.value, range->length, wrong);
      if (range->offset % kBlockBytes == 0) data(*range, wrong);
    }
  }

  // What it was asked for, or the first bytes of it: a mutation would seldom guess what that is.
  void answer(std::uint32_t which, std::uint32_t length, bool wrong) {
    if (asked_.empty()) return;
    const auto request = asked_.begin() + which % asked_.size();
    ChunkRange piece = *request;
    if (piece.offset % kBlockBytes != 0) return;
    piece.length = std::min(piece.length, length);
    request->offset += piece.length;
    request->length -= piece.length;
    if (request->length == 0) asked_.erase(request);
    data(piece, wrong);
  }

  void data(const ChunkRange& range, bool wrong) {
    const bool inside = range.chunk.value < kChunks && range.end() <= space_.size_of(range.chunk);
    if (!inside) return disconnect();
    arrives(kHostile, range, wrong);
  }

  void arrives(NodeId from, const ChunkRange& range, bool wrong) {
    const auto arrival = download_.on_data(from, range, now_);
    P2P_CHECK(from != kHonest || arrival != Download::Arrival::unsolicited);
    if (arrival != Download::Arrival::store && arrival != Download::Arrival::store_and_last) return;
    auto& wrong_blocks = wrong_blocks_[range.chunk.value];
    for (std::uint32_t at = range.offset; at < range.end(); at += kBlockBytes) {
      if (wrong) {
        wrong_blocks.insert(at);
      } else {
        wrong_blocks.erase(at);
      }
    }
    if (arrival != Download::Arrival::store_and_last) return;
    if (wrong_blocks.empty()) {
      download_.on_chunk_verified(range.chunk, now_);
    } else {
      download_.on_chunk_corrupt(range.chunk, now_);
    }
  }

  // The honest one gives a piece of what it owes, as PeerSession reads it: in the middle of a block
  // nobody may have asked it for anything.
  void passes(Duration time) {
    now_ = now_ + time;
    if (!owed_.empty()) {
      ChunkRange& request = owed_.front();
      P2P_CHECK(request.offset % kBlockBytes == 0);
      ChunkRange piece = request;
      piece.length = std::min(piece.length, kMaxDataBytes);
      request.offset += piece.length;
      request.length -= piece.length;
      if (request.length == 0) owed_.pop_front();
      arrives(kHonest, piece, /*wrong=*/false);
      look();
    }
    if (download_.next_deadline() <= now_) download_.on_tick(now_);
  }

  void look() {
    for (const Download::Effect& effect : download_.take_effects()) {
      if (const auto* request = std::get_if<Download::SendRequest>(&effect)) {
        P2P_CHECK(request->range.end() <= space_.size_of(request->range.chunk));
        (request->peer == kHonest ? owed_ : asked_).push_back(request->range);
      } else if (const auto* cancel = std::get_if<Download::SendCancel>(&effect)) {
        const ChunkRange& range = cancel->range;
        std::erase_if(cancel->peer == kHonest ? owed_ : asked_, [&](const ChunkRange& owed) {
          return owed.chunk == range.chunk && owed.offset >= range.offset &&
                 owed.offset < range.end();
        });
      } else if (const auto* drop = std::get_if<Download::DropPeer>(&effect)) {
        P2P_CHECK(drop->peer == kHostile);
        connected_ = false;
        asked_.clear();
      }
    }
    download_.check_invariants();
  }

  ChunkSpace space_ = space();
  Download download_{space_, DownloadSettings{}, Rng(1)};
  Time now_{std::chrono::seconds(1)};
  bool connected_ = false;
  std::deque<ChunkRange> owed_;   // by the honest one
  std::deque<ChunkRange> asked_;  // of the hostile one
  std::map<std::uint32_t, std::set<std::uint32_t>> wrong_blocks_;
};

void run(Bytes input) {
  Neighbourhood around;
  while (input.size() >= kFrameHeaderBytes) {
    const FrameHeader header = decode_header(input.first<kFrameHeaderBytes>());
    input = input.subspan(kFrameHeaderBytes);
    const Bytes body = input.first(std::min<std::size_t>(header.length, input.size()));
    input = input.subspan(body.size());
    around.take(header, body);
  }
  around.end();
}

std::string frame(std::uint8_t type, const std::string& body = "", std::uint8_t flags = 0) {
  const auto header = encode_header(
      {static_cast<std::uint32_t>(body.size()), static_cast<FrameType>(type), flags, 1});
  return std::string(header.begin(), header.end()) + body;
}
std::string frame(FrameType type, const std::string& body, std::uint8_t flags = 0) {
  return frame(static_cast<std::uint8_t>(type), body, flags);
}

std::vector<std::string> seeds() {
  const std::vector<ChunkRun> everything = {{0, kChunks}};
  const std::string have = frame(FrameType::have, encode_have(everything));
  const auto range = [](std::uint32_t chunk, std::uint32_t offset, std::uint32_t length) {
    return encode_range({ChunkIndex{chunk}, offset, length});
  };
  std::string gives = have;
  for (std::uint32_t chunk = 0; chunk < kChunks; ++chunk) {
    for (std::uint32_t at = 0; at < kMinChunkBytes; at += 65536) {
      gives += frame(FrameType::data, range(chunk, at, 65536), chunk == 2);
    }
  }
  std::string answers;
  for (std::uint32_t i = 0; i < 8; ++i) {
    answers += frame(FrameType::data, range(i, 0, 65536), kAnswers | (i == 5));
  }
  std::string a_second;
  for (int i = 0; i < 77; ++i) a_second += frame(kTimePasses, "", 3);
  std::string stalls = have;
  for (int i = 0; i < 40; ++i) stalls += frame(kTimePasses, "", 255);
  return {gives, stalls,
          have + frame(FrameType::cancel, range(0, 0, 65536), kBusy) + frame(kConnectsAgain),
          have + frame(FrameType::data, range(1, 0, 16384)) + frame(kTimePasses, "", 200) + have,
          // Once, the rest of this block was then asked of the honest one.
          have + frame(FrameType::data, range(0, 0, 1), kAnswers) + a_second,
          have + answers + frame(kTimePasses, "", 100) + answers,
          frame(FrameType::offer, encode_offer({3, 1000})) +
              frame(FrameType::offer, encode_offer({Offer::kAllOut, 1000})) + gives};
}

}  // namespace

std::vector<Target> neighbour_targets() {
  return {{"neighbour", run, seeds}};
}

}  // namespace p2p::fuzz
