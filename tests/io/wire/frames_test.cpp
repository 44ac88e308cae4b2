#include "io/wire/frames.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "core/model/manifest.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::optional<ChunkRange> through_request(const ChunkRange& range) {
  return decode_range(bytes_of(encode_range(range)));
}

// A DATA body that says it begins at `offset` of chunk 7.
std::optional<ChunkRange> through_data(std::uint32_t offset, std::size_t payload) {
  std::vector<std::uint8_t> body(kDataPrefixBytes + payload);
  encode_data_prefix({ChunkIndex{7}, offset, 0}, std::span(body).subspan<0, kDataPrefixBytes>());
  return decode_data_prefix(body);
}

std::vector<std::uint8_t> bytes(const std::string& text) {
  return {text.begin(), text.end()};
}

// A REQUEST_RANGES of chunk 7, at `offset` of the run.
std::optional<RunRequest> through_ranges(std::uint32_t offset,
                                         const std::vector<ByteRange>& pieces) {
  const ChunkRange run{ChunkIndex{7}, offset, 0, /*of_run=*/true};
  return decode_run_request(bytes_of(encode_run_request(run, pieces)));
}

// The same with the varints as they are.
std::optional<RunRequest> ranges_of_bytes(const std::string& varints) {
  return decode_run_request(bytes_of(std::string(8, '\0') + varints));
}

}  // namespace

TEST_CASE("A header is eight little-endian bytes: length, type, flags, channel", "[io][wire]") {
  const auto bytes = encode_header({0x04030201, FrameType::data, 0xa5, 0xbbaa});
  CHECK(bytes == std::array<std::uint8_t, 8>{1, 2, 3, 4, 20, 0xa5, 0xaa, 0xbb});
  const FrameHeader header = decode_header(bytes);
  CHECK(header.length == 0x04030201);
  CHECK(header.type == FrameType::data);
  CHECK(header.flags == 0xa5);
  CHECK(header.channel == 0xbbaa);
}

TEST_CASE("A header with a type of the future can be read, and skipped by its length",
          "[io][wire]") {
  const FrameHeader header = decode_header(std::array<std::uint8_t, 8>{9, 0, 0, 0, 250, 0, 0, 0});
  CHECK(static_cast<int>(header.type) == 250);
  CHECK(header.length == 9);
}

TEST_CASE("HAVE carries runs of chunks there and back", "[io][wire]") {
  const std::vector<ChunkRun> runs = {{0, 1}, {5, 1000}, {kMost - 1, 1}};
  CHECK(decode_have(bytes_of(encode_have(runs))) == runs);
  CHECK(encode_have(runs).size() == 24);
  CHECK(decode_have({}) == std::vector<ChunkRun>{});
}

TEST_CASE("HAVE with a run that is empty or wraps around is no HAVE", "[io][wire]") {
  const ChunkRun bad = GENERATE(ChunkRun{0, 0}, ChunkRun{17, 0}, ChunkRun{1, kMost},
                                ChunkRun{kMost, 1}, ChunkRun{kMost, kMost});
  const std::vector<ChunkRun> runs = {{3, 4}, bad};
  INFO(bad.first << " + " << bad.count);
  CHECK_FALSE(decode_have(bytes_of(encode_have(runs))));
}

TEST_CASE("HAVE of every length that is no multiple of eight is no HAVE", "[io][wire]") {
  const std::string body = encode_have(std::vector<ChunkRun>(5, ChunkRun{1, 1}));
  for (std::size_t length = 0; length <= body.size(); ++length) {
    INFO(length);
    CHECK(decode_have(bytes_of(body.substr(0, length))).has_value() == (length % 8 == 0));
  }
}

TEST_CASE("REQUEST and CANCEL carry a range there and back", "[io][wire]") {
  const ChunkRange range = GENERATE(
      ChunkRange{ChunkIndex{0}, 0, 1}, ChunkRange{ChunkIndex{kMost}, 16384, kMaxRequestBytes},
      ChunkRange{ChunkIndex{9}, kMaxChunkBytes - 1, 1},
      ChunkRange{ChunkIndex{9}, kMaxChunkBytes - kMaxRequestBytes, kMaxRequestBytes});
  CHECK(through_request(range) == range);
}

TEST_CASE("A range that is empty, too long or leaves the chunk is refused", "[io][wire]") {
  const ChunkRange range = GENERATE(
      ChunkRange{ChunkIndex{0}, 0, 0}, ChunkRange{ChunkIndex{0}, 16384, 0},
      ChunkRange{ChunkIndex{0}, 0, kMaxRequestBytes + 1}, ChunkRange{ChunkIndex{0}, 0, kMost},
      ChunkRange{ChunkIndex{0}, kMaxChunkBytes, 1}, ChunkRange{ChunkIndex{0}, kMost, 1},
      ChunkRange{ChunkIndex{0}, kMost, kMost}, ChunkRange{ChunkIndex{0}, kMaxChunkBytes - 1, 2},
      ChunkRange{ChunkIndex{0}, kMost - 16383, 16384});
  INFO(range.offset << " + " << range.length);
  CHECK_FALSE(through_request(range));
}

TEST_CASE("REQUEST of every length but twelve is refused", "[io][wire]") {
  const std::string body = encode_range({ChunkIndex{1}, 2, 3}) + "more";
  for (std::size_t length = 0; length <= body.size(); ++length) {
    INFO(length);
    CHECK(decode_range(bytes_of(body.substr(0, length))).has_value() == (length == 12));
  }
}

TEST_CASE("DATA says by its prefix and its length which bytes it is", "[io][wire]") {
  CHECK(through_data(0, 1) == ChunkRange{ChunkIndex{7}, 0, 1});
  CHECK(through_data(16384, kMaxDataBytes) == ChunkRange{ChunkIndex{7}, 16384, kMaxDataBytes});
  CHECK(through_data(kMaxChunkBytes - 5, 5) == ChunkRange{ChunkIndex{7}, kMaxChunkBytes - 5, 5});
}

TEST_CASE("DATA without payload, or with one that leaves the chunk, is refused", "[io][wire]") {
  for (std::size_t length = 0; length <= kDataPrefixBytes; ++length) {
    INFO(length);
    CHECK_FALSE(decode_data_prefix(bytes_of(std::string(length, '\0'))));
  }
  CHECK_FALSE(through_data(kMaxChunkBytes - 5, 6));
  CHECK_FALSE(through_data(kMaxChunkBytes, 1));
  CHECK_FALSE(through_data(kMost, 1));
  CHECK_FALSE(through_data(kMost - 99, 100));
}

TEST_CASE("REQUEST_RANGES carries pieces of a chunk there and back", "[io][wire]") {
  const std::vector<ByteRange> pieces =
      GENERATE(std::vector<ByteRange>{{0, 1}}, std::vector<ByteRange>{{kMaxChunkBytes - 1, 1}},
               std::vector<ByteRange>{{0, 1}, {1, 127}, {128, 128}, {16384, 1}, {2097152, 16384}},
               std::vector<ByteRange>{{77, kMaxRequestBytes}},
               std::vector<ByteRange>{{5, kMaxRequestBytes - 9}, {kMaxChunkBytes - 9, 9}});
  const auto request = through_ranges(123'457, pieces);
  REQUIRE(request);
  CHECK(request->pieces == pieces);
  CHECK(request->pieces.capacity() == pieces.size());
  std::uint64_t sum = 0;
  for (const ByteRange& piece : pieces) sum += piece.length;
  CHECK(request->run ==
        ChunkRange{ChunkIndex{7}, 123'457, static_cast<std::uint32_t>(sum), /*of_run=*/true});
}

TEST_CASE("REQUEST_RANGES is chunk, offset, and two varints a piece", "[io][wire]") {
  const ChunkRange run{ChunkIndex{0x04030201}, 0x08070605, 0, /*of_run=*/true};
  const std::vector<ByteRange> pieces = {{300, 16}, {316, 4096}};
  CHECK(bytes(encode_run_request(run, pieces)) ==
        std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6, 7, 8, 0xac, 2, 16, 0, 0x80, 0x20});
}

TEST_CASE("REQUEST_RANGES has 1 to 1,024 pieces", "[io][wire]") {
  std::vector<ByteRange> pieces;
  for (std::uint32_t i = 0; i < kMaxRequestRanges; ++i) pieces.push_back({8192u * i + 8191, 1});
  CHECK(through_ranges(0, pieces)->run.length == 1024);
  CHECK_FALSE(ranges_of_bytes(""));
  std::string varints;
  for (std::size_t i = 0; i < kMaxRequestRanges; ++i) varints += "\1\1";
  CHECK(ranges_of_bytes(varints)->pieces.size() == kMaxRequestRanges);
  CHECK_FALSE(ranges_of_bytes(varints + "\1\1"));
}

TEST_CASE("REQUEST_RANGES asks for at most 1 MiB, within a chunk", "[io][wire]") {
  CHECK(through_ranges(kMaxChunkBytes - 5, {{0, 5}}));
  CHECK_FALSE(through_ranges(kMaxChunkBytes - 5, {{0, 6}}));
  CHECK_FALSE(through_ranges(kMost, {{0, 1}}));
  CHECK_FALSE(through_ranges(kMost - 7, {{0, 16}}));
  CHECK_FALSE(through_ranges(0, {{0, kMaxRequestBytes + 1}}));
  CHECK_FALSE(through_ranges(0, {{0, kMaxRequestBytes}, {2 * kMaxRequestBytes, 1}}));
  CHECK_FALSE(through_ranges(0, {{kMaxChunkBytes - 1, 2}}));
  CHECK_FALSE(through_ranges(0, {{kMaxChunkBytes, 1}}));
  CHECK_FALSE(through_ranges(0, {{0, 1}, {kMaxChunkBytes, 1}}));
  CHECK_FALSE(through_ranges(0, {{0, kMost}}));
  CHECK_FALSE(through_ranges(0, {{std::uint64_t{1} << 40, 1}}));
  // Pieces that would overlap, by a gap that goes round.
  CHECK_FALSE(through_ranges(0, {{100, 50}, {100 + (std::uint64_t{1} << 32), 50}}));
}

TEST_CASE("REQUEST_RANGES that is cut short, or has longer varints than needed, is refused",
          "[io][wire]") {
  const ChunkRange run{ChunkIndex{1}, 2, 0, /*of_run=*/true};
  const std::vector<ByteRange> pieces = {{300, 16}, {70'000, 300}};
  const std::string body = encode_run_request(run, pieces);
  for (std::size_t length = 0; length <= body.size(); ++length) {
    const auto request = decode_run_request(bytes_of(body.substr(0, length)));
    INFO(length);
    // Behind the first piece is an end, too.
    CHECK(request.has_value() == (length == 8 + 3 || length == body.size()));
  }
  using std::string_literals::operator""s;
  CHECK(ranges_of_bytes("\0\1"s));
  CHECK_FALSE(ranges_of_bytes("\x80\0\1"s));
  CHECK_FALSE(ranges_of_bytes("\0\x81\0"s));
  CHECK_FALSE(ranges_of_bytes("\0\0"s));
  CHECK_FALSE(ranges_of_bytes("\x80\x80\x80\x80\x10\1"s));
  CHECK_FALSE(ranges_of_bytes("\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"s));
}

TEST_CASE("RUN_DATA says by its prefix and its length which bytes of the run it is", "[io][wire]") {
  const auto through = [](std::uint32_t offset, std::size_t payload) {
    std::vector<std::uint8_t> body(kDataPrefixBytes + payload);
    encode_data_prefix({ChunkIndex{7}, offset, 0}, std::span(body).subspan<0, kDataPrefixBytes>());
    return decode_run_prefix(body);
  };
  CHECK(through(4097, 16) == ChunkRange{ChunkIndex{7}, 4097, 16, /*of_run=*/true});
  CHECK(through(0, kMaxDataBytes));
  CHECK_FALSE(through(0, kMaxDataBytes + 1));
  CHECK_FALSE(through(0, 0));
  CHECK_FALSE(through(kMaxChunkBytes - 5, 6));
  CHECK_FALSE(through(kMost, 1));
}

}  // namespace p2p
