#include "io/wire/frames.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/model/manifest.h"

namespace p2p {
namespace {

void put_u32(std::uint8_t* out, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

std::uint32_t get_u32(const std::uint8_t* in) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= static_cast<std::uint32_t>(in[i]) << (8 * i);
  return value;
}

std::uint8_t* bytes_of(std::string& text) {
  return reinterpret_cast<std::uint8_t*>(text.data());
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// Takes a number of at most 28 bits, more than any offset in a chunk has, off the front.
std::optional<std::uint32_t> take_varint(std::span<const std::uint8_t>& in) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4 && i < in.size(); ++i) {
    value |= std::uint32_t{in[i] & 0x7fu} << (7 * i);
    if (in[i] & 0x80) continue;
    if (in[i] == 0 && i > 0) return std::nullopt;
    in = in.subspan(i + 1);
    return value;
  }
  return std::nullopt;
}

bool lies_in_a_chunk(const ChunkRange& range) {
  return range.length > 0 && range.offset <= kMaxChunkBytes &&
         range.length <= kMaxChunkBytes - range.offset;
}

}  // namespace

std::array<std::uint8_t, kFrameHeaderBytes> encode_header(const FrameHeader& header) {
  std::array<std::uint8_t, kFrameHeaderBytes> bytes{};
  put_u32(bytes.data(), header.length);
  bytes[4] = static_cast<std::uint8_t>(header.type);
  bytes[5] = header.flags;
  bytes[6] = static_cast<std::uint8_t>(header.channel);
  bytes[7] = static_cast<std::uint8_t>(header.channel >> 8);
  return bytes;
}

FrameHeader decode_header(std::span<const std::uint8_t, kFrameHeaderBytes> bytes) {
  FrameHeader header;
  header.length = get_u32(bytes.data());
  header.type = static_cast<FrameType>(bytes[4]);
  header.flags = bytes[5];
  header.channel = static_cast<std::uint16_t>(bytes[6] | bytes[7] << 8);
  return header;
}

std::string encode_have(std::span<const ChunkRun> runs) {
  std::string body(8 * runs.size(), '\0');
  for (std::size_t i = 0; i < runs.size(); ++i) {
    put_u32(bytes_of(body) + 8 * i, runs[i].first);
    put_u32(bytes_of(body) + 8 * i + 4, runs[i].count);
  }
  return body;
}

std::optional<std::vector<ChunkRun>> decode_have(std::span<const std::uint8_t> body) {
  if (body.size() % 8 != 0) return std::nullopt;
  std::vector<ChunkRun> runs;
  runs.reserve(body.size() / 8);
  for (std::size_t at = 0; at < body.size(); at += 8) {
    const ChunkRun run{get_u32(&body[at]), get_u32(&body[at + 4])};
    if (run.count == 0 || run.first + run.count < run.first) return std::nullopt;
    runs.push_back(run);
  }
  return runs;
}

std::string encode_range(const ChunkRange& range) {
  std::string body(12, '\0');
  put_u32(bytes_of(body), range.chunk.value);
  put_u32(bytes_of(body) + 4, range.offset);
  put_u32(bytes_of(body) + 8, range.length);
  return body;
}

std::optional<ChunkRange> decode_range(std::span<const std::uint8_t> body) {
  if (body.size() != 12) return std::nullopt;
  const ChunkRange range{ChunkIndex{get_u32(&body[0])}, get_u32(&body[4]), get_u32(&body[8])};
  if (!lies_in_a_chunk(range) || range.length > kMaxRequestBytes) return std::nullopt;
  return range;
}

std::string encode_run_request(const ChunkRange& run, std::span<const ByteRange> pieces) {
  P2P_CHECK(run.of_run && !pieces.empty() && pieces.size() <= kMaxRequestRanges);
  std::string body(8, '\0');
  put_u32(bytes_of(body), run.chunk.value);
  put_u32(bytes_of(body) + 4, run.offset);
  std::uint64_t end = 0;
  for (const ByteRange& piece : pieces) {
    P2P_CHECK(piece.offset >= end);
    put_varint(body, piece.offset - end);
    put_varint(body, piece.length);
    end = piece.end();
  }
  return body;
}

std::optional<RunRequest> decode_run_request(std::span<const std::uint8_t> body) {
  if (body.size() < 10) return std::nullopt;
  RunRequest request;
  request.run = {ChunkIndex{get_u32(&body[0])}, get_u32(&body[4]), 0, /*of_run=*/true};
  body = body.subspan(8);
  const auto varints = static_cast<std::size_t>(
      std::count_if(body.begin(), body.end(), [](std::uint8_t byte) { return byte < 0x80; }));
  if (varints > 2 * kMaxRequestRanges) return std::nullopt;
  request.pieces.reserve(varints / 2);
  std::uint64_t end = 0;
  while (!body.empty()) {
    const auto gap = take_varint(body);
    const auto length = take_varint(body);
    if (!gap || !length || *length == 0) return std::nullopt;
    request.pieces.push_back({end + *gap, *length});
    end = request.pieces.back().end();
    if (end > kMaxChunkBytes) return std::nullopt;
    request.run.length += *length;
  }
  if (!lies_in_a_chunk(request.run) || request.run.length > kMaxRequestBytes) return std::nullopt;
  return request;
}

std::string encode_offer(const Offer& offer) {
  std::string body(8, '\0');
  put_u32(bytes_of(body), offer.chunk);
  put_u32(bytes_of(body) + 4, offer.milliseconds);
  return body;
}

std::optional<Offer> decode_offer(std::span<const std::uint8_t> body) {
  if (body.size() != 8) return std::nullopt;
  return Offer{get_u32(&body[0]), get_u32(&body[4])};
}

void encode_data_prefix(const ChunkRange& range, std::span<std::uint8_t, kDataPrefixBytes> out) {
  put_u32(out.data(), range.chunk.value);
  put_u32(out.data() + 4, range.offset);
}

std::optional<ChunkRange> decode_data_prefix(std::span<const std::uint8_t> body) {
  if (body.size() <= kDataPrefixBytes) return std::nullopt;
  const ChunkRange range{ChunkIndex{get_u32(&body[0])}, get_u32(&body[4]),
                         static_cast<std::uint32_t>(body.size() - kDataPrefixBytes)};
  if (!lies_in_a_chunk(range)) return std::nullopt;
  return range;
}

std::optional<ChunkRange> decode_run_prefix(std::span<const std::uint8_t> body) {
  auto range = decode_data_prefix(body);
  if (!range || range->length > kMaxDataBytes) return std::nullopt;
  range->of_run = true;
  return range;
}

}  // namespace p2p
