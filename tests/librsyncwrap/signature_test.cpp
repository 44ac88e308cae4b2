// Layout, building, and what is refused of foreign signatures.
#include "librsyncwrap/signature.h"

#include <librsync.h>

#include <cstdio>
#include <memory>

#include "core/model/manifest.h"
#include "tests/librsyncwrap/match_support.h"

namespace p2p::rsync {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kGiB = 1ull << 30;

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// What rdiff writes.
Bytes reference_signature(const Bytes& file, std::uint32_t block_bytes) {
  const std::unique_ptr<std::FILE, Close> in(std::tmpfile());
  const std::unique_ptr<std::FILE, Close> out(std::tmpfile());
  REQUIRE(in);
  REQUIRE(out);
  if (!file.empty()) REQUIRE(std::fwrite(file.data(), 1, file.size(), in.get()) == file.size());
  std::rewind(in.get());
  rs_trace_set_level(RS_LOG_ERR);  // it finds 4 bytes few
  REQUIRE(rs_sig_file(in.get(), out.get(), block_bytes, kStrongBytes, RS_RK_BLAKE2_SIG_MAGIC,
                      nullptr) == RS_DONE);
  Bytes bytes(static_cast<std::size_t>(std::ftell(out.get())));
  std::rewind(out.get());
  REQUIRE(std::fread(bytes.data(), 1, bytes.size(), out.get()) == bytes.size());
  return bytes;
}

Errc code_of(std::span<const std::uint8_t> bytes, std::uint64_t file_bytes) {
  const auto parsed = parse_signature(bytes, file_bytes);
  REQUIRE(!parsed);
  CHECK(!parsed.error().detail.empty());
  return parsed.error().code;
}

}  // namespace

TEST_CASE("a signature is byte for byte what librsync writes", "[librsync]") {
  for (const std::size_t size : {0, 1, 511, 512, 513, 4096, 70000, 300000}) {
    const Bytes file = delta_data::random_bytes(size, size);
    for (const std::uint32_t block : {512u, 4096u, 65536u}) {
      CHECK(signature_of(file, block) == reference_signature(file, block));
    }
  }
}

TEST_CASE("a signature does not depend on how the file was fed", "[librsync]") {
  const Bytes file = delta_data::random_bytes(7, 100'000);
  const Bytes whole = signature_of(file, 1024);
  Rng rng(8);
  SignatureBuilder builder(1024);
  Bytes records;
  for (std::size_t at = 0; at < file.size();) {
    const std::size_t step = std::min<std::size_t>(rng.below(5000), file.size() - at);
    REQUIRE(builder.feed(std::span(file).subspan(at, step)));
    at += step;
    const Bytes made = builder.take();
    records.insert(records.end(), made.begin(), made.end());
  }
  REQUIRE(builder.finish());
  const Bytes rest = builder.take();
  records.insert(records.end(), rest.begin(), rest.end());
  CHECK(records == Bytes(whole.begin() + kHeaderBytes, whole.end()));
}

TEST_CASE("segments built apart are the signature in pieces", "[librsync]") {
  const Bytes file = delta_data::random_bytes(9, 10 * 4096 + 77);
  const Bytes whole = signature_of(file, 4096);
  Bytes pieces(whole.begin(), whole.begin() + kHeaderBytes);
  for (const auto& [from, to] : {std::pair<std::size_t, std::size_t>{0, 4 * 4096},
                                 {4 * 4096, 8 * 4096},
                                 {8 * 4096, file.size()}}) {
    SignatureBuilder builder(4096);
    REQUIRE(builder.feed(std::span(file).subspan(from, to - from)));
    REQUIRE(builder.finish());
    const Bytes records = builder.take();
    pieces.insert(pieces.end(), records.begin(), records.end());
  }
  CHECK(pieces == whole);
}

TEST_CASE("zeros that are not fed are summed like zeros that are", "[librsync]") {
  for (const std::size_t before : {0, 100, 4096, 5000}) {
    for (const std::size_t zeros : {0, 1, 4095, 4096, 3 * 4096 + 5, 200'000}) {
      Bytes file = delta_data::random_bytes(before, before);
      SignatureBuilder builder(4096);
      REQUIRE(builder.feed(file));
      REQUIRE(builder.feed_zeros(zeros));
      const Bytes tail = delta_data::random_bytes(99, 3000);
      REQUIRE(builder.feed(tail));
      REQUIRE(builder.finish());
      file.resize(before + zeros, 0);
      file.insert(file.end(), tail.begin(), tail.end());
      const Bytes expected = signature_of(file, 4096);
      CHECK(builder.take() == Bytes(expected.begin() + kHeaderBytes, expected.end()));
    }
  }
}

TEST_CASE("hours of zeros cost nothing", "[librsync]") {
  SignatureBuilder builder(65536);
  REQUIRE(builder.feed_zeros(64 * kGiB));
  REQUIRE(builder.finish());
  CHECK(builder.take().size() == kRecordBytes * (64 * kGiB / 65536));
}

TEST_CASE("blocks grow with the file, and signatures stay small", "[librsync]") {
  CHECK(block_bytes_for(0) == 1024);
  CHECK(block_bytes_for(64 * kMiB) == 1024);
  CHECK(block_bytes_for(64 * kMiB + 1) == 2048);
  CHECK(block_bytes_for(1024 * kMiB) == 2048);
  CHECK(block_bytes_for(1024 * kMiB + 1) == 4096);
  CHECK(block_bytes_for(32 * kGiB) == 4096);
  CHECK(block_bytes_for(128 * kGiB) == 16384);
  CHECK(block_bytes_for(128 * kGiB + 1) == 65536);
  CHECK(kMaxSignedFileBytes == kMaxFileBytes);
  for (const std::uint64_t size : {64 * kMiB, 32 * kGiB, 128 * kGiB, 512 * kGiB}) {
    CHECK(layout_of(size, block_bytes_for(size)).signature_bytes() <= 64 * kMiB + kHeaderBytes);
  }
  const SignatureLayout largest = layout_of(kMaxFileBytes, block_bytes_for(kMaxFileBytes));
  CHECK(largest.blocks() == kMaxBlocks);
}

TEST_CASE("a segment has at most 4 GiB of the file and 2^20 blocks", "[librsync]") {
  for (const std::uint32_t block : {512u, 1024u, 4096u, 16384u, 65536u, 262144u}) {
    const SignatureLayout layout = layout_of(100 * kGiB + 777, block);
    std::uint64_t blocks = 0;
    for (std::uint32_t segment = 0; segment < layout.segments(); ++segment) {
      CHECK(layout.first_block_of(segment) == blocks);
      blocks += layout.blocks_of(segment);
      CHECK(layout.blocks_of(segment) <= kSegmentBlocks);
      CHECK(static_cast<std::uint64_t>(layout.blocks_of(segment)) * block <= kSegmentBytes);
    }
    CHECK(blocks == layout.blocks());
    CHECK(layout.length_of(layout.blocks() - 1) == (100 * kGiB + 777) % block);
  }
  CHECK(layout_of(100 * kGiB, 16384).segments() == 25);
  CHECK(layout_of(16 * kGiB, 4096).segments() == 4);
  CHECK(layout_of(500'000'000'000, 65536).segments() == 117);
  CHECK(layout_of(0, 1024).segments() == 0);
}

TEST_CASE("a layout outside the limits is refused", "[librsync]") {
  for (const std::uint32_t block : {0u, 1u, 256u, 1000u, 4095u, 4097u, 524288u, 0x80000000u, ~0u}) {
    CHECK(!SignatureLayout::of(kMiB, block));
  }
  CHECK(!SignatureLayout::of(kMaxFileBytes + 1, 65536));
  CHECK(!SignatureLayout::of(kMaxFileBytes, 32768));  // 2^29 blocks
  CHECK(!SignatureLayout::of(~0ull, 65536));
}

TEST_CASE("a foreign signature is read back", "[librsync]") {
  const Bytes file = delta_data::random_bytes(10, 5000);
  const auto parsed = parse_signature(signature_of(file, 1024), file.size());
  REQUIRE(parsed);
  CHECK(parsed->layout == layout_of(5000, 1024));
  CHECK(parsed->records == records_of(file, 1024));
  CHECK(parse_signature(signature_of({}, 1024), 0));
}

TEST_CASE("a foreign signature with any wrong field is refused", "[librsync]") {
  const Bytes file = delta_data::random_bytes(11, 5000);
  const Bytes good = signature_of(file, 1024);
  CHECK(code_of({}, 5000) == Errc::corrupt);
  CHECK(code_of(std::span(good).first(11), 5000) == Errc::corrupt);
  CHECK(code_of(std::span(good).first(12), 5000) == Errc::corrupt);
  CHECK(code_of(std::span(good).first(good.size() - 1), 5000) == Errc::corrupt);
  CHECK(code_of(std::span(good).first(good.size() - 8), 5000) == Errc::corrupt);
  Bytes longer = good;
  longer.resize(good.size() + 8);
  CHECK(code_of(longer, 5000) == Errc::corrupt);
  CHECK(code_of(good, 5121) == Errc::corrupt);
  CHECK(code_of(good, 0) == Errc::corrupt);
  CHECK(code_of(good, ~0ull) == Errc::corrupt);

  const auto with = [&](std::size_t field, std::uint32_t value) {
    Bytes bytes = good;
    for (std::size_t i = 0; i < 4; ++i) {
      bytes[4 * field + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
    }
    return bytes;
  };
  for (const std::uint32_t magic : {0u, 0x72730136u, 0x72730137u, 0x72730146u, 0x72730236u, ~0u}) {
    CHECK(code_of(with(0, magic), 5000) == Errc::corrupt);
  }
  for (const std::uint32_t block :
       {0u, 1u, 512u, 1023u, 1025u, 2048u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    CHECK(code_of(with(1, block), 5000) == Errc::corrupt);
  }
  for (const std::uint32_t strong : {0u, 1u, 3u, 5u, 8u, 12u, 32u, 33u, 0x80000000u, ~0u}) {
    CHECK(code_of(with(2, strong), 5000) == Errc::corrupt);
  }
}

TEST_CASE("random bytes and damaged signatures never get further than an error", "[librsync]") {
  Rng rng(12);
  const Bytes file = delta_data::random_bytes(13, 9000);
  const Bytes good = signature_of(file, 512);
  for (int round = 0; round < 2000; ++round) {
    Bytes bytes = rng.chance(1, 2) ? delta_data::random_bytes(rng.next(), rng.below(64)) : good;
    if (!bytes.empty()) {
      bytes[rng.below(std::min<std::size_t>(bytes.size(), kHeaderBytes))] ^=
          static_cast<std::uint8_t>(1 + rng.below(255));
    }
    bytes.resize(rng.chance(1, 2) ? bytes.size() : rng.below(bytes.size() + 1));
    CHECK(!parse_signature(bytes, 9000));
  }
}

}  // namespace p2p::rsync
