#include "librsyncwrap/signature.h"

#include <librsync.h>

#include <algorithm>
#include <bit>
#include <string>

#include "core/base/check.h"

namespace p2p::rsync {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kGiB = 1ull << 30;

void put_u32(std::uint8_t* out, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}

std::uint32_t get_u32(const std::uint8_t* in) {
  return static_cast<std::uint32_t>(in[0]) << 24 | static_cast<std::uint32_t>(in[1]) << 16 |
         static_cast<std::uint32_t>(in[2]) << 8 | static_cast<std::uint32_t>(in[3]);
}

Error corrupt(std::string why) {
  return Error{Errc::corrupt, "signature: " + std::move(why)};
}

}  // namespace

std::uint32_t block_bytes_for(std::uint64_t file_bytes) {
  if (file_bytes <= 64 * kMiB) return 1024;
  if (file_bytes <= kGiB) return 2 * 1024;
  if (file_bytes <= 32 * kGiB) return 4 * 1024;
  if (file_bytes <= 128 * kGiB) return 16 * 1024;
  return 64 * 1024;
}

Result<SignatureLayout> SignatureLayout::of(std::uint64_t file_bytes, std::uint32_t block_bytes) {
  if (file_bytes > kMaxSignedFileBytes) {
    return Error{Errc::invalid_argument, "a file of " + std::to_string(file_bytes) +
                                             " bytes is above the limit of " +
                                             std::to_string(kMaxSignedFileBytes)};
  }
  if (block_bytes < kMinBlockBytes || block_bytes > kMaxBlockBytes ||
      !std::has_single_bit(block_bytes)) {
    return Error{Errc::invalid_argument, "blocks of " + std::to_string(block_bytes) +
                                             " bytes: must be a power of two from " +
                                             std::to_string(kMinBlockBytes) + " to " +
                                             std::to_string(kMaxBlockBytes)};
  }
  const std::uint64_t blocks = (file_bytes + block_bytes - 1) / block_bytes;
  if (blocks > kMaxBlocks) {
    return Error{Errc::invalid_argument, std::to_string(blocks) +
                                             " blocks are above the limit of " +
                                             std::to_string(kMaxBlocks) + "; use larger blocks"};
  }
  SignatureLayout layout;
  layout.file_bytes_ = file_bytes;
  layout.block_bytes_ = block_bytes;
  layout.blocks_ = static_cast<std::uint32_t>(blocks);
  return layout;
}

std::uint32_t SignatureLayout::length_of(std::uint32_t block) const {
  P2P_CHECK(block < blocks_);
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(block_bytes_, file_bytes_ - offset_of(block)));
}

std::uint32_t SignatureLayout::segment_blocks() const {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(kSegmentBlocks, kSegmentBytes / block_bytes_));
}

std::uint32_t SignatureLayout::segments() const {
  return (blocks_ + segment_blocks() - 1) / segment_blocks();
}

std::uint32_t SignatureLayout::blocks_of(std::uint32_t segment) const {
  P2P_CHECK(segment < segments());
  return std::min(segment_blocks(), blocks_ - first_block_of(segment));
}

std::array<std::uint8_t, kHeaderBytes> encode_signature_header(const SignatureLayout& layout) {
  std::array<std::uint8_t, kHeaderBytes> header;
  put_u32(header.data(), RS_RK_BLAKE2_SIG_MAGIC);
  put_u32(header.data() + 4, layout.block_bytes());
  put_u32(header.data() + 8, kStrongBytes);
  return header;
}

Result<SignatureLayout> parse_signature_header(std::span<const std::uint8_t> header,
                                               std::uint64_t file_bytes,
                                               std::uint64_t signature_bytes) {
  if (header.size() < kHeaderBytes) {
    return corrupt("cut short after " + std::to_string(header.size()) + " bytes");
  }
  if (get_u32(header.data()) != RS_RK_BLAKE2_SIG_MAGIC) {
    return corrupt("begins with something else than 72730147 (RabinKarp and BLAKE2)");
  }
  if (const std::uint32_t strong = get_u32(header.data() + 8); strong != kStrongBytes) {
    return corrupt("strong sums of " + std::to_string(strong) + " bytes instead of " +
                   std::to_string(kStrongBytes));
  }
  Result<SignatureLayout> layout = SignatureLayout::of(file_bytes, get_u32(header.data() + 4));
  if (!layout) return corrupt(layout.error().detail);
  if (layout->signature_bytes() != signature_bytes) {
    return corrupt("of " + std::to_string(signature_bytes) + " bytes, but a file of " +
                   std::to_string(file_bytes) + " bytes in blocks of " +
                   std::to_string(layout->block_bytes()) + " has one of " +
                   std::to_string(layout->signature_bytes()));
  }
  return layout;
}

std::vector<Record> decode_records(std::span<const std::uint8_t> bytes) {
  P2P_CHECK(bytes.size() % kRecordBytes == 0);
  std::vector<Record> records(bytes.size() / kRecordBytes);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const std::uint8_t* at = bytes.data() + i * kRecordBytes;
    records[i] = static_cast<Record>(get_u32(at)) << 32 | get_u32(at + 4);
  }
  return records;
}

Result<ParsedSignature> parse_signature(std::span<const std::uint8_t> bytes,
                                        std::uint64_t file_bytes) {
  const Result<SignatureLayout> layout = parse_signature_header(
      bytes.first(std::min(bytes.size(), kHeaderBytes)), file_bytes, bytes.size());
  if (!layout) return layout.error();
  return ParsedSignature{*layout, decode_records(bytes.subspan(kHeaderBytes))};
}

}  // namespace p2p::rsync
