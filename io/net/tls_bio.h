// The two ends that OpenSSL reads from and writes to: a socket whose records are counted, and a
// buffer.
#pragma once

#include <openssl/bio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace p2p {

// Reads from a socket without blocking and follows the TLS records that pass by, so that it is
// known how much of the record that is being received is still to come.
struct TlsRecordReader {
  int fd = -1;
  bool eof = false;
  // Bytes that may still be read in this turn; at 0 there seems to be nothing more. What OpenSSL
  // swallows without giving plaintext (key updates, empty records) cannot hold a thread this way.
  std::size_t turn_left = SIZE_MAX;

  // How many more bytes must arrive before `plaintext` more bytes can be read, at least: the rest
  // of the record that has begun, and what does not fit into it. Never too many.
  std::size_t missing_for(std::size_t plaintext) const;
  // Takes note of bytes of the stream.
  void follow(std::span<const std::uint8_t> bytes);

 private:
  static constexpr std::size_t kHeaderBytes = 5;
  // Header, content type and tag of a TLS 1.3 record.
  static constexpr std::size_t kRecordOverhead = 22;

  std::array<std::uint8_t, kHeaderBytes> header_{};
  std::size_t header_have_ = 0;
  std::size_t record_bytes_ = 0;  // of the record that has begun, without its header
  std::size_t record_left_ = 0;   // of these, not received yet
};

// Both BIOs refer to what they are made of, which must outlive them.
BIO* make_reader_bio(TlsRecordReader& reader);
// Appends what is written: encryption never blocks, the socket is dealt with apart.
BIO* make_vector_bio(std::vector<std::uint8_t>& out);

}  // namespace p2p
