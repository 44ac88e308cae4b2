// The frames between agents, and between agents and trackers, byte by byte (docs/protocol.md).
//
// Every frame begins with eight bytes, little-endian: length of what follows (u32), type (u8),
// flags (u8), channel (u16, 0 for what is about the whole connection). HELLO and CONTROL carry
// protobuf; the frames that are about chunks have layouts of their own.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bitfield.h"
#include "core/base/byte_range.h"
#include "core/transfer/chunk_range.h"

namespace p2p {

enum class FrameType : std::uint8_t {
  hello = 1,      // proto Hello, the first frame of each side
  control = 2,    // proto PeerMessage, AgentMessage or TrackerMessage
  deny_list = 3,  // proto Statement with a DenyList, between agents
  have = 16,      // runs of chunks: (first u32, count u32) ...
  offer = 17,     // chunk u32, answer within u32 milliseconds; see Offer
  request = 18,   // chunk u32, offset u32, length u32
  cancel = 19,    // the same; flag kRefusal: a request of yours will not be served
  data = 20,      // chunk u32, offset u32, then the bytes
  // chunk u32, offset in the asker's run u32, then for each range two varints: the gap since the
  // end of the one before (of the first: since the chunk's start) and its length
  request_ranges = 21,
  run_data = 22,  // chunk u32, offset in the asker's run u32, then the bytes
};

inline constexpr std::size_t kFrameHeaderBytes = 8;
inline constexpr std::size_t kDataPrefixBytes = 8;  // chunk and offset
// The longest body of any frame; a longer one ends the connection.
inline constexpr std::uint32_t kMaxFrameBytes = 1024 * 1024 + 64;
// Payload of one DATA frame: small enough that a HAVE behind it waits 5 ms at 100 Mbit/s.
inline constexpr std::uint32_t kMaxDataBytes = 64 * 1024;
// What one REQUEST may ask for, and one REQUEST_RANGES with all of its ranges.
inline constexpr std::uint32_t kMaxRequestBytes = 1024 * 1024;
inline constexpr std::size_t kMaxRequestRanges = 1024;

// Flags of CANCEL from the side that was asked: it does not serve the request, or not now.
inline constexpr std::uint8_t kRefusal = 1;
inline constexpr std::uint8_t kBusy = 2;
// Of any CANCEL: it is about a run.
inline constexpr std::uint8_t kOfRun = 4;

// From a seed: a chunk for this receiver, or kAllOut: every chunk is out, ask as you like. From a
// receiver, with 0 milliseconds: the offer is declined.
struct Offer {
  static constexpr std::uint32_t kAllOut = 0xffffffff;
  std::uint32_t chunk = 0;
  std::uint32_t milliseconds = 0;
  friend bool operator==(const Offer&, const Offer&) = default;
};

// A REQUEST_RANGES: bytes of one chunk that are to come in one run, without a gap.
struct RunRequest {
  ChunkRange run;                 // of_run; its length is the sum of the pieces
  std::vector<ByteRange> pieces;  // from the chunk's start, rising, without overlap, never empty
  friend bool operator==(const RunRequest&, const RunRequest&) = default;
};

struct FrameHeader {
  std::uint32_t length = 0;
  FrameType type = FrameType::control;
  std::uint8_t flags = 0;
  std::uint16_t channel = 0;
};

std::array<std::uint8_t, kFrameHeaderBytes> encode_header(const FrameHeader& header);
// Any type value is accepted: unknown ones are skipped by their length.
FrameHeader decode_header(std::span<const std::uint8_t, kFrameHeaderBytes> bytes);

std::string encode_have(std::span<const ChunkRun> runs);
// Nothing when the length does not fit or a run is empty or wraps around.
std::optional<std::vector<ChunkRun>> decode_have(std::span<const std::uint8_t> body);

std::string encode_range(const ChunkRange& range);  // REQUEST and CANCEL
// Nothing for a wrong length, an empty range, or one beyond kMaxChunkBytes or kMaxRequestBytes.
std::optional<ChunkRange> decode_range(std::span<const std::uint8_t> body);

std::string encode_run_request(const ChunkRange& run, std::span<const ByteRange> pieces);
// Nothing when it is cut short, has a varint that is longer than it must be, no or more than
// kMaxRequestRanges pieces, an empty one, one beyond kMaxChunkBytes, or more than kMaxRequestBytes.
std::optional<RunRequest> decode_run_request(std::span<const std::uint8_t> body);

std::string encode_offer(const Offer& offer);
std::optional<Offer> decode_offer(std::span<const std::uint8_t> body);

// Writes the chunk and offset of a DATA or RUN_DATA frame.
void encode_data_prefix(const ChunkRange& range, std::span<std::uint8_t, kDataPrefixBytes> out);
// The range that the frame's bytes are; nothing when it is empty, too long or beyond a chunk.
std::optional<ChunkRange> decode_data_prefix(std::span<const std::uint8_t> body);
// The same of a RUN_DATA frame, which has at most kMaxDataBytes.
std::optional<ChunkRange> decode_run_prefix(std::span<const std::uint8_t> body);

}  // namespace p2p
