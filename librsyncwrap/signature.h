// Signatures: weak and strong sums of every block of a NEW file, as librsync writes them.
//
// The publisher makes one, receivers look for its blocks in what they have (the roles of rdiff are
// exchanged: librsync's "basis" is the file that is to be fetched). Strong sums have 4 bytes: a
// wrong match costs a refetch, because every chunk is hashed in the end, and 8 bytes a block are a
// half of what 12 would be (delta.md §3.1).
//
// A signature is 12 bytes of header (magic, bytes in a block, bytes of a strong sum, big-endian)
// and 8 bytes a block: weak sum (32 bits, RabinKarp), then the first 4 bytes of the BLAKE2b-256.
// The last block may be short; the signature does not say so, the size of the file does. Any run of
// records, behind the header, is a signature of its own: that is what a segment is.
//
// Nothing foreign reaches librsync unless it went through parse_signature_header, because librsync
// aborts on what it does not expect (delta.md §2.2).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/byte_range.h"
#include "core/base/result.h"

namespace p2p::rsync {

inline constexpr std::size_t kHeaderBytes = 12;
inline constexpr std::size_t kRecordBytes = 8;
inline constexpr std::uint32_t kStrongBytes = 4;
// delta.md §8.3. The lower end is what dense edits would want (§3.2), the upper one leaves room.
inline constexpr std::uint32_t kMinBlockBytes = 512;
inline constexpr std::uint32_t kMaxBlockBytes = 256 * 1024;
inline constexpr std::uint64_t kMaxSignedFileBytes = 1ull << 44;  // kMaxFileBytes of core/model
// 2 GiB of signature: a file of 16 TiB at 64 KiB.
inline constexpr std::uint64_t kMaxBlocks = 1ull << 28;
// librsync tells blocks apart by 32 bits before it hashes: beyond 4 GiB each byte that does not
// match costs more than one byte of BLAKE2b, and 2^20 blocks keep an index below 78 MB
// (delta.md §2.2, §8.4).
inline constexpr std::uint64_t kSegmentBytes = 1ull << 32;
inline constexpr std::uint32_t kSegmentBlocks = 1u << 20;

// 1 KiB up to 64 MiB, 2 KiB up to 1 GiB, 4 KiB up to 32 GiB, 16 KiB up to 128 GiB, 64 KiB above:
// signatures of at most 64 MiB up to 512 GiB (delta.md §8.3, but for 2 KiB: of 251 MB of two
// releases of LibreOffice 67.3 MB are needed then, 68.7 with 4 KiB). Of a VM image with 1 % of its
// pages changed, 1.00 % is missing at 4 KiB, 6 % at 16 KiB, 17 % at 64 KiB (§3.2).
std::uint32_t block_bytes_for(std::uint64_t file_bytes);

// Weak sum in the upper half, strong sum in the lower.
using Record = std::uint64_t;

// Where things are in the signature of a file.
class SignatureLayout {
 public:
  SignatureLayout() = default;
  // Errc::invalid_argument: a file above kMaxSignedFileBytes, a block that is no power of two
  // between the limits, or more than kMaxBlocks blocks.
  static Result<SignatureLayout> of(std::uint64_t file_bytes, std::uint32_t block_bytes);

  std::uint64_t file_bytes() const { return file_bytes_; }
  std::uint32_t block_bytes() const { return block_bytes_; }
  std::uint32_t blocks() const { return blocks_; }
  std::uint64_t signature_bytes() const { return kHeaderBytes + kRecordBytes * blocks_; }
  std::uint64_t offset_of(std::uint32_t block) const {
    return static_cast<std::uint64_t>(block) * block_bytes_;
  }
  // All but the last one are whole.
  std::uint32_t length_of(std::uint32_t block) const;

  // Every segment but the last has segment_blocks() blocks: at most kSegmentBlocks, and at most
  // kSegmentBytes of the file.
  std::uint32_t segments() const;
  std::uint32_t segment_blocks() const;
  std::uint32_t first_block_of(std::uint32_t segment) const { return segment * segment_blocks(); }
  std::uint32_t blocks_of(std::uint32_t segment) const;
  // Where the records of these blocks are in the signature.
  static ByteRange records_at(std::uint32_t first_block, std::uint32_t count) {
    return {kHeaderBytes + kRecordBytes * static_cast<std::uint64_t>(first_block),
            kRecordBytes * static_cast<std::uint64_t>(count)};
  }

  friend bool operator==(const SignatureLayout&, const SignatureLayout&) = default;

 private:
  std::uint64_t file_bytes_ = 0;
  std::uint32_t block_bytes_ = kMinBlockBytes;
  std::uint32_t blocks_ = 0;
};

std::array<std::uint8_t, kHeaderBytes> encode_signature_header(const SignatureLayout& layout);

// From the first kHeaderBytes of a foreign signature, what the manifest says of the file's size,
// and the size of the whole signature. Errc::corrupt when anything does not fit; no other signature
// than one of the form above is taken.
Result<SignatureLayout> parse_signature_header(std::span<const std::uint8_t> header,
                                               std::uint64_t file_bytes,
                                               std::uint64_t signature_bytes);

// `bytes` must be whole records. Any bytes are records: what they say is trusted for nothing.
std::vector<Record> decode_records(std::span<const std::uint8_t> bytes);

// A whole foreign signature in one piece, for small files and for fuzzing.
struct ParsedSignature {
  SignatureLayout layout;
  std::vector<Record> records;
};
Result<ParsedSignature> parse_signature(std::span<const std::uint8_t> bytes,
                                        std::uint64_t file_bytes);

}  // namespace p2p::rsync
