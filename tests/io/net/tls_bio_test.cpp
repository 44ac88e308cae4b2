#include "io/net/tls_bio.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/rng.h"
#include "io/disk/fd.h"
#include "io/identity/pem.h"
#include "tests/support/catch.h"

namespace p2p {
namespace {

constexpr std::size_t kHeader = 5;
constexpr std::size_t kTypeAndTag = 17;

// The outside of a stream of records, and where in it each byte of plaintext becomes readable.
struct Stream {
  std::vector<std::uint8_t> bytes;
  std::vector<std::size_t>
      readable_at;  // position in `bytes` after which plaintext byte i is there

  // TLS 1.3 allows padding, and records of other types that carry nothing for the reader.
  Stream& record(std::size_t plaintext, std::size_t padding = 0) {
    append(plaintext + padding + kTypeAndTag);
    readable_at.insert(readable_at.end(), plaintext, bytes.size());
    return *this;
  }
  // With any length, also one that no real record has.
  Stream& append(std::size_t length) {
    bytes.insert(bytes.end(), {23, 3, 3, static_cast<std::uint8_t>(length >> 8),
                               static_cast<std::uint8_t>(length & 0xff)});
    bytes.insert(bytes.end(), length, 0xee);
    return *this;
  }
};

Stream drawn(std::uint64_t seed) {
  Rng rng(seed);
  Stream stream;
  for (int i = 0; i < 8; ++i) {
    const std::size_t plaintext = rng.chance(1, 4) ? 0 : static_cast<std::size_t>(rng.below(90));
    const std::size_t padding = rng.chance(1, 3) ? static_cast<std::size_t>(rng.below(40)) : 0;
    stream.record(plaintext, padding);
  }
  return stream;
}

TlsRecordReader reader_after(const Stream& stream, std::size_t cut) {
  TlsRecordReader reader;
  reader.follow({stream.bytes.data(), cut});
  return reader;
}

}  // namespace

TEST_CASE("missing_for never says more than what is really still to come, wherever one looks",
          "[io][net]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Stream stream = drawn(seed);
    for (std::size_t cut = 0; cut <= stream.bytes.size(); ++cut) {
      const TlsRecordReader reader = reader_after(stream, cut);
      const auto unread = static_cast<std::size_t>(
          std::upper_bound(stream.readable_at.begin(), stream.readable_at.end(), cut) -
          stream.readable_at.begin());
      for (std::size_t wanted = 1; unread + wanted <= stream.readable_at.size(); ++wanted) {
        const std::size_t to_come = stream.readable_at[unread + wanted - 1] - cut;
        const std::size_t said = reader.missing_for(wanted);
        if (said >= 1 && said <= to_come) continue;
        FAIL("seed " << seed << ", cut at " << cut << ", " << wanted << " bytes wanted: said "
                     << said << ", " << to_come << " are to come");
      }
    }
  }
}

TEST_CASE("missing_for knows the rest of the record that has begun", "[io][net]") {
  Stream stream;
  stream.record(100).record(50);
  const std::size_t first_end = kHeader + 100 + kTypeAndTag;
  SECTION("before anything: a header and the bytes themselves, at least") {
    CHECK(reader_after(stream, 0).missing_for(100) == kHeader + 100);
  }
  SECTION("inside a header") {
    CHECK(reader_after(stream, 3).missing_for(100) == 2 + 100);
  }
  SECTION("after the header: a record is read whole or not at all") {
    CHECK(reader_after(stream, kHeader).missing_for(1) == 100 + kTypeAndTag);
    CHECK(reader_after(stream, kHeader).missing_for(100) == 100 + kTypeAndTag);
    CHECK(reader_after(stream, kHeader + 60).missing_for(100) == 40 + kTypeAndTag);
    CHECK(reader_after(stream, first_end - 1).missing_for(100) == 1);
  }
  SECTION("more than the record holds") {
    CHECK(reader_after(stream, kHeader).missing_for(130) == 100 + kTypeAndTag + 30);
    CHECK(reader_after(stream, first_end - 1).missing_for(130) == 1 + 30);
  }
  SECTION("at a boundary") {
    CHECK(reader_after(stream, first_end).missing_for(50) == kHeader + 50);
  }
}

TEST_CASE("A stream says the same however it was cut on the way", "[io][net]") {
  const Stream stream = drawn(77);
  Rng rng(5);
  TlsRecordReader in_pieces;
  for (std::size_t at = 0; at < stream.bytes.size();) {
    const std::size_t piece =
        std::min(stream.bytes.size() - at, static_cast<std::size_t>(rng.below(12)));
    in_pieces.follow({stream.bytes.data() + at, piece});
    at += piece;
    for (const std::size_t wanted : {1u, 10u, 1000u}) {
      REQUIRE(in_pieces.missing_for(wanted) == reader_after(stream, at).missing_for(wanted));
    }
  }
}

TEST_CASE("Reading ends with the turn and goes on with the next one", "[io][net]") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  const Fd ours(ends[0]), theirs(ends[1]);
  REQUIRE(::send(theirs.get(), "0123456789", 10, 0) == 10);
  TlsRecordReader reader;
  reader.fd = ours.get();
  reader.turn_left = 7;
  const std::unique_ptr<BIO, OpensslFree<BIO_free>> bio(make_reader_bio(reader));
  char bytes[10];
  CHECK(BIO_read(bio.get(), bytes, 4) == 4);
  CHECK(BIO_read(bio.get(), bytes, 10) == 3);
  CHECK(BIO_read(bio.get(), bytes, 10) == -1);
  CHECK(BIO_should_retry(bio.get()));
  reader.turn_left = 7;
  CHECK(BIO_read(bio.get(), bytes, 10) == 3);
}

TEST_CASE("Records of lengths that no real one has neither confuse nor break the count",
          "[io][net]") {
  Stream stream;
  stream.append(0).append(0).append(5).append(16).append(65535).record(10);
  CHECK(reader_after(stream, kHeader).missing_for(10) == kHeader + 10);
  CHECK(reader_after(stream, 3 * kHeader).missing_for(10) == 5 + 10);
  CHECK(reader_after(stream, stream.bytes.size()).missing_for(1) == kHeader + 1);
  CHECK(reader_after(stream, stream.bytes.size() - 4).missing_for(10) == 4);
}

}  // namespace p2p
